"""The contract between a search and what decides for it: an immutable history in, one decision out."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from autoft.core.configs import FINALISTS, Budget, TrialKind, TrialStatus
from autoft.core.errors import ConfigError, WorkError
from autoft.core.jsonable import Json
from autoft.core.metrics import Objective
from autoft.space import SearchSpace
from autoft.strategies.experience.model import Experience
from autoft.strategies.register import Register

Assignment = Mapping[str, Any]
"""Values (JSON scalars) of exactly the active varying parameters, by label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialView:
    """One trial as a strategy sees it: nothing of it is measured on a clock but `cost_seconds`."""

    trial: str
    kind: TrialKind
    assignment: Assignment
    until_epoch: int
    """Epoch to which it may train before it is decided on again."""
    values: tuple[float | None, ...] = ()
    """The objective after each epoch, from the first on; None: not finite."""
    status: TrialStatus = "running"
    """`running` while it holds a slot, probes too; `paused` while it has given it up and may go on; else its end."""
    epoch_cost: float = 1.0
    """Predicted cost of an epoch, in the units of `costs.epoch_cost`."""
    cost_seconds: float = 0.0
    """Wall clock of its epochs so far; 0 in a deterministic search, where no clock decides."""
    transferability: float | None = None
    """Of a probe: the LogME of its backbone's features; None while it is not known, and of a trial."""
    confirms: str | None = None
    """Of a trial trained again with another seed: the trial whose configuration it has."""
    point: tuple[float | None, ...] = ()
    """Of a search by several metrics: the losses that the trial is ranked by, one a metric; None: not finite."""

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return len(self.values)

    @property
    def is_running(self) -> bool:
        """Whether it holds a slot."""
        return self.status == "running"

    @property
    def stands(self) -> bool:
        """Whether it holds a slot and trains nothing, so that a decision is due."""
        return self.is_running and self.epoch >= self.until_epoch

    def replace(self, **changes: Any) -> "TrialView":
        """Return a copy with `changes`."""
        return dataclasses.replace(self, **changes)

    def best(self, objective: Objective, *, epoch: int | None = None) -> float | None:
        """Return its best finite value up to `epoch` (None: all epochs), or None where there is none."""
        finite = [value for value in self.values[:epoch] if value is not None]
        if not finite:
            return None
        return max(finite) if objective.maximize else min(finite)


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """All that a decision may depend on."""

    space: SearchSpace
    objective: Objective
    budget: Budget
    """With `epochs` given; `trials` None means that only the seconds bound the search."""
    seed: int
    trials: tuple[TrialView, ...] = ()
    """Probes and trials, in the order in which they were started."""
    slots: int
    """Trials that may run side by side."""
    seconds_used: float = 0.0
    """Wall clock of the search so far, over all resumes."""
    seconds_reserved: float = 0.0
    """Of `budget.seconds`, what the work after the last trial (the final test, the bundle) will need."""
    confirm: int = 0
    """Times that each finalist is trained again, with another seed, when the search is over."""
    num_finalists: int = FINALISTS
    """Leading trials that are the finalists; by several metrics, the most."""
    min_improvement: float | None = None
    """No new trial starts once the rest of the budget promises less than this; None: whatever it promises."""
    evidence: Experience | None = None
    """What earlier searches found; None: the search learns from none."""
    register: Register | None = field(default=None, repr=False, compare=False)
    """What is known of `trials` already; it counts while it is about these very trials."""
    _own: list[Register] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.budget.epochs is None:
            raise ConfigError("The budget needs epochs: the most that one trial may train.")
        if self.slots < 1:
            raise ConfigError(f"slots must be at least 1, not {self.slots!r}.")

    @property
    def num_epochs(self) -> int:
        """The most epochs for one trial."""
        return int(self.budget.epochs or 1)

    @property
    def running(self) -> tuple[TrialView, ...]:
        """The trials that hold a slot, those that stand at a decision included."""
        return tuple(self.trials[place] for place in self._register.running)

    @property
    def standing(self) -> tuple[TrialView, ...]:
        """The trials that hold a slot and train nothing, so that a decision on them is due."""
        return tuple(self.trials[place] for place in self._register.standing)

    @property
    def paused(self) -> tuple[TrialView, ...]:
        """The trials that gave up their slot and may go on."""
        return tuple(self.trials[place] for place in self._register.paused)

    @property
    def probes(self) -> tuple[TrialView, ...]:
        """The probes."""
        return tuple(self.trials[place] for place in self._register.probes)

    @property
    def num_begun(self) -> int:
        """Trials that have trained an epoch, probes and those that confirm left out."""
        return self._register.num_begun

    @property
    def num_running(self) -> int:
        """Trials that hold a slot."""
        return len(self._register.running)

    @property
    def num_started(self) -> int:
        """Trials started so far, probes and those that confirm left out."""
        return self._register.kinds["trial"]

    @property
    def num_probes(self) -> int:
        """Probes started so far."""
        return self._register.kinds["probe"]

    @property
    def num_confirming(self) -> int:
        """Trials started so far that train another trial's configuration again."""
        return self._register.kinds["confirm"]

    @property
    def num_trained(self) -> int:
        """Epochs trained so far, over all trials."""
        return self._register.num_epochs

    @property
    def _register(self) -> Register:
        if self.register is not None and self.register.trials is self.trials:
            return self.register
        if not self._own:
            own = Register()
            own.follow(self.trials)
            self._own.append(own)
        return self._own[0]

    @property
    def time_is_up(self) -> bool:
        """Whether the seconds of the budget, less those reserved, are used."""
        limit = self.budget.seconds
        return limit is not None and self.seconds_used + self.seconds_reserved >= limit

    def view(self, trial: str) -> TrialView:
        """Return a trial by its name.

        Raises:
            WorkError: If there is none.
        """
        for view in self.trials:
            if view.trial == trial:
                return view
        raise WorkError(f"There is no trial {trial} in this search.")

    def replace(self, **changes: Any) -> "History":
        """Return a copy with `changes`."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> Json:
        """Return the JSON form; `from_json` gives a history back on which every decision is the same."""
        return {
            "space": self.space.to_json(),
            "objective": dataclasses.asdict(self.objective),
            "budget": dataclasses.asdict(self.budget),
            "seed": self.seed,
            "trials": [
                dataclasses.asdict(view) | {"values": list(view.values), "assignment": dict(view.assignment)}
                for view in self.trials
            ],
            "slots": self.slots,
            "seconds_used": self.seconds_used,
            "seconds_reserved": self.seconds_reserved,
            "confirm": self.confirm,
            "num_finalists": self.num_finalists,
            "min_improvement": self.min_improvement,
            "evidence": None if self.evidence is None else self.evidence.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "History":
        """Read the JSON form."""
        return cls(
            space=SearchSpace.from_record(values["space"]),
            objective=Objective(**values["objective"]),
            budget=Budget(**values["budget"]),
            seed=values["seed"],
            trials=tuple(
                TrialView(**{**view, "values": tuple(view["values"]), "point": tuple(view["point"])})
                for view in values["trials"]
            ),
            slots=values["slots"],
            seconds_used=values["seconds_used"],
            seconds_reserved=values["seconds_reserved"],
            confirm=values["confirm"],
            num_finalists=values["num_finalists"],
            min_improvement=values["min_improvement"],
            evidence=None if values["evidence"] is None else Experience.from_json(values["evidence"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Start a trial; the engine gives it the next name of its kind."""

    action: ClassVar[str] = "start"
    assignment: Assignment
    """Of a trial: all active parameters. Of a probe: the backbone's alone."""
    kind: TrialKind
    until_epoch: int
    reason: str
    recipe: Json = field(repr=False)
    """The recipe that it trains."""
    epoch_cost: float = field(default=1.0, repr=False)
    """Predicted cost of an epoch, in the units of `costs.epoch_cost`."""
    confirms: str | None = None
    """Of kind `confirm`: the trial whose configuration is trained again with another seed."""

    def to_json(self) -> Json:
        """Return the JSON form, without the recipe and what follows from it: the trial's configuration holds that."""
        return {
            "action": self.action,
            "kind": self.kind,
            "assignment": dict(self.assignment),
            "until_epoch": self.until_epoch,
            "reason": self.reason,
            **({} if self.confirms is None else {"confirms": self.confirms}),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Continue:
    """Let a trial that stands, or is paused while a slot is free, train on, up to `until_epoch`."""

    action: ClassVar[str] = "continue"
    trial: str
    until_epoch: int
    reason: str

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {"action": self.action, "trial": self.trial, "until_epoch": self.until_epoch, "reason": self.reason}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Let a trial that stands give up its slot; its state is kept, so that it can go on."""

    action: ClassVar[str] = "pause"
    trial: str
    reason: str

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {"action": self.action, "trial": self.trial, "reason": self.reason}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """End a trial that stands or is paused; with all its epochs it is completed by it, otherwise pruned."""

    action: ClassVar[str] = "stop"
    trial: str
    reason: str

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {"action": self.action, "trial": self.trial, "reason": self.reason}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Nothing to do before the next result."""

    action: ClassVar[str] = "wait"
    reason: str

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {"action": self.action, "reason": self.reason}


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """The search is over: nothing runs, and nothing more starts."""

    action: ClassVar[str] = "done"
    reason: str

    def to_json(self) -> Json:
        """Return the JSON form."""
        return {"action": self.action, "reason": self.reason}


Decision = Start | Continue | Pause | Stop | Wait | Done


class Strategy(Protocol):
    """Decides, one step at a time."""

    def next(self, history: History) -> Decision:
        """Return the next decision; the same for equal histories.

        The caller applies it, and asks again until it is told to wait or that the search is done.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """What a searcher would start next."""

    assignment: Assignment
    reason: str


class Searcher(Protocol):
    """Chooses what to start."""

    def suggest(self, history: History, *, rungs: tuple[int, ...]) -> Suggestion:
        """Return what to start next; the same for equal histories.

        Args:
            history: At least one slot is free.
            rungs: Epochs at which trials are compared, rising; the last is the full length.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What becomes of a trial that stands at a rung."""

    action: Literal["continue", "pause", "stop"]
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """A paused trial that goes on."""

    trial: str
    reason: str


class Scheduler(Protocol):
    """Chooses who goes on."""

    def rungs(self, num_epochs: int) -> tuple[int, ...]:
        """Return the epochs at which trials are compared, rising; the last is `num_epochs`."""
        ...

    def judge(self, history: History, view: TrialView) -> Verdict:
        """Return what becomes of `view`, which stands at a rung below the last; the same for equal histories."""
        ...

    def promote(self, history: History, *, is_last_call: bool) -> Promotion | None:
        """Return the paused trial that goes on now, or None where none does; the same for equal histories.

        Args:
            history: At least one slot is free.
            is_last_call: Whether no new trial will start, so that what is paused has nobody left to wait for.
        """
        ...
