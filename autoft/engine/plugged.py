"""Ray Tune's own searchers and schedulers as autoft's: each decision is taken by a fresh copy that is told the history.

So what a class of Ray decides is a function of the history, as long as the class draws from generators that it holds
or from numpy's and Python's global ones, which are all seeded by the decision's number: then a resume, a replay and
`deterministic` hold. Nothing of Ray's is pickled or restored.
"""

import contextlib
import copy
import importlib
import inspect
import logging
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from ray import tune
from ray.tune import schedulers
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import SEARCH_ALG_IMPORT, Searcher

from autoft.core.errors import AutoftError, ConfigError, WorkError, nearest, one_of
from autoft.core.seeds import derive_seed, generator
from autoft.strategies import History, Promotion, Suggestion, TrialView, Verdict
from autoft.strategies.encoding import IDLE, Encoding
from autoft.strategies.random import draw, tried

__all__ = ["RayScheduler", "RaySearcher", "Searcher", "TrialScheduler", "checked", "made"]

Kind = Literal["searcher", "scheduler"]
VALUE = "value"
"""The metric's name for a class that is given none of its own."""
REFUSED = (
    "HyperBandScheduler",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "ResourceChangingScheduler",
)
"""Schedulers, with what is derived from them, that need more than to let go on or stop."""
ATTEMPTS = 10
"""Suggestions that may be forbidden or known before the space is drawn from."""
CHATTY = ("optuna", "ray.tune.search", "hyperopt")
"""Loggers that would tell of every fresh copy."""
_SEEDS = 2**31
_DEPTH = 6
"""How deep in an object its generators may lie."""
_FAILURES = (AssertionError, AttributeError, ImportError, KeyError, RuntimeError, TypeError, ValueError)
"""What Ray's classes raise where they are not given what they need."""


def made(kind: Kind, name: str, options: Mapping[str, Any]) -> Any:
    """Return a searcher or scheduler of Ray by its class's name, ready to be copied.

    Raises:
        ConfigError: If there is none, it cannot be plugged in, or its options are not allowed.
    """
    cls = _searcher_class(name) if kind == "searcher" else _scheduler_class(name)
    allowed = list(inspect.signature(cls).parameters)
    for option in options:
        if option not in allowed:
            raise ConfigError(
                f"Ray's {name} has no option '{option}'.{nearest(option, allowed)} Allowed: {one_of(allowed)}."
            )
    if "max_t" in allowed:
        options = {"max_t": 10**9, **options}
    with _explained(name):
        return checked(kind, cls(**options))


def checked(kind: Kind, plugged: Any) -> Any:
    """Return the object, if it is one of Ray's that can be plugged in.

    Raises:
        ConfigError: If it is none, it pauses or changes trials, has a space of its own, or cannot be copied.
    """
    name, base = type(plugged).__name__, Searcher if kind == "searcher" else TrialScheduler
    if not isinstance(plugged, base):
        raise ConfigError(f"{kind} must be a name, an autoft.StrategyConfig or a {base.__name__} of Ray, not a {name}.")
    if any(cls.__name__ in REFUSED for cls in type(plugged).__mro__):
        raise ConfigError(f"Ray's {name} pauses, copies or resizes trials, which cannot be plugged in; take another.")
    if kind == "searcher" and not hasattr(plugged, "_points_to_evaluate"):
        raise ConfigError(f"Ray's {name} cannot be told of earlier trials, since it takes no points_to_evaluate.")
    with _explained(name):
        if kind == "searcher":
            _told_space(copy.deepcopy(plugged), {"x": tune.uniform(0, 1)}, "max")
        else:
            _told_metric(copy.deepcopy(plugged), "max")
    return plugged


@dataclass(frozen=True, eq=False)
class _Trial:
    """What a scheduler sees of a trial."""

    trial_id: str
    config: Mapping[str, Any] = field(default_factory=dict)
    status: str = "RUNNING"


class _Controller:
    """What a scheduler sees of Tune: no trial that waits for another's slot."""

    def get_trials(self) -> list[_Trial]:
        """Return none."""
        return []

    get_live_trials = get_trials


