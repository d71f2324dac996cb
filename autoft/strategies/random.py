"""Independent draws from the space."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autoft.core.seeds import generator
from autoft.strategies.base import Assignment, History, Suggestion

ATTEMPTS = 100
"""Draws after which a configuration that was tried before is tried again."""


def tried(history: History) -> list[Assignment]:
    """Return the assignments of all trials, probes left out."""
    return [view.assignment for view in history.trials if view.kind == "trial"]


def draw(
    history: History, sample: Callable[[np.random.Generator], Assignment] | None = None
) -> tuple[Assignment, bool]:
    """Return a draw by `sample` (None: the space's own) and whether it is new, by the decision's own generator.

    Draws that were tried already are drawn again, `ATTEMPTS` times at most.
    """
    rng = generator(history.seed, "decision", history.num_started)
    known = tried(history)
    for _ in range(ATTEMPTS):
        assignment = (sample or history.space.sample)(rng)
        if assignment not in known:
            return assignment, True
    return assignment, False


@dataclass(frozen=True, kw_only=True, slots=True)
class Random:
    """The searcher that draws every configuration from the space, whatever came before.

    Reference: Bergstra & Bengio, Random Search for Hyper-Parameter Optimization, JMLR 2012.
    """

    def suggest(self, history: History, *, rungs: tuple[int, ...]) -> Suggestion:
        """Return a draw."""
        assignment, is_new = draw(history)
        again = "" if is_new else "; it was tried before, the space seems to hold no other"
        return Suggestion(assignment=assignment, reason=f"a random draw{again}")
