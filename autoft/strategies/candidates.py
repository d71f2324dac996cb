"""New configurations to choose from: draws from the space, and changes of the best that was tried."""

import math
from collections.abc import Sequence

import numpy as np

from autoft.core.seeds import generator
from autoft.strategies import leaning, ranking
from autoft.strategies.base import Assignment, History, TrialView
from autoft.strategies.encoding import Encoding

SMALLEST_STEP, LARGEST_STEP = 0.01, 0.5
"""Between them the step of a change is drawn, as a share of a range."""
RENEWED = 8
"""Starts between two renewals of what is considered."""
KEPT = 100
"""Parts of a pool that are kept before all are forgotten."""
CHANGED = 0.5
"""Share of the numbers that a change touches."""
SWITCHED = 0.2
"""Share of the choices that a change draws anew."""

_Key = tuple[int, int, str | tuple[tuple[str, float], ...], int]
"""The seed, the renewal, the trial that is changed or the weights of the backbones, and how many."""


def spread(history: History, encoding: Encoding, count: int) -> Assignment:
    """Return the next of `count` configurations that fill the space evenly, any few of its parameters too.

    Each leans toward the default recipe, some more and some less. Beyond `count`, and where what would be next is
    forbidden, it is a draw.

    Reference: Owen, Scrambling Sobol' and Niederreiter-Xing points, Journal of Complexity 1998.
    """
    number = history.num_started
    weight = leaning.weight_of(number)
    if number < count and encoding.parameters:
        point_P = _points(history.seed, encoding, count)[number]
        assignment = leaning.decoder(history, encoding, weight)(point_P)
        if history.space.forbids(assignment) is None:
            return assignment
    return leaning.sampler(history, encoding, weight)(generator(history.seed, "decision", number))


def _points(seed: int, encoding: Encoding, count: int) -> np.ndarray:
    """Return `count` points of the cube, or more up to the next power of 2."""
    from scipy.stats import qmc

    sobol = qmc.Sobol(len(encoding.parameters), rng=generator(seed, "spread"))
    return np.asarray(sobol.random_base2(math.ceil(math.log2(count))))


class Pool:
    """What may be started: draws from the space, and changes of the best trials; renewed every `RENEWED` starts.

    It depends on the seed, on how many trials were started, on which are the best and on how backbones are ranked; what
    it held is kept, which only saves time.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._kept: dict[_Key, tuple[Assignment, list[Assignment]]] = {}

    def draws(self, history: History, count: int) -> list[Assignment]:
        """Return `count` draws from the space, that lean some more and some less."""
        weights = ranking.weights(history)
        key = (history.seed, history.num_started // RENEWED, tuple(weights.items()), count)
        if key not in self._kept:
            rng = generator(*key[:2], "draws")
            samples = [leaning.sampler(history, self._encoding, weight) for weight in leaning.WEIGHTS]
            self._keep(key, {}, [samples[number % len(samples)](rng) for number in range(count)])
        return self._kept[key][1]

    def changes(self, history: History, best: Sequence[TrialView], count: int) -> list[Assignment]:
        """Return changes of `best`, as many of each and at most `count` in all; none that is forbidden."""
        return [one for view in best for one in self._of(history, view, count // len(best))]

    def _of(self, history: History, view: TrialView, count: int) -> list[Assignment]:
        key = (history.seed, history.num_started // RENEWED, view.trial, count)
        if key not in self._kept or self._kept[key][0] != view.assignment:
            rng = generator(*key[:2], "changes", view.trial)
            made = [change(self._encoding, view.assignment, rng) for _ in range(count)]
            self._keep(key, view.assignment, [one for one in made if history.space.forbids(one) is None])
        return self._kept[key][1]

    def _keep(self, key: _Key, of: Assignment, made: list[Assignment]) -> None:
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[key] = (of, made)


def change(encoding: Encoding, assignment: Assignment, rng: np.random.Generator) -> Assignment:
    """Return an assignment with some of its parameters changed, all by steps of one size."""
    at_P = encoding.positions(assignment)
    size = len(at_P)
    step = SMALLEST_STEP * (LARGEST_STEP / SMALLEST_STEP) ** rng.random()
    moved_P = at_P + step * rng.standard_normal(size) * (rng.random(size) < CHANGED)
    # Reflected at both ends, so that none of them collects what is beyond it.
    moved_P = np.abs(moved_P)
    moved_P = np.clip(1 - np.abs(1 - moved_P), 0.0, 1.0)
    drawn_P = rng.random(size)
    is_idle = np.array([one.label not in assignment for one in encoding.parameters])
    is_choice = encoding.is_choice_P
    moved_P = np.where(is_choice, at_P, moved_P)
    is_drawn = is_idle | (is_choice & (rng.random(size) < SWITCHED))
    return encoding.decode(np.where(is_drawn, drawn_P, moved_P))
