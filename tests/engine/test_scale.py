"""What `benchmarks.scale` measures is a real search, and what it says of it follows from what was measured."""

from pathlib import Path

import pytest

from autoft.core.storage import Store
from autoft.record import read_record
from benchmarks.scale import measure_board, shortest_epoch, what_gives
from benchmarks.scale_load import STRATEGIES, TRIALS_PER_WORKER, measure
from benchmarks.scale_timed import Stopwatch


@pytest.mark.parametrize("strategy", ["random+asha", "random+asha-promote"])
def test_a_load_is_a_whole_search_of_simulated_workers(tmp_path: Path, strategy: str):
    found = measure(tmp_path / "run", strategy, workers=3, seconds=30.0)
    record = read_record(Store.open(tmp_path / "run"))
    assert sum(row.kind == "trial" for row in record.trials) == 3 * TRIALS_PER_WORKER
    assert found["trials"] == len(record.trials)
    assert found["epochs"] == sum(len(row.epochs) for row in record.trials)
    assert found["reports"] == found["epochs"] + 1 - 3
    assert record.test is not None
    assert found["is_filled"]
    assert sum(found["parts_ms"].values()) == pytest.approx(1000 / found["reports_per_second"])


def test_the_loads_are_of_the_default_strategy_first():
    assert next(iter(STRATEGIES.values())) == ("curves", "curves")


def test_time_within_another_part_counts_once():
    watch = Stopwatch()
    with watch.part("outer"):
        with watch.part("inner"):
            sum(range(10**5))
        inner = watch.seconds["inner"]
        with watch.part("inner"):
            pass
    assert watch.seconds["inner"] < inner * 1.5
    assert watch.seconds["outer"] < inner


def load(**values):
    defaults = {
        "workers": 1000,
        "is_filled": True,
        "reports_per_second": 200.0,
        "table_share": 0.05,
        "parts_ms": {"strategy": 4.0, "ledger": 1.0},
        "fill_parts_ms": {"strategy": 9.0, "ledger": 1.0},
        "trials": 1000,
    }
    made = {**defaults, **values}
    return {**made, "shortest_epoch_seconds": shortest_epoch(made)}


def test_a_load_that_the_driver_keeps_up_with_does_not_give():
    assert load()["shortest_epoch_seconds"] == pytest.approx(1000 / 200 / 0.95)
    assert what_gives([load()]) is None


def test_a_load_gives_when_epochs_come_faster_than_the_driver_takes_them():
    given = what_gives([load(), load(workers=4000, parts_ms={"strategy": 8.0, "ledger": 1.0})])
    assert given == {
        "workers": 4000,
        "what": "epochs of 10 s bring 400 reports a second, and the driver takes 200",
        "where": "strategy: 8.00 of 9.00 ms, 4.00 at the load before",
        "why": "each decision looks at what all trials so far came to",
        "functions": [],
    }


def test_a_load_gives_when_a_worker_waits_a_minute_for_its_first_trial():
    given = what_gives([load(workers=4000, is_filled=False, trials=3100)])
    assert given is not None
    assert given["what"] == "3100 of 4000 workers had a trial after 60 s"
    assert given["where"] == "strategy: 9.00 of 10.00 ms"


def test_the_large_leaderboard_is_of_a_record_that_the_real_writer_wrote_and_changes_none_of_its_files(tmp_path: Path):
    found = measure_board(tmp_path, trials=3, epochs=2, repeats=1)
    assert [len(row.epochs) for row in read_record(Store.open(tmp_path / "board")).trials] == [2, 2, 2]
    assert found["leaderboard_seconds"] > 0
    assert found["leaderboard_changed_files"] == 0
