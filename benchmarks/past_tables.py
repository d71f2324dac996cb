"""Learning-curve tables as experience, so that a benchmark exercises the code that a search runs."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autoft.space import Assignment, SearchSpace
from autoft.strategies.experience import Experience, flattened, past_search


def experience_of_tables(
    space: SearchSpace,
    tables: Mapping[str, tuple[Sequence[Assignment], NDArray[np.float64]]],
    *,
    maximize: bool,
) -> Experience:
    """Return tables as earlier searches, each on data of its own.

    Args:
        space: What the assignments are of.
        tables: By name: the assignment of each row, and the objective after each epoch, of shape (rows, epochs).
        maximize: Whether more is better.
    """
    return Experience.of(
        past_search(
            task=space.task,
            fingerprint=name,
            objective="value" if maximize else "-value",
            epochs=curves.shape[1],
            recipes=[flattened(space.recipe(assignment)) for assignment in assignments],
            curves=curves.tolist(),
            maximize=maximize,
        )
        for name, (assignments, curves) in tables.items()
    )
