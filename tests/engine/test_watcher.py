import pytest

from autoft.core.progress import Progress
from autoft.core.storage import Store
from autoft.engine.clock import Clock
from autoft.engine.coordinator import Coordinator
from autoft.engine.ledger import Entry, Ledger
from autoft.engine.watcher import LOOK_SECONDS, LOOKED_AT, MOST_SHARE, TABLE_SECONDS, Watcher
from autoft.record import Record, RecordWriter
from autoft.space import SearchSpace
from autoft.strategies import TrialView, build_strategy


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


def test_the_table_of_a_large_search_gets_a_share_of_the_time_and_no_more(
    make_search, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    now = 100.0
    monkeypatch.setattr("autoft.engine.watcher.time.monotonic", lambda: now)
    tables: list[float] = []
    seen: list[Progress] = []
    search = make_search(trials=2)

    with RecordWriter(Store.open(tmp_path)) as writer:

        def slow_record() -> Record:
            nonlocal now
            tables.append(now)
            now += 1.0
            return writer.record

        watcher = Watcher(
            seen.append,
            search=search,
            space=SearchSpace.from_json(search.space),
            ledger=Ledger(search),
            clock=Clock(seconds_before=0.0, budget=search.budget),
            record=slow_record,
        )
        for _ in range(100):
            watcher.show("an event")
            now += 0.3
            watcher.tick()
    assert len(seen) >= 100
    assert tables[:2] == [100.0, pytest.approx(100.0 + 1.0 / MOST_SHARE, abs=0.3)]
    assert len(tables) == 2


def test_of_many_trials_before_their_first_epoch_some_are_looked_at(make_search, tmp_path):
    asked: list[str] = []
    search = make_search(trials=60)
    ledger = Ledger(search)
    with RecordWriter(Store.open(tmp_path)) as writer:
        watcher = Watcher(
            lambda progress: None,
            search=search,
            space=SearchSpace.from_json(search.space),
            ledger=ledger,
            clock=Clock(seconds_before=0.0, budget=search.budget),
            record=lambda: writer.record,
            preparation=lambda trial: asked.append(trial) or "",
        )
        for number in range(50):
            view = TrialView(trial=f"t{number:04d}", kind="trial", assignment={}, until_epoch=1)
            ledger.add(Entry(view=view, config={}))
        watcher.tick()
    assert asked == [f"t{number:04d}" for number in range(LOOKED_AT)]
