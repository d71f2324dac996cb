"""Which of the leading trials wins, and whose rank is noise: one rule, for the running search and for its record.

Noise is the standard error of the best's estimate: over the draw of the validation rows, and, where the finalists were
trained with several seeds, over the seeds.

- Without such trainings the winner is, of the finalists, which lead, the smallest within noise of the best; of equal
  size (two digits of its parameters) the better one.
- With them the finalists lead, ranked by the mean over their seeds; of equal means the smaller one, and then the one
  that led by its own.

Reference: Breiman et al., Classification and Regression Trees, 1984, section 3.4.3: the rule of one standard error.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from autoft.core.configs import TrialKind, TrialStatus

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
    repeats = _repeats(losses, contestants)
    finalists = list(order[:num_finalists])
    confirmed = [place for place in finalists if repeats.get(contestants[place].trial)]
    if confirmed:
        fixed = [place for place in finalists if contestants[place].kind == "probe"]
        of = {place: (losses[place], *repeats.get(contestants[place].trial, ())) for place in (*confirmed, *fixed)}
        return _by_means([place for place in finalists if place in of], order, of, contestants, error_of)
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


def _repeats(losses: Sequence[float], contestants: Sequence[Contestant]) -> dict[str, list[float]]:
    """Return the losses of each trial's trainings with other seeds; infinite where one diverged."""
    found: dict[str, list[float]] = {}
    for loss, one in zip(losses, contestants, strict=True):
        if one.confirms is None:
            continue
        if one.status == "diverged":
            found.setdefault(one.confirms, []).append(math.inf)
        elif one.status == "completed" and math.isfinite(loss):
            found.setdefault(one.confirms, []).append(loss)
    return found


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
