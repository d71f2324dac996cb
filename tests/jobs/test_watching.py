"""What is seen of a job's run, whose record tells nothing of its end: no lock of this machine, no end written."""

import time
from pathlib import Path

import pytest

from autoft.core.progress import Progress
from autoft.core.storage import Store
from autoft.jobs.watching import RunWatch
from autoft.record import RecordWriter, read_record
from tests.cli.test_results import recorded
from tests.record.making import started


@pytest.fixture
def run(tmp_path: Path) -> str:
    folder = str(recorded(tmp_path / "run"))
    with RecordWriter(Store.open(folder)) as writer:
        config = writer.record.by_name["t0001"].config.to_json()
        writer.append({"event": "search", "slots": 1})
        writer.append(started("t0002") | {"config": config})
    (tmp_path / "run" / "results" / ".lock").unlink()
    return folder


def status(found: Progress) -> tuple[int, str]:
    return found.trials_running, next(row["status"] for row in found.rows if row["trial"] == "t0002")


def test_a_trial_of_a_job_that_has_ended_is_paused(run: str) -> None:
    watch = RunWatch(run)
    assert status(watch.look("running")) == (1, "running")
    assert status(watch.look("stopped", ended=time.time() + 1)) == (0, "paused")


def test_the_end_of_a_job_says_nothing_of_a_search_that_went_on_after_it(run: str) -> None:
    began = read_record(Store.open(run)).searches[-1]["time"]
    assert status(RunWatch(run).look("stopped", ended=began - 1)) == (1, "running")


def test_a_written_end_is_enough(run: str) -> None:
    with RecordWriter(Store.open(run)) as writer:
        writer.append({"event": "end"})
    (Path(run) / "results" / ".lock").unlink()
    assert status(RunWatch(run).look("running")) == (0, "paused")
