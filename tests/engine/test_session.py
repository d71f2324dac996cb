import errno
import logging
import subprocess
import sys
import time

import pytest

from autoft.core.configs import ExecutionPolicy, TrialConfig
from autoft.core.errors import WorkError, is_disk_full
from autoft.core.storage import Store
from autoft.engine.job import Job, Report, WorkerSpec
from autoft.engine.session import WorkerSession, WorkerSetup, describe, spoils_process
from autoft.engine.triallog import TrialLog, hang_name, preparation, remove_watches, take_hang


def config(**changes):
    values = {"task": "text-classification", "data": {}, "recipe": {}, "epochs": 2, "metrics": ("accuracy",), "seed": 1}
    return TrialConfig(**{**values, **changes}).to_json()


@pytest.fixture
def session(run_folder, spec):
    def make(scripts, spec=spec):
        store = run_folder(scripts)
        return WorkerSession(
            WorkerSetup(spec=spec, store=store, fingerprint="0" * 64, hang_seconds=60.0, cpus=1)
        ), store

    return make


def test_jobs_and_reports_survive_their_json():
    job = Job(kind="final", trial="t0001", config=config(), epochs=({"epoch": 1},))
    assert Job.from_text(job.to_text()) == job
    report = Report(kind="failed", trial="t0001", reason="why", disk_full=True)
    assert Report.from_text(report.to_text()) == report


def test_a_worker_answers_epoch_by_epoch_and_goes_on_where_it_left(session):
    one, _ = session({})
    one.take(Job(kind="trial", trial="t0001", config=config()))
    assert one.step().result["epoch"] == 1
    one.take(Job(kind="trial", trial="t0001", config=config(), epochs_recorded=1))
    report = one.step()
    assert (report.result["epoch"], report.result["metrics"]["opened_at"]) == (2, 1)
    one.close()


def test_a_trial_is_opened_under_the_policy_of_the_search(run_folder, spec):
    policy = ExecutionPolicy(measures=True, trainings=4.0)
    setup = WorkerSetup(spec=spec, store=run_folder({}), fingerprint="0" * 64, hang_seconds=60.0, cpus=1, policy=policy)
    one = WorkerSession(setup)
    one.take(Job(kind="trial", trial="t0001", config=config()))
    one.step()
    assert one._trial.policy == policy
    one.close()


def test_a_factory_that_is_not_there_fails_the_trial_in_words(session):
    one, store = session({}, WorkerSpec(open_trial="tests.engine.workers:nothing"))
    one.take(Job(kind="trial", trial="t0001", config=config()))
    report = one.step()
    one.close()
    assert report.kind == "failed"
    assert report.reason == "AttributeError: module 'tests.engine.workers' has no attribute 'nothing'"
    assert b"Traceback" in store.read("logs/t0001.txt")


def test_what_a_trial_prints_goes_to_its_log_and_nowhere_else(session, capfd):
    one, store = session({})
    one.take(Job(kind="trial", trial="t0001", config=config()))
    one.step()
    one.close()
    assert capfd.readouterr() == ("", "")
    assert b"epoch 1 of t0001" in store.read("logs/t0001.txt")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (WorkError("a sentence."), "a sentence."),
        (ValueError("first\nsecond"), "ValueError: first"),
        (KeyError(), "KeyError"),
    ],
)
def test_an_error_is_told_in_one_line(error, text):
    assert describe(error) == text


def test_a_full_disk_is_known_through_other_libraries_errors():
    wrapped = RuntimeError("cannot save")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_disk_full(wrapped)
    assert is_disk_full(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert not is_disk_full(OSError(errno.ENOENT, "no such file"))
    assert spoils_process(RuntimeError("CUDA error: device-side assert triggered"))
    assert not spoils_process(ValueError("shape"))


def test_silence_ends_the_process_and_leaves_where_it_was(tmp_path):
    code = (
        "import time\n"
        "from autoft.core.storage import Store\n"
        "from autoft.engine.triallog import TrialLog\n"
        f"log = TrialLog(Store.open({str(tmp_path)!r}), 't0001')\n"
        "with log.watch(2.0) as watch:\n"
        "    for _ in range(25):\n"
        "        time.sleep(0.1)\n"
        "        watch.heartbeat()\n"
        "    time.sleep(60)\n"
    )
    before = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 1
    assert 4.0 < time.monotonic() - before < 30.0
    store = Store.open(tmp_path)
    assert take_hang(store, "t0001")
    assert not take_hang(store, "t0001")
    assert b"line 9" in store.read("logs/t0001.txt")


IN_A_STORE = """
import re, sys, time
from autoft.core.storage import Store
from autoft.engine import triallog

triallog.TELL_SECONDS = 20.0 if sys.argv[2] == "sleep" else 1.0
log = triallog.TrialLog(Store.open(sys.argv[1]), "t0001")
log.write("the data are read")
with log.watch(1.0) as watch:
    for _ in range(15):
        time.sleep(0.1)
        watch.heartbeat()
    if sys.argv[2] == "sleep":
        time.sleep(60)
    else:
        re.match("(a+)+$", "a" * 40 + "b")  # for hours, and no other thread runs
"""


def test_silence_in_a_search_on_a_store_is_told_there_with_the_log(s3):
    store = Store.open(s3.uri("run"))
    before = time.monotonic()
    done = subprocess.run([sys.executable, "-c", IN_A_STORE, s3.uri("run"), "sleep"], check=False)
    assert done.returncode == 1
    assert 2.0 < time.monotonic() - before < 20.0
    assert take_hang(store, "t0001")
    assert not take_hang(store, "t0001")
    log = store.read("logs/t0001.txt")
    assert b"the data are read\nNo batch was finished in time; the threads were at:\n" in log
    assert b"line 14" in log


@pytest.mark.slow
def test_silence_that_no_thread_can_tell_a_store_of_ends_the_process_all_the_same(s3):
    done = subprocess.run([sys.executable, "-c", IN_A_STORE, s3.uri("run"), "match"], check=False, timeout=60)
    assert done.returncode == 1
    assert not take_hang(Store.open(s3.uri("run")), "t0001")


def test_what_former_watches_left_in_a_store_is_no_sign_of_a_hang(s3):
    store = Store.open(s3.uri("run"))
    store.write(hang_name("t0001"), b"the threads were at")
    remove_watches(store)
    assert not take_hang(store, "t0001")


def test_a_log_that_is_closed_leaves_no_sign_of_a_hang(tmp_path):
    store = Store.open(tmp_path)
    log = TrialLog(store, "t0001")
    log.close()
    assert store.list("logs") == ["t0001.txt"]
    assert not take_hang(store, "t0001")


def test_what_autoft_logs_is_in_the_trials_log_and_its_last_line_says_how_far_the_data_are(tmp_path):
    store = Store.open(tmp_path)
    assert preparation(store, "t0001") == ""
    log, logger = TrialLog(store, "t0001"), logging.getLogger("autoft.anything")
    assert preparation(store, "t0001") == ""
    with log.captured():
        logger.info("Preparing pictures (train): %s of 3,000.", "1,200")
        assert preparation(store, "t0001") == "Preparing pictures (train): 1,200 of 3,000."
        logging.getLogger("another").info("not ours")
        assert preparation(store, "t0001") == "Preparing pictures (train): 1,200 of 3,000."
        logger.warning("done")
    logger.info("no longer heard")
    log.close()
    assert preparation(store, "t0001") == ""
    assert store.read("logs/t0001.txt").decode().splitlines()[1:] == [
        "Preparing pictures (train): 1,200 of 3,000.",
        "done",
    ]
