import pytest

from autoft.core.configs import EpochResult
from autoft.core.errors import WorkError
from autoft.core.storage import Store
from autoft.engine.clock import Clock
from autoft.engine.coordinator import AHEAD, Coordinator
from autoft.engine.job import LOW_MEMORY, Report
from autoft.engine.replay import replay
from autoft.engine.search import restore_ledger
from autoft.record.reader import read_events, read_record
from autoft.record.writer import RecordWriter
from autoft.space import SearchSpace
from autoft.strategies import build_strategy


class Time:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Bench:
    """A coordinator on a real record, and workers that are function calls."""

    def __init__(self, search, store, slots=2, time=None):
        self.store = store
        self.time = time or Time()
        self.writer = RecordWriter(store)
        record = self.writer.record
        self.finished = 0
        self.coordinator = Coordinator(
            search,
            space=SearchSpace.from_json(search.space),
            strategy=build_strategy(search.searcher, search.scheduler),
            ledger=restore_ledger(record, search),
            journal=self.writer,
            clock=Clock(seconds_before=record.seconds_used, budget=search.budget, monotonic=self.time),
            slots=slots,
            num_decisions=len(record.decisions),
            tested=(record.test or {}).get("trial"),
            on_finished=self.count,
        )

    def count(self):
        self.finished += 1

    def jobs(self):
        found = []
        while (job := self.coordinator.next_job()) is not None:
            found.append(job)
        return found

    def epoch(self, trial, epoch, value, status="running", seconds=1.0, **metrics):
        metrics = {"val_accuracy": value, **metrics}
        result = EpochResult(epoch=epoch, metrics=metrics, seconds=seconds, status=status, is_best=True)
        return self.coordinator.reported(Report(kind="epoch", trial=trial, result=result.to_json()))

    def fail(self, trial, reason, **more):
        return self.coordinator.reported(Report(kind="failed", trial=trial, reason=reason, **more))

    def kill(self):
        self.writer._lock.release()

    def statuses(self):
        return {row.trial: (row.status, row.reason) for row in read_record(self.store).trials}


@pytest.fixture
def bench(make_search, run_folder):
    def make(slots=2, store=None, time=None, **options):
        return Bench(make_search(**options), store or run_folder({}), slots, time)

    return make


def events(store, kind):
    return [event for event in read_events(store) if event["event"] == kind]


def test_no_more_trials_are_handed_out_than_there_are_slots(bench):
    b = bench(slots=2)
    assert [job.trial for job in b.jobs()] == ["p01", "t0001"]
    assert b.jobs() == []
    b.epoch("p01", 1, 0.5, "completed")
    assert [job.trial for job in b.jobs()] == ["t0002"]


def test_the_first_of_many_workers_does_not_wait_until_all_are_decided_on(bench):
    b = bench(slots=100, trials=200)
    assert b.coordinator.next_job().trial == "p01"
    assert len(b.coordinator.ledger.entries) == AHEAD
    assert len(b.jobs()) == 99
    assert len(b.coordinator.ledger.entries) == 100


def test_what_waits_to_be_decided_on_comes_before_the_next_answer(bench):
    b = bench(slots=50, trials=200, epochs=2)
    first = b.coordinator.next_job().trial
    b.epoch(first, 1, 0.5, "completed")
    kinds = [(e["event"], e.get("action")) for e in read_events(b.store) if e["event"] in ("decision", "epoch")]
    assert kinds[:52] == [*[("decision", "start")] * 50, ("decision", "wait"), ("epoch", None)]


def test_the_ledger_ranks_as_one_that_is_made_of_the_record(bench):
    b = bench(slots=3, trials=12, epochs=3, scheduler="asha")
    for step in range(14):
        for job in b.jobs():
            value = None if step % 5 == 4 else (7 * step % 11) / 11
            b.epoch(
                job.trial, 1, value, "completed" if job.trial == "p01" else "diverged" if value is None else "running"
            )
        b.coordinator.ledger.ranking()
        restored = restore_ledger(read_record(b.store), b.coordinator._search)
        assert restored.ranking() == b.coordinator.ledger.ranking()
        assert restored.ranking(finished_only=True) == b.coordinator.ledger.ranking(finished_only=True)
        assert restored.num_trials == b.coordinator.ledger.num_trials
        assert restored.num_epochs == b.coordinator.ledger.num_epochs
        assert {e.view.trial for e in restored.running} == {e.view.trial for e in b.coordinator.ledger.running}


def test_the_transferability_of_a_probe_is_part_of_the_history_and_comes_back_with_the_record(bench):
    b = bench(slots=1)
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed", logme=0.25)
    b.jobs()
    b.epoch("t0001", 1, 0.5)
    restored = restore_ledger(read_record(b.store), b.coordinator._search)
    for ledger in (b.coordinator.ledger, restored):
        assert [view.transferability for view in ledger.views] == [0.25, None]


