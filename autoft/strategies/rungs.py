"""What trials are compared by: their best value up to a rung, the one clock of searchers and schedulers."""

import math
from dataclasses import dataclass

from autoft.strategies.base import History, Promotion, TrialView, Verdict

FINISHED = ("completed", "pruned", "probe")
"""Statuses of trials that ended with evidence; `failed` ones have none, `diverged` ones are worst."""


def loss_at(history: History, view: TrialView, rung: int) -> float | None:
    """Return what `view` counts for at `rung`, lower is better; None while it has not come so far.

    It is the best of its values up to the rung (negated where more is better), or infinity where none is finite.
    A trial that ended by itself before the rung (it had learned all it could) keeps its best; one that diverged
    counts as infinity at every rung that it had not reached, one that was pruned or failed counts at none of those.
    """
    if view.epoch < rung:
        if view.status == "diverged":
            return math.inf
        if view.status != "completed":
            return None
    best = view.best(history.objective, epoch=rung)
    if best is None:
        return math.inf
    return -best if history.objective.maximize else best


@dataclass(frozen=True, kw_only=True, slots=True)
class RunToEnd:
    """The scheduler that ends no trial early: every one trains `budget.epochs`."""

    def rungs(self, num_epochs: int) -> tuple[int, ...]:
        """Return the full length alone."""
        return (num_epochs,)

    def judge(self, history: History, view: TrialView) -> Verdict:
        """Let it go on."""
        return Verdict(action="continue", reason="every trial runs to its last epoch")

    def promote(self, history: History, *, is_last_call: bool) -> Promotion | None:
        """Return None: it pauses no trial."""
        return None
