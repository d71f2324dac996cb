"""Several objectives as one number, so that every searcher and scheduler can drive at a front.

With each trial that starts the weights are drawn anew, so that over a search all trade-offs are driven at.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoft.core.metrics import Objective
from autoft.core.seeds import generator

TRADE_OFF = Objective(metric="trade_off", maximize=False)
"""What strategies are given in the place of the objectives: lower is better, in (0, 1.05]."""
SUM_SHARE = 0.05
"""Of the weighted sum, beside the weighted maximum: rho of the reference."""

Curve = Sequence[Sequence[float | None]]
"""Losses of a trial, lower is better: by epoch, then by objective; None: not finite."""


def weights(seed: int, num_started: int, num_objectives: int) -> NDArray[np.float64]:
    """Return the weights of the objectives after so many trials were started; they add up to 1."""
    return generator(seed, "weights", num_started).dirichlet(np.ones(num_objectives))


def trade_offs(curves: Sequence[Curve], shares: NDArray[np.float64]) -> list[tuple[float | None, ...]]:
    """Return each trial's number after each epoch; None where its first objective is not finite.

    Objectives count by their rank among all trials at that epoch, so that no unit outweighs another; one that is not
    finite counts as worse than all.

    Args:
        curves: Of every trial.
        shares: Weights of the objectives.

    Reference: Knowles, ParEGO, IEEE Transactions on Evolutionary Computation 2006, equation 2, on ranks.
    """
    found: list[list[float | None]] = [[] for _ in curves]
    for epoch in range(max(map(len, curves), default=0)):
        there = [index for index, curve in enumerate(curves) if len(curve) > epoch]
        values = np.array([curves[index][epoch] for index in there], dtype=np.float64)
        values[~np.isfinite(values)] = np.inf
        ranks = np.column_stack([_ranks(column) for column in values.T])
        numbers = (ranks * shares).max(axis=1) + SUM_SHARE * (ranks * shares).sum(axis=1)
        for index, number, first in zip(there, numbers, values[:, 0], strict=True):
            found[index].append(float(number) if np.isfinite(first) else None)
    return [tuple(numbers) for numbers in found]


def _ranks(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value among the distinct ones, in (0, 1]."""
    distinct, places = np.unique(column, return_inverse=True)
    return np.asarray((places.ravel() + 1) / len(distinct), dtype=np.float64)
