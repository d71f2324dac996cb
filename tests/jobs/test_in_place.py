"""A search in place, whose run the cluster's nodes see and this machine need not: followed, stopped, gone on with."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoft.api.searching import resuming
from autoft.cli import main
from autoft.core.progress import SEARCHING
from autoft.core.storage import Store
from autoft.record import RecordWriter
from tests.cli.test_results import recorded
from tests.jobs.servers import Jobs, listening

pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")  # Ray's, of aiohttp
THERE = "/mnt/autoft-of-the-nodes/runs/a"
"""A run that lies on the nodes alone."""


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def url(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with listening(jobs.answer) as found:
        yield found


def submitted(url: str, *arguments: str) -> int:
    return main(["submit", "--address", url, "--in-place", "--code", "installed", *arguments])


def searched(folder: Path) -> Path:
    """Return the run that a job has left in a folder."""
    run = recorded(folder)
    with RecordWriter(Store.open(run)) as writer:
        writer.append({"event": "search", "slots": 1})
    return run


def test_a_job_that_succeeds_is_no_mistake_where_its_run_cannot_be_read(
    jobs: Jobs, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submitted(url, "--follow", "--", "search", "/data/there", "--out", THERE) == 0
    (job,) = jobs.details
    told = capsys.readouterr()
    assert told.out == f"{job}\n"
    assert "printed there" in told.err
    assert f"The job {job} has succeeded. The run cannot be read from here: '{THERE}' is no run" in told.err
    assert "Bring it home" not in told.err


def test_a_run_that_cannot_be_read_is_gone_on_with_in_place(
    jobs: Jobs, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.state = "FAILED"
    jobs.printed = f"[0:07] 40 rows\n[1:02:03, about 4:56 left] {SEARCHING}\n[1:02:04] t0001 is over\n"
    assert submitted(url, "--follow", "--", "search", "/data/there", "--out", THERE) == 1
    line = f"autoft submit --address {url} --in-place -- resume {THERE}"
    assert capsys.readouterr().err.endswith(f"Go on with: {line}\n")
    (job,) = jobs.details
    assert main(["stop", job, "--address", url]) == 0
    assert f"Go on with: {line}\n" in capsys.readouterr().err

    jobs.state = "RUNNING"
    assert submitted(url, "--", "resume", THERE, "--time", "2h") == 0
    again = capsys.readouterr().out.strip()
    assert jobs.details[again]["entrypoint"] == f"python -m autoft resume {THERE} --time 2h --address auto"
    assert main(["stop", again, "--address", url, "--yes"]) == 0
    assert re.search(rf"cannot be read from here: .*\nGo on with: {line}\n", capsys.readouterr().err)
    # The job itself says the same line.
    for name, value in jobs.details[again]["runtime_env"]["env_vars"].items():
        monkeypatch.setenv(name, value)
    assert resuming(THERE) == line


@pytest.mark.parametrize("printed", ["", "[0:07] reading the data\nError: There is no file or folder '/searching'.\n"])
def test_a_job_that_has_laid_no_run_is_not_gone_on_with(
    jobs: Jobs, url: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.state, jobs.printed = "FAILED", printed
    assert submitted(url, "--follow", "--", "search", "/data/there", "--out", THERE) == 1
    (job,) = jobs.details
    sentence = (
        f"Its search had not begun, as far as can be seen from here. Its log: autoft logs {job} --address {url}\n"
    )
    assert capsys.readouterr().err.endswith(sentence)
    assert main(["stop", job, "--address", url]) == 0
    told = capsys.readouterr().err
    assert told.endswith(sentence)
    assert "resume" not in told


def test_a_run_is_brought_home_once_it_can_be_read_from_here(
    jobs: Jobs, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submitted(url, "--", "search", "/data/there", "--out", str(tmp_path / "run")) == 0
    (job,) = jobs.details
    told = capsys.readouterr().err
    assert f"  autoft status {job} --address {url}\n" in told
    assert "autoft fetch" not in told
    assert main(["status", job, "--address", url]) == 0
    assert "autoft fetch" not in capsys.readouterr().err
    searched(tmp_path / "run")
    assert main(["status", job, "--address", url]) == 0
    assert f"Bring it home: autoft fetch {job} --out DIR --address {url}\n" in capsys.readouterr().err


def test_no_job_is_submitted_in_place_for_a_run_that_another_is_searching_in(
    jobs: Jobs, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.state = "RUNNING"
    assert submitted(url, "--", "search", "/data/there", "--out", THERE) == 0
    (job,) = jobs.details
    assert submitted(url, "--", "resume", THERE) == 2
    assert f"The job {job} is searching in '{THERE}'; wait until it ends" in capsys.readouterr().err
    assert [*jobs.details] == [job]


def test_a_run_that_can_be_read_is_gone_on_with_as_any_other(
    jobs: Jobs, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = searched(tmp_path / "run")
    jobs.state = "FAILED"
    assert submitted(url, "--follow", "--", "search", "/data/there", "--out", str(run)) == 1
    assert f"Go on with: autoft submit --address {url} -- resume {run}\n" in capsys.readouterr().err
