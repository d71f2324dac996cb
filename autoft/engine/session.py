"""A warm worker's side of a search, without Ray: it takes a job, answers epoch by epoch, and keeps what is warm."""

import gc
import traceback
from dataclasses import dataclass, field, replace
from typing import Any

from autoft.backbones import weights_of
from autoft.core.configs import EpochResult, ExecutionPolicy, TrialConfig
from autoft.core.errors import AutoftError, StorageError, causes, is_disk_full
from autoft.core.storage import Store
from autoft.data import RunRows
from autoft.engine.job import Finalize, Heartbeat, Job, OpenTrial, Report, RunningTrial, WorkerSpec, load_attribute
from autoft.engine.triallog import TrialLog, trace_name


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSetup:
    """What all jobs of a search share."""

    spec: WorkerSpec
    store: Store
    """The run folder."""
    fingerprint: str
    """Of the rows, which lie in it."""
    hang_seconds: float
    cpus: float
    """Cores, and threads, of one trial, or of each of its workers."""
    gpus: float = 0
    """GPUs of each of a trial's workers, where there are several."""
    workers: int = 1
    """Processes that train one trial together."""
    rank: int = 0
    """Which of them this one is; the first writes and reports."""
    profiled: str | None = None
    """The trial whose first epoch is profiled."""
    policy: ExecutionPolicy = field(default_factory=ExecutionPolicy)


class WorkerSession:
    """One worker: a trial at a time, and what it keeps between them."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._rows = RunRows(setup.store, setup.fingerprint)
        self._warm: dict[str, Any] = {}
        self._job: Job | None = None
        self._trial: RunningTrial | None = None
        self._log: TrialLog | None = None

    def take(self, job: Job) -> None:
        """Leave the former trial and take a new job; nothing of it starts yet."""
        self.close()
        self._job = job

    def step(self) -> Report:
        """Do the next piece of the job, one epoch or the final test, and answer; whatever it raises is a failure."""
        job = self._job
        if job is None:
            raise RuntimeError("A worker was asked for an epoch before it was given a trial.")
        try:
            if self._log is None:
                rank = self._setup.rank
                self._log = TrialLog(self._setup.store, f"{job.trial}.{rank}" if rank else job.trial)
            log = self._log
            with (
                log.captured(),
                log.watch(self._setup.hang_seconds) as watch,
                weights_of(self._setup.store, watch.heartbeat),
            ):
                return self._attempt(job, watch.heartbeat, log)
        except OSError as error:
            return self._failed(job, error)

    def close(self) -> None:
        """Leave the trial; what is warm stays."""
        self._trial = None
        self._job = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _attempt(self, job: Job, heartbeat: Heartbeat, log: TrialLog) -> Report:
        try:
            if job.kind == "final":
                return self._finalize(job, heartbeat)
            if self._trial is None:
                self._trial = self._open(job, heartbeat)
            return Report(kind="epoch", trial=job.trial, result=self._trial.run_epoch().to_json())
        except Exception as error:  # noqa: BLE001
            # The one place where any error is caught: a trial runs a model, a loss, an optimizer of any library, and
            # whatever they raise is that trial's failure and not the search's.
            log.write(traceback.format_exc())
            return self._failed(job, error)

    def _open(self, job: Job, heartbeat: Heartbeat) -> RunningTrial:
        open_trial: OpenTrial = load_attribute(self._setup.spec.open_trial)
        return open_trial(
            TrialConfig.from_json(job.config, where=f"the configuration of {job.trial}"),
            rows=self._rows,
            store=self._setup.store.within(f"checkpoints/{job.trial}"),
            epochs_recorded=job.epochs_recorded,
            warm=self._warm,
            heartbeat=heartbeat,
            trace=self._keep_trace if job.trial == self._setup.profiled and not self._setup.rank else None,
            policy=replace(self._setup.policy, takes_less=job.lost_to_memory, gpu_share=min(1.0, job.gpus) or 1.0),
        )

    def _keep_trace(self, content: bytes) -> None:
        if self._setup.profiled is not None:
            self._setup.store.write(trace_name(self._setup.profiled), content)

    def _finalize(self, job: Job, heartbeat: Heartbeat) -> Report:
        finalize: Finalize = load_attribute(self._setup.spec.finalize)
        where = f"the record of {job.trial}"
        metrics = finalize(
            TrialConfig.from_json(job.config, where=where),
            trial=job.trial,
            epochs=tuple(EpochResult.from_json(epoch, where=where) for epoch in job.epochs),
            rows=self._rows,
            store=self._setup.store,
            warm=self._warm,
            heartbeat=heartbeat,
        )
        return Report(kind="final", trial=job.trial, result=metrics)

    def _failed(self, job: Job, error: Exception) -> Report:
        self._trial = None
        self._warm.clear()
        report = Report(
            kind="failed",
            trial=job.trial,
            reason=describe(error),
            disk_full=is_disk_full(error),
            store_lost=isinstance(error, StorageError),
            discard_worker=spoils_process(error),
        )
        error.__traceback__ = None  # its frames hold the tensors of the failed trial
        gc.collect()
        return report


def describe(error: BaseException) -> str:
    """Return an error in one line: ours as they are, others with their type."""
    text = str(error).strip().split("\n", maxsplit=1)[0]
    if isinstance(error, AutoftError):
        return text
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def spoils_process(error: BaseException) -> bool:
    """Return whether an error leaves its process in doubt: one of the accelerator's, or of memory."""
    return any(
        isinstance(cause, MemoryError) or type(cause).__name__ == "AcceleratorError" or "CUDA error" in str(cause)
        for cause in causes(error)
    )