def test_a_decision_is_durable_before_its_job_is_handed_out(bench):
    b = bench(slots=1)
    b.coordinator.next_job()
    record = read_record(b.store)
    assert [(d.number, d.action, d.trial) for d in record.decisions][:1] == [(1, "start", "p01")]
    assert record.trials[0].trial == "p01"


def test_an_epoch_is_durable_before_the_decision_that_follows_from_it(bench):
    b = bench(slots=1, trials=1, epochs=2, seconds=1000.0)
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    b.jobs()
    b.epoch("t0001", 1, 0.5)
    kinds = [(e["event"], e.get("trial")) for e in read_events(b.store)]
    assert kinds.index(("epoch", "t0001")) < kinds.index(("decision", "t0001"), kinds.index(("epoch", "t0001")))


def test_waits_that_say_the_same_are_recorded_once(bench):
    b = bench(slots=1, trials=3)
    b.jobs()
    for _ in range(10):
        b.jobs()
        b.coordinator.tick()
    assert [d.action for d in read_record(b.store).decisions] == ["start", "wait"]


def test_an_epoch_that_is_reported_again_counts_once(bench):
    b = bench(slots=1, trials=1, epochs=3)
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    b.jobs()
    assert b.epoch("t0001", 1, 0.5)
    assert b.epoch("t0001", 1, 0.5)
    assert b.epoch("t0001", 2, 0.6)
    assert [r.epoch for r in read_record(b.store).by_name["t0001"].epochs] == [1, 2]
    assert len(events(b.store, "epoch")) == 3


def test_a_gap_in_the_epochs_fails_the_trial(bench):
    b = bench(slots=1, trials=1, epochs=3)
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    b.jobs()
    assert not b.epoch("t0001", 2, 0.5)
    assert b.statuses()["t0001"] == ("failed", "it reported epoch 2 after epoch 0")


def test_a_value_that_is_not_finite_ends_the_trial_as_diverged_and_it_cannot_win(bench):
    b = bench(slots=1, trials=1)
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    b.jobs()
    assert not b.epoch("t0001", 1, None, "diverged")
    assert b.coordinator.next_job().kind == "final"
    assert b.coordinator.ledger.ranking() == ["p01"]


def test_when_all_fail_the_commonest_reason_is_given(bench):
    b = bench(slots=1, trials=2)
    for trial, reason in (("p01", "no weights"), ("t0001", "out of memory"), ("t0002", "out of memory")):
        assert [job.trial for job in b.jobs()] == [trial]
        b.fail(trial, reason)
    assert b.jobs() == []
    assert isinstance(b.coordinator.fatal, WorkError)
    assert str(b.coordinator.fatal) == "All 3 trials failed; the commonest reason (2 of 3): out of memory"


def test_a_full_disk_ends_the_search_and_leaves_the_trial_unfinished(bench):
    b = bench(slots=1, trials=1)
    b.jobs()
    b.fail("p01", "OSError: No space left on device", disk_full=True)
    assert b.coordinator.is_over
    assert b.jobs() == []
    assert b.statuses() == {"p01": ("running", "")}
    assert "No space left" in str(b.coordinator.fatal)


def test_a_lost_worker_is_tried_again_twice(bench):
    b = bench(slots=1, trials=1)
    b.jobs()
    lose = {"is_final": False, "hung": False, "reason": "killed"}
    assert [b.coordinator.lost("p01", **lose) for _ in range(3)] == [True, True, False]
    assert b.statuses()["p01"] == ("failed", "its worker was lost 3 times: killed")
    assert len(events(b.store, "note")) == 2


def test_a_worker_lost_with_its_node_is_no_attempt_unless_six_go_with_no_epoch_in_between(bench):
    b = bench(slots=1, trials=1, epochs=3)
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    b.jobs()
    lose = {"is_final": False, "hung": False, "reason": "its node has died"}
    assert [b.coordinator.lost("t0001", **lose, with_node=True) for _ in range(5)] == [True] * 5
    assert b.epoch("t0001", 1, 0.5)
    assert [b.coordinator.lost("t0001", **lose, with_node=True) for _ in range(5)] == [True] * 5
    assert [b.coordinator.lost("t0001", **lose) for _ in range(2)] == [True] * 2
    assert not b.coordinator.lost("t0001", **lose, with_node=True)
    reason = "its node was lost 6 times with no epoch in between: its node has died"
    assert b.statuses()["t0001"] == ("failed", reason)


