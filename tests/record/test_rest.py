"""What of a search is under way: told by the record's lock where its writer ran here, else by the end it wrote."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from autoft.core.errors import ConfigError
from autoft.core.storage import Store
from autoft.record import RecordWriter, is_left, read_record
from autoft.record.lock import WriterLock
from tests.record.making import ended, epoch, started, write_flushes

WRITER = """
import sys
from autoft.core.storage import Store
from autoft.record import RecordWriter
from tests.record.making import epoch, started, write_flushes
writer = RecordWriter(Store.open(sys.argv[1]))
write_flushes(writer, [[{"event": "search"}, started("t0001"), epoch("t0001", 1, 0.5)]])
print("written", flush=True)
sys.stdin.read()
"""
UNDER_WAY = [[{"event": "search"}, started("p01", "probe"), ended("p01", "probe")], [started("t0001")]]


def statuses(store: Store) -> dict[str, str]:
    left = is_left(store)
    record = read_record(store)
    return {row.trial: row.status for row in (record.at_rest() if left or record.has_ended else record).trials}


def test_trials_of_a_killed_process_are_paused_and_those_of_a_living_one_run(tmp_path: Path):
    store = Store.open(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert statuses(store) == {"t0001": "running"}
        with pytest.raises(ConfigError, match="Another process is writing the run"):
            RecordWriter(store)
        process.kill()
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert statuses(store) == {"t0001": "paused"}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_look_from_the_writers_own_process_finds_it_under_way_and_takes_nothing_from_it(tmp_path: Path):
    store = Store.open(tmp_path)
    look = "import sys; from tests.record.test_rest import statuses; from autoft.core.storage import Store\n"
    look += "print(statuses(Store.open(sys.argv[1]))['t0001'])"
    line = [sys.executable, "-c", look, str(tmp_path)]
    with RecordWriter(store) as writer:
        write_flushes(writer, UNDER_WAY)
        assert statuses(store) == {"p01": "probe", "t0001": "running"}
        assert subprocess.run(line, check=True, capture_output=True, text=True).stdout == "running\n"
    assert statuses(store) == {"p01": "probe", "t0001": "paused"}


def test_the_trials_at_rest_are_the_others_unchanged(store: Store):
    with RecordWriter(store) as writer:
        write_flushes(writer, UNDER_WAY)
        write_flushes(writer, [[started("t0002"), epoch("t0002", 1, 0.5), ended("t0002", "paused", "the time is up")]])
        record = writer.record
        rest = record.at_rest()
    assert {row.trial: row.status for row in rest.trials} == {
        "p01": "probe",
        "t0001": "paused",
        "t0002": "paused",
    }
    assert rest.by_name["t0002"] is record.by_name["t0002"]
    assert rest.by_name["t0001"].config == record.by_name["t0001"].config
    assert rest.at_rest() == rest


def test_an_end_that_was_written_tells_on_every_store_and_the_next_start_takes_it_back(store: Store):
    with RecordWriter(store) as writer:
        write_flushes(writer, UNDER_WAY)
        assert not read_record(store).has_ended
        write_flushes(writer, [[{"event": "end"}]])
        assert statuses(store)["t0001"] == "paused"
        writer.seal()
        assert read_record(store).has_ended
    with RecordWriter(store) as writer:
        assert writer.record.has_ended
        assert writer.record.by_name["t0001"].status == "running"
        write_flushes(writer, [[{"event": "search"}]])
        assert statuses(store)["t0001"] == "running"
        writer.seal()
        assert statuses(store)["t0001"] == "running"


def on_object_store(folder: Path) -> Store:
    return Store(Store.open(folder).filesystem, str(folder), False)


@pytest.mark.parametrize("sealed", [False, True])
def test_on_an_object_store_a_search_that_was_silent_for_two_minutes_is_none_any_more(tmp_path: Path, sealed: bool):
    store = on_object_store(tmp_path)
    with RecordWriter(store, clock=lambda: 1000.0) as writer:
        write_flushes(writer, [*UNDER_WAY, [{"event": "clock", "seconds": 3.0}]])
        if sealed:
            writer.seal()
    assert is_left(store) is None
    assert statuses(store)["t0001"] == "running"
    record = read_record(store)
    assert record.last_time == 1000.0
    assert record.silence(1120.0) is None
    assert record.silence(1121.0) == 121.0
    with RecordWriter(store) as writer:
        write_flushes(writer, [[{"event": "end"}]])
    assert read_record(store).silence(1e12) is None


def test_a_run_that_is_laid_and_waits_is_not_silent(tmp_path: Path):
    RecordWriter(on_object_store(tmp_path)).close()
    assert read_record(on_object_store(tmp_path)).silence(1e12) is None


def test_of_a_writer_on_another_machine_nothing_is_said(tmp_path: Path):
    store = Store.open(tmp_path)
    with RecordWriter(store) as writer:
        write_flushes(writer, UNDER_WAY)
    assert is_left(store)
    sign = tmp_path / "results" / ".lock"
    assert json.loads(sign.read_text()) == {"host": platform.node(), "process": os.getpid()}
    for text in (json.dumps({"host": "elsewhere", "process": 1}), "", "{", "[]"):
        sign.write_text(text)
        assert is_left(store) is None
    sign.unlink()
    assert is_left(store) is None


def test_a_lock_that_no_writer_has_signed_says_nothing(tmp_path: Path):
    store = Store.open(tmp_path)
    WriterLock(store.within("results")).release()
    assert is_left(store) is None
