import pickle
import resource
import shutil
from collections import Counter
from contextlib import contextmanager

import pandas as pd
import pyarrow as pa
import pytest

from autoft.core.errors import ConfigError, DataError, WorkError
from autoft.data import open_dataset
from tests.data.making import class_folders, picture, prepared, texts

NUMBERS = {"a": 10, "b": 10}


def refusal(source, out, **options):
    with pytest.raises(DataError) as caught:
        prepared(source, out, **options)
    assert not out.exists()
    return str(caught.value)


def test_a_folder_is_split_sixty_twenty_twenty_in_each_class(tmp_path):
    found = prepared(class_folders(tmp_path / "data", {"cat": 10, "dog": 20}), tmp_path / "out")
    dataset = open_dataset(found.path)
    assert found.num_rows == {"train": 18, "val": 6, "test": 6}
    by_class = {split: Counter(dataset.targets(split).tolist()) for split in found.num_rows}
    assert by_class == {"train": {0: 6, 1: 12}, "val": {0: 2, 1: 4}, "test": {0: 2, 1: 4}}


def test_the_spec_comes_back_with_what_was_found_out(tmp_path):
    texts(NUMBERS).to_csv(tmp_path / "rows.csv", index=False)
    found = prepared(tmp_path / "rows.csv", tmp_path / "out", seed=3)
    assert (found.spec.task, found.spec.input, found.spec.target) == ("text-classification", "text", "label")
    assert found.spec.source == str(tmp_path / "rows.csv")
    assert found.spec.seed == 3


def test_the_same_rows_in_every_form_of_table_are_the_same_data(tmp_path):
    frame = texts(NUMBERS)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_csv(tmp_path / "rows.tsv", index=False, sep="\t")
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "rows.parquet")
    sources = [tmp_path / f"rows.{ending}" for ending in ("csv", "tsv", "jsonl", "parquet")]
    sources += [frame, pa.Table.from_pandas(frame)]
    found = {prepared(source, tmp_path / "out").fingerprint for source in sources}
    assert len(found) == 1


def test_a_moved_folder_has_the_same_fingerprint(tmp_path):
    before = prepared(class_folders(tmp_path / "here", NUMBERS), tmp_path / "a")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert prepared(tmp_path / "there", tmp_path / "b").fingerprint == before.fingerprint


def test_one_changed_picture_changes_the_fingerprint(tmp_path):
    before = prepared(class_folders(tmp_path / "data", NUMBERS), tmp_path / "a")
    (tmp_path / "data" / "a" / "003.png").write_bytes(picture(77))
    assert prepared(tmp_path / "data", tmp_path / "b").fingerprint != before.fingerprint


def test_one_changed_byte_of_text_changes_the_fingerprint(tmp_path):
    frame = texts(NUMBERS)
    before = prepared(frame, tmp_path / "a")
    frame.loc[4, "text"] += "."
    assert prepared(frame, tmp_path / "b").fingerprint != before.fingerprint


def test_another_label_changes_the_fingerprint(tmp_path):
    frame = texts(NUMBERS)
    before = prepared(frame, tmp_path / "a")
    frame.loc[4, "label"] = "b"
    assert prepared(frame, tmp_path / "b").fingerprint != before.fingerprint


def test_another_seed_changes_the_split_and_so_the_fingerprint(tmp_path):
    one, other = (prepared(texts(NUMBERS), tmp_path / "out", seed=seed) for seed in (0, 1))
    assert one.fingerprint != other.fingerprint


def test_shuffled_rows_stay_in_their_splits(tmp_path):
    frame = texts({"a": 30, "b": 12})
    contents = []
    for rows in (frame, frame.sample(frac=1, random_state=1)):
        dataset = open_dataset(prepared(rows, tmp_path / "out").path)
        contents.append({split: sorted(dataset.inputs(split)) for split in ("train", "val", "test")})
    assert contents[0] == contents[1]


