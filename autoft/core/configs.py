"""What travels from the person to the worker and back: frozen, checked once, JSON in and JSON out.

`SearchConfig` is what a person asked for; `TrialConfig` is one trial, complete: what is not in it cannot change
the result; `EpochResult` is what a trial reports after each epoch.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, Self, TypeVar

from autoft.core.errors import ConfigError, FormatError, nearest
from autoft.core.jsonable import Json, digest
from autoft.core.typed import check_types

FORMAT = 1
"""Version of every JSON and YAML form that autoft writes; raised when an older reader could misread it."""

T = TypeVar("T")

SPLITS = ("train", "val", "test")
FINALISTS = 3
"""Leading trials of which one wins; fewer where fewer checkpoints are kept."""
TrialKind = Literal["trial", "probe", "confirm"]
"""What may be on the leaderboard: `confirm` is a trial trained again with another seed."""
EpochStatus = Literal["running", "completed", "early_stopped", "diverged"]
TrialStatus = Literal["probe", "completed", "pruned", "paused", "running", "diverged", "failed"]


def from_json(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Build the frozen config `cls` from its JSON form.

    Raises:
        FormatError: If it is no map, or a key is unknown or missing; names it and `where`.
    """
    if not isinstance(values, Mapping):
        raise FormatError(f"{where} is damaged: it must be a map, not {values!r}.")
    names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            raise FormatError(f"Unknown key '{key}' in {where}.{nearest(key, names)}")
    try:
        return cls(**values)
    except TypeError as error:
        missing = str(error).partition("argument")[2].lstrip("s:") or f" {error}"
        raise FormatError(f"{where} is incomplete: it lacks{missing}.") from error


def _texts(values: Mapping[str, Any], key: str, *, where: str) -> tuple[str, ...]:
    found = values.get(key, ())
    if not found or not isinstance(found, list | tuple) or not all(isinstance(text, str) for text in found):
        raise FormatError(f"{where} is damaged: its {key} are no list of names, but {found!r}.")
    return tuple(found)


