"""Asynchronous successive halving that stops trials, as a pure function of the history."""

import math
from dataclasses import dataclass

from autoft.core.errors import ConfigError
from autoft.strategies.base import History, TrialView, Verdict
from autoft.strategies.rungs import loss_at


def default_grace(num_epochs: int) -> int:
    """Return the first rung for trials of `num_epochs`: 3 where there is room, at least a 27th, at most a third.

    The first epoch says little of the last (on LCBench and TaskSet their rank correlation is -.3 to .4, against
    .4 to .9 for the third), so it is not trusted where trials are longer than three epochs.
    """
    third = math.ceil(num_epochs / 3)
    return min(third, max(3, math.ceil(num_epochs / 27)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Asha:
    """Stop a trial at a rung unless it is among the best 1 / `reduction_factor` of those that came so far.

    All rung values that the history holds count, whenever they arrived, the trial's own included. So a decision
    that is taken again from the same history is the same, and a resume keeps the rungs: they are the history.
    At least one of a rung's trials goes on. Of equal values the trial that was started earlier is the better one.
    A trial without a finite value never goes on.

    Reference: Li et al., A System for Massively Parallel Hyperparameter Tuning, arXiv:1810.05934: r = `grace`,
    eta = `reduction_factor`, R = the budget's epochs, s = 0; the stopping variant of its section 3.
    """

    grace: int | None = None
    """Epochs that every trial may train; None: by `default_grace`."""
    reduction_factor: float = 3.0
    """Of so many trials at a rung one goes on; rungs lie so many times apart."""

    def __post_init__(self) -> None:
        if self.grace is not None and self.grace < 1:
            raise ConfigError(f"asha: grace must be at least 1 epoch, not {self.grace!r}.")
        if not 1 < self.reduction_factor < math.inf:
            raise ConfigError(f"asha: reduction_factor must be above 1, not {self.reduction_factor!r}.")

    def rungs(self, num_epochs: int) -> tuple[int, ...]:
        """Return grace, grace x factor, grace x factor^2, ... and at last `num_epochs`."""
        at = float(self.grace or default_grace(num_epochs))
        rungs: list[int] = []
        while round(at) < num_epochs:
            if not rungs or round(at) > rungs[-1]:
                rungs.append(round(at))
            at *= self.reduction_factor
        return (*rungs, num_epochs)

    def judge(self, history: History, view: TrialView) -> Verdict:
        """Return whether `view`, which stands at a rung, is among those that go on."""
        rung = view.epoch
        own = loss_at(history, view, rung)
        if own is None or own == math.inf:
            return Verdict(goes_on=False, reason=f"no finite value up to rung {rung}")
        rank, count = 1, 0
        is_earlier = True
        for other in history.trials:
            if other.kind == "probe":
                continue
            if other.trial == view.trial:
                is_earlier = False
                count += 1
                continue
            loss = loss_at(history, other, rung)
            if loss is None:
                continue
            count += 1
            rank += loss < own or (loss == own and is_earlier)
        going_on = max(1, math.floor(count / self.reduction_factor))
        best = view.best(history.objective, epoch=rung)
        place = f"rank {rank} of {count} at rung {rung} ({history.objective.metric} {best:.4g})"
        if rank <= going_on:
            return Verdict(goes_on=True, reason=f"{place}: among the best {going_on}, it goes on")
        return Verdict(goes_on=False, reason=f"{place}: not among the best {going_on}, it stops")
