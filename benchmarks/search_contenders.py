"""Who searches a table of curves: autoft's own strategies, and those of Ray Tune, HyperOpt and Optuna as they are."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from autoft.api.request import USUAL
from autoft.core.configs import Budget, StrategyConfig
from autoft.core.metrics import Objective
from autoft.strategies import Continue, Done, History, Start, Strategy, TrialView, Wait, build_strategy
from autoft.strategies.advance import decided, reported
from autoft.strategies.experience import Experience
from benchmarks.curve_tables import CurveTable

WORKERS = 4
ENDLESS = 1_000_000
"""Trials of a budget that no search reaches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Epochs that a worker begins."""

    trial: Any
    row: int
    epoch: int
    """The first of them."""


class Contender(Protocol):
    """Searches one table once."""

    def next(self) -> Job | None:
        """Return what a free worker does; None: nothing before the next report."""
        ...

    def report(self, job: Job, score: float) -> bool:
        """Take the score of the job's epoch, and return whether the worker goes on with the next one."""
        ...


class Autoft:
    """A strategy of autoft, unchanged, on its own `History`; the one backbone of the space counts as probed."""

    def __init__(self, table: CurveTable, seed: int, strategy: Strategy, *, evidence: Experience | None = None) -> None:
        self._table, self._strategy = table, strategy
        self._used: set[int] = set()
        self._rows: dict[str, int] = {}
        objective = Objective(metric="accuracy" if table.maximize else "log_loss", maximize=table.maximize)
        probe = TrialView(trial="p01", kind="probe", assignment={}, until_epoch=1, values=(None,), status="probe")
        self._history = History(
            space=table.space(),
            objective=objective,
            budget=Budget(trials=ENDLESS, epochs=table.num_epochs),
            seed=seed,
            slots=WORKERS,
            trials=(probe,),
            evidence=evidence,
        )

    def next(self) -> Job | None:
        """Ask until something begins, or nothing can."""
        while True:
            decision = self._strategy.next(self._history)
            self._history = decided(self._history, decision)
            if isinstance(decision, Wait | Done):
                return None
            if isinstance(decision, Start | Continue):
                view = self._history.trials[-1] if isinstance(decision, Start) else self._history.view(decision.trial)
                if view.trial not in self._rows:
                    self._rows[view.trial] = self._table.take(self._table.unit(view.assignment), self._used)
                return Job(trial=view.trial, row=self._rows[view.trial], epoch=view.epoch + 1)

    def report(self, job: Job, score: float) -> bool:
        """Put it into the history; a trial that comes to its end, or a rung, is decided on at once."""
        value = score if self._table.maximize else -score
        self._history = reported(self._history, job.trial, value, seconds=0.0)
        if not self._history.view(job.trial).stands:
            return True
        decision = self._strategy.next(self._history)
        self._history = decided(self._history, decision)
        return isinstance(decision, Continue) and decision.trial == job.trial


class RayAsha:
    """Ray Tune's asynchronous successive halving with random draws."""

    def __init__(self, table: CurveTable, seed: int) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler

        np.random.seed(seed)
        self._table, self._rng = table, np.random.default_rng(seed)
        self._used: set[int] = set()
        self._count = 0
        self.mode = "max" if table.maximize else "min"
        self._scheduler = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="value",
            mode=self.mode,
            max_t=table.num_epochs,
            grace_period=1,
            reduction_factor=3,
        )

    def next(self) -> Job | None:
        """Start a trial."""
        self._count += 1
        trial = SimpleNamespace(trial_id=f"t{self._count:05d}")
        unit_D = self.suggest(trial.trial_id)
        self._scheduler.on_trial_add(None, trial)
        return Job(trial=trial, row=self._table.take(unit_D, self._used), epoch=1)

    def report(self, job: Job, score: float) -> bool:
        """Ask the scheduler."""
        value = score if self._table.maximize else -score
        result = {"epoch": job.epoch, "training_iteration": job.epoch, "value": value}
        goes_on = bool(self._scheduler.on_trial_result(None, job.trial, result) == "CONTINUE")
        self.observe(job.trial.trial_id, result, is_done=not goes_on)
        return goes_on

    def suggest(self, trial: str) -> np.ndarray:
        """Return a random point."""
        return self._rng.random(len(self._table.dimensions))

    def observe(self, trial: str, result: dict[str, Any], *, is_done: bool) -> None:
        """Learn nothing."""