def test_a_trial_that_leaves_its_node_goes_on_unless_it_ended_there(bench):
    b = bench(slots=2, trials=1, epochs=2)
    b.jobs()
    b.epoch("t0001", 1, 0.5)
    assert b.coordinator.moves("t0001")
    assert read_record(b.store).notes == ("The node of t0001 is about to go; it goes on elsewhere after its epoch 1.",)
    assert b.coordinator.job("t0001").epochs_recorded == 1
    b.epoch("t0001", 2, 0.5, "completed")
    assert not b.coordinator.moves("t0001")
    assert b.coordinator.ledger.num_in_flight == 1


def test_places_that_come_and_go_are_used_recorded_and_replayed(bench):
    b = bench(slots=1, trials=4)
    assert [job.trial for job in b.jobs()] == ["p01"]
    b.coordinator.has_places(3)
    b.coordinator.has_places(3)
    assert [job.trial for job in b.jobs()] == ["t0001", "t0002"]
    b.coordinator.has_places(1)
    b.epoch("p01", 1, 0.5, "completed")
    b.epoch("t0001", 1, 0.5, "completed")
    assert b.jobs() == []
    b.epoch("t0002", 1, 0.5, "completed")
    assert [job.trial for job in b.jobs()] == ["t0003"]
    assert [(e["slots"], e["workers"]) for e in events(b.store, "places")] == [(3, 3), (1, 1)]
    assert replay(b.coordinator._search, b.store).difference is None


def test_with_no_place_nothing_is_handed_out_and_the_next_place_is_used(bench):
    b = bench(slots=1, trials=2)
    b.coordinator.has_places(0)
    assert b.jobs() == []
    assert not b.coordinator.is_over
    b.coordinator.has_places(1)
    assert [job.trial for job in b.jobs()] == ["p01"]
    assert [(e["slots"], e["workers"]) for e in events(b.store, "places")] == [(1, 0), (1, 1)]


def test_without_a_node_a_search_ends_with_its_time_and_a_resume_goes_on(bench):
    time = Time()
    b = bench(slots=1, trials=3, epochs=3, seconds=100.0, time=time)
    b.coordinator.has_places(0)
    assert b.jobs() == []
    time.now = 99.5
    b.coordinator.tick()
    assert "no node of the cluster holds a trial" in str(b.coordinator.fatal)
    assert b.statuses() == {"p01": ("paused", "the time is up")}
    b.kill()
    again = bench(slots=1, trials=3, epochs=3, seconds=300.0, store=b.store, time=Time())
    assert [job.trial for job in again.jobs()] == ["p01"]


def test_without_a_node_the_final_test_is_waited_for_until_the_time_is_used(bench):
    time = Time()
    b = bench(slots=1, trials=3, epochs=3, seconds=100.0, time=time)
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    b.jobs()
    b.epoch("t0001", 1, 0.6)
    b.coordinator.lost("t0001", is_final=False, hung=False, reason="", with_node=True)
    b.coordinator.has_places(0)
    time.now = 99.5
    b.coordinator.tick()
    assert b.statuses()["t0001"] == ("paused", "the time is up")
    assert b.coordinator.fatal is None
    assert b.coordinator.next_job().kind == "final"
    time.now = 100.5
    b.coordinator.tick()
    assert isinstance(b.coordinator.fatal, WorkError)


def test_concurrent_bounds_the_places_that_are_used(bench):
    b = bench(slots=2, trials=4, concurrent=2)
    b.coordinator.has_places(8)
    assert (b.coordinator.slots, b.coordinator.workers) == (2, 2)
    assert events(b.store, "places") == []


def test_a_deterministic_search_keeps_its_slots_and_only_its_workers_change(bench):
    b = bench(slots=3, trials=4, deterministic=True)
    b.coordinator.has_places(1)
    assert [job.trial for job in b.jobs()] == ["p01"]
    b.coordinator.has_places(8)
    assert [job.trial for job in b.jobs()] == ["t0001", "t0002"]
    assert [(e["slots"], e["workers"]) for e in events(b.store, "places")] == [(3, 1), (3, 3)]


def test_places_are_lacking_for_what_the_budget_may_start_while_all_there_are_are_taken(bench):
    b = bench(slots=1, trials=4)
    assert b.coordinator.num_lacking == 0
    b.jobs()
    assert b.coordinator.num_lacking == 4
    b.coordinator.has_places(3)
    assert b.coordinator.num_lacking == 0
    b.jobs()
    assert b.coordinator.num_lacking == 2
    few = bench(slots=1, trials=4, concurrent=2, store=Store.open(b.store.path("few")))
    few.jobs()
    assert few.coordinator.num_lacking == 1


