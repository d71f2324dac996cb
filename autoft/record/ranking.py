"""Who leads: the order of trials by one objective, or by several."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoft.core.configs import SearchConfig
from autoft.core.metrics import METRICS, Objective, parse_objective
from autoft.record.choosing import ERROR, Contestant, choose, choose_by_front
from autoft.record.curves import Curves, curves
from autoft.record.model import Record
from autoft.record.pareto import losses

OUT = ("diverged", "failed")
"""Statuses of trials that cannot win, whatever they reached before; they are ranked last."""


def chosen_rows(found: Curves, objective: Objective) -> NDArray[np.int64]:
    """Return the row of `found` by which each trial is judged, or -1 where it has no finite value.

    That is its best epoch; for a cost, which no longer training makes better, the last epoch that measured it.
    """
    if METRICS[objective.metric].is_cost:
        return found.last_rows(objective.column)
    return found.best_rows(objective.column, maximize=objective.maximize)


@dataclass(frozen=True, slots=True)
class Standing:
    """How trials stand."""

    order: list[int]
    """Positions of those that can be ranked, best first; of equals the earlier one."""
    fronts: list[int]
    """Of each trial, by position; 0: it cannot be ranked."""
    points: NDArray[np.float64]
    """What trials are ranked by, shape (trials, objectives), less is better: means where there are any."""
    near: frozenset[int] = frozenset()
    """Positions of those within noise of the best; see `choosing`."""
    noise: float | None = None
    """The standard error of the best, if it is known."""
    means: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """Of finalists that were trained with several seeds, by position: the mean of each objective."""
    seeds: Mapping[int, int] = field(default_factory=dict)
    """Of the same: how many seeds there are."""


def compare(
    values: NDArray[np.float64],
    objectives: Sequence[Objective],
    contestants: Sequence[Contestant],
    *,
    num_finalists: int,
    error_of: Callable[[int], float | None],
) -> Standing:
    """Return how trials stand by one objective or by several, as `choosing` says.

    Args:
        values: Shape (trials, objectives); a trial without the first cannot be ranked, one without another has the
            worst of that.
        objectives: Which way is better.
        contestants: The trials; those that confirm others have no rank of their own.
        num_finalists: How many of the first may win; of a front, at most.
        error_of: Returns the standard error of the first objective at a position, if it is known.
    """
    points = losses(values, objectives)
    if len(objectives) > 1:
        front = choose_by_front(points, contestants, most=num_finalists)
        return Standing(
            order=front.order,
            fronts=front.fronts,
            points=front.points,
            means=_values(front.means, objectives),
            seeds=front.seeds,
        )
    own = points[:, 0].copy()
    own[[one.confirms is not None for one in contestants]] = np.nan
    able = np.isfinite(own)
    ranked = np.argsort(own, kind="stable")
    choice = choose(
        ranked[able[ranked]].tolist(),
        points[:, 0].tolist(),
        contestants,
        num_finalists=num_finalists,
        error_of=error_of,
    )
    return Standing(
        order=choice.order,
        fronts=[int(one) for one in able],
        points=points,
        near=choice.near,
        noise=choice.noise,
        means=_values({place: (mean,) for place, mean in choice.means.items()}, objectives),
        seeds=choice.seeds,
    )


def _values(means: Mapping[int, tuple[float, ...]], objectives: Sequence[Objective]) -> dict[int, tuple[float, ...]]:
    """Return mean losses with the signs of the objectives."""
    return {place: tuple(losses(np.array(mean), objectives).tolist()) for place, mean in means.items()}


def standing(record: Record, search: SearchConfig, found: Curves) -> Standing:
    """Return how the trials stand: those that diverged, failed or break a limit cannot win.

    Args:
        record: What has happened.
        search: Says the metrics and limits.
        found: The record's curves, with the column of each metric and limit, and the parameters.
    """
    objectives = [parse_objective(name) for name in search.metrics]
    best = chosen_rows(found, objectives[0])
    values = np.empty((len(record.trials), len(objectives)))
    for place, objective in enumerate(objectives):
        is_cost = METRICS[objective.metric].is_cost
        rows = found.last_rows(objective.column) if is_cost else best
        values[:, place] = values_at(found.values[objective.column], rows)
    values[[row.status in OUT for row in record.trials]] = np.nan
    for name, limit in search.limits.items():
        column = METRICS[name].column
        values[values_at(found.values[column], found.last_rows(column)) > limit] = np.nan
    sizes = values_at(found.values["parameters"], found.last_rows("parameters")).tolist()
    contestants = [
        Contestant(
            trial=row.trial,
            kind=row.kind,
            status=row.status,
            confirms=row.confirms,
            size=size if np.isfinite(size) else None,
        )
        for row, size in zip(record.trials, sizes, strict=True)
    ]

    def error_of(place: int) -> float | None:
        return record.trials[place].metric(int(found.epoch[best[place]]), ERROR.format(column=objectives[0].column))

    return compare(values, objectives, contestants, num_finalists=search.num_finalists, error_of=error_of)


def standing_of(record: Record, search: SearchConfig) -> Standing:
    """Return how the trials of a record stand."""
    columns = [*(parse_objective(name).column for name in search.metrics), *search.limits, "parameters"]
    return standing(record, search, curves(record, list(dict.fromkeys(columns))))


def leading(record: Record, search: SearchConfig, n: int) -> list[str]:
    """Return the names of the `n` leading trials, best first; fewer where fewer can win."""
    return [record.trials[index].trial for index in standing_of(record, search).order[:n]]


def winner(record: Record, search: SearchConfig) -> str | None:
    """Return the name of the leading trial; None while there is none."""
    names: Sequence[str] = leading(record, search, 1)
    return names[0] if names else None


def values_at(column: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the column's value at each row; NaN where the row is -1."""
    return np.append(column, np.nan)[rows]
