"""Which of the leading trials wins, and whose rank is noise: one rule, for the running search and for its record.

By one metric, noise is the standard error of the best's estimate: over the draw of the validation rows, and, where the
finalists were trained with several seeds, over the seeds.

- Without such trainings the winner is, of the finalists, which lead, the smallest within noise of the best; of equal
  size (two digits of its parameters) the better one.
- With them the finalists lead, ranked by the mean over their seeds; of equal means the smaller one, and then the one
  that led by its own.

By several metrics the front leads, the best by the first metric before the others, and no rank is called noise: who is
within it of the best by one metric may be far from it by another. Where finalists were trained with several seeds, they
lead by the front of their means, and a trial that has no mean dominates none that has one.

Reference: Breiman et al., Classification and Regression Trees, 1984, section 3.4.3: the rule of one standard error.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoft.core.configs import FINALISTS, TrialKind, TrialStatus
from autoft.record.pareto import by_front, fronts

ERROR = "{column}_stderr"
"""Of a metric's column: the name under which an epoch reports its standard error over the rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """What the choice needs to know of a trial beside its value."""

    trial: str
    kind: TrialKind
    status: TrialStatus
    confirms: str | None
    size: float | None
    """Its parameters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Who wins, and why."""

    order: list[int]
    """Positions of those that are ranked, the winner first."""
    near: frozenset[int] = frozenset()
    """Positions of those within noise of the best, the best among them; none where it is alone."""
    noise: float | None = None
    """The standard error of the best; None: it is not known."""
    means: Mapping[int, float] = field(default_factory=dict)
    """Of the finalists, by position: the mean loss over their seeds."""
    seeds: Mapping[int, int] = field(default_factory=dict)
    """Of the same: how many seeds there are."""


def choose(
    order: Sequence[int],
    losses: Sequence[float],
    contestants: Sequence[Contestant],
    *,
    num_finalists: int,
    error_of: Callable[[int], float | None],
) -> Choice:
    """Return who wins.

    Args:
        order: Positions of those that can be ranked, the best first; none that confirms is among them.
        losses: Of every trial, lower is better; not finite where it has none.
        contestants: Every trial.
        num_finalists: How many of the first may win.
        error_of: Returns the standard error, over the rows, of the value at a position.
    """
    if not order:
        return Choice(order=[])
    if trainings := _trainings(order[:num_finalists], losses, contestants):
        of = {
            place: tuple(math.inf if contestants[one].status == "diverged" else losses[one] for one in own)
            for place, own in trainings.items()
        }
        return _by_means(list(of), order, of, contestants, error_of)
    finalists = order[:num_finalists]
    best = order[0]
    noise = error_of(best)
    near = [place for place in order if noise is not None and losses[place] - losses[best] <= noise]
    able = [place for place in finalists if place in near] or [best]
    winner = min(able, key=lambda place: _size(contestants[place]))
    return Choice(
        order=[winner, *(place for place in order if place != winner)],
        near=_several(near),
        noise=noise,
    )