def test_given_splits_of_a_folder_are_used(tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        class_folders(tmp_path / "data" / split, {"a": 3 + number, "b": 2}, first=5000 * number)
    found = prepared(tmp_path / "data", tmp_path / "out")
    assert found.num_rows == {"train": 5, "val": 6, "test": 7}
    assert found.given == ("train", "val", "test")


def test_only_what_lacks_is_cut_from_train(tmp_path):
    class_folders(tmp_path / "data" / "train", NUMBERS)
    class_folders(tmp_path / "data" / "test", {"a": 5, "b": 5}, first=5000)
    found = prepared(tmp_path / "data", tmp_path / "out")
    assert found.num_rows == {"train": 16, "val": 4, "test": 10}
    assert all(name.startswith("test/") for name in open_dataset(found.path).rows("test"))


def test_own_validation_data_are_used(tmp_path):
    val = pd.DataFrame({"text": ["v one", "v two"], "label": ["a", "b"]})
    found = prepared(texts(NUMBERS), tmp_path, val=val)
    assert found.num_rows == {"train": 16, "val": 2, "test": 4}
    assert open_dataset(found.path).rows("val") == ["val row 1", "val row 2"]


def test_own_test_data_may_be_a_path_in_the_spec(tmp_path):
    class_folders(tmp_path / "data", NUMBERS)
    class_folders(tmp_path / "own", {"a": 2, "b": 2}, first=5000)
    found = prepared(tmp_path / "data", tmp_path / "out", test=str(tmp_path / "own"))
    assert found.num_rows == {"train": 16, "val": 4, "test": 4}
    assert open_dataset(found.path).rows("test")[0] == "test/a/000.png"


def test_paths_in_a_table_count_from_its_folder(tmp_path):
    class_folders(tmp_path / "data", NUMBERS)
    rows = [(f"{label}/{index:03d}.png", label) for label in NUMBERS for index in range(10)]
    pd.DataFrame(rows, columns=["file", "label"]).to_csv(tmp_path / "data" / "rows.csv", index=False)
    found = prepared(tmp_path / "data" / "rows.csv", tmp_path / "out")
    assert found.task == "image-classification"
    assert open_dataset(found.path).inputs("val")[0].startswith(b"\x89PNG")


def test_bytes_in_parquet_are_stored(tmp_path):
    frame = pd.DataFrame({"image": [picture(index) for index in range(20)], "label": [0, 1] * 10})
    frame.to_parquet(tmp_path / "rows.parquet")
    found = prepared(tmp_path / "rows.parquet", tmp_path / "out")
    (tmp_path / "rows.parquet").unlink()
    dataset = open_dataset(found.path)
    assert {dataset.inputs(split)[0] for split in found.num_rows} <= {picture(index) for index in range(20)}


def test_groups_stay_whole(tmp_path):
    frame = texts({"a": 40, "b": 40})
    frame["author"] = [f"author {index % 10}" for index in range(80)]
    found = prepared(frame, tmp_path, group="author")
    dataset = open_dataset(found.path)
    authors = {
        split: {frame["author"][int(name.removeprefix("row ")) - 1] for name in dataset.rows(split)}
        for split in found.num_rows
    }
    assert sum(len(names) for names in authors.values()) == 10
    assert found.num_rows == {"train": 48, "val": 16, "test": 16}


def test_a_class_in_two_groups_cannot_be_in_three_splits(tmp_path):
    frame = texts(NUMBERS)
    frame["who"] = [f"{label}{index % 2}" for index, label in enumerate(frame["label"])]
    message = refusal(frame, tmp_path / "out", group="who")
    assert "at least 3 values of group 'who' each): 'a' has 2, 'b' has 2" in message


def frame_of(groups):
    rows = [(label, group) for group, labels in groups.items() for label in labels]
    return pd.DataFrame([(f"t{index}", *row) for index, row in enumerate(rows)], columns=["text", "label", "who"])


def test_three_groups_that_hold_every_class_go_one_to_each_split(tmp_path):
    found = prepared(frame_of({"p": "abcd", "q": "abcd", "r": "abcd"}), tmp_path, group="who")
    assert found.num_rows == {"train": 4, "val": 4, "test": 4}


def test_groups_that_cannot_bring_a_class_everywhere_are_said(tmp_path):
    # a sends p, q, r to three splits; b sends s to where r is; c wants r and s apart.
    message = refusal(frame_of({"p": "ab", "q": "ab", "r": "ac", "s": "bc", "x": "c"}), tmp_path / "out", group="who")
    assert "No split into whole groups by 'who' was found that brings the class" in message


def test_rows_without_a_group_stand_alone(tmp_path):
    frame = texts({"a": 10, "b": 10}).assign(who=None)
    assert prepared(frame, tmp_path, group="who").num_rows == {"train": 12, "val": 4, "test": 4}


@pytest.mark.parametrize("labels", [[3, 1, 2], [3.0, 1.0, 2.0], [True, False, True]])
def test_numbers_and_truth_values_are_labels(tmp_path, labels):
    frame = pd.DataFrame({"text": [f"t{index}" for index in range(30)], "label": labels * 10})
    wanted = ("False", "True") if labels[0] is True else ("1", "2", "3")
    assert prepared(frame, tmp_path).labels == wanted


def test_one_class_is_refused(tmp_path):
    message = refusal(texts({"a": 10}), tmp_path / "out")
    assert message == (
        "the data (DataFrame) has only one class, 'a'; it takes two or more to learn to tell them apart."
    )


def test_a_rare_class_is_refused_by_name_with_the_remedy(tmp_path):
    message = refusal(class_folders(tmp_path / "data", {"a": 10, "b": 10, "rare": 2}), tmp_path / "out")
    assert "too rare to be in each of train, val and test (at least 3 rows each): 'rare' has 2;" in message
    assert "`--set data.drop_rare=true`" in message


@pytest.mark.parametrize("counts", [{"a": 1, "b": 1}, {"a": 10, "b": 1}])
def test_leaving_rare_classes_out_is_no_remedy_where_it_leaves_one(tmp_path, counts):
    message = refusal(texts(counts), tmp_path / "out")
    assert message.endswith("'b' has 1; add rows, until two classes have that many.")


def test_a_rare_class_is_left_out_when_asked(tmp_path):
    found = prepared(texts({"a": 10, "b": 10, "rare": 2}), tmp_path, drop_rare=True)
    assert found.labels == ("a", "b")
    assert sum(found.num_rows.values()) == 20
    assert "The class 'rare' is left out: too rare to be in every split (2 rows)." in found.warnings


def test_a_class_folder_without_pictures_is_refused_by_name(tmp_path):
    class_folders(tmp_path / "data", NUMBERS)
    (tmp_path / "data" / "ghost").mkdir()
    assert "'ghost' has 0" in refusal(tmp_path / "data", tmp_path / "out")


def test_nothing_left_after_rare_classes_is_refused(tmp_path):
    message = refusal(texts({"a": 10, "b": 2}), tmp_path / "out", drop_rare=True)
    assert "only one class, 'a', once those too rare are left out ('b')" in message


def test_labels_that_train_lacks_are_refused(tmp_path):
    val = pd.DataFrame({"text": ["v"], "label": ["new"]})
    message = refusal(texts(NUMBERS), tmp_path / "out", val=val)
    assert "The val data of the data (DataFrame) have classes that the training data lack: 'new'" in message


@pytest.mark.parametrize("split", ["val", "test"])
def test_given_data_of_which_rare_classes_leave_nothing_are_refused(tmp_path, split):
    own = pd.DataFrame({"text": ["v", "w"], "label": ["A", "B"]})
    assert refusal(texts(NUMBERS), tmp_path / "out", drop_rare=True, **{split: own}) == (
        f"No row of the {split} data of the data (DataFrame) is left once the classes too rare are left out: they have "
        f"'A', 'B', the training data keep 'a', 'b'; add {split} rows of these, and spell them the same."
    )
    assert not (tmp_path / "out").exists()


def test_leaving_out_classes_is_no_remedy_where_no_label_is_shared(tmp_path):
    test = pd.DataFrame({"text": ["v", "w"], "label": ["A", "B"]})
    assert refusal(texts(NUMBERS), tmp_path / "out", test=test) == (
        "The test data of the data (DataFrame) have classes that the training data lack: 'A', 'B'; spell them as the "
        "training data do, which have 'a', 'b'."
    )


def test_leaving_out_classes_is_a_remedy_where_a_label_is_shared(tmp_path):
    test = pd.DataFrame({"text": ["v", "w"], "label": ["a", "B"]})
    assert "`--set data.drop_rare=true`" in refusal(texts(NUMBERS), tmp_path / "out", test=test)
    assert prepared(texts(NUMBERS), tmp_path, test=test, drop_rare=True).num_rows["test"] == 1


def test_a_class_that_val_lacks_is_warned_of(tmp_path):
    found = prepared(texts(NUMBERS), tmp_path, val=pd.DataFrame({"text": ["v"], "label": ["a"]}))
    assert "The val data have no row of 'b'." in found.warnings


def test_duplicates_across_splits_are_counted_with_an_example(tmp_path):
    frame = texts({"a": 10, "b": 10})
    val = pd.DataFrame({"text": ["a text 3", "v"], "label": ["a", "b"]})
    test = pd.DataFrame({"text": ["w", "x"], "label": ["a", "b"]})
    found = prepared(frame, tmp_path, val=val, test=test)
    (warning,) = found.warnings
    assert warning == (
        "2 rows are exact duplicates across splits (for example 'row 4' in train and 'val row 1' in val): the figures "
        "will look better than they are."
    )


def test_strong_imbalance_is_said_with_the_metric_to_take(tmp_path):
    found = prepared(texts({"a": 50, "b": 10}), tmp_path)
    (warning,) = found.warnings
    assert warning == (
        "Strong imbalance: 'a' has 30 training rows, 'b' 6; take `--metric balanced_accuracy`, which counts each class "
        "the same."
    )


def test_less_than_five_to_one_is_no_strong_imbalance(tmp_path):
    assert prepared(texts({"a": 40, "b": 10}), tmp_path).warnings == ()


def test_groups_in_two_given_splits_are_warned_of(tmp_path):
    frame = texts({"a": 9, "b": 9}).assign(who=[f"p{index % 9}" for index in range(18)])
    val = pd.DataFrame({"text": ["v", "w"], "label": ["a", "b"], "who": ["p1", "other"]})
    found = prepared(frame, tmp_path, val=val, group="who")
    assert found.warnings[-1] == "1 groups are in more than one of the given splits (for example 'p1')."


def test_what_was_read_is_described(tmp_path):
    frame = texts({"a": 20, "b": 20})
    frame.loc[0, "text"] = "  "
    frame.loc[25, "label"] = None
    assert prepared(frame, tmp_path).describe() == [
        "text-classification: 38 rows, 2 classes (a, b)",
        "input column 'text', target column 'label'",
        "train 22, val 8, test 8; val and test cut from train by seed 0, stratified",
        "2 rows set aside: 1 x the text is empty; 1 x the target is missing",
    ]


def test_an_unknown_task_gets_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"Unknown task 'text-clasification'.*Did you mean 'text-classification'"):
        prepared(texts(NUMBERS), tmp_path, task="text-clasification")