class RayAshaHyperOpt(RayAsha):
    """The same with HyperOpt's suggestions; a stopped trial completes with its last result, as in Tune."""

    def __init__(self, table: CurveTable, seed: int) -> None:
        from ray import tune
        from ray.tune.search.hyperopt import HyperOptSearch

        super().__init__(table, seed)
        logging.getLogger("ray.tune.search.hyperopt.hyperopt_search").setLevel(logging.ERROR)
        makers: dict[tuple[bool, bool], Callable[..., Any]] = {
            (True, True): lambda low, high: tune.lograndint(int(low), int(high) + 1),
            (True, False): tune.loguniform,
            (False, True): lambda low, high: tune.randint(int(low), int(high) + 1),
            (False, False): tune.uniform,
        }
        space = {one.name: makers[one.is_log, one.is_whole](one.low, one.high) for one in table.dimensions}
        self._search = HyperOptSearch(space, metric="value", mode=self.mode, random_state_seed=seed)

    def suggest(self, trial: str) -> np.ndarray:
        """Ask HyperOpt."""
        return point(self._table, self._search.suggest(trial))

    def observe(self, trial: str, result: dict[str, Any], *, is_done: bool) -> None:
        """Tell HyperOpt."""
        (self._search.on_trial_complete if is_done else self._search.on_trial_result)(trial, result)


class OptunaTpeHyperband:
    """Optuna's TPE sampler with constant liar, and its Hyperband pruner."""

    def __init__(self, table: CurveTable, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._pruned = optuna.trial.TrialState.PRUNED
        self._table = table
        self._used: set[int] = set()
        self._study = optuna.create_study(
            study_name=f"seed{seed}",
            direction="maximize" if table.maximize else "minimize",
            sampler=optuna.samplers.TPESampler(constant_liar=True, seed=seed),
            pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=table.num_epochs, reduction_factor=3),
        )

    def next(self) -> Job | None:
        """Ask for a trial."""
        trial = self._study.ask()
        values = {
            one.name: trial.suggest_int(one.name, int(one.low), int(one.high), log=one.is_log)
            if one.is_whole
            else trial.suggest_float(one.name, one.low, one.high, log=one.is_log)
            for one in self._table.dimensions
        }
        return Job(trial=trial, row=self._table.take(point(self._table, values), self._used), epoch=1)

    def report(self, job: Job, score: float) -> bool:
        """Report to the trial, and tell the study how it ended."""
        value = score if self._table.maximize else -score
        job.trial.report(value, job.epoch)
        if job.epoch == self._table.num_epochs:
            self._study.tell(job.trial, value)
            return False
        if job.trial.should_prune():
            self._study.tell(job.trial, state=self._pruned)
            return False
        return True


def point(table: CurveTable, values: dict[str, Any]) -> np.ndarray:
    """Return the point of the unit cube of a configuration in the table's own units."""
    return np.array([one.unit(np.array(float(values[one.name]))) for one in table.dimensions])


def _default(table: CurveTable, seed: int, past: Experience | None) -> Contender:
    evidence = None if past is None else past.without(table.name)
    strategy = build_strategy(StrategyConfig(name=USUAL[0]), StrategyConfig(name=USUAL[1]))
    return Autoft(table, seed, strategy, evidence=evidence)


def _random(table: CurveTable, seed: int, _: Experience | None) -> Contender:
    return Autoft(table, seed, build_strategy(StrategyConfig(name="random"), StrategyConfig(name="none")))


CONTENDERS: dict[str, Callable[[CurveTable, int, Experience | None], Contender]] = {
    "autoft": _default,
    "random": _random,
    "ray-asha": lambda table, seed, _: RayAsha(table, seed),
    "ray-asha-hyperopt": lambda table, seed, _: RayAshaHyperOpt(table, seed),
    "optuna-tpe-hyperband": lambda table, seed, _: OptunaTpeHyperband(table, seed),
}
"""Each from a table, a seed, and other tables as earlier searches; of these autoft's default alone makes use."""
