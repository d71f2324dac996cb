from pathlib import Path

import pytest

from autoft.core.errors import ConfigError
from autoft.core.storage import Store
from autoft.record import Record, RecordWriter, log, read_record
from tests.record.making import decided, ended, started, ticking


@pytest.fixture(params=["journal", "sealed"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Record:
    clock = ticking()
    with RecordWriter(Store.open(tmp_path), clock=lambda: next(clock)) as writer:
        writer.append({"event": "search", "started_at": "now"})
        writer.append(decided(9, "start", "t0001", 3, "the space's default recipe"))
        writer.append(started("t0001"))
        writer.append(decided(10, "wait", None, None, "every\n  slot is taken"))
        writer.append(decided(11, "stop", "t0001", None, "0.5 is below 0.7"))
        writer.append(ended("t0001", "pruned", "0.5 is below 0.7"))
        if request.param == "sealed":
            writer.seal()
    return read_record(Store.open(tmp_path))


def test_every_decision_is_a_line_with_its_reason(record: Record):
    assert list(log.lines(record)) == [
        " 9  0:00:10  start    t0001  until epoch 3    the space's default recipe",
        "10  0:00:30  wait                             every slot is taken",
        "11  0:00:40  stop     t0001                   0.5 is below 0.7",
    ]


def test_the_log_of_a_trial_ends_with_how_it_stands(record: Record):
    assert [line.split()[2] for line in log.lines(record, "t0001")] == ["start", "stop", "pruned:"]
    assert list(log.lines(record, "t0001"))[-1] == "t0001 is pruned: 0.5 is below 0.7"


def test_a_trial_that_is_none_is_refused_by_name(record: Record):
    with pytest.raises(
        ConfigError, match=r"no trial 't0002' in this run. Did you mean 't0001'\? It has t0001 to t0001."
    ):
        list(log.lines(record, "t0002"))