def test_a_text_task_on_a_folder_is_refused(tmp_path):
    class_folders(tmp_path / "data", NUMBERS)
    message = refusal(tmp_path / "data", tmp_path / "out", task="text-classification")
    assert "needs a table with a column of texts" in message


@pytest.mark.parametrize(("option", "word"), [("target", "--target"), ("group", "--group"), ("input", "data.input")])
def test_a_column_named_for_a_folder_is_refused(tmp_path, option, word):
    class_folders(tmp_path / "data", NUMBERS)
    assert word in refusal(tmp_path / "data", tmp_path / "out", **{option: "x"})


def test_a_missing_path_gets_the_nearest(tmp_path):
    (tmp_path / "textiles").mkdir()
    message = refusal(tmp_path / "textile", tmp_path / "out")
    assert message == f"There is no file or folder '{tmp_path / 'textile'}'. Did you mean 'textiles'?"


def test_an_empty_path_is_refused(tmp_path):
    assert refusal("", tmp_path / "out") == "The path of the data is empty."


def test_an_address_is_refused(tmp_path):
    assert "copy them here first" in refusal("s3://bucket/data", tmp_path / "out")


def test_another_kind_of_object_is_refused(tmp_path):
    assert refusal([1, 2], tmp_path / "out").startswith("Data cannot be read from a list; give a path,")