def check_format(values: Mapping[str, Any], *, where: str) -> None:
    """Refuse a file of a newer format, or of none.

    Raises:
        FormatError: If `format` is missing or larger than `FORMAT`.
    """
    found = values.get("format")
    if not isinstance(found, int) or isinstance(found, bool):
        raise FormatError(f"{where} is no autoft file: it has no format version.")
    if found > FORMAT:
        raise FormatError(f"{where} has format {found}, this autoft reads up to {FORMAT}; upgrade autoft to read it.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) != math.inf


def _plain(value: Any) -> int | float:
    """Return a number as Python's own, which every form of text can hold."""
    return int(value) if isinstance(value, Integral) else float(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much a search may use; at least one is given, the space gives the others."""

    trials: int | None = None
    """Trials to start; probes are beyond it."""
    epochs: int | None = None
    """The most epochs for one trial."""
    seconds: float | None = None
    """Wall clock of the whole command, set-up, probes and final test included, added up over resumes."""
    epochs_per_pass: int = 1
    """Epochs in which a trial goes over the training rows once: above 1, an epoch is a share of the data."""

    def __post_init__(self) -> None:
        for name in ("trials", "epochs", "seconds", "epochs_per_pass"):
            value: Any = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, Real):
                raise ConfigError(f"Budget {name} must be a number, not {value!r}.")
            if name != "seconds" and not float(value).is_integer():
                raise ConfigError(f"Budget {name} must be a whole number, not {value!r}.")
            if not 0 < float(value) < math.inf:
                raise ConfigError(f"Budget {name} must be above 0 and finite, not {value!r}.")
            object.__setattr__(self, name, _plain(value) if name == "seconds" else int(float(value)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What each trial gets, and how many run side by side."""

    cpus_per_trial: float = 1
    """Processor cores, and threads, of one trial; of each of its workers, where it has several."""
    gpus_per_trial: float | Literal["auto"] = "auto"
    """GPUs of one trial; "auto": where there are any, 1, or a share of one where like trials were measured; else 0."""
    workers_per_trial: int = 1
    """Processes that train one trial together, each with a share of the rows of every batch; also on several nodes."""
    concurrent: int | None = None
    """Trials side by side; None: as many as the resources hold."""
    hang_seconds: float = 900.0
    """A trial that finishes no batch for so long is ended as failed."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass, not keep them: less memory, more time, the same result."""

    def __post_init__(self) -> None:
        for name in ("cpus_per_trial", "hang_seconds"):
            value = getattr(self, name)
            if not _is_number(value) or not value > 0:
                raise ConfigError(f"{name} must be a number above 0, not {value!r}.")
            object.__setattr__(self, name, _plain(value))
        if not isinstance(self.gradient_checkpointing, bool):
            raise ConfigError(f"gradient_checkpointing must be true or false, not {self.gradient_checkpointing!r}.")
        gpus = self.gpus_per_trial
        if gpus != "auto" and not (_is_number(gpus) and gpus >= 0 and (gpus <= 1 or float(gpus).is_integer())):
            raise ConfigError(f"gpus_per_trial must be 'auto', a share up to 1 or a whole number, not {gpus!r}.")
        if gpus != "auto":
            object.__setattr__(self, "gpus_per_trial", _plain(gpus))
        if type(self.workers_per_trial) is not int or self.workers_per_trial < 1:
            raise ConfigError(f"workers_per_trial must be a whole number above 0, not {self.workers_per_trial!r}.")
        if self.workers_per_trial > 1 and gpus not in ("auto", 0, 1):
            raise ConfigError(
                "Of several workers per trial each has a GPU of its own or none: gpus_per_trial must be 'auto', 0 or "
                f"1, not {gpus!r}."
            )
        if self.concurrent is not None and (type(self.concurrent) is not int or self.concurrent < 1):
            raise ConfigError(f"concurrent must be a whole number above 0, not {self.concurrent!r}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionPolicy:
    """How far a worker may choose by itself how a configuration that has no `execution` block is computed."""

    measures: bool = False
    """Whether what it measures decides; else rules do, so that on like machines the seed alone decides."""
    trainings: float = 1.0
    """Trainings of one backbone that are expected, within which a compilation must win back its time."""
    seconds: float | None = None
    """Most seconds that they may take together; None means no limit."""
    gradient_checkpointing: bool = False
    """Whether activations are computed again in the backward pass, not kept."""
    takes_less: bool = False
    """Whether half the rows at a time is to be taken, whatever the configuration says: memory ran out with it."""
    gpu_share: float = 1.0
    """The share of its GPU that the trial may use: below 1, others train beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSpec:
    """Where the data lie and how they are read and split; with the same content it gives the same split."""

    source: str | None
    """Path of a folder or table; None for data that were handed over in memory."""
    task: str | None = None
    """None: inferred from the data."""
    target: str | None = None
    """Column to predict, for tables."""
    input: str | None = None
    """Column with the text or image path; None: found by content."""
    val: str | None = None
    """Path of the person's own validation data."""
    test: str | None = None
    """Path of the person's own test data."""
    group: str | None = None
    """Column whose values must not be split."""
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    drop_rare: bool = False
    """Leave out classes too rare to be in every part, instead of refusing."""
    seed: int = 0
    """Seed of the split."""

    def __post_init__(self) -> None:
        for name in ("val_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"data.{name} must be between 0 and 1, not {getattr(self, name)!r}.")
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError("data.val_fraction and data.test_fraction together leave nothing to train on.")


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyConfig:
    """A searcher or scheduler by its catalog name, with its options."""

    name: str
    options: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """A whole search, as `search.yaml` holds it; complete, so that a resume asks nothing again."""

    format: int = FORMAT
    task: str
    data: DataSpec
    fingerprint: str
    """SHA-256 of the content, targets and split of the data."""
    space: Json
    """The space as JSON, overrides already applied, every section present."""
    space_name: str
    metrics: tuple[str, ...]
    """As given; of several, trials are ranked by front and within it by the first. A leading "-" minimises."""
    budget: Budget
    """Whole, but for `seconds` where no limit was given."""
    searcher: StrategyConfig
    scheduler: StrategyConfig
    resources: Resources
    address: str | None
    seed: int
    keep: int = 3
    """Checkpoints of so many leading trials are kept."""
    deterministic: bool = False
    """Whether results count in the order of a logical clock, so that the seed alone decides."""
    limits: Json = field(default_factory=dict)
    """The most of a cost, by its metric's name, that a trial may have to win."""
    confirm: int = 0
    """Times that each finalist is trained again, with another seed, when the search is over."""
    profile: bool = False
    """Whether the first epoch of the first trial is profiled, into the run's logs."""
    min_improvement: float | None = None
    """The search ends once the rest of its budget promises less of the metric than this, or, of several metrics, of the
    hypervolume; None: it uses its budget up."""
    experience: str | None = None
    """SHA-256 of the run's experience.parquet, which the search learns from; None: it learns from nothing."""

    @property
    def num_finalists(self) -> int:
        """Leading trials of which one wins: their checkpoints are there. Of a front, the most that there can be."""
        return self.keep if len(self.metrics) > 1 else min(FINALISTS, self.keep)

    def to_json(self) -> Json:
        """Return the JSON form; `from_json` gives an equal config back."""
        values = dataclasses.asdict(self)
        values["metrics"] = list(self.metrics)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, where: str) -> Self:
        """Read the JSON form.

        Raises:
            FormatError: If it is none, incomplete, or of a newer format.
        """
        check_format(values, where=where)
        parts: dict[str, type] = {
            "data": DataSpec,
            "budget": Budget,
            "searcher": StrategyConfig,
            "scheduler": StrategyConfig,
            "resources": Resources,
        }
        given = dict(values)
        for key, part in parts.items():
            if isinstance(given.get(key), Mapping):
                check_types(part, given[key], where=f"{key} of {where}")
                given[key] = from_json(part, given[key], where=f"{key} of {where}")
        given["metrics"] = _texts(given, "metrics", where=where)
        check_types(cls, given, where=where)
        return from_json(cls, given, where=where)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trial, complete. A worker fills `weights` and `execution` once and reports the filled form."""

    format: int = FORMAT
    task: str
    data: Json
    """`DataSpec` as JSON plus `fingerprint`: which rows, which split."""
    recipe: Json
    """The space's choice with every default filled in: backbone, finetune, optimizer, schedule, ..."""
    epochs: int
    """Epochs that the learning-rate schedule heads for, and the most that are trained."""
    epochs_per_pass: int = 1
    """Epochs in which the training rows are gone over once."""
    metrics: tuple[str, ...]
    """As in `SearchConfig`; the first decides which epoch is the best."""
    seed: int
    weights: Json = field(default_factory=dict)
    """`source` and `sha256` of the pretrained weights, filled by the worker."""
    versions: Json = field(default_factory=dict)
    """Versions of what computes (python, torch, timm, ...), filled by the worker."""
    execution: Json = field(default_factory=dict)
    """What was measured or chosen at run time: device, threads, dtype, channels_last, micro_batch, compile, ..."""

    @property
    def kind(self) -> TrialKind:
        """Whether this is a frozen probe or a trial."""
        return "probe" if self.recipe.get("finetune", {}).get("mode") == "probe" else "trial"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with `changes`."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> Json:
        """Return the JSON form; `from_json` gives an equal config back."""
        values = dataclasses.asdict(self)
        values["metrics"] = list(self.metrics)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, where: str) -> Self:
        """Read the JSON form.

        Raises:
            FormatError: If it is none, incomplete, or of a newer format.
        """
        check_format(values, where=where)
        given = {**values, "metrics": _texts(values, "metrics", where=where)}
        check_types(cls, given, where=where)
        return from_json(cls, given, where=where)

    def digest(self) -> str:
        """Return the SHA-256 of the configuration's canonical JSON."""
        return digest(self.to_json())


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochResult:
    """What a trial reports after an epoch; a probe reports one epoch."""

    epoch: int
    """Epochs trained so far, from 1."""
    metrics: Json
    """Finite numbers or None by column name: train_loss, val_loss, val_METRIC ..., parameters, latency_ms,
    peak_memory_mb. None means that the number was not finite."""
    seconds: float
    """Wall clock of this epoch, evaluation included."""
    status: EpochStatus
    """`running`: it can go on; all others: this was its last epoch."""
    is_best: bool
    """Whether this is the best epoch so far by the first metric."""
    reason: str = ""
    """In words, for a status that ends the trial."""
    timings: Json = field(default_factory=dict)
    """Seconds by what they went to: data, forward_backward, optimizer, evaluate and checkpoint, which are `seconds`
    together; and wait, before the epoch: since the trial's last one, or since its worker began to open it."""
    learning_rate: float | None = None
    """Largest rate of any group at the epoch's last update."""
    weights_sha256: str | None = None
    """Hash of the weights that were kept, where this epoch is the best so far; None where nothing was kept."""
    config: Json | None = None
    """The filled `TrialConfig`, with the first epoch that this worker reports."""

    def to_json(self) -> Json:
        """Return the JSON form; `from_json` gives an equal result back."""
        return dataclasses.asdict(self)

    def reported(self) -> Json:
        """Return the JSON form less the configuration, as a bundle's config.yaml holds it."""
        values = self.to_json()
        del values["config"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, where: str) -> Self:
        """Read the JSON form.

        Raises:
            FormatError: If a key is unknown or missing.
        """
        return from_json(cls, values, where=where)
