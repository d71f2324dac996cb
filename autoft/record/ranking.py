"""Who leads: the order of trials by one objective, or by several."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoft.core.configs import SearchConfig
from autoft.core.metrics import METRICS, Objective, parse_objective
from autoft.record.curves import Curves, curves
from autoft.record.model import Record
from autoft.record.pareto import fronts, losses

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


def compare(values: NDArray[np.float64], objectives: Sequence[Objective]) -> Standing:
    """Return how trials stand by one objective, or by the front and within it by the first objective.

    Args:
        values: Shape (trials, objectives); a trial without the first cannot be ranked, one without another has the
            worst of that.
        objectives: Which way is better.
    """
    points = losses(values, objectives)
    able = np.isfinite(points[:, 0])
    points[~np.isfinite(points)] = np.inf
    points[~able] = np.nan
    own = fronts(points) if len(objectives) > 1 else [int(one) for one in able]
    order = sorted((int(index) for index in np.flatnonzero(able)), key=lambda index: (own[index], points[index, 0]))
    return Standing(order=order, fronts=own)


def standing(record: Record, search: SearchConfig, found: Curves) -> Standing:
    """Return how the trials stand: those that diverged, failed or break a limit cannot win.

    Args:
        record: What has happened.
        search: Says the metrics and limits.
        found: The record's curves, with the column of each metric and limit.
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
    return compare(values, objectives)


def leading(record: Record, search: SearchConfig, n: int) -> list[str]:
    """Return the names of the `n` leading trials, best first; fewer where fewer can win."""
    columns = [*(parse_objective(name).column for name in search.metrics), *search.limits]
    order = standing(record, search, curves(record, list(dict.fromkeys(columns)))).order
    return [record.trials[index].trial for index in order[:n]]


def winner(record: Record, search: SearchConfig) -> str | None:
    """Return the name of the leading trial; None while there is none."""
    names: Sequence[str] = leading(record, search, 1)
    return names[0] if names else None


def values_at(column: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the column's value at each row; NaN where the row is -1."""
    return np.append(column, np.nan)[rows]
