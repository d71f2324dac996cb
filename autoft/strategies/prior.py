"""What earlier searches say: which configurations to try first, and what to expect of any."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autoft.strategies import ranking
from autoft.strategies.base import Assignment, History, Suggestion, TrialView
from autoft.strategies.experience.lessons import PROGRESS, Lessons, key_of, lessons_of
from autoft.strategies.experience.model import DataFacts
from autoft.strategies.random import tried

PORTFOLIO = 4
"""Assignments of the portfolio that are tried first; after so many, own results choose better than a fixed list."""
LEADING = 300
"""Candidates of the least expected loss, of which some are considered at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """What earlier searches let expect of configurations here.

    Each search says how good a configuration was on its data; their weighted mean is what is expected. The weights
    follow how alike the data are and how well each search ranks the trials of this one.

    Reference: Wistuba et al., Scalable Gaussian Process-Based Transfer Surrogates, Machine Learning 2018.
    """

    lessons: Lessons
    weights: np.ndarray
    """Of each search, 1 in all."""

    @classmethod
    def of(cls, history: History, *, own: Sequence[TrialView]) -> "Prior | None":
        """Return the prior at this point of a search; None where it learns from no earlier ones.

        Args:
            history: What is known.
            own: Its trials that can be compared, the best first; see `curve_evidence.Reader.best_first`.
        """
        if history.evidence is None:
            return None
        lessons = lessons_of(history.space, history.evidence)
        said = lessons.losses(view.assignment for view in own)
        return cls(lessons=lessons, weights=lessons.weights(said, range(len(own)), target_of(history)))

    def expected(self, assignments: Iterable[Assignment]) -> "Expected":
        """Return how good assignments are expected to be."""
        everywhere = self.lessons.everywhere @ self.weights
        losses_NR = np.einsum("nsr,s->nr", self.lessons.curves(assignments), self.weights)
        return Expected(losses=losses_NR, mean=float(everywhere.mean()), deviation=float(everywhere.std()) or 1.0)

    def promising(self, count: int, rng: np.random.Generator) -> list[Assignment]:
        """Return some of the assignments of which the most is expected."""
        candidates = self.lessons.candidates
        leading = np.argsort(candidates.losses @ self.weights, kind="stable")[:LEADING]
        chosen = rng.choice(leading, min(count, len(leading)), replace=False)
        return [candidates.assignments[place] for place in chosen.tolist()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """How good configurations are expected to be: 0 is the mean of draws trained to the end, 1 a deviation better."""

    losses: np.ndarray
    """Of shape (configurations, len(PROGRESS))."""
    mean: float
    """Of the losses of draws at the end."""
    deviation: float

    def after(self, progress: np.ndarray | float) -> np.ndarray:
        """Return it after shares of the longest training, one for each or for all."""
        places = np.interp(np.log(progress), np.log(PROGRESS), np.arange(len(PROGRESS)))
        places_N = np.broadcast_to(places, len(self.losses))
        before_N = np.minimum(places_N.astype(int), len(PROGRESS) - 2)
        rows_N, share_N = np.arange(len(self.losses)), places_N - before_N
        losses_N = (1 - share_N) * self.losses[rows_N, before_N] + share_N * self.losses[rows_N, before_N + 1]
        return np.asarray((self.mean - losses_N) / self.deviation)


def from_portfolio(history: History) -> Suggestion | None:
    """Return the next of the portfolio; None once all of it was tried, or without earlier searches to learn from."""
    if history.evidence is None:
        return None
    lessons = lessons_of(history.space, history.evidence)
    known = tried(history)
    for place, assignment in enumerate(lessons.portfolio(PORTFOLIO), start=1):
        if not any(one == assignment and key_of(one) == key_of(assignment) for one in known):
            reason = f"number {place} of a portfolio from {lessons.num_searches} earlier searches"
            return Suggestion(assignment=assignment, reason=reason)
    return None


def target_of(history: History) -> DataFacts:
    """Return what is known of the data: the facts of its rows, and the frozen probes that have ended."""
    facts = history.evidence.target if history.evidence is not None else DataFacts()
    if history.objective.metric != "accuracy":
        return facts
    names = ranking.names(history.space)
    found = {
        names[label]: value
        for label, view in ranking.probes(history).items()
        if label in names and (value := view.best(history.objective)) is not None
    }
    return dataclasses.replace(facts, probes=found) if found else facts
