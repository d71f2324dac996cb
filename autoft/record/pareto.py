"""Trials judged by several objectives: who is dominated by whom, and how much the front dominates."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoft.core.metrics import Objective


def losses(values: NDArray[np.float64], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Return values of shape (trials, objectives) with the sign that makes less better."""
    signs = [-1.0 if objective.maximize else 1.0 for objective in objectives]
    return np.asarray(values * np.array(signs), dtype=np.float64)


def fronts(points: NDArray[np.float64]) -> list[int]:
    """Return each point's front: 1 where no other dominates it, 2 where only those of front 1 do, and so on.

    A point dominates another if it is nowhere worse and somewhere better. 0: a coordinate is NaN.

    Args:
        points: Shape (points, objectives); less is better.

    Reference: Zhang et al., ENS-BS, IEEE Transactions on Evolutionary Computation 2015: points in lexicographic order
    go one by one into the first front that holds none before them, found by bisection; of a front only those tails
    (coordinates but the first) are kept that no other of it undercuts. Of two objectives a front has one such tail, and
    the fronts are in the order of these.
    """
    found = np.zeros(len(points), dtype=np.int64)
    able = np.flatnonzero(~np.isnan(points).any(axis=1))
    if not len(able):
        return [0] * len(points)
    distinct, place = np.unique(points[able], axis=0, return_inverse=True)
    if points.shape[1] == 2:
        own = _first_free_of_two(distinct[:, 1].tolist())
    else:
        tails: list[list[tuple[float, ...]]] = []
        own = [_first_free(tails, tuple(point[1:].tolist())) for point in distinct]
    found[able] = np.array(own)[place.ravel()]
    return [int(front) for front in found]


def by_front(points: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Return the positions of the points that can be ranked, and each point's front, as `fronts` says.

    They are in the order of their fronts, within one in that of the first coordinate; of equals the earlier is first. A
    point without a first coordinate cannot be ranked, one without another has the worst of that.

    Args:
        points: Shape (points, objectives); less is better.
    """
    able = np.isfinite(points[:, 0])
    found = fronts(np.where(able[:, None], np.where(np.isfinite(points), points, np.inf), np.nan))
    ranked = np.lexsort((points[:, 0], np.array(found, dtype=np.int64)))
    return ranked[able[ranked]].tolist(), found


def num_ahead(points: NDArray[np.float64], places: Sequence[int]) -> list[int]:
    """Return, of the points at `places`, how many others are ahead of each by `by_front`, whatever points are added.

    Those are the ones that dominate it, and of equals the earlier ones. Any other that is ahead may be pushed off its
    front by a new point, and then stand behind.

    Args:
        points: Shape (points, objectives); less is better; not finite is the worst.
        places: Of some of them.
    """
    known = np.where(np.isfinite(points), points, np.inf)
    found = []
    for place in places:
        no_worse = (known <= known[place]).all(axis=1)
        equal = (known[no_worse] == known[place]).all(axis=1)
        found.append(int((~equal | (np.flatnonzero(no_worse) < place)).sum()))
    return found


def _first_free_of_two(seconds: Sequence[float]) -> list[int]:
    """Return the front of each point, from 1, by its second coordinate; the points are in lexicographic order."""
    least: list[float] = []
    found = []
    for second in seconds:
        front = bisect_right(least, second)
        least[front : front + 1] = [second]
        found.append(front + 1)
    return found


def _first_free(tails: list[list[tuple[float, ...]]], tail: tuple[float, ...]) -> int:
    """Return the number of the first front, from 1, that dominates no point with this tail, and add it there."""
    low, high = 0, len(tails)
    while low < high:
        middle = (low + high) // 2
        if any(_no_worse(other, tail) for other in tails[middle]):
            low = middle + 1
        else:
            high = middle
    if low == len(tails):
        tails.append([])
    tails[low] = [other for other in tails[low] if not _no_worse(tail, other)] + [tail]
    return low + 1


def _no_worse(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def hypervolume(points: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return the volume between the points and a reference point that at least one of them dominates.

    Points that are not better than the reference everywhere add nothing.

    Args:
        points: Shape (points, objectives), finite; less is better.
        reference: Shape (objectives,).

    Reference: Zitzler & Thiele, PPSN 1998; by slices along the last objective.
    """
    inside = points[(points < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    if points.shape[1] == 1:
        return float(reference[0] - inside[:, 0].min())
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    ends = np.append(inside[1:, -1], reference[-1])
    slices = (
        (end - point[-1]) * hypervolume(inside[: count + 1, :-1], reference[:-1])
        for count, (point, end) in enumerate(zip(inside, ends, strict=True))
        if end > point[-1]
    )
    return float(sum(slices))


def dominated_share(points: NDArray[np.float64]) -> float:
    """Return the share, in [0, 1], of the box between the best and the worst of all points that the front dominates.

    1 where one point is best in everything; 0 where there are no two finite points that differ.

    Args:
        points: Shape (points, objectives); less is better; those that are not finite are left out.
    """
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return 0.0
    low, high = finite.min(axis=0), finite.max(axis=0)
    varies = high > low
    if not varies.any():
        return 0.0
    scaled = (finite[:, varies] - low[varies]) / (high - low)[varies]
    leading = np.array(fronts(scaled)) == 1
    return hypervolume(scaled[leading], np.ones(scaled.shape[1]))
