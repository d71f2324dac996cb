"""Data at an address are fetched, and then the very same data as at home."""

import shutil
import urllib.request
from pathlib import Path

import pytest

from autoft.core.configs import DataSpec
from autoft.core.errors import DataError
from autoft.core.storage import Store
from autoft.data import prepare
from autoft.data.remote import fetched, is_address
from tests.s3 import Server


def stored(source: Path, s3: Server, name: str) -> str:
    store = Store.open(s3.uri(name))
    for path in [source] if source.is_file() else source.rglob("*"):
        if path.is_file():
            store.upload(path, "" if path == source else str(path.relative_to(source)))
    return s3.uri(name)


def test_what_has_a_scheme_is_an_address() -> None:
    assert [is_address(source) for source in ("s3://b/t.csv", "t.csv", Path("t.csv"), None, [1])] == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_folder_of_class_folders_is_the_same_data_as_here(pictures: Path, s3: Server, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(pictures, tmp_path / "copy"))
    (copy / "blue" / ".DS_Store").write_bytes(b"x")
    source = stored(copy, s3, "colours")
    there = fetched(source, tmp_path / "scratch")
    assert sorted(path.name for path in there.rglob("*.png")) == sorted(path.name for path in pictures.rglob("*.png"))
    assert not list(there.rglob(".*"))
    prints = [
        prepare(str(folder), DataSpec(source=str(folder)), out=tmp_path / f"out{number}").fingerprint
        for number, folder in enumerate((pictures, there))
    ]
    assert prints[0] == prints[1]


def test_a_table_is_fetched_under_its_name(texts: Path, s3: Server, tmp_path: Path) -> None:
    found = fetched(stored(texts, s3, "tables/reviews.csv"), tmp_path / "scratch")
    assert found == tmp_path / "scratch" / "reviews.csv"
    assert found.read_bytes() == texts.read_bytes()


def test_where_nothing_lies_is_said(s3: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^There is no file or folder 's3://bucket-\d+/none\?"):
        fetched(s3.uri("none"), tmp_path / "scratch")


def test_a_name_that_leads_out_of_the_folder_is_refused(texts: Path, s3: Server, tmp_path: Path) -> None:
    source = stored(texts.parent, s3, "data")
    address = f"http://{s3.address}/{s3.bucket}/data/red/%2e%2e/%2e%2e/%2e%2e/escaped.png"
    urllib.request.urlopen(urllib.request.Request(address, data=b"out", method="PUT")).close()
    with pytest.raises(DataError, match=r"The name '.*\.\./escaped\.png' in .* leads out of it"):
        fetched(source, tmp_path / "a" / "b" / "scratch")
    assert not list(tmp_path.rglob("escaped.png"))
