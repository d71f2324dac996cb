"""What the driver asks of a worker and what it answers: JSON both ways, so that each side can be tested alone."""

import dataclasses
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from autoft.core.configs import EpochResult, ExecutionPolicy, TrialConfig
from autoft.core.jsonable import Json, canonical_json
from autoft.core.storage import Store
from autoft.data import RunRows

Heartbeat = Callable[[], None]
"""Called after every batch; silence for `hang_seconds` ends the worker."""

KeepTrace = Callable[[bytes], None]
"""Takes a profiler's trace, gzipped JSON."""


LOW_MEMORY = "the machine ran low on memory, and Ray ended the process"
"""Why a worker was lost."""


class RunningTrial(Protocol):
    """A trial under way in a worker."""

    def run_epoch(self) -> EpochResult:
        """Train one epoch and say how it went."""
        ...


class OpenTrial(Protocol):
    """The factory of trials that a `WorkerSpec` names."""

    def __call__(
        self,
        config: TrialConfig,
        *,
        rows: RunRows,
        store: Store,
        epochs_recorded: int,
        warm: dict[str, Any],
        heartbeat: Heartbeat,
        trace: KeepTrace | None,
        policy: ExecutionPolicy,
    ) -> RunningTrial:
        """Return the trial that `config` describes, at the epoch of its last checkpoint.

        Args:
            config: Complete, as the driver made it or as a worker filled it before.
            rows: The data; to be opened with the heartbeat, since they may have to be fetched.
            store: Folder of the trial's checkpoints.
            epochs_recorded: Epochs of it that the record holds; the next one that it reports must be one more.
            warm: What this worker keeps between trials; empty at first.
            heartbeat: To be called after every batch.
            trace: Gets a profiler's trace of the first epoch that is trained; None: nothing is profiled.
            policy: How a configuration that no worker has filled is computed.
        """
        ...


class Finalize(Protocol):
    """The last work of a search, in a worker: the final test of the winner, and its bundle."""

    def __call__(
        self,
        config: TrialConfig,
        *,
        trial: str,
        epochs: tuple[EpochResult, ...],
        rows: RunRows,
        store: Store,
        warm: dict[str, Any],
        heartbeat: Heartbeat,
    ) -> Json:
        """Return the winner's test metrics by column name.

        Args:
            config: The winner's, filled by the worker that trained it.
            trial: Its name; its checkpoint is in `checkpoints/TRIAL` of `store`.
            epochs: What it reported.
            rows: The data.
            store: The run folder.
            warm: What this worker keeps between trials.
            heartbeat: To be called after every batch.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSpec:
    """What runs in a worker, each as "module:attribute", imported there and not in the driver."""

    open_trial: str = "autoft.engine.trials:open_trial"
    """An `OpenTrial`."""
    finalize: str = "autoft.engine.trials:finalize"
    """A `Finalize`."""


def load_attribute(path: str) -> Any:
    """Import and return what "module:attribute" names."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One trial, or the final test of one, as a worker gets it."""

    kind: Literal["trial", "final"]
    trial: str
    config: Json
    """`TrialConfig` as JSON."""
    epochs_recorded: int = 0
    """Epochs of this trial that the record holds."""
    lost_to_memory: bool = False
    """Whether its last worker was ended because the machine ran low on memory, and nothing was reported since."""
    gpus: float = 0.0
    """GPUs that are set aside for it; below 1, the share of one."""
    memory: float = 0.0
    """Bytes of its node's memory that are set aside for it; 0: none are."""
    epochs: tuple[Json, ...] = ()
    """Of a final test: the winner's `EpochResult`s as JSON."""

    def to_text(self) -> str:
        """Return the JSON text; `from_text` gives an equal job back."""
        return canonical_json(_values(self))

    @classmethod
    def from_text(cls, text: str) -> "Job":
        """Read the JSON text."""
        values = json.loads(text)
        return cls(**{**values, "epochs": tuple(values["epochs"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a worker answers after an epoch, a final test, or a failure."""

    kind: Literal["epoch", "final", "failed"]
    trial: str
    result: Json | None = None
    """Of an epoch: `EpochResult` as JSON. Of a final test: the test metrics."""
    reason: str = ""
    """Of a failure, in words."""
    disk_full: bool = False
    """The failure is the disk's, not the trial's."""
    store_lost: bool = False
    """The failure is of the store that the run lies in, not the trial's."""
    discard_worker: bool = False
    """The failure may have left this process unusable."""

    def to_text(self) -> str:
        """Return the JSON text; `from_text` gives an equal report back."""
        return canonical_json(_values(self))

    @classmethod
    def from_text(cls, text: str) -> "Report":
        """Read the JSON text."""
        return cls(**json.loads(text))


def _values(one: Job | Report) -> Json:
    """Return the fields; what they hold is JSON already, which `dataclasses.asdict` would copy piece by piece."""
    return {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
