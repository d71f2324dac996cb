"""What the rest of a budget promises: how much better the best would be at its end."""

import math

from autoft.strategies.base import History

FEWEST = 10
"""Trials before anything is said."""
TAIL_SHARE = 0.2
"""Of the trials, the best that tell how values thin out towards the top; three at least."""


def expected_gain(history: History) -> tuple[float, int] | None:
    """Return the expected improvement of the best by the trials that are left, and their number.

    None: fewer than `FEWEST` trials have shown what they are. The best values of trials are taken for draws with an
    exponential tail, whose scale is the mean excess of the k best over the next one; m more than n draws then raise the
    best by the scale times log((n + m) / n). A bounded metric thins out faster, so this is too much rather than too
    little: a search ends too late rather than too early.

    Reference: Weissman, Estimation of Parameters and Large Quantiles Based on the k Largest Observations, Journal of
    the American Statistical Association 1978.
    """
    shown = [view for view in history.trials if view.kind == "trial" and not view.is_running]
    values = [value for view in shown if (value := view.best(history.objective)) is not None]
    count = max(3, math.ceil(TAIL_SHARE * len(shown)))
    if len(shown) < FEWEST or len(values) <= count:
        return None
    heights = sorted((value if history.objective.maximize else -value for value in values), reverse=True)
    scale = math.fsum(heights[:count]) / count - heights[count]
    left = _num_left(history)
    return scale * math.log((len(shown) + left) / len(shown)), left


def why_no_more(history: History) -> str | None:
    """Return, in words, why no new trial is worth its cost; None where one is, or nobody asked."""
    if history.min_improvement is None or (found := expected_gain(history)) is None:
        return None
    gain, left = found
    if gain >= history.min_improvement:
        return None
    return (
        f"the {left} trials that are left promise {gain:.2g} of {history.objective.metric}, less than the "
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
