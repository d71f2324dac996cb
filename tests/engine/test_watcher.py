import pytest

from autoft.core.progress import Progress
from autoft.core.storage import Store
from autoft.engine.clock import Clock
from autoft.engine.coordinator import Coordinator
from autoft.engine.ledger import Ledger
from autoft.engine.watcher import LOOK_SECONDS, TABLE_SECONDS, Watcher
from autoft.record import RecordWriter
from autoft.space import SearchSpace
from autoft.strategies import build_strategy


def test_a_trial_that_starts_right_behind_another_is_in_the_table_a_moment_later(
    make_search, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    now = 100.0
    monkeypatch.setattr("autoft.engine.watcher.time.monotonic", lambda: now)
    seen: list[Progress] = []
    search = make_search(trials=2)
    space, ledger = SearchSpace.from_json(search.space), Ledger(search)
    with RecordWriter(Store.open(tmp_path)) as writer:
        clock = Clock(seconds_before=0.0, budget=search.budget)
        watcher = Watcher(
            seen.append, search=search, space=space, ledger=ledger, clock=clock, record=lambda: writer.record
        )
        coordinator = Coordinator(
            search,
            space=space,
            strategy=build_strategy(search.searcher, search.scheduler),
            ledger=ledger,
            journal=writer,
            clock=clock,
            slots=2,
            on_change=watcher.show,
            on_tick=watcher.tick,
        )
        coordinator.next_job()
        assert seen[-1].line.startswith("t0001 starts")
        assert seen[-1].trials_running == 2
        assert [row["trial"] for row in seen[-1].rows] == ["p01"]
        count = len(seen)
        coordinator.tick()
        assert len(seen) == count
        now += TABLE_SECONDS + 0.1
        coordinator.tick()
        coordinator.tick()
        assert len(seen) == count + 1
        assert seen[-1].line.startswith("t0001 starts")
        assert [row["trial"] for row in seen[-1].rows] == ["p01", "t0001"]


def test_how_far_a_trial_is_before_its_first_epoch_is_shown_when_it_changes(
    make_search, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    now, said = 100.0, {"p01": "Preparing pictures (train): 1,200 of 3,000."}
    monkeypatch.setattr("autoft.engine.watcher.time.monotonic", lambda: now)
    seen: list[str] = []
    search = make_search(trials=2)
    space, ledger = SearchSpace.from_json(search.space), Ledger(search)
    with RecordWriter(Store.open(tmp_path)) as writer:
        watcher = Watcher(
            lambda progress: seen.append(progress.line),
            search=search,
            space=space,
            ledger=ledger,
            clock=Clock(seconds_before=0.0, budget=search.budget),
            record=lambda: writer.record,
            preparation=lambda trial: said.get(trial, ""),
        )
        coordinator = Coordinator(
            search,
            space=space,
            strategy=build_strategy(search.searcher, search.scheduler),
            ledger=ledger,
            journal=writer,
            clock=Clock(seconds_before=0.0, budget=search.budget),
            slots=1,
        )
        coordinator.next_job()
        for _ in range(3):
            watcher.tick()
        assert seen == ["p01: preparing pictures (train): 1,200 of 3,000"]
        said["p01"] = "Preparing features (train): 64 of 3,000."
        watcher.tick()
        assert len(seen) == 1
        now += LOOK_SECONDS + 0.1
        watcher.tick()
        assert seen[1:] == ["p01: preparing features (train): 64 of 3,000"]
