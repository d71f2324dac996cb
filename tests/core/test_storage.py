import io
from pathlib import Path

import pytest
from pyarrow import fs

from autoft.core.storage import Store, joined, parent


def test_an_append_goes_behind_the_given_byte_and_cuts_off_what_lay_beyond(tmp_path: Path):
    store = Store.open(tmp_path)
    store.write("journal", b"whole, torn ta")
    store.append("journal", b"again", at=7)
    assert store.read("journal") == b"whole, again"
    store.append("journal", b"!", at=12)
    assert store.read("journal", offset=7) == b"again!"


def test_an_object_store_refuses_to_append():
    store = Store(fs._MockFileSystem(), "bucket/run", False)
    store.write("journal", b"whole")
    with pytest.raises(io.UnsupportedOperation, match="run/journal lies on a store that cannot append"):
        store.append("journal", b"more", at=5)


def test_appending_to_no_file_makes_none(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Store.open(tmp_path).append("journal", b"x", at=0)
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize("kind", ["local disk", "memory"])
def test_sizes_are_those_of_the_files_of_one_folder(kind: str, tmp_path: Path):
    store = Store.open(tmp_path / "run") if kind == "local disk" else Store(fs._MockFileSystem(), "bucket/run", False)
    assert store.sizes() == {}
    for name in ("b", "a", ".hidden", "folder/c"):
        store.write(name, name.encode() * 3)
    assert store.sizes() == {"a": 3, "b": 3}
    assert list(store.sizes()) == ["a", "b"]
    assert store.sizes("folder") == {"c": 24}


@pytest.mark.parametrize("kind", ["local disk", "memory"])
def test_nothing_is_read_behind_the_end_of_a_file(kind: str, tmp_path: Path):
    store = Store.open(tmp_path / "run") if kind == "local disk" else Store(fs._MockFileSystem(), "bucket/run", False)
    store.write("journal", b"short")
    assert store.read("journal", offset=3) == b"rt"
    assert store.read("journal", offset=5) == b""
    assert store.read("journal", offset=9) == b""


def test_a_sweep_removes_what_was_never_published_and_nothing_else(tmp_path: Path):
    store = Store.open(tmp_path)
    for name in (".best.json.a1b2_3c4", "best.json", ".gitignore", ".DS_Store", ".hidden/.x.a1b2c3d4"):
        store.write(name, b"x")
    store.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".DS_Store", ".gitignore", ".hidden", "best.json"]
    store.sweep("not there")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("/runs/a/best", "/runs/a"),
        ("/runs/a?b", "/runs"),
        ("/config.yaml", "/"),
        ("s3://bucket/runs/a%20b/?scheme=http&region=x", "s3://bucket/runs?scheme=http&region=x"),
        ("s3://bucket/config.yaml", "s3://bucket"),
        ("s3://bucket", "s3://bucket"),
        ("file:///runs/a", "file:///runs"),
    ],
)
def test_the_folder_above_a_path_or_uri(name: str, folder: str):
    assert parent(name) == folder
    assert parent(joined(name, "x")) == name.replace("/?", "?")
