"""Parzen densities of one parameter each, good and bad, on the quantiles of the space."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoft.space import Choice

FEWEST = 100
"""A bandwidth is at least 1 / (n + 1) for n points, and at least one over this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers:
    """A mixture of normal densities around points in [0, 1], cut there, and of the even density as one point more.

    The bandwidth of a point is its distance to the farther of its two neighbours, where the ends count as such.

    Reference: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011, section 4.
    """

    points: np.ndarray
    widths: np.ndarray

    @classmethod
    def around(cls, points: Sequence[float] | np.ndarray) -> "Numbers":
        """Return the mixture around points."""
        points_N = np.sort(np.array(points, dtype=float))
        gaps = np.diff(np.concatenate([[0.0], points_N, [1.0]]))
        least = 1 / min(FEWEST, len(points_N) + 1)
        return cls(points=points_N, widths=np.clip(np.maximum(gaps[:-1], gaps[1:]), least, 1.0))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return so many draws."""
        from scipy.special import ndtr, ndtri

        which = rng.integers(len(self.points) + 1, size=count)
        even = rng.random(count)
        is_even = which == len(self.points)
        if not len(self.points):
            return even
        kernel = np.where(is_even, 0, which)
        at, width = self.points[kernel], self.widths[kernel]
        low, high = ndtr((0 - at) / width), ndtr((1 - at) / width)
        return np.where(is_even, even, np.clip(at + width * ndtri(low + even * (high - low)), 0.0, 1.0))

    def log_density(self, positions_M: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density."""
        from scipy.special import ndtr

        at, width = self.points[None], self.widths[None]
        mass = ndtr((1 - at) / width) - ndtr((0 - at) / width)
        scaled_MN = (positions_M[:, None] - at) / width
        kernels_MN = np.exp(-(scaled_MN**2) / 2) / (np.sqrt(2 * np.pi) * width * mass)
        return np.asarray(np.log((kernels_MN.sum(1) + 1) / (len(self.points) + 1)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Categories:
    """How often each value of a choice was seen, its share before counting as one time more in all."""

    shares: np.ndarray
    """Of each value in the space."""
    weights: np.ndarray
    """Of each value here."""

    @classmethod
    def of(
        cls, domain: Choice, positions: Sequence[float] | np.ndarray, prior_V: np.ndarray | None = None
    ) -> "Categories":
        """Return the shares of the values at positions; before, they are `prior_V`, or those of the space."""
        shares_V = np.array(domain.shares)
        counts_V = np.bincount(_which(shares_V, np.array(positions, dtype=float)), minlength=len(shares_V))
        before_V = shares_V if prior_V is None else prior_V
        return cls(shares=shares_V, weights=(counts_V + before_V) / (len(positions) + 1))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return the positions of so many draws."""
        drawn = rng.choice(len(self.weights), size=count, p=self.weights)
        ends_V = np.cumsum(self.shares)
        return np.asarray(ends_V[drawn] - self.shares[drawn] / 2)

    def log_density(self, positions_M: np.ndarray) -> np.ndarray:
        """Return the logarithm of how much likelier the values are here than in the space."""
        return np.asarray(np.log(self.weights / self.shares)[_which(self.shares, positions_M)])


Density = Numbers | Categories


def _which(shares_V: np.ndarray, positions_M: np.ndarray) -> np.ndarray:
    return np.asarray(np.searchsorted(np.cumsum(shares_V)[:-1], positions_M, side="right"))
