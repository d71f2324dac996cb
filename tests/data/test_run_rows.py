import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs

from autoft.core.errors import DataError, FormatError
from autoft.core.storage import Store
from autoft.data import Prepared, RunRows, open_dataset, packing
from tests.data.making import class_folders, prepared, texts

NUMBERS = {"a": 10, "b": 10}


@pytest.fixture
def pictures(tmp_path: Path) -> Prepared:
    return prepared(class_folders(tmp_path / "pictures", NUMBERS), tmp_path / "prepared")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make parts of a few of the tests' pictures."""
    monkeypatch.setattr(packing, "BATCH_BYTES", 400)
    monkeypatch.setattr(packing, "PART_BYTES", 2000)


@pytest.fixture
def own_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a cache that holds nothing."""
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


def bucket(folder: Path) -> Store:
    """Return a run in a store that is not local: the same disk, whose files are written whole."""
    folder.mkdir(exist_ok=True)
    return Store(fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem()), "run", False)


def placed(store: Store, made: Prepared, *, contents: bool = False) -> RunRows:
    rows = RunRows(store, made.fingerprint)
    rows.place(made.path, contents=contents)
    return rows


def inputs(rows: RunRows) -> dict[str, list[str | bytes]]:
    dataset = rows.open()
    return {split: list(dataset.inputs(split)) for split in ("train", "val", "test")}


def of_prepared(made: Prepared) -> dict[str, list[str | bytes]]:
    dataset = open_dataset(made.path)
    return {split: list(dataset.inputs(split)) for split in ("train", "val", "test")}


def test_a_local_run_holds_one_file_that_is_mapped_in_place(
    tmp_path: Path, own_shelf: Path, pictures: Prepared
) -> None:
    expected = of_prepared(pictures)
    rows = placed(Store.open(tmp_path / "run"), pictures)
    assert [path.name for path in (tmp_path / "run" / "data").iterdir()] == ["dataset.arrow"]
    assert inputs(rows) == expected
    assert not own_shelf.exists()
    assert not pictures.path.exists()


def test_a_local_run_holds_pictures_by_content_where_that_is_asked_for(tmp_path: Path, pictures: Prepared) -> None:
    expected = of_prepared(pictures)
    rows = placed(Store.open(tmp_path / "run"), pictures, contents=True)
    for picture in (tmp_path / "pictures").rglob("*.png"):
        picture.unlink()
    assert inputs(rows) == expected
    assert rows.open().fingerprint == pictures.fingerprint
    rows.check()


@pytest.mark.parametrize("kind", ["texts", "pictures"])
def test_a_remote_run_holds_parts_by_content_that_give_the_same_dataset(
    tmp_path: Path, own_shelf: Path, small_parts: None, kind: str
) -> None:
    data = texts(NUMBERS) if kind == "texts" else class_folders(tmp_path / "pictures", NUMBERS)
    made = prepared(data, tmp_path / "prepared")
    before, expected = open_dataset(made.path), of_prepared(made)
    rows = placed(bucket(tmp_path / "bucket"), made)
    for picture in tmp_path.glob("pictures/*/*"):
        picture.unlink()
    dataset = rows.open()
    assert inputs(rows) == expected
    assert (dataset.task, dataset.labels, dataset.fingerprint) == (made.task, made.labels, made.fingerprint)
    for split in ("train", "val", "test"):
        assert dataset.rows(split) == before.rows(split)
        assert dataset.targets(split).tolist() == before.targets(split).tolist()
    assert len(list(own_shelf.glob("*.arrow"))) == 1


def test_parts_are_of_bounded_size_and_listed_with_their_hashes(
    tmp_path: Path, small_parts: None, pictures: Prepared
) -> None:
    store = bucket(tmp_path / "bucket")
    placed(store, pictures)
    sizes = store.sizes(f"data/{pictures.fingerprint}")
    listing = json.loads(store.read(f"data/{pictures.fingerprint}/dataset.json"))
    names = [f"part-{number:05d}.arrow" for number in range(len(listing["parts"]))]
    assert list(sizes) == ["dataset.json", *names]
    assert [part["name"] for part in listing["parts"]] == names
    assert [part["bytes"] for part in listing["parts"]] == [sizes[name] for name in names]
    assert sum(part["rows"] for part in listing["parts"]) == 20
    assert len(names) > 3
    assert listing["facts"]["rows"] == 12


def test_who_has_fetched_the_rows_fetches_them_no_more(tmp_path: Path, own_shelf: Path, pictures: Prepared) -> None:
    store = bucket(tmp_path / "bucket")
    rows = placed(store, pictures)
    expected = inputs(rows)
    store.delete(f"data/{pictures.fingerprint}/part-00000.arrow")
    assert inputs(rows) == expected
    other = Store(store.filesystem, "other", False)
    other.write(f"data/{pictures.fingerprint}/dataset.json", store.read(f"data/{pictures.fingerprint}/dataset.json"))
    assert inputs(RunRows(other, pictures.fingerprint)) == expected


@pytest.mark.parametrize("harm", [lambda whole: whole[:-200], lambda whole: whole[:900] + b"\xa5" * 64 + whole[964:]])
def test_what_is_torn_on_this_machine_is_fetched_again(
    tmp_path: Path, own_shelf: Path, pictures: Prepared, harm: Callable[[bytes], bytes]
) -> None:
    rows = placed(bucket(tmp_path / "bucket"), pictures)
    expected = inputs(rows)
    (path,) = own_shelf.glob("*.arrow")
    path.write_bytes(harm(path.read_bytes()))
    assert inputs(rows) == expected


def test_a_machine_that_keeps_nothing_holds_the_rows_in_memory(
    tmp_path: Path, own_shelf: Path, pictures: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOFT_CACHE_GB", "0")
    expected = of_prepared(pictures)
    assert inputs(placed(bucket(tmp_path / "bucket"), pictures)) == expected
    assert not own_shelf.exists()


def fetch(rows: RunRows, folder: str, results: "multiprocessing.SimpleQueue[tuple[int, int]]") -> None:
    reads = 0

    class Counting(fs.FileSystemHandler):
        real = fs.SubTreeFileSystem(folder, fs.LocalFileSystem())

        def open_input_file(self, path: str) -> pa.NativeFile:
            nonlocal reads
            reads += path.endswith(".arrow")
            return self.real.open_input_file(path)

        def _unused(self, *_: object) -> None:
            raise NotImplementedError

        copy_file = move = delete_dir = delete_dir_contents = delete_root_dir_contents = open_append_stream = _unused
        create_dir = delete_file = get_file_info = get_file_info_selector = open_input_stream = _unused
        open_output_stream = normalize_path = _unused

        def get_type_name(self) -> str:
            return "counting"

    counted = RunRows(Store(fs.PyFileSystem(Counting()), "run", False), rows.fingerprint)
    results.put((counted.open().num_rows("train"), reads))


def test_of_several_processes_of_a_machine_one_fetches_and_the_others_wait(
    tmp_path: Path, own_shelf: Path, small_parts: None, pictures: Prepared
) -> None:
    rows = placed(bucket(tmp_path / "bucket"), pictures)
    parts = len(json.loads(rows.store.read(f"data/{rows.fingerprint}/dataset.json"))["parts"])
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    workers = [context.Process(target=fetch, args=(rows, str(tmp_path / "bucket"), results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = sorted(results.get() for _ in workers)
    for worker in workers:
        worker.join()
    assert found == [(12, 0), (12, 0), (12, parts)]


def test_fetching_gives_signs_of_life(tmp_path: Path, own_shelf: Path, small_parts: None, pictures: Prepared) -> None:
    rows = placed(bucket(tmp_path / "bucket"), pictures)
    beats: list[int] = []
    rows.open(lambda: beats.append(1))
    assert len(beats) > len(rows.store.sizes(f"data/{rows.fingerprint}"))


class Refusing(fs.FileSystemHandler):
    """A store that takes so many writes."""

    def __init__(self, real: fs.FileSystem, left: int) -> None:
        self.real, self.left = real, left
        self.written: list[str] = []

    def open_output_stream(self, path: str, metadata: object) -> pa.NativeFile:
        if not self.left:
            raise OSError("cut")
        self.left -= 1
        self.written.append(path.rpartition("/")[2])
        return self.real.open_output_stream(path)

    def create_dir(self, path: str, recursive: bool) -> None:
        self.real.create_dir(path, recursive=recursive)

    def get_file_info(self, paths: list[str]) -> object:
        return self.real.get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> object:
        return self.real.get_file_info(selector)

    def open_input_file(self, path: str) -> pa.NativeFile:
        return self.real.open_input_file(path)

    def delete_file(self, path: str) -> None:
        self.real.delete_file(path)

    def delete_dir(self, path: str) -> None:
        self.real.delete_dir(path)

    def _unused(self, *_: object) -> None:
        raise NotImplementedError

    copy_file = move = delete_dir_contents = delete_root_dir_contents = open_append_stream = _unused
    open_input_stream = normalize_path = _unused

    def get_type_name(self) -> str:
        return "refusing"


def test_an_upload_that_was_cut_goes_on_with_the_parts_that_lack(
    tmp_path: Path, own_shelf: Path, small_parts: None, pictures: Prepared
) -> None:
    expected = of_prepared(pictures)
    real = bucket(tmp_path / "bucket").filesystem
    cut = Refusing(real, 4)
    with pytest.raises(OSError, match="cut"):
        placed(Store(fs.PyFileSystem(cut), "run", False), pictures)
    assert cut.written == ["part-00000.arrow", "uploaded.json", "part-00001.arrow", "uploaded.json"]
    with pytest.raises(FormatError, match=r"has lost 'run/data/.*/dataset.json'"):
        RunRows(Store(real, "run", False), pictures.fingerprint).check()
    goes_on = Refusing(real, 100)
    rows = placed(Store(fs.PyFileSystem(goes_on), "run", False), pictures)
    assert goes_on.written[0] == "part-00002.arrow"
    assert goes_on.written[-1] == "dataset.json"
    assert inputs(rows) == expected
    assert "uploaded.json" not in rows.store.sizes(f"data/{rows.fingerprint}")


def test_an_upload_that_was_cut_of_other_rows_is_removed(tmp_path: Path, small_parts: None, pictures: Prepared) -> None:
    store = bucket(tmp_path / "bucket")
    store.write(f"data/{'0' * 64}/part-00000.arrow", b"other")
    rows = placed(store, pictures)
    assert store.list("data") == [pictures.fingerprint]
    rows.check()


@pytest.mark.parametrize("remote", [True, False])
def test_a_picture_that_changed_before_it_was_packed_is_named_and_nothing_is_left(
    tmp_path: Path, pictures: Prepared, remote: bool
) -> None:
    changed = tmp_path / "pictures" / "a" / "005.png"
    changed.write_bytes(b"other")
    store = bucket(tmp_path / "bucket") if remote else Store.open(tmp_path / "run")
    with pytest.raises(DataError, match=f"The picture '{changed}' has changed since the search began"):
        placed(store, pictures, contents=True)
    assert store.list() == []


def test_a_part_that_is_lost_or_damaged_is_named(
    tmp_path: Path, own_shelf: Path, small_parts: None, pictures: Prepared
) -> None:
    store = bucket(tmp_path / "bucket")
    rows = placed(store, pictures)
    rows.check()
    name = f"data/{rows.fingerprint}/part-00001.arrow"
    whole = store.read(name)
    store.write(name, whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    rows.check()
    with pytest.raises(FormatError, match=r"part-00001.arrow' is damaged: it is not as it was written"):
        rows.open()
    store.write(name, whole[:-9])
    with pytest.raises(FormatError, match=r"part-00001.arrow' is damaged: it has \d+ bytes, not \d+"):
        rows.check()
    store.delete(name)
    with pytest.raises(FormatError, match=r"The run has lost '.*part-00001.arrow'"):
        rows.check()


def test_rows_that_are_not_those_of_the_fingerprint_are_refused_though_their_hashes_fit(
    tmp_path: Path, own_shelf: Path, pictures: Prepared
) -> None:
    other = prepared(class_folders(tmp_path / "others", NUMBERS, first=5000), tmp_path / "other")
    store = bucket(tmp_path / "bucket")
    placed(store, other)
    store.filesystem.move(f"run/data/{other.fingerprint}", f"run/data/{pictures.fingerprint}")
    name = f"data/{pictures.fingerprint}/dataset.json"
    rows = RunRows(store, pictures.fingerprint)
    with pytest.raises(FormatError, match="tells of other rows than the search began with"):
        rows.check()
    store.write(name, store.read(name).replace(other.fingerprint.encode(), pictures.fingerprint.encode()))
    with pytest.raises(FormatError, match="tells of other rows than the search began with"):
        rows.open()
    assert list(own_shelf.glob("*.arrow")) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"format":1', b'"format":2', "has format 2"),
        (b'"parts"', b'"pieces"', "has no list of parts"),
        (b"part-00000.arrow", b"../../data.arrow", "has the name '../../data.arrow'"),
        (b'"task"', b'"tusk"', "it lacks task"),
        (b'"rows":20,', b'"rows":"x",', "'rows' must be"),
        (b"{", b"[", "is damaged"),
    ],
)
def test_a_listing_that_is_damaged_is_refused(
    tmp_path: Path, pictures: Prepared, old: bytes, new: bytes, said: str
) -> None:
    store = bucket(tmp_path / "bucket")
    rows = placed(store, pictures)
    name = f"data/{rows.fingerprint}/dataset.json"
    content = store.read(name)
    assert old in content
    store.write(name, content.replace(old, new, 1))
    with pytest.raises(FormatError, match=said):
        rows.check()


@pytest.mark.parametrize("remote", [True, False])
def test_what_the_rows_are_like_is_known_without_fetching_them(
    tmp_path: Path, own_shelf: Path, pictures: Prepared, remote: bool
) -> None:
    store = bucket(tmp_path / "bucket") if remote else Store.open(tmp_path / "run")
    rows = RunRows(store, pictures.fingerprint)
    assert rows.describe() is None
    rows.place(pictures.path)
    found = rows.describe()
    assert found is not None
    assert (found["rows"], found["classes"], found["input_size"]) == (12, 2, 6.0)
    assert not own_shelf.exists()


def test_a_run_folder_that_this_machine_does_not_see_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the run folder must be on a disk that every machine of the search sees"):
        RunRows(Store.open(tmp_path / "elsewhere"), "0" * 64).open()
