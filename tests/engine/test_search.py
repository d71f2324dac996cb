import dataclasses
import json
import os
import signal
import threading
import time

import pytest

from autoft.core.configs import StrategyConfig
from autoft.core.errors import Interrupted, WorkError
from autoft.core.storage import Store
from autoft.engine.replay import replay
from autoft.engine.search import run_search
from autoft.record import RecordWriter, read_record

pytestmark = pytest.mark.usefixtures("ray_cluster")


def run(search, store, spec, **more):
    return run_search(search, store=store, worker=spec, **more)


def statuses(store):
    return {row.trial: row.status for row in read_record(store).trials}


@pytest.fixture(scope="module")
def plain(ray_cluster, make_search, tmp_path_factory, spec):
    """A search in which all goes well."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "script.json").write_text(json.dumps({"t0002": {"curve": [0.6, 0.8]}}))
    store = Store.open(folder)
    seen = []
    outcome = run(make_search(trials=5), store, spec, listener=seen.append)
    return store, read_record(store), outcome, seen


def test_a_search_probes_then_trains_the_default_then_the_rest_and_tests_the_winner(plain):
    store, record, outcome, _ = plain
    assert [row.trial for row in record.trials] == ["p01", "t0001", "t0002", "t0003", "t0004", "t0005"]
    assert [row.status for row in record.trials] == ["probe", *["completed"] * 5]
    assert [len(row.epochs) for row in record.trials] == [1, 2, 2, 2, 2, 2]
    assert outcome.winner == "t0002"
    assert outcome.test["test_accuracy"] == 0.9
    assert record.test["trial"] == "t0002"
    assert store.read("best/winner.txt") == b"t0002"
    assert record.seconds_used > 0


def test_every_decision_has_a_reason_and_the_last_is_that_it_is_done(plain):
    _, record, _, _ = plain
    assert all(decision.reason for decision in record.decisions)
    assert record.decisions[-1].action == "done"


def test_the_record_holds_the_configuration_that_the_worker_filled(plain):
    _, record, _, _ = plain
    assert record.by_name["t0001"].config.versions == {"scripted": "1"}


def test_a_search_that_ends_seals_its_record(plain):
    store, _, _, _ = plain
    assert not [name for name in store.list("results") if name.startswith("journal")]
    assert [name for name in store.list("results") if name.endswith(".parquet")]


def test_trials_and_the_final_test_share_warm_workers_that_load_nothing_by_themselves(plain):
    _, record, outcome, _ = plain
    processes = {result.metrics["process"] for row in record.trials for result in row.epochs}
    assert len(processes) <= 2
    assert outcome.test["process"] in processes
    assert outcome.test["torch"] is False
    assert os.getpid() not in processes


def test_the_listener_sees_the_search_move(plain):
    _, _, _, seen = plain
    assert seen[0].stage == "starting the workers"
    assert "The search ends: " in " ".join(progress.line for progress in seen)
    assert seen[-1].best.trial == "t0002"
    assert max(progress.trials_running for progress in seen) == 2
    assert seen[-1].epochs_done == 11


@pytest.fixture(scope="module")
def mishaps(ray_cluster, make_search, tmp_path_factory, spec):
    """A search in which trials raise, die, hang and spoil their workers."""
    folder = tmp_path_factory.mktemp("mishaps")
    scripts = {
        "t0001": {"fail_at": 2},
        "t0002": {"die_at": 3, "curve": [0.7, 0.8, 0.9, 0.9]},
        "t0003": {"hang_at": 1},
        "t0004": {"spoil_at": 1},
        "t0005": {"always_die": True},
    }
    (folder / "script.json").write_text(json.dumps(scripts))
    store = Store.open(folder)
    outcome = run(make_search(trials=7, epochs=4, hang_seconds=6.0), store, spec)
    return store, read_record(store), outcome


def test_what_a_lost_worker_left_half_written_is_removed_before_its_trial_goes_on(mishaps):
    _, record, _ = mishaps
    assert [epoch.metrics["unpublished"] for epoch in record.by_name["t0002"].epochs] == [0, 0, 0, 0]
    assert record.by_name["t0002"].epochs[-1].metrics["opened_at"] == 2


def test_mishaps_of_trials_end_no_search(mishaps):
    store, _, outcome = mishaps
    assert outcome.winner == "t0002"
    assert statuses(store) == {
        "p01": "probe",
        "t0001": "failed",
        "t0002": "completed",
        "t0003": "failed",
        "t0004": "failed",
        "t0005": "failed",
        "t0006": "completed",
        "t0007": "completed",
    }


def test_a_trial_that_raises_is_failed_once_with_its_traceback_in_its_log(mishaps):
    store, record, _ = mishaps
    row = record.by_name["t0001"]
    assert row.reason == "ValueError: a tensor of the wrong shape"
    assert len(row.epochs) == 1
    log = store.read("logs/t0001.txt").decode()
    assert log.count("--- ") == 1
    assert "epoch 1 of t0001" in log
    assert "written below Python" in log
    assert "UserWarning: about to fail" in log
    assert "Traceback (most recent call last)" in log
    assert "ValueError: a tensor of the wrong shape" in log


def test_a_lost_workers_trial_goes_on_from_its_last_checkpoint(mishaps):
    _, record, _ = mishaps
    epochs = record.by_name["t0002"].epochs
    assert [result.epoch for result in epochs] == [1, 2, 3, 4]
    assert [result.metrics["opened_at"] for result in epochs] == [0, 0, 2, 2]
    assert sum(note.startswith("The worker of t0002 was lost") for note in record.notes) == 1


def test_a_hang_is_ended_once_with_the_place_in_the_log(mishaps):
    store, record, _ = mishaps
    assert record.by_name["t0003"].reason == "no batch finished in 6 s"
    log = store.read("logs/t0003.txt").decode()
    assert log.count("--- ") == 1
    assert "_mishap" in log
    assert not [name for name in store.list("logs") if name.endswith(".hang")]


def test_a_worker_in_doubt_is_replaced_and_no_other_trial_suffers(mishaps):
    _, record, _ = mishaps
    assert record.by_name["t0004"].reason == "MemoryError: out of memory"
    assert {note.split()[3] for note in record.notes} == {"t0002", "t0005"}


def test_a_trial_that_loses_every_worker_is_failed_after_three(mishaps):
    _, record, _ = mishaps
    assert record.by_name["t0005"].reason.startswith("its worker was lost 3 times")


def test_a_full_disk_and_a_failed_final_test_end_a_search_and_a_resume_goes_on(make_search, run_folder, spec):
    store = run_folder({"t0001": {"full_at": 2}})
    with pytest.raises(WorkError, match="No space left on the disk"):
        run(make_search(trials=1), store, spec)
    assert statuses(store)["t0001"] == "running"
    run_folder({"final": "fail"})
    with pytest.raises(WorkError, match="The final test of t0001 failed: ValueError: no test split"):
        run(make_search(trials=1), store, spec)
    run_folder({})
    outcome = run(make_search(trials=1), store, spec)
    record = read_record(store)
    assert [(row.trial, row.status) for row in record.trials] == [("p01", "probe"), ("t0001", "completed")]
    assert [result.epoch for result in record.by_name["t0001"].epochs] == [1, 2]
    assert len(record.searches) == 3
    assert record.test["trial"] == outcome.winner == "t0001"
    assert outcome.test["test_accuracy"] == 0.9


def test_when_all_fail_the_commonest_reason_is_the_error(make_search, run_folder, spec):
    store = run_folder({name: {"fail_at": 1} for name in ("p01", "t0001", "t0002")})
    with pytest.raises(WorkError, match=r"All 3 trials failed; the commonest reason \(3 of 3\): ValueError"):
        run(make_search(trials=2), store, spec)


def test_only_the_best_of_the_leading_trials_is_kept(make_search, run_folder, spec):
    scripts = {f"t{n:04d}": {"curve": [0.1 * n, 0.1 * n]} for n in (1, 2, 3, 4)} | {"p01": {"curve": [0.05]}}
    store = run_folder(scripts)
    run(make_search(trials=4, keep=2), store, spec)
    assert store.list("checkpoints") == ["t0003", "t0004"]
    assert store.list("checkpoints/t0004") == ["best.safetensors"]


def test_seconds_are_honoured_within_an_epoch_and_a_resume_adds_up(make_search, run_folder, spec):
    store = run_folder({f"t{n:04d}": {"seconds": 0.3} for n in range(1, 40)})
    run(make_search(trials=40, epochs=100, seconds=14.0), store, spec)
    record = read_record(store)
    assert 10.0 < record.seconds_used < 40.0
    paused = [row.trial for row in record.trials if row.status == "paused"]
    assert paused
    assert record.test is not None
    run(make_search(trials=2, epochs=100, seconds=record.seconds_used + 10.0), store, spec)
    again = read_record(store)
    assert again.seconds_used > record.seconds_used
    assert any(len(again.by_name[t].epochs) > len(record.by_name[t].epochs) for t in paused)


def test_ctrl_c_ends_a_search_in_seconds_and_a_resume_goes_on_from_the_checkpoints(make_search, run_folder, spec):
    store = run_folder({"t0001": {"seconds": 0.2}, "t0002": {"seconds": 600.0}})
    sent = []

    def interrupt():
        while "t0002" not in statuses(store) or len(read_record(store).by_name["t0001"].epochs) < 3:
            time.sleep(0.1)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    watching = threading.Thread(target=interrupt, daemon=True)
    writer = RecordWriter(store)
    writer.close()
    watching.start()
    with pytest.raises(Interrupted):
        run(make_search(trials=2, epochs=1000), store, spec)
    watching.join()
    assert time.monotonic() - sent[0] < 60.0  # an epoch of the second takes 600
    record = read_record(store)
    assert record.has_ended
    assert statuses(store) == {"p01": "probe", "t0001": "running", "t0002": "running"}
    done = len(record.by_name["t0001"].epochs)
    assert done >= 3
    run_folder({"t0001": {"curve": [0.5] * (done + 2)}, "t0002": {"curve": [0.4]}})
    run(make_search(trials=2, epochs=1000), store, spec)
    again = read_record(store).by_name["t0001"]
    assert [result.epoch for result in again.epochs] == list(range(1, done + 3))
    assert again.epochs[-1].metrics["opened_at"] >= done


def test_one_worker_and_one_seed_make_the_same_decisions_twice(make_search, tmp_path, spec):
    seen = []
    for name in ("a", "b"):
        store = Store.open(tmp_path / name)
        run(make_search(trials=4, epochs=3, scheduler="asha", concurrent=1), store, spec)
        seen.append([(d.action, d.trial, d.until_epoch, d.reason) for d in read_record(store).decisions])
    assert seen[0] == seen[1]


def test_paused_trials_go_on_in_warm_workers_from_their_checkpoints(make_search, run_folder, spec):
    curves = {f"t{number:04d}": {"curve": [height, height, height]} for number, height in enumerate([0.2, 0.9, 0.4], 1)}
    store = run_folder(curves)
    outcome = run(make_search(trials=3, epochs=3, scheduler="asha-promote", concurrent=1), store, spec)
    assert outcome.winner == "t0002"
    record = read_record(store)
    assert statuses(store) == {"p01": "probe", "t0001": "completed", "t0002": "completed", "t0003": "pruned"}
    actions = [(decision.action, decision.trial) for decision in record.decisions if decision.action != "wait"]
    assert actions == [
        ("start", "p01"),
        ("start", "t0001"),
        ("pause", "t0001"),
        ("start", "t0002"),
        ("pause", "t0002"),
        ("start", "t0003"),
        ("pause", "t0003"),
        ("continue", "t0002"),
        ("continue", "t0001"),
        ("stop", "t0003"),
        ("done", None),
    ]
    assert [result.metrics["opened_at"] for result in record.by_name["t0002"].epochs] == [0, 1, 1]
    assert len({result.metrics["process"] for row in record.trials for result in row.epochs}) == 1


def test_a_deterministic_search_decides_the_same_however_long_its_epochs_take(make_search, tmp_path, spec):
    search = make_search(trials=6, epochs=3, scheduler="asha-promote", concurrent=3, deterministic=True)
    heights = [0.5, 0.9, 0.4, 0.7, 0.8, 0.6]
    seen = []
    for slow in (1, 3):
        store = Store.open(tmp_path / str(slow))
        scripts = {
            f"t{number:04d}": {"curve": [height] * 3, "seconds": 0.3 if number == slow else 0.0}
            for number, height in enumerate(heights, 1)
        }
        store.write("script.json", json.dumps(scripts).encode())
        run(search, store, spec)
        record = read_record(store)
        seen.append([(d.action, d.trial, d.until_epoch, d.reason, d.logical) for d in record.decisions])
        assert sum("Keeping the logical order left workers idle" in note for note in record.notes) == 1
    assert seen[0] == seen[1]


def test_finalists_are_trained_again_in_the_workers_and_the_best_mean_is_tested_and_kept(make_search, run_folder, spec):
    heights = {"t0001": 0.9, "t0002": 0.8, "t0003": 0.3, "t0001-s2": 0.2, "t0002-s2": 0.7}
    store = run_folder({name: {"curve": [height] * 2} for name, height in heights.items()})
    outcome = run(make_search(trials=5, confirm=1, keep=2), store, spec)
    assert statuses(store) == {"p01": "probe", **dict.fromkeys(heights, "completed")}
    assert outcome.winner == "t0002"
    assert store.read("best/winner.txt") == b"t0002"
    assert sorted(store.list("checkpoints")) == ["t0001", "t0002"]


def test_rays_own_searcher_and_scheduler_run_a_search_that_is_replayed(make_search, run_folder, spec):
    search = dataclasses.replace(
        make_search(trials=5, epochs=3, concurrent=1),
        searcher=StrategyConfig(name="ray:HyperOptSearch", options={"n_initial_points": 2}),
        scheduler=StrategyConfig(name="ray:AsyncHyperBandScheduler", options={"reduction_factor": 2}),
    )
    heights = {f"t{number:04d}": height for number, height in enumerate([0.5, 0.9, 0.1, 0.8, 0.2], 1)}
    store = run_folder({trial: {"curve": [height] * 3} for trial, height in heights.items()})
    assert run(search, store, spec).winner == "t0002"
    assert {trial for trial, status in statuses(store).items() if status == "pruned"} == {"t0003", "t0005"}
    assert replay(search, store).difference is None
