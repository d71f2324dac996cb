"""A seed decides alone: the order in which workers answer, how many they are, and kills change nothing."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.core.configs import EpochResult, SearchConfig
from autoft.core.storage import Store
from autoft.engine.clock import Clock
from autoft.engine.coordinator import Coordinator
from autoft.engine.job import Job, Report
from autoft.engine.ledger import Entry
from autoft.engine.replay import replay
from autoft.engine.search import restore_ledger
from autoft.engine.turns import LogicalTurns, restored
from autoft.record import RecordWriter
from autoft.record.reader import read_events, read_record
from autoft.space import SearchSpace
from autoft.strategies import TrialView, build_strategy

Seen = list[tuple[str, str | None, int | None, str]]
SLOTS = 3


def entry(trial: str, cost: float) -> Entry:
    return Entry(view=TrialView(trial=trial, kind="trial", assignment={}, until_epoch=9, epoch_cost=cost), config={})


@given(st.permutations(["t0001", "t0002", "t0003"]))
def test_answers_count_in_the_order_of_predicted_cost_whatever_order_they_arrive_in(arrival):
    turns = LogicalTurns()
    for trial, cost in (("t0001", 3.0), ("t0002", 1.0), ("t0003", 1.0)):
        turns.begin(entry(trial, cost))
    taken = []
    for trial in arrival:
        turns.hear(Report(kind="epoch", trial=trial))
        while (report := turns.next()) is not None:
            taken.append((report.trial, turns.now))
    assert taken == [("t0002", 1.0), ("t0003", 1.0), ("t0001", 3.0)]


def test_an_answer_waits_for_one_that_logically_comes_before_it():
    turns = LogicalTurns()
    turns.begin(entry("t0001", 1.0))
    turns.begin(entry("t0002", 2.0))
    turns.hear(Report(kind="epoch", trial="t0002"))
    assert turns.next() is None
    assert (turns.num_heard("t0002"), turns.now) == (1, 0.0)
    turns.drop("t0001")
    assert turns.next() == Report(kind="epoch", trial="t0002")
    assert turns.now == 2.0


class Farm:
    """A coordinator on a real record, and workers that answer in an order drawn by `arrival`."""

    def __init__(
        self, search: SearchConfig, store: Store, *, workers: int, arrival: random.Random, slots: int = SLOTS
    ) -> None:
        self.store, self.arrival = store, arrival
        self.writer = RecordWriter(store)
        record = self.writer.record
        ledger = restore_ledger(record, search)
        self.coordinator = Coordinator(
            search,
            space=SearchSpace.from_json(search.space),
            strategy=build_strategy(search.searcher, search.scheduler),
            ledger=ledger,
            journal=self.writer,
            clock=Clock(seconds_before=0.0, budget=search.budget),
            slots=slots,
            workers=workers,
            turns=restored(record, {e.view.trial: e for e in ledger.entries}),
            num_decisions=len(record.decisions),
        )
        self.active: dict[str, tuple[Job, int]] = {}
        self.widest = 0

    def run(self, *, steps: int = 10**6) -> bool:
        """Work for so many answers; return whether the search came to its final test."""
        for _ in range(steps):
            while (job := self.coordinator.next_job()) is not None and job.kind == "trial":
                self.active[job.trial] = (job, job.epochs_recorded)
            self.widest = max(self.widest, len(self.active))
            if job is not None:
                return True
            trial = self.arrival.choice(sorted(self.active))
            job, epoch = self.active.pop(trial)
            if self.coordinator.reported(self.answer(job, epoch + 1)):
                self.active[trial] = (job, epoch + 1)
        return False

    @staticmethod
    def answer(job: Job, epoch: int) -> Report:
        height = (job.config["seed"] % 97) / 100
        last = job.config["epochs"] if job.config["seed"] % 5 else min(4, job.config["epochs"])
        result = EpochResult(
            epoch=epoch,
            metrics={"val_accuracy": height * epoch / (epoch + 2), "parameters": job.config["seed"] % 41},
            seconds=1.0,
            status="completed" if epoch >= last else "running",
            is_best=True,
        )
        if job.config["seed"] % 7 == 1 and epoch == 2:
            return Report(kind="failed", trial=job.trial, reason="it raises")
        return Report(kind="epoch", trial=job.trial, result=result.to_json())

    def kill(self) -> None:
        self.writer._lock.release()


def decisions(store: Store) -> Seen:
    found = [(d.action, d.trial, d.until_epoch, d.reason) for d in read_record(store).decisions if d.action != "wait"]
    return list(dict.fromkeys(found))


def trials(store: Store) -> list[object]:
    return [(r.trial, r.status, r.assignment, [e.metrics for e in r.epochs]) for r in read_record(store).trials]


FRONT = {"metrics": ("accuracy", "-parameters"), "keep": 5}


@pytest.fixture(
    scope="module",
    params=[("asha", 0, {}), ("asha-promote", 0, {}), ("asha-promote", 2, {}), ("asha-promote", 2, FRONT)],
    ids=str,
)
def search(request: pytest.FixtureRequest, make_search: Callable[..., SearchConfig]) -> SearchConfig:
    scheduler, confirm, more = request.param
    return make_search(trials=12, epochs=9, scheduler=scheduler, confirm=confirm, **more)


@pytest.fixture(scope="module")
def alone(search: SearchConfig, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The record of one worker."""
    store = Store.open(tmp_path_factory.mktemp("alone"))
    assert Farm(search, store, workers=1, arrival=random.Random(0)).run()
    return store


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_any_number_of_workers_in_any_order_take_the_same_decisions(
    search: SearchConfig, alone: Store, tmp_path: Path, workers: int
) -> None:
    for seed in range(3):
        store = Store.open(tmp_path / str(seed))
        farm = Farm(search, store, workers=workers, arrival=random.Random(seed))
        assert farm.run()
        assert farm.widest == min(workers, SLOTS)
        assert decisions(store) == decisions(alone)
        assert trials(store) == trials(alone)