def test_a_worker_lost_to_memory_is_told_to_the_next_until_an_epoch_is_done(bench):
    b = bench(slots=2, trials=1)
    b.jobs()
    told = [b.coordinator.job("t0001").lost_to_memory]
    for reason in (LOW_MEMORY, "its node is gone"):
        b.coordinator.lost("t0001", is_final=False, hung=False, reason=reason)
        told.append(b.coordinator.job("t0001").lost_to_memory)
    assert told == [False, True, False]
    b.coordinator.lost("p01", is_final=False, hung=False, reason=LOW_MEMORY)
    b.epoch("p01", 1, 0.5)
    assert not b.coordinator.job("p01").lost_to_memory


def test_a_hang_is_not_tried_again(bench):
    b = bench(slots=1, trials=1, hang_seconds=5.0)
    b.jobs()
    assert not b.coordinator.lost("p01", is_final=False, hung=True, reason="")
    assert b.statuses()["p01"] == ("failed", "no batch finished in 5 s")


def test_a_job_that_is_tried_again_knows_the_epochs_that_are_recorded(bench):
    b = bench(slots=1, trials=1, epochs=3)
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    b.jobs()
    b.epoch("t0001", 1, 0.5)
    assert b.coordinator.job("t0001").epochs_recorded == 1


def late(bench):
    """Run a search until its time is up within the second of the four epochs of its first trial."""
    b = bench(slots=1, trials=5, epochs=4, seconds=100.0, time=Time())
    b.jobs()
    b.epoch("p01", 1, 0.4, "completed")
    b.jobs()
    assert b.epoch("t0001", 1, 0.5)
    b.time.now = 120.0
    return b


def test_after_the_time_is_up_a_trial_stops_at_its_next_epoch_and_can_be_taken_up_again(bench):
    b = late(bench)
    assert not b.epoch("t0001", 2, 0.6)
    assert b.statuses()["t0001"] == ("paused", "the time is up")
    assert b.coordinator.next_job().kind == "final"
    b.kill()
    again = bench(slots=1, trials=5, epochs=4, seconds=300.0, store=b.store, time=Time())
    assert again.coordinator.clock.seconds_used == 120.0
    job = again.coordinator.next_job()
    assert (job.trial, job.epochs_recorded) == ("t0001", 2)


def test_where_a_resume_brings_a_budget_of_time_every_trial_is_asked_about_after_its_next_epoch(bench, make_search):
    b = bench(slots=1, trials=1, epochs=9, scheduler="none")
    b.writer.append({"event": "search", "slots": 1, "budget": {"trials": 1, "epochs": 9}})
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    b.jobs()
    assert b.epoch("t0001", 1, 0.5)
    b.kill()
    time = Time()
    again = bench(slots=1, trials=1, epochs=9, scheduler="none", seconds=100.0, store=b.store, time=time)
    again.writer.append({"event": "search", "slots": 1, "budget": {"trials": 1, "epochs": 9, "seconds": 100.0}})
    assert [job.trial for job in again.jobs()] == ["t0001"]
    assert again.epoch("t0001", 2, 0.6)
    time.now = 100.0
    assert not again.epoch("t0001", 3, 0.6)
    assert again.statuses()["t0001"] == ("paused", "the time is up")
    search = make_search(trials=1, epochs=9, scheduler="none", seconds=100.0)
    assert replay(search, b.store).difference is None


def test_time_is_reserved_for_the_final_test_from_the_evaluations_seen(bench):
    b = bench(slots=1, trials=1, epochs=2, seconds=100.0)
    assert b.coordinator.clock.seconds_reserved == 1.0
    b.jobs()
    result = EpochResult(
        epoch=1, metrics={"val_accuracy": 0.5}, seconds=9.0, status="completed", is_best=True, timings={"evaluate": 4.0}
    )
    b.coordinator.reported(Report(kind="epoch", trial="p01", result=result.to_json()))
    assert b.coordinator.clock.seconds_reserved == 7.0
    b.kill()
    again = bench(slots=1, trials=1, epochs=2, seconds=100.0, store=b.store)
    assert again.coordinator.clock.seconds_reserved == 7.0


def test_a_search_killed_anywhere_goes_on_with_the_same_names_and_counts_nothing_twice(bench):
    b = bench(slots=2, trials=3, epochs=2)
    b.jobs()
    b.epoch("p01", 1, 0.4, "completed")
    b.jobs()
    b.epoch("t0001", 1, 0.5)
    b.kill()
    again = bench(slots=2, trials=3, epochs=2, store=b.store)
    assert [(job.trial, job.epochs_recorded) for job in again.jobs()] == [("t0001", 1), ("t0002", 0)]
    again.epoch("t0001", 2, 0.6, "completed")
    again.epoch("t0002", 1, 0.5)
    assert [job.trial for job in again.jobs()] == ["t0003"]
    again.epoch("t0002", 2, 0.5, "completed")
    again.epoch("t0003", 1, 0.7, "completed")
    final = again.coordinator.next_job()
    assert (final.kind, final.trial, len(final.epochs)) == ("final", "t0003", 1)
    again.coordinator.reported(Report(kind="final", trial="t0003", result={"test_accuracy": 0.9}))
    assert again.coordinator.is_over
    numbers = [d.number for d in read_record(b.store).decisions]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_trial_whose_last_epoch_is_recorded_and_its_end_is_not_is_not_run_again(bench):
    b = bench(slots=1, trials=1)
    b.jobs()
    result = EpochResult(epoch=1, metrics={"val_accuracy": 0.5}, seconds=1.0, status="completed", is_best=True)
    b.writer.append({"event": "epoch", "trial": "p01", "result": result.to_json()})
    b.writer.flush()
    b.kill()
    again = bench(slots=1, trials=1, store=b.store)
    assert again.coordinator.next_job().trial == "t0001"
    assert again.statuses()["p01"][0] == "probe"


