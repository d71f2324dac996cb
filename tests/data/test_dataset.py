import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from autoft.core import mapped
from autoft.core.configs import FORMAT
from autoft.core.errors import DataError, FormatError
from autoft.data import open_dataset
from tests.data.making import class_folders, prepared, texts

NUMBERS = {"a": 10, "b": 10}


def rewritten(path, change):
    """Write the dataset again with changed metadata."""
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    facts = json.loads(table.schema.metadata[b"autoft"])
    change(facts)
    table = table.replace_schema_metadata({b"autoft": json.dumps(facts).encode()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def test_the_schema_of_texts_is_pinned(tmp_path):
    path = prepared(texts(NUMBERS), tmp_path).path
    schema = pa.ipc.open_file(pa.memory_map(str(path))).schema
    assert [(field.name, str(field.type)) for field in schema] == [
        ("row", "string"),
        ("text", "large_string"),
        ("sha256", "string"),
        ("target", "int32"),
        ("split", "string"),
    ]


def test_a_folder_of_pictures_is_stored_by_its_paths(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    with pa.ipc.open_file(pa.memory_map(str(prepared(data, tmp_path / "out").path))) as reader:
        table = reader.read_all()
    assert table.column_names == ["row", "path", "sha256", "target", "split"]
    assert table["path"][0].as_py() == str(data / "a" / "000.png")


def test_inputs_rows_and_targets_are_in_one_order(tmp_path):
    dataset = open_dataset(prepared(texts(NUMBERS), tmp_path).path)
    for split in ("train", "val", "test"):
        labels = [dataset.labels[target] for target in dataset.targets(split)]
        assert [text[0] for text in dataset.inputs(split)] == labels
        assert len(dataset.rows(split)) == len(dataset.inputs(split)) == dataset.num_rows(split)
    assert dataset.targets("val").dtype == np.int64


def test_what_was_prepared_is_known_again(tmp_path):
    found = prepared(texts(NUMBERS), tmp_path)
    dataset = open_dataset(found.path)
    assert (dataset.task, dataset.labels, dataset.fingerprint) == (found.task, found.labels, found.fingerprint)
    assert dataset.kind == "text"


def test_a_slice_of_the_inputs_is_still_unread(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    inputs = open_dataset(prepared(data, tmp_path / "out").path).inputs("train")
    part = inputs[2:5]
    assert len(part) == 3
    assert part[0] == inputs[2]
    assert part[-1] == inputs[4]


def test_a_vanished_picture_is_named(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    dataset = open_dataset(prepared(data, tmp_path / "out").path)
    gone = data / dataset.rows("val")[0]
    gone.unlink()
    with pytest.raises(DataError, match=f"A picture of the search is gone: there is no file '{gone}'"):
        dataset.inputs("val")[0]


def test_a_changed_picture_is_named(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    dataset = open_dataset(prepared(data, tmp_path / "out").path)
    changed = data / dataset.rows("val")[0]
    changed.write_bytes(b"other")
    with pytest.raises(DataError, match=f"The picture '{changed}' has changed since the search began"):
        dataset.inputs("val")[0]


def test_a_missing_dataset_is_named(tmp_path):
    with pytest.raises(DataError, match=r"There is no dataset"):
        open_dataset(tmp_path / "dataset.arrow")


@pytest.mark.parametrize("content", [b"", b"no arrow file at all", b"ARROW1\x00\x00"])
def test_another_file_is_no_dataset(tmp_path, content):
    (tmp_path / "dataset.arrow").write_bytes(content)
    with pytest.raises(FormatError, match=r"is no dataset of autoft, or damaged"):
        open_dataset(tmp_path / "dataset.arrow")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_dataset_is_damaged(tmp_path, share):
    path = prepared(texts(NUMBERS), tmp_path).path
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(FormatError, match=r"damaged"):
        open_dataset(path)


def test_an_arrow_file_of_another_program_is_no_dataset(tmp_path):
    table = pa.table({"a": [1]})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(FormatError, match=r"a.arrow' is no dataset of autoft."):
        open_dataset(tmp_path / "a.arrow")


def test_a_newer_format_is_refused(tmp_path):
    path = prepared(texts(NUMBERS), tmp_path).path
    rewritten(path, lambda facts: facts.update(format=FORMAT + 1))
    with pytest.raises(FormatError, match=f"has format {FORMAT + 1}"):
        open_dataset(path)


def test_missing_facts_are_damage(tmp_path):
    path = prepared(texts(NUMBERS), tmp_path).path
    rewritten(path, lambda facts: facts.pop("labels"))
    with pytest.raises(FormatError, match=r"is damaged: it lacks labels"):
        open_dataset(path)


def test_missing_rows_are_damage(tmp_path):
    path = prepared(texts(NUMBERS), tmp_path).path
    rewritten(path, lambda facts: facts["num_rows"].update(train=99))
    with pytest.raises(FormatError, match=r"it has 20 rows, not 107"):
        open_dataset(path)


def private_bytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def test_reading_all_of_a_large_dataset_fills_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "RELEASE_BYTES", 2**22)
    path = prepared(texts({"a": 15, "b": 15}), tmp_path).path
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    large = [bytes([65 + place % 26]) * 2**20 for place in range(table.num_rows)]
    table = table.set_column(1, table.schema.field(1), pa.array(large, pa.large_binary()).cast(pa.large_string()))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    del table, large
    before, most = private_bytes(), 0
    dataset = open_dataset(path)
    most = private_bytes() - before
    for split in ("train", "val", "test"):
        for text in dataset.inputs(split):
            assert len(text) == 2**20
            most = max(most, private_bytes() - before)
    assert most < 12 * 2**20