def test_slots_beyond_what_is_decided_on_ahead_change_no_decision(make_search, tmp_path):
    search = make_search(trials=60, epochs=3, scheduler="asha")
    stores = []
    for workers in (1, 20, 40):
        stores.append(Store.open(tmp_path / str(workers)))
        farm = Farm(search, stores[-1], workers=workers, arrival=random.Random(workers), slots=40)
        if workers == 20:
            farm.run(steps=3)
            farm.kill()
            farm = Farm(search, stores[-1], workers=workers, arrival=random.Random(1), slots=40)
        assert farm.run()
    assert [decision[1] for decision in decisions(stores[0])[:40]] == ["p01", *(f"t{n:04d}" for n in range(1, 40))]
    assert decisions(stores[0]) == decisions(stores[1]) == decisions(stores[2])
    assert trials(stores[0]) == trials(stores[1]) == trials(stores[2])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=4), st.integers(0, 10**6))
def test_kills_change_no_decision(search, alone, tmp_path_factory, cuts, seed):
    arrival = random.Random(seed)
    store = Store.open(tmp_path_factory.mktemp("killed"))
    for steps in cuts:
        farm = Farm(search, store, workers=2, arrival=arrival)
        done = farm.run(steps=steps)
        farm.kill()
        if done:
            break
    assert Farm(search, store, workers=3, arrival=arrival).run()
    assert trials(store) == trials(alone)
    assert decisions(store) == decisions(alone)


def test_a_record_that_ends_between_a_decision_and_what_it_brings_goes_on_to_the_same_end(search, alone, tmp_path):
    events = list(read_events(alone))
    actions = ("continue", "pause", "stop")
    cuts = [count for count, event in enumerate(events, start=1) if event.get("action") in actions]
    for count in cuts[:: max(1, len(cuts) // 20)]:
        store = Store.open(tmp_path / str(count))
        writer = RecordWriter(store)
        for event in events[:count]:
            writer.append({key: value for key, value in event.items() if key not in ("seq", "time")})
        writer.close()
        assert Farm(search, store, workers=2, arrival=random.Random(count)).run()
        assert trials(store) == trials(alone)


@pytest.mark.parametrize("options", [{}, {"confirm": 1}, {"confirm": 1, **FRONT}], ids=str)
@pytest.mark.parametrize("scheduler", ["asha", "asha-promote", "none"])
def test_a_replay_takes_every_decision_again_through_kills_and_a_larger_budget(
    make_search, tmp_path, scheduler, options
):
    search = make_search(trials=4, epochs=6, scheduler=scheduler, deterministic=True, **options)
    store = Store.open(tmp_path)
    for steps, trials in ((7, 4), (1000, 4), (9, 7), (1000, 7)):
        grown = dataclasses.replace(search, budget=dataclasses.replace(search.budget, trials=trials))
        farm = Farm(grown, store, workers=2, arrival=random.Random(steps))
        start = {"event": "search", "slots": SLOTS, "budget": dataclasses.asdict(grown.budget)}
        farm.writer.append(start)
        farm.run(steps=steps)
        farm.kill()
    outcome = replay(grown, store)
    assert outcome.difference is None
    assert outcome.num_decisions == len(read_record(store).decisions) > 10


def test_a_replay_reports_the_first_decision_that_differs(search, tmp_path, alone):
    writer = RecordWriter(Store.open(tmp_path))
    writer.append({"event": "search", "slots": SLOTS})
    for event in read_events(alone):
        writer.append({key: value for key, value in event.items() if key not in ("seq", "time")})
    writer.close()
    assert replay(search, Store.open(tmp_path)).difference is None
    outcome = replay(dataclasses.replace(search, seed=1), Store.open(tmp_path))
    assert outcome.difference is not None
    assert (outcome.difference.number, outcome.num_decisions) == (3, 3)
    recorded, now = outcome.difference.recorded, outcome.difference.now
    assert [key for key in now if now[key] != recorded[key]] == ["assignment"]