def test_a_winner_that_was_tested_is_not_tested_again(bench):
    b = bench(slots=1, trials=1, epochs=1)
    for trial in ("p01", "t0001"):
        b.jobs()
        b.epoch(trial, 1, 0.5, "completed")
    assert b.coordinator.next_job().kind == "final"
    b.coordinator.reported(Report(kind="final", trial="p01", result={"test_accuracy": 0.9}))
    b.kill()
    again = bench(slots=1, trials=1, epochs=1, store=b.store)
    assert again.coordinator.next_job() is None
    assert again.coordinator.is_over


def test_a_winner_that_was_trained_on_after_its_test_is_tested_again(bench):
    b = late(bench)
    b.epoch("t0001", 2, 0.6)
    assert b.coordinator.next_job().kind == "final"
    b.coordinator.reported(Report(kind="final", trial="t0001", result={"test_accuracy": 0.9}))
    b.kill()
    assert read_record(b.store).test == {"trial": "t0001", "metrics": {"test_accuracy": 0.9}}
    again = bench(slots=1, trials=1, epochs=4, seconds=300.0, store=b.store, time=Time())
    assert [job.trial for job in again.jobs()] == ["t0001"]
    again.epoch("t0001", 3, 0.7)
    assert read_record(b.store).test is None
    again.kill()
    last = bench(slots=1, trials=1, epochs=4, seconds=300.0, store=b.store, time=Time())
    assert [job.trial for job in last.jobs()] == ["t0001"]
    last.epoch("t0001", 4, 0.8, "completed")
    final = last.coordinator.next_job()
    assert (final.kind, final.trial, len(final.epochs)) == ("final", "t0001", 4)
    last.coordinator.reported(Report(kind="final", trial="t0001", result={"test_accuracy": 0.8}))
    assert read_record(b.store).test["metrics"] == {"test_accuracy": 0.8}
    assert last.coordinator.is_over


def test_a_seed_gives_the_same_decisions_twice(make_search, tmp_path):
    seen = []
    for name in ("a", "b"):
        b = Bench(make_search(trials=4, epochs=3, scheduler="asha"), Store.open(tmp_path / name), slots=1)
        while not b.coordinator.is_over:
            job = b.coordinator.next_job()
            if job.kind == "final":
                break
            for epoch in range(1, job.config["epochs"] + 1):
                status = "completed" if epoch == job.config["epochs"] else "running"
                if not b.epoch(job.trial, epoch, 0.1 * epoch + job.config["seed"] % 7, status):
                    break
        record = read_record(b.store)
        seen.append([(d.action, d.trial, d.reason) for d in record.decisions])
        seen.append([row.assignment for row in record.trials])
    assert seen[0] == seen[2]
    assert seen[1] == seen[3]


def drive(b):
    """Run a search to its end, one worker at a time."""
    while (job := b.coordinator.next_job()) is not None:
        if job.kind == "final":
            b.coordinator.reported(Report(kind="final", trial=job.trial, result={"test_accuracy": 0.9}))
            continue
        last = job.config["epochs"]
        for epoch in range(job.epochs_recorded + 1, last + 1):
            value = (job.config["seed"] % 97) / 100 + 0.001 * epoch
            status = "completed" if epoch == last else "running"
            if not b.epoch(job.trial, epoch, value, status, latency_ms=float(job.config["seed"] % 31)):
                break
    assert b.coordinator.is_over


def trials_of(store):
    record = read_record(store)
    return [(r.trial, r.status, r.assignment, [(e.epoch, e.metrics) for e in r.epochs]) for r in record.trials]


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        ("asha", {}),
        ("asha-promote", {}),
        ("asha", {"confirm": 1}),
        ("asha", {"confirm": 1, "keep": 4, "trials": 8, "metrics": ("accuracy", "-latency_ms")}),
    ],
)
def test_a_kill_after_any_event_changes_nothing_that_the_search_does(make_search, tmp_path, scheduler, options):
    search = make_search(**{"trials": 5, "epochs": 3, "scheduler": scheduler, **options})
    whole = Bench(search, Store.open(tmp_path / "whole"), slots=1)
    drive(whole)
    events = list(read_events(whole.store))
    assert len(events) > 30
    for count in range(1, len(events)):
        store = Store.open(tmp_path / f"cut-{count}")
        writer = RecordWriter(store)
        for event in events[:count]:
            writer.append({key: value for key, value in event.items() if key not in ("seq", "time")})
        writer.close()
        drive(Bench(search, store, slots=1))
        assert trials_of(store) == trials_of(whole.store)


