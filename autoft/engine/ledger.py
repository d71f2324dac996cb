"""The trials of a search as the driver knows them, and their order from best to worst."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.core.configs import Budget, EpochResult, SearchConfig, TrialStatus
from autoft.core.jsonable import Json
from autoft.core.metrics import METRICS, TRANSFERABILITY, broken_limit, parse_objective
from autoft.engine.attempts import Attempts
from autoft.record.choosing import ERROR, Contestant
from autoft.record.pareto import dominated_share, losses, num_ahead
from autoft.record.ranking import OUT, Standing, compare
from autoft.space import SearchSpace
from autoft.strategies import History, TrialView
from autoft.strategies.experience import Experience
from autoft.strategies.register import Register
from autoft.strategies.trade_off import TRADE_OFF, trade_offs, weights


@dataclass(kw_only=True, slots=True)
class Entry:
    """One trial: what strategies see of it, and what they do not."""

    view: TrialView
    config: Json
    """`TrialConfig` as JSON, filled by the worker once it has reported."""
    epochs: list[EpochResult] = field(default_factory=list)
    reason: str = ""
    """Of its status."""
    attempts: Attempts = field(default_factory=Attempts)
    """What befell its workers in this run."""
    lost_to_memory: bool = False
    """Whether its worker was lost for want of memory since its last epoch."""
    in_flight: bool = False
    """Whether a worker has it, or will get it."""
    breaks: str | None = None
    """The limit that it breaks, in words."""
    waits_for_promotion: bool = False
    """Whether it was paused by a decision of its scheduler; one that the end of the time paused goes on by itself."""


class Ledger:
    """All trials, in the order in which they were started."""

    def __init__(self, search: SearchConfig, *, evidence: Experience | None = None) -> None:
        """Hold no trial of a search yet; `evidence` is what it learns from."""
        self.objectives = tuple(parse_objective(name) for name in search.metrics)
        self.objective = self.objectives[0]
        self._search = search
        self._evidence = evidence
        self._entries: dict[str, Entry] = {}
        self._numbers: dict[str, int] = {}
        self._views: list[TrialView] = []
        self._running: dict[str, Entry] = {}
        self._paused: set[str] = set()
        self._judged: dict[str, tuple[list[float | None], Contestant]] = {}
        """What each trial is ranked by, until something of it changes."""
        self._register = Register()
        self.num_trials = 0
        """Started so far, probes left out."""
        self.num_epochs = 0
        """Trained so far, over all trials and probes."""

    def __getitem__(self, trial: str) -> Entry:
        return self._entries[trial]

    def __contains__(self, trial: object) -> bool:
        return trial in self._entries

    def add(self, entry: Entry) -> None:
        """Add a trial that starts now."""
        self._entries[entry.view.trial] = entry
        self._numbers[entry.view.trial] = len(self._views)
        self._views.append(entry.view)
        self.num_trials += entry.view.kind != "probe"
        self.num_epochs += entry.view.epoch
        self._place(entry)

    @property
    def running(self) -> tuple[Entry, ...]:
        """The trials that hold a slot, in no order."""
        return tuple(self._running.values())

    @property
    def unfinished(self) -> set[str]:
        """The trials that run or are paused."""
        return {*self._running, *self._paused}

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every trial."""
        return tuple(self._entries.values())

    @property
    def views(self) -> tuple[TrialView, ...]:
        """Every trial, as strategies see it."""
        return tuple(self._views)

    @property
    def num_in_flight(self) -> int:
        """Trials that workers have, or will get."""
        return sum(entry.in_flight for entry in self._running.values())

    def add_epoch(self, trial: str, result: EpochResult) -> None:
        """Add the next epoch of a trial."""
        entry = self._entries[trial]
        self._judged.pop(trial, None)
        self.num_epochs += 1
        entry.epochs.append(result)
        entry.breaks = entry.breaks or broken_limit(result.metrics, self._search.limits)
        value = None if entry.breaks else result.metrics.get(self.objective.column)
        seconds = 0.0 if self._search.deterministic else result.seconds
        self._change(
            entry,
            values=(*entry.view.values, value),
            cost_seconds=entry.view.cost_seconds + seconds,
            transferability=result.metrics.get(TRANSFERABILITY),
        )

    def grant(self, trial: str, until_epoch: int) -> None:
        """Let a trial train up to an epoch."""
        self._change(self._entries[trial], until_epoch=until_epoch)

    def ask_after_each_epoch(self) -> None:
        """Grant unfinished trials one epoch more at most: under a budget of time they are asked about after each."""
        for trial in self.unfinished:
            view = self._entries[trial].view
            self.grant(trial, min(view.until_epoch, view.epoch + 1))

    def set_status(self, trial: str, status: TrialStatus, reason: str) -> None:
        """Say what a trial is now."""
        entry = self._entries[trial]
        self._change(entry, status=status)
        entry.reason = reason
        self._judged.pop(trial, None)
        self._place(entry)

    def _place(self, entry: Entry) -> None:
        """Put a trial among those of its status."""
        trial, status = entry.view.trial, entry.view.status
        self._running.pop(trial, None)
        self._paused.discard(trial)
        if status == "running":
            self._running[trial] = entry
        elif status == "paused":
            self._paused.add(trial)

    def _change(self, entry: Entry, **changes: Any) -> None:
        entry.view = self._views[self._numbers[entry.view.trial]] = entry.view.replace(**changes)

    def history(self, space: SearchSpace, *, budget: Budget, slots: int, seconds: tuple[float, float]) -> History:
        """Return what a strategy decides on.

        Args:
            space: Of the search.
            budget: As it is now: a resume can raise it.
            slots: Trials that may run side by side.
            seconds: Those used, and those reserved for the work after the last trial.
        """
        is_one = len(self.objectives) == 1
        trials = self.views if is_one else self._traded_off()
        self._register.follow(trials)
        return History(
            space=space,
            objective=self.objective if is_one else TRADE_OFF,
            budget=budget,
            seed=self._search.seed,
            trials=trials,
            register=self._register,
            slots=slots,
            seconds_used=seconds[0],
            seconds_reserved=seconds[1],
            confirm=self._search.confirm,
            num_finalists=self._search.num_finalists,
            min_improvement=self._search.min_improvement,
            evidence=self._evidence,
        )

    def _traded_off(self) -> tuple[TrialView, ...]:
        """Return the trials with the trade-off of all objectives in the place of the first, and their points.

        Those that confirm others are no part of the trade-off, and stay as they are.
        """
        searched = [entry for entry in self.entries if entry.view.kind != "confirm"]
        curves = [[self._losses(entry, number) for number in range(entry.view.epoch)] for entry in searched]
        num_started = sum(entry.view.kind == "trial" for entry in searched)
        numbers = iter(trade_offs(curves, weights(self._search.seed, num_started, len(self.objectives))))
        return tuple(
            entry.view
            if entry.view.kind == "confirm"
            else entry.view.replace(values=next(numbers), point=self._signed(self._judge(entry.view.trial)[0]))
            for entry in self.entries
        )

    def _losses(self, entry: Entry, number: int) -> tuple[float | None, ...]:
        """Return the objectives after an epoch, lower is better; none where the trial breaks a limit."""
        metrics = {} if entry.breaks else entry.epochs[number].metrics
        return self._signed([metrics.get(objective.column) for objective in self.objectives])

    def _signed(self, values: Sequence[float | None]) -> tuple[float | None, ...]:
        """Return values of the objectives with the sign that makes less better."""
        return tuple(
            -value if value is not None and objective.maximize else value
            for value, objective in zip(values, self.objectives, strict=True)
        )

    def best_value(self, trial: str) -> float | None:
        """Return what a trial is ranked by, or None where it cannot be ranked.

        That is its best value; of a cost, which no longer training makes better, the last one that was measured.
        """
        return self._best(self._entries[trial])[0]

    def _best(self, entry: Entry) -> list[float | None]:
        """Return the objectives of a trial: those of its best epoch, and the costs measured last."""
        if entry.view.status in OUT or entry.breaks:
            return [None] * len(self.objectives)
        best = self._best_epoch(entry)
        found: list[float | None] = []
        for objective in self.objectives:
            if METRICS[objective.metric].is_cost:
                measured = (result.metrics.get(objective.column) for result in reversed(entry.epochs))
                found.append(next((value for value in measured if value is not None), None))
            else:
                found.append(None if best is None else best.metrics.get(objective.column))
        return found

    def _best_epoch(self, entry: Entry) -> EpochResult | None:
        best = entry.view.best(self.objective)
        return None if best is None else entry.epochs[entry.view.values.index(best)]

    def ranking(self, *, finished_only: bool = False) -> list[str]:
        """Return the trials that can win, best first; of equals, the one that was started earlier."""
        trials = self._finished() if finished_only else list(self._entries)
        return [trials[index] for index in self._standing(trials).order]

    def _finished(self) -> list[str]:
        return [trial for trial, entry in self._entries.items() if entry.view.status not in ("running", "paused")]

    def may_lead(self, trials: Collection[str], *, most: int) -> set[str]:
        """Return those of `trials` that have ended and are, or may come to be, among the `most` leading ones.

        By one metric, who is behind these stays there. By several a trial that ends may push others off the front, and
        who was behind them moves up.
        """
        if len(self.objectives) == 1:
            return set(trials).intersection(self.ranking(finished_only=True)[:most])
        finished = [trial for trial in self._finished() if self._entries[trial].view.kind != "confirm"]
        points = losses(self._values(finished), self.objectives)
        places = [place for place, trial in enumerate(finished) if trial in trials and np.isfinite(points[place, 0])]
        ahead = zip(places, num_ahead(points, places), strict=True)
        return {finished[place] for place, count in ahead if count < most}

    def _standing(self, trials: Sequence[str]) -> Standing:
        return compare(
            self._values(trials),
            self.objectives,
            [self._judge(trial)[1] for trial in trials],
            num_finalists=self._search.num_finalists,
            error_of=lambda place: self._error(self._entries[trials[place]]),
        )

    def _values(self, trials: Sequence[str]) -> NDArray[np.float64]:
        """Return what trials are ranked by, shape (trials, objectives); NaN where there is nothing."""
        values = [self._judge(trial)[0] for trial in trials]
        return np.array(values, dtype=np.float64).reshape(-1, len(self.objectives))

    def _judge(self, trial: str) -> tuple[list[float | None], Contestant]:
        """Return what a trial is ranked by; kept, since few trials change between two rankings."""
        known = self._judged.get(trial)
        if known is None:
            entry = self._entries[trial]
            known = self._judged[trial] = (self._best(entry), _contestant(entry))
        return known

    def _error(self, entry: Entry) -> float | None:
        """Return the standard error of what a trial is ranked by, if its worker reported one."""
        best = self._best_epoch(entry)
        error: float | None = None if best is None else best.metrics.get(ERROR.format(column=self.objective.column))
        return error

    def front(self) -> Json:
        """Return the trials that no other dominates, best by the first objective first, and how much they dominate."""
        trials = list(self._entries)
        standing = self._standing(trials)
        return {
            "trials": [trials[index] for index in standing.order if standing.fronts[index] == 1],
            "hypervolume": round(dominated_share(standing.points), 12),
        }

    def why_none_won(self) -> str:
        """Return, in words, why no trial can win: the commonest reason first."""
        if not self._entries:
            return "No trial was started."
        reasons = Counter(
            entry.breaks or entry.reason or f"it ended as {entry.view.status}"
            for entry in self._entries.values()
            if not entry.in_flight
        )
        total = len(self._entries)
        what = f"All {total} trials failed"
        if not any(entry.view.status in OUT for entry in self._entries.values()):
            if not any(entry.breaks for entry in self._entries.values()):
                return f"None of the {total} trials has a finite {self.objective.column}."
            what = f"None of the {total} trials keeps the limits"
        reason, count = reasons.most_common(1)[0]
        return f"{what}; the commonest reason ({count} of {total}): {reason}"


def _contestant(entry: Entry) -> Contestant:
    sizes = (result.metrics.get("parameters") for result in reversed(entry.epochs))
    return Contestant(
        trial=entry.view.trial,
        kind=entry.view.kind,
        status=entry.view.status,
        confirms=entry.view.confirms,
        size=next((size for size in sizes if size is not None), None),
    )


def final_status(view: TrialView, last: EpochResult) -> TrialStatus:
    """Return the status of a trial that ended by itself with the epoch `last`."""
    if last.status == "diverged":
        return "diverged"
    return "probe" if view.kind == "probe" else "completed"
