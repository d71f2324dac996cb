"""Which rows an epoch is made of."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from autoft.core import catalog

Rows = np.ndarray[Any, np.dtype[np.int64]]

Sampling = Callable[[Rows, np.random.Generator], Rows]
"""From the targets (N,) of a split to the N rows of one epoch, in any order; all chance comes from the generator."""


def build_sampling(config: Mapping[str, Any]) -> Sampling:
    """Return the sampling of a recipe's section `sampling`.

    Raises:
        ConfigError: If there is no such sampling.
    """
    sampling: Sampling = catalog.entry("sampling", config["name"], where="sampling.name").load()(config)
    return sampling


def shuffle(config: Mapping[str, Any]) -> Sampling:
    """Return every row once; the order is drawn elsewhere."""

    def sample(targets: Rows, draws: np.random.Generator) -> Rows:
        return np.arange(len(targets))

    return sample


def balanced(config: Mapping[str, Any]) -> Sampling:
    """Return rows whose classes are drawn in proportion to count^(1 - power): 1 makes all classes alike.

    A class with share p of N rows gets N p of them, rounded down or up so that the expected number is N p. Its rows
    come once before any comes twice, and twice before any comes a third time.

    Reference: Kang et al., arXiv:1910.09217, section 3.1, equation 1, with q = 1 - power.
    """
    power = float(config["power"])

    def sample(targets: Rows, draws: np.random.Generator) -> Rows:
        if not len(targets):
            return np.arange(0)
        _, classes, counts = np.unique(targets, return_inverse=True, return_counts=True)
        weights = counts.astype(np.float64) ** (1 - power)
        wanted = rounded(len(targets) * weights / weights.sum(), draws)
        members = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
        return np.concatenate([_repeated(rows, count, draws) for rows, count in zip(members, wanted, strict=True)])

    return sample


def rounded(numbers: np.ndarray[Any, np.dtype[np.float64]], draws: np.random.Generator) -> Rows:
    """Return each of `numbers` rounded down or up, with itself as the expected value; their sum, a whole number, stays.

    Reference: systematic sampling; Madow, On the Theory of Systematic Sampling II, 1949.
    """
    # Sums that differ from whole numbers by the error of floating point alone would be rounded down at times.
    ends = np.floor(np.round(np.cumsum(numbers), 9) + draws.random())
    ends[-1] = round(numbers.sum())
    whole: Rows = np.diff(ends, prepend=0).astype(np.int64)
    return whole


def _repeated(rows: Rows, count: int, draws: np.random.Generator) -> Rows:
    times, rest = divmod(count, len(rows))
    return np.concatenate([np.tile(rows, times), draws.permutation(rows)[:rest]])