def test_a_kill_forgets_ten_seconds_of_the_budget_at_most(make_search, tmp_path):
    store = Store.open(tmp_path)
    bench = Bench(make_search(), store)
    bench.jobs()
    for _ in range(47):
        bench.time.now += 0.5
        bench.coordinator.tick()
    assert read_record(store).seconds_used == 20.0
    before = len(list(read_events(store)))
    bench.coordinator.tick()
    assert len(list(read_events(store))) == before


def test_a_paused_trial_gives_up_its_slot_and_goes_on_from_where_it_was(bench):
    b = bench(slots=1, trials=3, epochs=3, scheduler="asha-promote")
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    for trial, value in (("t0001", 0.6), ("t0002", 0.8), ("t0003", 0.7)):
        assert [(job.trial, job.epochs_recorded) for job in b.jobs()] == [(trial, 0)]
        assert not b.epoch(trial, 1, value)
    assert [b.statuses()[trial][0] for trial in ("t0001", "t0002", "t0003")] == ["paused", "running", "paused"]
    assert [(job.trial, job.epochs_recorded) for job in b.jobs()] == [("t0002", 1)]
    assert b.statuses()["t0002"] == (
        "running",
        "rank 1 of 3 at rung 1: now among the best 1, it goes on",
    )
    assert b.epoch("t0002", 2, 0.8)
    assert not b.epoch("t0002", 3, 0.9, "completed")
    assert [(job.trial, job.epochs_recorded) for job in b.jobs()] == [("t0001", 1)]
    assert b.statuses()["t0001"] == ("running", "the space's default recipe is trained to its end")
    b.epoch("t0001", 2, 0.6)
    b.epoch("t0001", 3, 0.6, "completed")
    assert b.coordinator.next_job().kind == "final"
    assert [b.statuses()[trial][0] for trial in ("t0001", "t0002", "t0003")] == ["completed", "completed", "pruned"]


def test_what_waits_for_its_promotion_still_waits_after_a_kill(bench):
    b = bench(slots=1, trials=3, epochs=3, scheduler="asha-promote")
    b.jobs()
    b.epoch("p01", 1, 0.5, "completed")
    b.jobs()
    b.epoch("t0001", 1, 0.6)
    b.kill()
    again = bench(slots=1, trials=3, epochs=3, scheduler="asha-promote", store=b.store)
    assert [job.trial for job in again.jobs()] == ["t0002"]
    assert again.statuses()["t0001"][0] == "paused"


def test_a_trial_that_breaks_a_limit_ends_at_once_and_cannot_win(bench):
    b = bench(slots=1, trials=1, epochs=3, limits={"parameters": 1e6})
    b.jobs()
    b.epoch("p01", 1, 0.2, "completed", parameters=900_000)
    b.jobs()
    assert not b.epoch("t0001", 1, 0.9, parameters=1_100_000)
    assert b.statuses()["t0001"] == ("pruned", "parameters 1,100,000 is over the limit 1,000,000")
    assert b.coordinator.next_job().trial == "p01"


@pytest.mark.parametrize("status", ["running", "completed"])
def test_a_trial_that_breaks_a_limit_ends_also_if_a_kill_came_before_its_end_was_recorded(bench, status):
    options = {"slots": 1, "trials": 2, "epochs": 2, "limits": {"latency_ms": 5.0}}
    b = bench(**options)
    b.jobs()
    b.epoch("p01", 1, 0.4, "completed")
    b.jobs()
    metrics = {"val_accuracy": 0.9, "latency_ms": 9.0}
    result = EpochResult(epoch=1, metrics=metrics, seconds=1.0, status=status, is_best=True)
    b.writer.append({"event": "epoch", "trial": "t0001", "result": result.to_json()})
    b.writer.flush()
    b.kill()
    again = bench(**options, store=b.store)
    assert [job.trial for job in again.jobs()] == ["t0002"]
    assert again.statuses()["t0001"][0] == "pruned"


def test_when_all_break_a_limit_it_is_named(bench):
    b = bench(slots=1, trials=1, epochs=1, limits={"latency_ms": 5.0})
    for trial in ("p01", "t0001"):
        b.jobs()
        b.epoch(trial, 1, 0.5, "completed", latency_ms=9.0)
    reason = "latency_ms 9 is over the limit 5"
    assert str(b.coordinator.fatal) == f"None of the 2 trials keeps the limits; the commonest reason (2 of 2): {reason}"