@dataclass(frozen=True, kw_only=True, slots=True)
class RayScheduler:
    """A `TrialScheduler` of Ray, asked at the end of every epoch."""

    prototype: Any

    def rungs(self, num_epochs: int) -> tuple[int, ...]:
        """Return every epoch."""
        return tuple(range(1, num_epochs + 1))

    def judge(self, history: History, view: TrialView) -> Verdict:
        """Return what a fresh copy answers to the last epoch of `view`, after it is told all others, epoch by epoch.

        Of `view` it hears the earlier epochs first, since it let these pass. Of epochs that were not finite it hears
        nothing: to Ray's rules such a number is never worse.

        Raises:
            WorkError: If it wants to pause the trial, or fails.
        """
        name = type(self.prototype).__name__
        if view.values[-1] is None:
            return Verdict(action="stop", reason=f"epoch {view.epoch} has no finite value")
        with _seeded(history, view.trial, view.epoch), _explained(name):
            scheduler, controller = copy.deepcopy(self.prototype), _Controller()
            _told_metric(scheduler, "max" if history.objective.maximize else "min")
            own = [one for one in history.trials if one.kind == "trial"]
            trials = {one.trial: _Trial(one.trial, one.assignment) for one in own}
            with _seeded(history, "brackets"):  # each trial is drawn into the same one at every decision
                for one in own:
                    scheduler.on_trial_add(controller, trials[one.trial])
            for epoch in range(1, view.epoch):
                if view.values[epoch - 1] is not None:
                    scheduler.on_trial_result(controller, trials[view.trial], _result(history, view, epoch))
            for epoch in range(1, max(one.epoch for one in own) + 1):
                for one in own:
                    if one.trial != view.trial and epoch <= one.epoch and one.values[epoch - 1] is not None:
                        with contextlib.suppress(AssertionError):  # a class may hear no more of what it would stop
                            scheduler.on_trial_result(controller, trials[one.trial], _result(history, one, epoch))
            answer = scheduler.on_trial_result(controller, trials[view.trial], _result(history, view, view.epoch))
        if answer == TrialScheduler.PAUSE:
            raise WorkError(f"Ray's {name} wants to pause a trial, which cannot be plugged in; take another.")
        action: Literal["continue", "stop"] = "stop" if answer == TrialScheduler.STOP else "continue"
        word = "stops" if action == "stop" else "goes on"
        return Verdict(action=action, reason=f"Ray's {name} says of epoch {view.epoch} that it {word}")

    def promote(self, history: History, *, is_last_call: bool) -> Promotion | None:
        """Return None: it pauses no trial."""
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class RaySearcher:
    """A `Searcher` of Ray, over the positions in the space of every parameter, active or not."""

    prototype: Any

    def suggest(self, history: History, *, rungs: tuple[int, ...]) -> Suggestion:
        """Return what a fresh copy suggests after it is told every trial that ended, with its best value.

        Raises:
            WorkError: If it does not take the earlier trials, or fails.
        """
        name = type(self.prototype).__name__
        encoding = _Positions(history)
        views = [view for view in history.trials if view.kind == "trial"]
        with _seeded(history, len(views)), _explained(name):
            searcher = copy.deepcopy(self.prototype)
            points = [encoding.point(view) for view in views]
            searcher._points_to_evaluate = copy.deepcopy(points) or type(searcher._points_to_evaluate)()
            _told_space(searcher, encoding.space(), "max" if history.objective.maximize else "min")
            for view, point in zip(views, points, strict=True):
                if not _same(searcher.suggest(view.trial), point):
                    raise WorkError(f"Ray's {name} does not take the trials that it is told of; take another searcher.")
            for view in views:
                _complete(searcher, history, view)
            _reseed(searcher, derive_seed(history.seed, "ray", str(len(views))) % _SEEDS)
            known = tried(history)
            for number in range(ATTEMPTS):
                values = searcher.suggest(f"new{number}")
                if values is None:
                    break
                assignment = encoding.assignment(values)
                if assignment not in known and history.space.forbids(assignment) is None:
                    return Suggestion(assignment=assignment, reason=f"a suggestion of Ray's {name}")
        drawn, _ = draw(history)
        return Suggestion(
            assignment=drawn, reason=f"a random draw: Ray's {name} suggests nothing that is new and allowed"
        )


