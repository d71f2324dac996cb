"""The doors through which an engine, a reproduction or a test runs a trial."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from autoft.core.configs import EpochResult, ExecutionPolicy, TrialConfig
from autoft.core.errors import AutoftError, WorkError
from autoft.core.freed import keep_freed_memory
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.training.execution import device_names, versions
from autoft.training.group import ALONE, Group
from autoft.training.loop import Trial
from autoft.training.memory import keep_to_share
from autoft.training.probe import Probe
from autoft.training.profiling import Keep
from autoft.training.warm import WarmCache
from autoft.training.workbench import Workbench

FAILED = "failed"
"""Told in place of a configuration: why there is none."""

_log = logging.getLogger(__name__)


class Running(Protocol):
    """A trial or probe under way."""

    @property
    def config(self) -> TrialConfig:
        """The filled configuration, with what the worker has found out so far."""
        ...

    def run_epoch(self) -> EpochResult:
        """Train one epoch and say how it went."""
        ...


def open_trial(
    config: TrialConfig,
    dataset: Dataset,
    *,
    store: Store,
    epochs_recorded: int = 0,
    warm: WarmCache | None = None,
    heartbeat: Callable[[], None] | None = None,
    trace: Keep | None = None,
    policy: ExecutionPolicy | None = None,
    group: Group = ALONE,
) -> Running:
    """Return the trial that `config` describes, at the epoch of its last checkpoint in `store`.

    Args:
        config: Complete; what a worker fills in is filled in if it is not there, and obeyed if it is.
        dataset: Must have the fingerprint that the configuration names.
        store: Folder of the trial's checkpoints.
        epochs_recorded: Epochs of it that somebody has noted; the next that it reports is one more.
        warm: What this worker keeps between trials.
        heartbeat: Called after every batch; whoever watches may take silence for a hang.
        trace: Gets a profiler's trace of the first epoch that is trained here; a probe has none.
        policy: How a configuration without `execution` is computed; None: as rules say.
        group: The processes that train it together, each of which calls this. A probe has one alone.

    Raises:
        AutoftError: If the configuration cannot be run here.
    """
    opened = time.perf_counter()
    keep_freed_memory()
    keep_to_share((policy or ExecutionPolicy()).gpu_share)
    kept = warm if warm is not None else WarmCache()
    arguments: Json = {"heartbeat": heartbeat} if heartbeat is not None else {}
    group = ALONE if config.kind == "probe" else group

    def set_up(config: TrialConfig) -> Workbench:
        return Workbench.set_up(config, dataset, warm=kept, policy=policy, group=group, **arguments)

    bench = set_up(config) if group.is_alone else _set_up_together(set_up, config, group)
    if bench.execution.workers != group.size:
        _log.info(
            "The configuration was trained by %d workers together, and is now by %d: on the same batches, but the last "
            "digits may differ.",
            bench.execution.workers,
            group.size,
        )
    if config.kind == "probe":
        return Probe(bench, store, opened=opened)
    return Trial(bench, store, opened=opened, epochs_recorded=epochs_recorded, trace=trace)


def _set_up_together(set_up: Callable[[TrialConfig], Workbench], config: TrialConfig, group: Group) -> Workbench:
    """Return the workbench of one of a group: the first process decides how it is computed, and the others obey.

    Raises:
        AutoftError: If the first process cannot run the configuration, or this one.
    """
    if not group.is_first:
        told = group.first(None)
        if FAILED in told:
            raise WorkError(told[FAILED])
        return set_up(TrialConfig.from_json(told, where="the first worker's configuration"))
    try:
        bench = set_up(config)
    except AutoftError as error:
        group.first({FAILED: str(error)})
        raise
    group.first(bench.config.to_json())
    return bench


def run_trial(
    config: TrialConfig, dataset: Dataset, report: Callable[[EpochResult], bool], *, store: Store
) -> TrialConfig:
    """Run a trial in this process and return its filled configuration.

    Args:
        config: The trial.
        dataset: Must have the fingerprint that the configuration names.
        report: Gets each epoch's result; False ends the trial.
        store: Folder of the trial's checkpoints.
    """
    trial = open_trial(config, dataset, store=store)
    while True:
        result = trial.run_epoch()
        if not report(result) or result.status != "running":
            return trial.config


def here() -> Json:
    """Return what a trial would record of this machine: `versions`, and `devices` by kind."""
    return {"versions": versions(), "devices": device_names()}