def test_every_trial_that_ends_records_the_front_of_several_metrics(bench):
    b = bench(slots=1, trials=2, epochs=1, metrics=("accuracy", "-latency_ms"))
    b.jobs()
    b.epoch("p01", 1, 0.2, "completed", latency_ms=1.0)
    b.jobs()
    b.epoch("t0001", 1, 0.9, "completed", latency_ms=5.0)
    b.jobs()
    b.epoch("t0002", 1, 0.1, "completed", latency_ms=4.0)
    assert [(event["trials"], event["hypervolume"]) for event in events(b.store, "front")] == [
        (["p01"], 0.0),
        (["t0001", "p01"], 0.0),
        (["t0001", "p01"], 0.125),
    ]


def confirmed(bench, *values):
    """Run a search of two trials with their curves in order, and the trainings that confirm them, up to its test."""
    b = bench(slots=1, trials=4, epochs=2, confirm=1, keep=2)
    given = iter(values)
    while (job := b.coordinator.next_job()).kind == "trial":
        last = 1 if job.trial == "p01" else 2
        for epoch, value in enumerate(next(given), 1):
            b.epoch(job.trial, epoch, value, "completed" if epoch == last else "running")
    return b, job


def test_finalists_are_trained_again_with_other_seeds_and_the_best_mean_is_tested(bench):
    b, final = confirmed(bench, [0.1], [0.8, 0.9], [0.7, 0.8], [0.3, 0.2], [0.7, 0.75])
    assert [row.trial for row in read_record(b.store).trials] == ["p01", "t0001", "t0002", "t0001-s2", "t0002-s2"]
    one, again = (read_record(b.store).by_name[name].config for name in ("t0001", "t0001-s2"))
    assert again.seed != one.seed
    assert again.replace(seed=one.seed) == one
    assert final.trial == "t0002"
    assert final.config == one_config(b, "t0002")
    assert b.coordinator.ledger.best_value("t0002") == 0.8


def test_of_several_metrics_the_front_is_trained_again_and_recorded_by_its_means(bench):
    by_two = {"metrics": ("accuracy", "-latency_ms"), "trials": 5, "epochs": 1, "confirm": 1, "keep": 2}
    b = bench(slots=1, **by_two)
    given = {"p01": (0.1, 9.0), "t0001": (0.9, 5.0), "t0002": (0.8, 4.0), "t0003": (0.7, 6.0)}
    given |= {"t0001-s2": (0.5, 5.0), "t0002-s2": (0.8, 2.0)}
    while (job := b.coordinator.next_job()).kind == "trial":
        accuracy, latency = given[job.trial]
        b.epoch(job.trial, 1, accuracy, "completed", latency_ms=latency)
    assert [row.trial for row in read_record(b.store).trials] == list(given)
    assert job.trial == "t0002"
    fronts = [(event["trials"], event["hypervolume"]) for event in events(b.store, "front")]
    assert fronts[-3][0] == ["t0001", "t0002"]
    assert fronts[-1] == (["t0002"], pytest.approx(1.0))
    assert replay(b.coordinator._search, b.store).difference is None


def one_config(b, trial):
    return b.coordinator.ledger[trial].config


def test_a_trial_that_confirms_cannot_win_by_itself(bench):
    b, final = confirmed(bench, [0.1], [0.8, 0.9], [0.7, 0.8], [0.8, 0.9], [0.99, 0.99])
    assert b.coordinator.ledger.ranking() == ["t0001", "t0002", "p01"]
    assert final.trial == "t0001"


def test_a_confirmation_keeps_the_length_that_the_finalist_had_when_the_epochs_grow(bench):
    b, _ = confirmed(bench, [0.1], [0.8, 0.9], [0.7, 0.8], [0.8, 0.9], [0.7, 0.8])
    b.kill()
    grown = bench(slots=1, store=b.store, trials=10, epochs=5, confirm=1, keep=2)
    job = grown.coordinator.next_job()
    assert (job.trial, job.config["epochs"]) == ("t0003", 5)
    for epoch in range(1, 6):
        grown.epoch("t0003", epoch, 0.1, "completed" if epoch == 5 else "running")
    assert grown.coordinator.next_job().trial == "t0004"