def test_two_test_parts_are_refused(tmp_path):
    class_folders(tmp_path / "data" / "train", NUMBERS)
    class_folders(tmp_path / "data" / "test", NUMBERS)
    class_folders(tmp_path / "own", NUMBERS)
    assert "has a test part of its own" in refusal(tmp_path / "data", tmp_path / "out", test=tmp_path / "own")


def test_a_table_beside_a_folder_is_refused(tmp_path):
    class_folders(tmp_path / "data", NUMBERS)
    assert "give both in one form" in refusal(tmp_path / "data", tmp_path / "out", val=texts(NUMBERS))


def test_test_data_without_the_target_are_refused(tmp_path):
    message = refusal(texts(NUMBERS), tmp_path / "out", test=pd.DataFrame({"text": ["a"]}))
    assert "test (DataFrame) has no column 'label'." in message


@contextmanager
def small_disk():
    """Let no file grow beyond 4 kB, as a full disk does; pytest's own output too, so around one call alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_leaves_nothing_half_made(tmp_path):
    with pytest.raises(WorkError, match=r"Cannot write '.*dataset.arrow': "), small_disk():
        prepared(texts({"a": 100, "b": 100}), tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_the_folder_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkError, match=r"Cannot write"):
        prepared(texts(NUMBERS), tmp_path / "file" / "out")


def test_progress_ends_at_all_rows(tmp_path):
    from autoft.core.configs import DataSpec
    from autoft.data import prepare

    seen = []
    prepare(
        texts(NUMBERS), DataSpec(source=None), out=tmp_path, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (20, 20)


def test_what_is_prepared_can_be_sent_to_another_process(tmp_path):
    found = prepared(texts(NUMBERS), tmp_path)
    assert pickle.loads(pickle.dumps(found)) == found
