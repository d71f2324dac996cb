"""What the rest of a budget promises: how much better the best would be at its end."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoft.core.seeds import generator
from autoft.strategies.base import History, TrialView
from autoft.strategies.trade_off import TRADE_OFF

FEWEST = 10
"""Trials before anything is said."""
TAIL_SHARE = 0.2
"""Of the trials, the best that tell how values thin out towards the top; three at least."""
PLACES = 4096
"""Draws from the space between the worst and the best, at which the dominated share of it is measured."""


def expected_gain(history: History) -> tuple[float, int] | None:
    """Return the expected improvement by the trials that are left, and their number.

    None: fewer than `FEWEST` trials have shown what they are, or too many of them without a value. By one metric it is
    that of the best, by several that of the hypervolume: of the share that trials dominate of the space between their
    worst and their best.

    The best values of trials are taken for draws with an exponential tail; m more than n draws then raise the best by
    its scale times log((n + m) / n). A bounded metric thins out faster, so this is too much rather than too little: a
    search ends too late rather than too early. A hypervolume is taken to grow by the same law: see `_lacking`.
    """
    shown = [view for view in history.trials if view.kind == "trial" and not view.is_running]
    if len(shown) < FEWEST:
        return None
    count = max(3, math.ceil(TAIL_SHARE * len(shown)))
    scale_of = _scale_of_front if history.objective == TRADE_OFF else _scale
    scale = scale_of(history, shown, count)
    left = _num_left(history)
    return None if scale is None else (scale * math.log((len(shown) + left) / len(shown)), left)


def _scale(history: History, shown: Sequence[TrialView], count: int) -> float | None:
    """Return the scale of the tail: the mean excess of the best values over the next one; None: there are too few.

    Reference: Weissman, Estimation of Parameters and Large Quantiles Based on the k Largest Observations, Journal of
    the American Statistical Association 1978.
    """
    values = [value for view in shown if (value := view.best(history.objective)) is not None]
    if len(values) <= count:
        return None
    heights = sorted((value if history.objective.maximize else -value for value in values), reverse=True)
    return math.fsum(heights[:count]) / count - heights[count]


def _scale_of_front(history: History, shown: Sequence[TrialView], count: int) -> float | None:
    """Return the scale of the tail of hypervolumes; None: there are as few trials with all values as for one metric."""
    points = np.array([view.point for view in shown], dtype=np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    return None if len(points) <= count else _lacking(points, seed=history.seed) / math.log(2)


def _lacking(points: NDArray[np.float64], *, seed: int) -> float:
    """Return how much more all trials dominate of the space than a half of them, drawn by chance, would.

    By the law of the exponential tail this is log(2) times the scale, whichever trials are in the half. What d trials
    dominate is dominated by none of the half with a probability of one in 2^d.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    varies = high > low
    scaled = (points[:, varies] - low[varies]) / (high - low)[varies]
    places = generator(seed, "promise").random((PLACES, scaled.shape[1]))
    dominates = np.ones((PLACES, len(points)), dtype=np.bool_)
    for objective in range(scaled.shape[1]):
        dominates &= scaled[:, objective] <= places[:, objective, None]
    num_dominating = dominates.sum(axis=1)
    return float(np.where(num_dominating > 0, 0.5**num_dominating, 0.0).mean()) if varies.any() else 0.0


def why_no_more(history: History) -> str | None:
    """Return, in words, why no new trial is worth its cost; None where one is, or nobody asked."""
    if history.min_improvement is None or (found := expected_gain(history)) is None:
        return None
    gain, left = found
    if gain >= history.min_improvement:
        return None
    what = "hypervolume" if history.objective == TRADE_OFF else history.objective.metric
    return (
        f"the {left} trials that are left promise {gain:.2g} of {what}, less than the "
        f"{history.min_improvement:g} that is asked for"
    )


def _num_left(history: History) -> int:
    """Return how many trials the rest of the budget holds, at the pace so far."""
    left = math.inf
    if history.budget.trials is not None:
        left = history.budget.trials - history.num_started
    if history.budget.seconds is not None and history.seconds_used > 0:
        seconds = history.budget.seconds - history.seconds_reserved - history.seconds_used
        left = min(left, math.ceil(seconds * history.num_started / history.seconds_used))
    return max(0, int(left)) if math.isfinite(left) else 0