def test_a_search_that_goes_on_with_more_trials_confirms_its_new_leader_which_then_wins(bench):
    b, final = confirmed(bench, [0.1], [0.8, 0.89], [0.7, 0.8], [0.8, 0.89], [0.7, 0.8])
    assert final.trial == "t0001"
    b.kill()
    more = bench(slots=1, store=b.store, trials=8, epochs=2, confirm=1, keep=2)
    given = {"t0003": 0.95, "t0003-s2": 0.93}
    while (job := more.coordinator.next_job()).kind == "trial":
        for epoch in (1, 2):
            more.epoch(job.trial, epoch, given.get(job.trial, 0.1), "completed" if epoch == 2 else "running")
    assert [row.trial for row in read_record(b.store).trials[5:]] == ["t0003", "t0004", "t0003-s2"]
    assert more.coordinator.ledger.ranking()[:2] == ["t0003", "t0001"]
    assert job.trial == "t0003"


def test_a_front_that_goes_on_with_more_trials_confirms_who_is_new_on_it(bench):
    by_two = {"metrics": ("accuracy", "-latency_ms"), "epochs": 1, "confirm": 1, "keep": 2}
    given = {"p01": (0.1, 9.0), "t0001": (0.9, 5.0), "t0002": (0.8, 4.0)}
    given |= {"t0001-s2": (0.7, 5.0), "t0002-s2": (0.6, 4.0)}
    later = {"t0003": (0.85, 3.0), "t0004": (0.1, 9.0), "t0003-s2": (0.85, 3.0)}
    b = bench(slots=1, trials=4, **by_two)
    while (job := b.coordinator.next_job()).kind == "trial":
        b.epoch(job.trial, 1, given[job.trial][0], "completed", latency_ms=given[job.trial][1])
    assert job.trial == "t0001"
    b.kill()
    more = bench(slots=1, store=b.store, trials=8, **by_two)
    while (job := more.coordinator.next_job()).kind == "trial":
        more.epoch(job.trial, 1, later[job.trial][0], "completed", latency_ms=later[job.trial][1])
    assert [row.trial for row in read_record(b.store).trials] == [*given, *later]
    assert job.trial == "t0003"
    assert events(b.store, "front")[-1]["trials"] == ["t0003"]


def timed(search, store):
    """Run a search to its end, one trial at a time, on epochs of a second each; return what its trials became."""
    b = Bench(search, store, slots=1)
    while (job := b.coordinator.next_job()) is not None and job.kind == "trial":
        value = (job.config["seed"] % 97) / 100
        for epoch in range(job.epochs_recorded + 1, 4):
            b.time.now += 1
            last = 1 if job.trial == "p01" else 3
            if not b.epoch(job.trial, epoch, value + 0.001 * epoch, "completed" if epoch == last else "running"):
                break
    b.kill()
    return trials_of(store)


def test_a_kill_during_the_confirmation_of_a_search_in_limited_time_changes_nothing_that_it_does(make_search, tmp_path):
    search = make_search(trials=None, seconds=25.0, epochs=3, confirm=1, keep=2)
    store = Store.open(tmp_path / "whole")
    whole = timed(search, store)
    assert [(trial, status, len(epochs)) for trial, status, _, epochs in whole[5:]] == [
        ("t0005", "paused", 2),
        ("t0003-s2", "completed", 3),
        ("t0002-s2", "completed", 3),
    ]
    recorded = list(read_events(store))
    first = next(n for n, event in enumerate(recorded) if event["event"] == "trial" and event["kind"] == "confirm")
    # The clock of an epoch is written behind it.
    cuts = [n for n in range(first + 1, len(recorded)) if recorded[n - 1]["event"] != "epoch"]
    assert len(cuts) > 15
    for count in cuts:
        cut = Store.open(tmp_path / f"cut-{count}")
        writer = RecordWriter(cut)
        for event in recorded[:count]:
            writer.append({key: value for key, value in event.items() if key not in ("seq", "time")})
        writer.close()
        assert timed(search, cut) == whole


def test_a_search_that_promises_too_little_ends_before_its_budget_and_its_replay_agrees(make_search, tmp_path):
    search, store = make_search(trials=30, epochs=1, min_improvement=10.0), Store.open(tmp_path)
    drive(Bench(search, store, slots=1))
    assert sum(row.kind == "trial" for row in read_record(store).trials) == 10
    assert "promise" in read_record(store).decisions[-1].reason
    assert replay(search, store).difference is None


def test_a_front_that_is_confirmed_is_decided_again_and_by_what_is_asked_it_ends_early(make_search, tmp_path):
    by_two = {"trials": 40, "epochs": 1, "metrics": ("accuracy", "-latency_ms"), "confirm": 1, "keep": 9}
    search, store = make_search(min_improvement=0.05, **by_two), Store.open(tmp_path)
    drive(Bench(search, store, slots=1))
    record = read_record(store)
    kinds = [row.kind for row in record.trials]
    assert 10 <= kinds.count("trial") < 30
    assert 3 <= kinds.count("confirm") <= 9
    assert any("of hypervolume" in decision.reason for decision in record.decisions)
    assert replay(search, store).difference is None