def _by_means(
    finalists: list[int],
    order: Sequence[int],
    losses: Mapping[int, tuple[float, ...]],
    contestants: Sequence[Contestant],
    error_of: Callable[[int], float | None],
) -> Choice:
    means = {place: math.fsum(losses[place]) / len(losses[place]) for place in finalists}
    ranked = sorted(finalists, key=lambda place: (means[place], _size(contestants[place])))
    best = ranked[0]
    rows, spread = error_of(best), _spread(losses)
    noise = None if rows is None else math.hypot(rows, spread / math.sqrt(len(losses[best])))
    near = [place for place in ranked if noise is not None and means[place] - means[best] <= noise]
    return Choice(
        order=[*ranked, *(place for place in order if place not in means)],
        near=_several(near),
        noise=noise,
        means=means,
        seeds={place: len(losses[place]) for place in finalists},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontChoice:
    """Who wins by several metrics, and why."""

    order: list[int]
    """Positions of those that are ranked, the winner first."""
    fronts: list[int]
    """Of each trial, by position; 0: it cannot be ranked."""
    points: NDArray[np.float64]
    """What each trial is ranked by, a row each: the mean over its seeds where it has several; NaN: it is not ranked."""
    means: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """Of the finalists, by position: the mean losses over their seeds."""
    seeds: Mapping[int, int] = field(default_factory=dict)
    """Of the same: how many seeds there are."""


def choose_by_front(points: NDArray[np.float64], contestants: Sequence[Contestant], *, most: int) -> FrontChoice:
    """Return who wins by several metrics.

    Args:
        points: Losses of every trial, shape (trials, objectives); not finite where it has none.
        contestants: Every trial.
        most: How many of the first may win.
    """
    own = points.copy()
    own[[one.confirms is not None for one in contestants]] = np.nan
    order, found = by_front(own)
    finalists = order[: num_finalists(found, most)]
    trainings = _trainings(finalists, points[:, 0].tolist(), contestants)
    if not trainings:
        return FrontChoice(order=order, fronts=found, points=own)
    known = np.where(np.isfinite(points), points, np.inf)
    known[[one.status == "diverged" for one in contestants]] = np.inf
    places = list(trainings)
    own[places] = [known[list(each)].mean(axis=0) for each in trainings.values()]
    ahead = fronts(own[places])
    ranked = sorted(
        zip(ahead, places, strict=True), key=lambda one: (one[0], own[one[1], 0], _size(contestants[one[1]]))
    )
    others, found = by_front(own)
    for front, place in ranked:
        found[place] = front
    return FrontChoice(
        order=list(dict.fromkeys([*(place for _, place in ranked), *finalists, *others])),
        fronts=found,
        points=own,
        means={place: tuple(own[place].tolist()) for place in places},
        seeds={place: len(each) for place, each in trainings.items()},
    )


def num_finalists(found: Sequence[int], most: int) -> int:
    """Return how many of the leading trials are the finalists: the front, but no fewer than where there is one metric.

    Args:
        found: Of each trial, its front.
        most: No more than these.
    """
    return min(most, max(FINALISTS, sum(front == 1 for front in found)))


def _trainings(
    finalists: Sequence[int], losses: Sequence[float], contestants: Sequence[Contestant]
) -> dict[int, tuple[int, ...]]:
    """Return the finalists that were trained with other seeds, and the probes among them, if any were.

    Each has the positions of its trainings that count, its own first: those that were completed or diverged.
    """
    repeats: dict[str, list[int]] = {}
    for place, (loss, one) in enumerate(zip(losses, contestants, strict=True)):
        if one.confirms is not None and (
            one.status == "diverged" or (one.status == "completed" and math.isfinite(loss))
        ):
            repeats.setdefault(one.confirms, []).append(place)
    found = {place: (place, *repeats.get(contestants[place].trial, ())) for place in finalists}
    if all(len(places) == 1 for places in found.values()):
        return {}
    return {place: places for place, places in found.items() if len(places) > 1 or contestants[place].kind == "probe"}


def _spread(losses: Mapping[int, tuple[float, ...]]) -> float:
    """Return the standard deviation over seeds, one for all finalists: each has too few seeds for its own."""
    squares, free = 0.0, 0
    for values in losses.values():
        if len(values) > 1 and all(map(math.isfinite, values)):
            mean = math.fsum(values) / len(values)
            squares += math.fsum((value - mean) ** 2 for value in values)
            free += len(values) - 1
    return math.sqrt(squares / free) if free else 0.0


def _several(near: Sequence[int]) -> frozenset[int]:
    return frozenset(near) if len(near) > 1 else frozenset()


def _size(one: Contestant) -> float:
    """Return the parameters to two digits: heads and adapters make no model smaller than another."""
    return math.inf if one.size is None else float(f"{one.size:.1e}")
