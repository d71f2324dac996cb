"""A run brought home from a store: everything, whole, once; and what is not whole is named."""

import hashlib
import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autoft
from autoft.api import SearchResult
from autoft.core.configs import Budget, DataSpec
from autoft.core.errors import ConfigError, FormatError, WorkError
from autoft.core.storage import Store, joined
from autoft.data import open_dataset, prepare
from autoft.data.run_rows import RunRows
from autoft.jobs import Fetched, fetch, fetching
from autoft.jobs.fetch_ledger import LEDGER
from autoft.jobs.verifying import _problems_of_rows
from autoft.record import RecordWriter, read_record
from tests.s3 import Request, Server


@pytest.fixture(scope="session")
def original(finished: SearchResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run as a remote store holds it: its rows in parts."""
    folder = tmp_path_factory.mktemp("original") / "run"
    # moto packs an object whose name ends with .gz anew.
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns(".*", "*.gz"))
    rows = open_dataset(folder / "data" / "dataset.arrow")
    RunRows(Store.open(folder), finished.search.fingerprint)._stored.upload(rows)
    (folder / "data" / "dataset.arrow").unlink()
    return folder


@pytest.fixture
def there(original: Path, tmp_path: Path) -> Path:
    """Return a copy of the run that a test may damage."""
    return Path(shutil.copytree(original, tmp_path / "there"))


@pytest.fixture
def remote(original: Path, s3: Server) -> str:
    """Return the address of the run in an S3 store."""
    store = Store.open(s3.uri("runs/a"))
    for path in original.rglob("*"):
        if path.is_file():
            store.upload(path, str(path.relative_to(original)))
    return s3.uri("runs/a")


def names(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )


def test_a_run_comes_home_whole_and_a_second_time_nothing_travels(
    original: Path, remote: str, s3: Server, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    found = fetch(remote, home)
    files = names(original)
    assert found == Fetched(
        folder=str(home),
        num_files=len(files),
        num_new=len(files),
        new_bytes=sum((original / name).stat().st_size for name in files),
        has_model=True,
    )
    assert names(home) == files
    assert all((home / name).read_bytes() == (original / name).read_bytes() for name in files)
    with s3.counted() as requests:
        assert fetch(remote, home).num_new == 0
    # The search is read to know what it is, and no file of it.
    read = {request.path for request in requests if request.method == "GET" and request.path.count("/") > 1}
    assert read <= {f"{s3.bucket}/runs/a/search.yaml"}


def test_what_came_home_is_a_run_like_any_other(remote: str, finished: SearchResult, tmp_path: Path) -> None:
    fetch(remote, tmp_path / "home")
    home = autoft.open_run(tmp_path / "home")
    assert home.rows() == finished.rows() == autoft.open_run(remote).rows()
    RunRows(Store.open(tmp_path / "home"), home.search.fingerprint).check()
    dataset = RunRows(Store.open(tmp_path / "home"), home.search.fingerprint).open()
    assert dataset.num_rows("train") == 36


def test_a_fetch_that_broke_off_goes_on_with_what_lacks(remote: str, s3: Server, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def rule(request: Request) -> str | None:
        return "403" if request.method == "GET" and "best/model.safetensors" in request.path else None

    with s3.failing(rule), pytest.raises(WorkError, match="denied"):
        fetch(remote, home)
    assert not (home / "search.yaml").exists()
    had = len(names(home))
    assert had > 10
    found = fetch(remote, home)
    assert 0 < found.num_new < found.num_files - had + 10


def test_only_what_is_new_travels_the_second_time(there: Path, tmp_path: Path) -> None:
    fetch(there, tmp_path / "home")
    with RecordWriter(Store.open(there)) as writer:
        writer.append({"event": "note", "text": "More was found."})
    (there / "logs" / "t0001.txt").unlink()
    (there / "logs" / "p01.txt").write_text("anew\n")
    found = fetch(there, tmp_path / "home")
    assert found.num_new == 2  # the log, and the journal
    assert read_record(Store.open(tmp_path / "home")).notes == ("More was found.",)
    assert names(tmp_path / "home") == names(there)


@pytest.mark.parametrize(
    "name",
    [
        "best/model.safetensors",
        "best/labels.json",
        "best/config.yaml",
        "checkpoints/*/best.safetensors",
        "data/*/part-00000.arrow",
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_named(there: Path, tmp_path: Path, name: str) -> None:
    path = min(there.glob(name))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WorkError, match=f"is not whole as it lies there: .*{path.name}"):
        fetch(there, tmp_path / "home")


@pytest.mark.parametrize("name", ["best/model.safetensors", "data/*/part-00000.arrow"])
def test_a_file_that_is_missing_is_named(there: Path, tmp_path: Path, name: str) -> None:
    path = min(there.glob(name))
    path.unlink()
    with pytest.raises(WorkError, match=f"is not whole as it lies there: .*{path.name}"):
        fetch(there, tmp_path / "home")


def test_a_row_that_is_not_as_it_was_written_is_named(texts: Path, tmp_path: Path) -> None:
    prepared = prepare(str(texts), DataSpec(source=str(texts)), out=tmp_path / "data")
    content = bytearray(prepared.path.read_bytes())
    place = content.index(b"film 7 was")
    content[place] ^= 1
    prepared.path.write_bytes(content)
    (found,) = _problems_of_rows(open_dataset(prepared.path))
    assert found.startswith("data/dataset.arrow is damaged: 'row ")


def with_weights(there: Path, content: bytes, sha256: str, **more: Any) -> None:
    (there / "weights").mkdir()
    (there / "weights" / f"{hashlib.sha256(content).hexdigest()}.safetensors").write_bytes(content)
    file = {"name": "mine.safetensors", "bytes": len(content), "sha256": sha256}
    about = {"backbone": "timm:test_resnet", "weights": "mine.safetensors", "source": "file", "is_folder": False}
    listing = {"format": 1, "weights": [{**about, **more, "files": [file]}]}
    (there / "weights" / "weights.json").write_text(json.dumps(listing))


def test_weights_that_travel_are_checked_and_no_name_leads_out(there: Path, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"tensors").hexdigest()
    with_weights(there, b"tensors", sha256)
    fetch(there, tmp_path / "home")
    (there / "weights" / f"{sha256}.safetensors").write_bytes(b"tensorz")
    with pytest.raises(WorkError, match=rf"weights/{sha256}.safetensors is not as it was written"):
        fetch(there, tmp_path / "home")
    (there / "weights" / f"{sha256}.safetensors").unlink()
    with pytest.raises(WorkError, match=rf"weights/{sha256}.safetensors is missing"):
        fetch(there, tmp_path / "home")
    shutil.rmtree(there / "weights")
    with_weights(there, b"", sha256, travels=False)
    fetch(there, tmp_path / "other")
    shutil.rmtree(there / "weights")
    with_weights(there, b"tensors", "../../x")
    with pytest.raises(WorkError, match=r"weights.json is damaged: it names a file '\.\./\.\./x.safetensors'"):
        fetch(there, tmp_path / "home")


def test_a_damaged_record_is_said_and_the_one_that_came_before_stays(there: Path, tmp_path: Path) -> None:
    fetch(there, tmp_path / "home")
    path = min((there / "results").glob("epochs-*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WorkError, match=r"cannot be read whole: .*SHA-256 differs"):
        fetch(there, tmp_path / "home")
    assert read_record(Store.open(tmp_path / "home")).trials


def test_what_is_damaged_at_home_is_fetched_again(there: Path, tmp_path: Path) -> None:
    fetch(there, tmp_path / "home")
    (tmp_path / "home" / "best" / "labels.json").write_text("[]")
    (tmp_path / "home" / "logs" / "p01.txt").unlink()
    assert fetch(there, tmp_path / "home").num_new == 2
    assert autoft.load(tmp_path / "home" / "best").labels == ("blue", "green", "red")


def test_a_run_that_was_searched_in_at_home_is_not_undone(there: Path, tmp_path: Path) -> None:
    fetch(there, tmp_path / "home")
    with RecordWriter(Store.open(tmp_path / "home")) as writer:
        writer.append({"event": "note", "text": "Mine."})
    with pytest.raises(ConfigError, match="has been searched in since it was fetched"):
        fetch(there, tmp_path / "home")
    assert read_record(Store.open(tmp_path / "home")).notes == ("Mine.",)


def test_a_folder_of_something_else_is_refused(there: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="is not empty; give a new one"):
        fetch(there, tmp_path / "mine")
    fetch(there, tmp_path / "home")
    other = Path(shutil.copytree(there, tmp_path / "other"))
    with pytest.raises(ConfigError, match=f"holds the run of '{there}', not of '{other}'"):
        fetch(other, tmp_path / "home")
    assert names(tmp_path / "mine") == ["thesis.tex"]


def test_what_is_no_run_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(FormatError, match="is no run"):
        fetch(tmp_path / "there", tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_name_that_leads_out_of_the_run_is_refused(remote: str, s3: Server, tmp_path: Path) -> None:
    address = f"http://{s3.address}/{s3.bucket}/runs/a/logs/%2e%2e/%2e%2e/%2e%2e/escaped.txt"
    urllib.request.urlopen(urllib.request.Request(address, data=b"out", method="PUT")).close()
    with pytest.raises(FormatError, match=r"the name '.*\.\./escaped\.txt' in it leads out of it"):
        fetch(remote, tmp_path / "a" / "b" / "home")
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_link_in_a_strangers_run_is_refused(there: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (there / "logs" / "t9999.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError, match=r"'logs/t9999.txt' in it is a link"):
        fetch(there, tmp_path / "home")
    (there / "logs" / "t9999.txt").unlink()
    shutil.rmtree(there / "logs")
    (there / "logs").symlink_to(tmp_path)
    with pytest.raises(FormatError, match=r"'logs/.*' in it is a link"):
        fetch(there, tmp_path / "home")


def test_a_link_at_home_is_not_written_through(there: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    fetch(there, tmp_path / "home")
    shutil.rmtree(tmp_path / "home" / "logs")
    (tmp_path / "home" / "logs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="leads out of the folder to fetch into"):
        fetch(there, tmp_path / "home")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_ledger_that_was_cut_off_counts_as_far_as_it_is_whole(there: Path, tmp_path: Path) -> None:
    first = fetch(there, tmp_path / "home")
    ledger = tmp_path / "home" / LEDGER
    shutil.rmtree(tmp_path / "home" / "results")
    lines = [line for line in ledger.read_text().splitlines() if '"results/' not in line]
    ledger.write_text("\n".join([*lines[:4], lines[4][:20]]))
    assert 0 < fetch(there, tmp_path / "home").num_new < first.num_files
    assert names(tmp_path / "home") == names(there)


def laid(pictures: Path, space: Path, out: str | Path) -> None:
    """Lay a run that no job has begun."""
    from autoft.api import SearchRequest
    from autoft.api.laying import lay

    budget = Budget(trials=1, epochs=1)
    request = SearchRequest(data=str(pictures), space=space, out=str(out), address="auto", budget=budget)
    lay(request, elsewhere=True)


def test_a_run_that_no_job_has_begun_can_be_read(pictures: Path, tiny_space: Path, s3: Server, tmp_path: Path) -> None:
    out = s3.uri("laid")
    laid(pictures, tiny_space, out)
    assert autoft.open_run(out).rows() == []
    assert not Store.open(joined(out, "data")).exists("dataset.arrow")
    assert fetch(out, tmp_path / "home").has_model is False
    assert autoft.open_run(tmp_path / "home").rows() == []


@pytest.fixture
def written(
    pictures: Path, tiny_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RecordWriter]:
    """Return the writer of the run `there`, which has tables and a journal; one file travels at a time."""
    monkeypatch.setattr(fetching, "THREADS", 1)
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.01)
    laid(pictures, tiny_space, tmp_path / "there")
    with RecordWriter(Store.open(tmp_path / "there")) as writer:
        for number in range(8):
            writer.append(note(f"Sealed {number}."))
        writer.seal()
        writer.append(note("In the journal."))
        writer.flush()
        yield writer


def note(text: str) -> dict[str, Any]:
    return {"event": "note", "text": text}


def test_a_journal_that_grows_all_the_time_comes_home_as_it_was_listed(written: RecordWriter, tmp_path: Path) -> None:
    def report(done: int, total: int) -> None:
        written.append(note("It goes on."))
        written.flush()

    found = fetch(tmp_path / "there", tmp_path / "home", report=report)
    assert found.num_new == found.num_files
    notes = read_record(Store.open(tmp_path / "home")).notes
    assert notes == written.record.notes[: len(notes)]
    assert len(notes) > 9
    assert fetch(tmp_path / "there", tmp_path / "home").num_new == 1
    assert read_record(Store.open(tmp_path / "home")).notes == written.record.notes


def test_tables_that_have_come_do_not_travel_again_where_the_journal_is_sealed_meanwhile(
    written: RecordWriter, tmp_path: Path
) -> None:
    def report(done: int, total: int) -> None:
        if (tmp_path / "home" / fetching._STAGING).is_dir():
            written.seal()

    found = fetch(tmp_path / "there", tmp_path / "home", report=report)
    assert found.num_new == found.num_files
    assert read_record(Store.open(tmp_path / "home")).notes == written.record.notes
