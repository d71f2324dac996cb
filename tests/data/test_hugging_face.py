import datasets
import pytest
from pyarrow import parquet

from autoft.core.errors import DataError
from autoft.data import open_dataset
from autoft.data.hugging_face import by_split, from_memory, read_saved
from tests.data.making import picture, prepared


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()


def pictures_of(labels, first=0):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    content = [{"bytes": picture(first + index), "path": None} for index in range(len(labels))]
    return datasets.Dataset.from_dict({"image": content, "label": labels}, features=features)


def texts_of(count, offset=0):
    rows = [{"text": f"text {index + offset}", "label": index % 2} for index in range(count)]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    return datasets.Dataset.from_list(rows, features=features)


def test_a_saved_dataset_of_pictures_has_its_class_names(tmp_path):
    pictures_of([0, 1] * 6).save_to_disk(tmp_path / "hf")
    found = prepared(tmp_path / "hf", tmp_path / "out")
    assert found.labels == ("cat", "dog")
    assert found.task == "image-classification"
    assert open_dataset(found.path).inputs("train")[0] in {picture(index) for index in range(12)}


def test_saved_and_in_memory_are_the_same_data(tmp_path):
    data = pictures_of([0, 1] * 6)
    data.save_to_disk(tmp_path / "hf")
    on_disk, in_memory = prepared(tmp_path / "hf", tmp_path / "a"), prepared(data, tmp_path / "b")
    assert on_disk.fingerprint == in_memory.fingerprint


def test_a_saved_dict_gives_its_splits(tmp_path):
    splits = {"train": texts_of(10), "validation": texts_of(4, 10), "test": texts_of(6, 20)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "hf")
    found = prepared(tmp_path / "hf", tmp_path / "out")
    assert found.num_rows == {"train": 10, "val": 4, "test": 6}
    assert found.task == "text-classification"


def test_a_dict_in_memory_gives_its_splits(tmp_path):
    data = datasets.DatasetDict({"train": texts_of(20), "test": texts_of(6, 20)})
    found = prepared(data, tmp_path)
    assert found.num_rows == {"train": 16, "val": 4, "test": 6}


def test_a_selection_in_memory_is_obeyed(tmp_path):
    found = prepared(texts_of(40).select(range(0, 40, 3)), tmp_path)
    assert sum(found.num_rows.values()) == 14


def test_a_saved_selection_has_its_rows(tmp_path):
    texts_of(40).select(range(0, 40, 3)).save_to_disk(tmp_path / "hf")
    assert read_saved(tmp_path / "hf")[""].content.num_rows == 14


def test_parquet_files_of_the_hub_carry_their_class_names(tmp_path):
    texts_of(20).to_parquet(tmp_path / "hub.parquet")
    assert b"huggingface" in parquet.read_schema(tmp_path / "hub.parquet").metadata
    assert prepared(tmp_path / "hub.parquet", tmp_path / "out").labels == ("neg", "pos")


def test_minus_one_is_a_missing_label(tmp_path):
    found = prepared(pictures_of([0, 1] * 10 + [-1]), tmp_path)
    assert [(one.row, one.reason) for one in found.quarantine] == [("row 21", "the target is missing")]


def test_a_picture_that_is_a_path_is_read_from_there(tmp_path):
    for index in range(12):
        (tmp_path / f"{index}.png").write_bytes(picture(index))
    paths = [str(tmp_path / f"{index}.png") for index in range(12)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    data = datasets.Dataset.from_dict({"image": paths, "label": [0, 1] * 6}, features=features)
    found = open_dataset(prepared(data, tmp_path / "out").path)
    assert found.inputs("test")[0] in {picture(index) for index in range(12)}


def test_a_class_number_beyond_the_names_is_refused(tmp_path):
    data = texts_of(20).cast_column("label", datasets.Value("int64")).map(lambda row: {"label": row["label"] + 4})
    data.save_to_disk(tmp_path / "hf")
    info = tmp_path / "hf" / "dataset_info.json"
    info.write_text('{"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}')
    with pytest.raises(DataError, match=r"holds [45], but it has 2 class names"):
        prepared(tmp_path / "hf", tmp_path / "out")


def test_a_missing_data_file_is_named(tmp_path):
    texts_of(4).save_to_disk(tmp_path / "hf")
    (tmp_path / "hf" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(DataError, match=r"there is no 'data-00000"):
        read_saved(tmp_path / "hf")


def test_a_damaged_data_file_is_named(tmp_path):
    texts_of(4).save_to_disk(tmp_path / "hf")
    (tmp_path / "hf" / "data-00000-of-00001.arrow").write_bytes(b"damage")
    with pytest.raises(DataError, match=r"data-00000-of-00001.arrow' is damaged"):
        read_saved(tmp_path / "hf")


def test_a_broken_state_file_is_named(tmp_path):
    texts_of(4).save_to_disk(tmp_path / "hf")
    (tmp_path / "hf" / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"state.json' cannot be read"):
        read_saved(tmp_path / "hf")


def test_a_stream_is_refused():
    with pytest.raises(DataError, match=r"streaming dataset; load it whole"):
        from_memory(texts_of(4).to_iterable_dataset(), "data")


def test_a_split_of_no_known_meaning_is_said_not_to_be_read(tmp_path):
    data = datasets.DatasetDict({"train": texts_of(20), "unsupervised": texts_of(2)})
    assert "The split 'unsupervised' of the data (DatasetDict) is not read" in prepared(data, tmp_path).warnings[0]


def test_splits_without_train_are_refused():
    with pytest.raises(DataError, match=r"no split 'train', only 'a', 'b'"):
        by_split(from_memory(datasets.DatasetDict({"a": texts_of(2), "b": texts_of(2)}), "data"), "data")


def test_a_single_split_is_cut_whatever_it_is_called():
    assert list(by_split(from_memory(datasets.DatasetDict({"all": texts_of(2)}), "data"), "data")[0]) == ["train"]
