"""New configurations to choose from: draws from the space, and changes of the best that was tried."""

from collections.abc import Sequence

import numpy as np

from autoft.core.seeds import generator
from autoft.space import SearchSpace
from autoft.strategies.base import Assignment, History
from autoft.strategies.encoding import Encoding

SMALLEST_STEP, LARGEST_STEP = 0.01, 0.5
"""Between them the step of a change is drawn, as a share of a range."""
CHANGED = 0.5
"""Share of the numbers that a change touches."""
SWITCHED = 0.2
"""Share of the choices that a change draws anew."""


def spread(history: History, encoding: Encoding, count: int) -> Assignment:
    """Return the next of `count` configurations that lie in different layers of every parameter (a Latin hypercube).

    Beyond `count`, and where what would be next is forbidden, it is a draw.

    Reference: McKay et al., Technometrics 1979.
    """
    rng = generator(history.seed, "spread", count)
    number = history.num_started
    num_parameters = len(encoding.parameters)
    layers_NP = rng.permuted(np.tile(np.arange(count), (num_parameters, 1)), axis=1).T
    within_NP = rng.random((count, num_parameters))
    if number < count:
        assignment = encoding.decode((layers_NP[number] + within_NP[number]) / count)
        if history.space.forbids(assignment) is None:
            return assignment
    return history.space.sample(generator(history.seed, "decision", number))


def propose(
    space: SearchSpace, encoding: Encoding, best: Sequence[Assignment], count: int, rng: np.random.Generator
) -> list[Assignment]:
    """Return `count` configurations: one half draws, the other half changes of one of `best`, if there are any."""
    num_changed = count // 2 if best else 0
    drawn = [space.sample(rng) for _ in range(count - num_changed)]
    changed = [change(encoding, best[int(rng.integers(len(best)))], rng) for _ in range(num_changed)]
    return drawn + [one for one in changed if space.forbids(one) is None]


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