class _Positions:
    """The parameters of a space as Ray's domains: of a choice the number of its value, of a number its position."""

    def __init__(self, history: History) -> None:
        self._encoding = Encoding(history.space)
        self._counts = [
            len(one.domain.values) if is_choice else 0  # type: ignore[attr-defined]  # a choice has values
            for one, is_choice in zip(self._encoding.parameters, self._encoding.is_choice_P, strict=True)
        ]
        self._names = [f"p{number:03d}" for number in range(len(self._counts))]

    def space(self) -> dict[str, Any]:
        """Return Ray's space."""
        return {
            name: tune.choice(list(range(count))) if count else tune.uniform(0.0, 1.0)
            for name, count in zip(self._names, self._counts, strict=True)
        }

    def point(self, view: TrialView) -> dict[str, Any]:
        """Return a trial's point; what is not active lies in the middle."""
        positions = self._encoding.positions(view.assignment)
        return {
            name: min(count - 1, int(at * count)) if count else float(at)
            for name, count, at in zip(self._names, self._counts, positions, strict=True)
        }

    def assignment(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the assignment at a point."""
        at_P = [
            (values[name] + IDLE) / count if count else min(1.0, max(0.0, float(values[name])))
            for name, count in zip(self._names, self._counts, strict=True)
        ]
        return self._encoding.decode(np.array(at_P))


def _result(history: History, view: TrialView, epoch: int) -> dict[str, Any]:
    """Return an epoch as Tune would report it; where no seconds were seen an epoch counts as one."""
    seconds = view.cost_seconds * epoch / view.epoch or float(epoch)
    return {**_values(history, float(view.values[epoch - 1] or 0.0)), "training_iteration": epoch, "epoch": epoch} | {
        "time_total_s": seconds,
        "time_this_iter_s": seconds / epoch,
        "trial_id": view.trial,
    }


def _values(history: History, value: float) -> dict[str, float]:
    """Return a value by the names under which a class may look for it."""
    return {VALUE: value, history.objective.metric: value, f"val_{history.objective.metric}": value}


def _complete(searcher: Any, history: History, view: TrialView) -> None:
    """Tell how a trial ended, if it did."""
    best = view.best(history.objective)
    if view.status in ("diverged", "failed") or (best is None and not view.is_running):
        searcher.on_trial_complete(view.trial, error=True)
    elif view.status in ("completed", "pruned") and best is not None:
        searcher.on_trial_complete(view.trial, {**_values(history, best), "training_iteration": view.epoch})


def _same(told: Any, point: Mapping[str, Any]) -> bool:
    """Return whether a searcher gives back the point that it was told."""
    return isinstance(told, Mapping) and all(
        name in told and math.isclose(told[name], value, abs_tol=1e-9) for name, value in point.items()
    )


def _told_space(searcher: Any, space: dict[str, Any], mode: str) -> None:
    if not searcher.set_search_properties(VALUE, mode, space):
        name = type(searcher).__name__
        raise ConfigError(f"Ray's {name} has a space of its own; leave it out, the space is the search's.")


def _told_metric(scheduler: Any, mode: str) -> None:
    scheduler.set_search_properties(VALUE, mode)


def _searcher_class(name: str) -> Any:
    for key in SEARCH_ALG_IMPORT:
        if key not in name.lower():
            continue
        with _explained(name):
            cls = getattr(importlib.import_module(f"ray.tune.search.{key}"), name, None)
        if inspect.isclass(cls) and issubclass(cls, Searcher):
            return cls
    raise ConfigError(
        f"Ray has no searcher '{name}' that can be plugged in. It is the name of a class of ray.tune.search, such as "
        "HyperOptSearch or OptunaSearch."
    )


def _scheduler_class(name: str) -> Any:
    cls = getattr(schedulers, name, None)
    if not inspect.isclass(cls) or not issubclass(cls, TrialScheduler) or cls is TrialScheduler:
        names = [one for one in dir(schedulers) if inspect.isclass(getattr(schedulers, one))]
        raise ConfigError(
            f"Ray has no scheduler '{name}'.{nearest(name, names)} It is the name of a class of ray.tune.schedulers, "
            "such as AsyncHyperBandScheduler or MedianStoppingRule."
        )
    return cls


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Make a sentence of what a class of Ray raises, and let it log nothing but errors."""
    loggers = [logging.getLogger(name) for name in CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    except AutoftError:
        raise
    except _FAILURES as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"Ray's {name} cannot be used so: {text[:300]}") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _seeded(history: History, *which: object) -> Iterator[None]:
    """Seed numpy's and Python's global generators for one decision, and put back what they were."""
    former, python = np.random.get_state(), random.getstate()
    seed = derive_seed(history.seed, "ray", *map(str, which)) % _SEEDS
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(former)
        random.setstate(python)


def _reseed(holder: Any, seed: int) -> None:
    """Seed every generator that an object holds: a fresh copy would draw the same each time."""
    seen: set[int] = set()
    level = [holder]
    for _ in range(_DEPTH):
        found = []
        for one in level:
            if id(one) in seen:
                continue
            seen.add(id(one))
            match one:
                case np.random.RandomState() | random.Random():
                    one.seed(seed)
                case np.random.Generator():
                    one.bit_generator.state = generator(seed, "ray").bit_generator.state
                case _ if hasattr(one, "__dict__") and not inspect.isclass(one) and not inspect.ismodule(one):
                    found += list(vars(one).values())
                    found.append(getattr(one, "rng", None))  # Optuna makes its generators when they are first asked for
        level = found
