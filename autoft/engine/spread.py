"""One trial over several workers: a TorchTrainer inside the trial, whose workers stay warm from trial to trial.

Each worker is a `WorkerSession` as a trial alone has it, and they train together; the trial's own process only says
what is to be done and takes the answers. Loads ray.train when the first trial starts.
"""

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autoft.core.configs import TrialConfig
from autoft.core.storage import Store
from autoft.engine.job import LOW_MEMORY, Job, Report
from autoft.engine.machine import scratch_folder
from autoft.engine.session import WorkerSession, WorkerSetup
from autoft.engine.threads import limit_threads
from autoft.engine.triallog import hang_name, log_name

LOOK_SECONDS = 0.5
"""Between two looks at whether the workers are still there."""
GRACE_SECONDS = 5.0
"""For the others to fail by themselves, after one has: those that do not wait for it, and for ever."""
END_SECONDS = 20.0
"""For the workers to end when they are asked to."""
ENVIRONMENT: Mapping[str, str] = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""Ray Train reads these: no output, and no process that does not train but the two that it cannot do without."""
OTHERS_LOST = "OthersLostError: "
"""How a worker's answer begins that failed because another is gone: `training.group`'s error."""
LOST = "one of the trial's workers was lost"
"""Why a trial that several workers train is tried again."""


class WorkerLostError(Exception):
    """One of a trial's workers is gone, and with it the others."""


class Board:
    """Where a trial's process and its workers leave each other word: an actor without a core of its own."""

    def __init__(self) -> None:
        self._orders: list[str | None] = []
        self._is_new = asyncio.Condition()
        self._answers: asyncio.Queue[tuple[int, str]] = asyncio.Queue()

    async def post(self, order: str | None) -> None:
        """Tell all workers what to do next: a new job, as text; "": the next step of the last one; None: end."""
        async with self._is_new:
            self._orders.append(order)
            self._is_new.notify_all()

    async def order(self, number: int) -> str | None:
        """Return the order of a number, counted from 0, once it is there."""
        async with self._is_new:
            await self._is_new.wait_for(lambda: len(self._orders) > number)
        return self._orders[number]

    async def answer(self, rank: int, text: str) -> None:
        """Take what a worker answers to an order."""
        await self._answers.put((rank, text))

    async def answered(self, seconds: float) -> tuple[int, str] | None:
        """Return the next answer, or None where there is none for so long."""
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._answers.get(), seconds)
        return None


def serve(config: dict[str, Any]) -> None:
    """Be one of the workers of a trial, until told to end.

    Args:
        config: `board`, and the `setup` of the trial's worker.
    """
    import ray.train

    board, rank = config["board"], ray.train.get_context().get_world_rank()
    setup: WorkerSetup = replace(config["setup"], rank=rank)
    limit_threads(setup.cpus)
    session, is_mine = WorkerSession(setup), True
    for number in itertools.count():
        order = ray.get(board.order.remote(number))
        if order is None:
            break
        if order:
            job = Job.from_text(order)
            is_mine = rank == 0 or is_shared(job)
            session.take(job)
        ray.get(board.answer.remote(rank, session.step().to_text() if is_mine else ""))
    session.close()


def is_shared(job: Job) -> bool:
    """Return whether all workers do a job together: a probe, and the final test, are for one alone."""
    return job.kind == "trial" and TrialConfig.from_json(job.config, where="the job").kind != "probe"


class SpreadSession:
    """The side of a search of a trial that several workers train; see `session.WorkerSession`."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._team: Team | None = None
        self._job: Job | None = None
        self._is_new = False

    def take(self, job: Job) -> None:
        """Take a new job; nothing of it starts yet."""
        self._job, self._is_new = job, True

    def step(self) -> Report:
        """Let the workers do the next piece of the job, and return what the first of them answers, or who failed.

        Raises:
            WorkerLostError: If one of them is gone.
        """
        job = self._job
        if job is None:
            raise RuntimeError("A worker was asked for an epoch before it was given a trial.")
        if self._team is None:
            self._team = Team(self._setup)
        order, self._is_new = job.to_text() if self._is_new else "", False
        try:
            return self._team.do(order)
        except WorkerLostError:
            _keep_traces(self._setup.store, job.trial, self._setup.workers, self._team.error)
            raise

    def close(self) -> None:
        """Let the workers end."""
        if self._team is not None:
            self._team.end()
            self._team = None


class Team:
    """The workers of a trial, under a TorchTrainer in a thread of its own."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Start them; they are there when they answer."""
        os.environ.update(ENVIRONMENT)
        self._size = setup.workers
        self._stack = ExitStack()
        folder = self._stack.enter_context(scratch_folder("autoft-train-"))
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board: Any = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here).remote()
        self.error = ""
        """What Ray Train said when it ended."""
        self._thread = threading.Thread(target=self._run, args=(setup, str(folder)), name="trainer", daemon=True)
        self._thread.start()

    def _run(self, setup: WorkerSetup, folder: str) -> None:
        from autoft.engine.trainer import fit

        self.error = fit(serve, {"board": self._board, "setup": setup}, setup, folder=folder)

    def do(self, order: str) -> Report:
        """Give an order and return the first worker's answer; of one that failed, where one did.

        Raises:
            WorkerLostError: If one of them is gone.
        """
        ray.get(self._board.post.remote(order))
        answers: dict[int, Report | None] = {}
        failed: Report | None = None
        until = float("inf")
        while len(answers) < self._size:
            if time.monotonic() > until and failed is not None:
                # The others wait for the one that failed: the next step ends this process, and all of them with it.
                return replace(failed, discard_worker=True)
            answer = ray.get(self._board.answered.remote(LOOK_SECONDS))
            if answer is not None:
                rank, text = answer
                answers[rank] = report = Report.from_text(text) if text else None
                if failed is None and report is not None and _is_cause(report):
                    failed, until = report, time.monotonic() + GRACE_SECONDS
            elif not self._thread.is_alive():
                reason = LOW_MEMORY if "running low on memory" in self.error else LOST
                raise WorkerLostError(reason)
        reports = [report for _, report in sorted(answers.items()) if report is not None]
        told = failed or next((report for report in reports if report.kind == "failed"), reports[0])
        return replace(told, discard_worker=any(report.discard_worker for report in reports))

    def end(self) -> None:
        """Let them end, and wait for it."""
        if self._thread.is_alive():
            self._board.post.remote(None)
            self._thread.join(END_SECONDS)
        ray.kill(self._board)
        self._stack.close()


def _is_cause(report: Report) -> bool:
    """Return whether a worker failed by itself: that others are gone, Ray Train says, too, and then they are lost."""
    return report.kind == "failed" and not report.reason.startswith(OTHERS_LOST)


def _keep_traces(store: Store, trial: str, workers: int, error: str) -> None:
    """Add what Ray Train said to the trial's log; what a hang of any worker left is the trial's."""
    log = store.read(log_name(trial)) if store.exists(log_name(trial)) else b""
    store.write(log_name(trial), log + error.encode() + b"\n")
    for rank in range(1, workers):
        name = hang_name(f"{trial}.{rank}")
        trace = store.read(name) if store.exists(name) else b""
        if trace:
            store.write(hang_name(trial), trace)
        store.delete(name)
