"""Who leads: the order of trials by one objective."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoft.core.metrics import METRICS, Objective
from autoft.record.curves import Curves, curves
from autoft.record.model import Record

OUT = ("diverged", "failed")
"""Statuses of trials that cannot win, whatever they reached before; they are ranked last."""


def chosen_rows(found: Curves, objective: Objective) -> NDArray[np.int64]:
    """Return the row of `found` by which each trial is judged, or -1 where it has no finite value.

    That is its best epoch; for a cost, which no longer training makes better, the last epoch that measured it.
    """
    if METRICS[objective.metric].is_cost:
        return found.last_rows(objective.column)
    return found.best_rows(objective.column, maximize=objective.maximize)


def ranked(record: Record, values: NDArray[np.float64], objective: Objective) -> list[int]:
    """Return the positions of the trials that can win, best first; of equals the one that started earlier.

    Args:
        record: What has happened.
        values: The objective of each trial, NaN where it has none.
        objective: Which way is better.
    """
    able = [index for index, row in enumerate(record.trials) if row.status not in OUT and np.isfinite(values[index])]
    return sorted(able, key=lambda index: (-values[index] if objective.maximize else values[index], index))


def leading(record: Record, objective: Objective, n: int) -> list[str]:
    """Return the names of the `n` leading trials, best first; fewer where fewer have a finite value."""
    found = curves(record, [objective.column])
    order = ranked(record, values_at(found.values[objective.column], chosen_rows(found, objective)), objective)
    return [record.trials[index].trial for index in order[:n]]


def winner(record: Record, objective: Objective) -> str | None:
    """Return the name of the trial with the best finite value of any epoch; None while there is none."""
    names: Sequence[str] = leading(record, objective, 1)
    return names[0] if names else None


def values_at(column: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the column's value at each row; NaN where the row is -1."""
    return np.append(column, np.nan)[rows]
