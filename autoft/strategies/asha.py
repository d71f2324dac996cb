"""Asynchronous successive halving, stopping or pausing trials, as a pure function of the history."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field

from autoft.core.errors import ConfigError
from autoft.strategies.base import History, Promotion, TrialView, Verdict
from autoft.strategies.orders import Orders
from autoft.strategies.rungs import loss_at


def default_grace(num_epochs: int) -> int:
    """Return the first rung for trials of `num_epochs`: 3 where there is room, at least a 27th, at most a third.

    The first epoch says little of the last (on LCBench and TaskSet their rank correlation is -.3 to .4, against
    .4 to .9 for the third), so it is not trusted where trials are longer than three epochs.
    """
    third = math.ceil(num_epochs / 3)
    return min(third, max(3, math.ceil(num_epochs / 27)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Halving:
    """Rungs, and who is how good at them.

    All rung values that the history holds count, whenever they arrived. So a decision that is taken again from the
    same history is the same, and a resume keeps the rungs: they are the history. Of equal values the trial that was
    started earlier is the better one. A trial without a finite value never goes on.
    """

    grace: int | None = None
    """Epochs that every trial may train; None: by `default_grace`."""
    reduction_factor: float = 3.0
    """Of so many trials at a rung one goes on; rungs lie so many times apart."""
    _orders: Orders = field(default_factory=Orders, init=False, repr=False, compare=False)
    """The trials at each rung; kept, which changes no decision."""

    def __post_init__(self) -> None:
        if self.grace is not None and self.grace < 1:
            raise ConfigError(f"grace must be at least 1 epoch, not {self.grace!r}.")
        if not 1 < self.reduction_factor < math.inf:
            raise ConfigError(f"reduction_factor must be above 1, not {self.reduction_factor!r}.")

    def rungs(self, num_epochs: int) -> tuple[int, ...]:
        """Return grace, grace x factor, grace x factor^2, ... and at last `num_epochs`."""
        at = float(self.grace or default_grace(num_epochs))
        rungs: list[int] = []
        while round(at) < num_epochs:
            if not rungs or round(at) > rungs[-1]:
                rungs.append(round(at))
            at *= self.reduction_factor
        return (*rungs, num_epochs)


def order_at(history: History, rung: int, orders: Orders | None = None) -> list[TrialView]:
    """Return the trials that count at a rung, best first; `orders` is what was kept of earlier histories."""
    return [history.trials[place] for _, place in (orders or Orders()).at(history, rung)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a trial stands at a rung."""

    rank: int
    count: int
    words: str


def _place(history: History, view: TrialView, rung: int, orders: Orders) -> _Place | None:
    """Return the place of `view`, which came to the rung; None where it has no finite value."""
    loss = loss_at(history, view, rung)
    if loss is None or loss == math.inf:
        return None
    order = orders.at(history, rung)
    rank = bisect_left(order, (loss, 0)) + 1
    while history.trials[order[rank - 1][1]].trial != view.trial:
        rank += 1
    best = view.best(history.objective, epoch=rung)
    return _Place(
        rank=rank,
        count=len(order),
        words=f"rank {rank} of {len(order)} at rung {rung} ({history.objective.metric} {best:.4g})",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Asha(Halving):
    """Stop a trial at a rung unless it is among the best 1 / `reduction_factor` of those that came so far.

    At least one of a rung's trials goes on.

    Reference: Li et al., A System for Massively Parallel Hyperparameter Tuning, arXiv:1810.05934: r = `grace`,
    eta = `reduction_factor`, R = the budget's epochs, s = 0; the stopping variant of its section 3.
    """

    def judge(self, history: History, view: TrialView) -> Verdict:
        """Return whether `view`, which stands at a rung, is among those that go on."""
        place = _place(history, view, view.epoch, self._orders)
        if place is None:
            return Verdict(action="stop", reason=f"no finite value up to rung {view.epoch}")
        going_on = max(1, math.floor(place.count / self.reduction_factor))
        if place.rank <= going_on:
            return Verdict(action="continue", reason=f"{place.words}: among the best {going_on}, it goes on")
        return Verdict(action="stop", reason=f"{place.words}: not among the best {going_on}, it stops")

    def promote(self, history: History, *, is_last_call: bool) -> Promotion | None:
        """Return None: it pauses no trial."""
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class AshaPromote(Halving):
    """Pause each trial at a rung, and let it go on once it is among the best 1 / `reduction_factor` there.

    Early on, when little is known, new trials are tried instead of training the first ones on. The highest rung with
    somebody to promote comes first. When no new trial will start, the best of each rung goes on, so that the search
    ends with a trial that has all its epochs.

    Reference: Li et al., A System for Massively Parallel Hyperparameter Tuning, arXiv:1810.05934, Algorithm 2.
    """

    def judge(self, history: History, view: TrialView) -> Verdict:
        """Return whether `view`, which stands at a rung, goes on at once or is paused."""
        place = _place(history, view, view.epoch, self._orders)
        if place is None:
            return Verdict(action="stop", reason=f"no finite value up to rung {view.epoch}")
        going_on = math.floor(place.count / self.reduction_factor)
        if place.rank <= going_on:
            return Verdict(action="continue", reason=f"{place.words}: among the best {going_on}, it goes on")
        return Verdict(action="pause", reason=f"{place.words}: not among the best {going_on}, it is paused")

    def promote(self, history: History, *, is_last_call: bool) -> Promotion | None:
        """Return the best paused trial of the highest rung where one is among those that go on."""
        paused = {view.trial for view in history.paused}
        if not paused:
            return None
        for rung in reversed(self.rungs(history.num_epochs)[:-1]):
            order = self._orders.at(history, rung)
            going_on = math.floor(len(order) / self.reduction_factor)
            if is_last_call:
                going_on = max(1, going_on)
            for rank, (_, place) in enumerate(order[:going_on], start=1):
                view = history.trials[place]
                if view.trial in paused and view.epoch == rung:
                    reason = f"rank {rank} of {len(order)} at rung {rung}: now among the best {going_on}, it goes on"
                    return Promotion(trial=view.trial, reason=reason)
        return None
