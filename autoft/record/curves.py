"""Every epoch of every trial as columns, so that thousands of curves are ranked without an object an epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoft.record.columns import numbers
from autoft.record.model import Record
from autoft.record.sealed import SealedTable


@dataclass(frozen=True, slots=True)
class Curves:
    """Columns of one length, trial by trial in the record's order, each trial's epochs from the first on."""

    trial: NDArray[np.int64]
    """Position of the row's trial in `Record.trials`."""
    epoch: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]
    """Numbers by column name; NaN where there is none."""
    num_trials: int

    def best_rows(self, column: str, *, maximize: bool) -> NDArray[np.int64]:
        """Return each trial's row with the best finite value, the earliest of equals; -1 where there is none."""
        rows = np.flatnonzero(np.isfinite(self.values[column]))
        if not len(rows):
            return self._spread(rows, rows)
        values, trial = self.values[column][rows], self.trial[rows]
        trials, firsts, counts = np.unique(trial, return_index=True, return_counts=True)
        best = (np.maximum if maximize else np.minimum).reduceat(values, firsts)
        tops = np.flatnonzero(values == np.repeat(best, counts))
        _, earliest = np.unique(trial[tops], return_index=True)
        return self._spread(trials, rows[tops[earliest]])

    def last_rows(self, column: str | None = None) -> NDArray[np.int64]:
        """Return each trial's last row (with a finite value in `column`, if given); -1 where there is none."""
        rows = np.arange(len(self.trial)) if column is None else np.flatnonzero(np.isfinite(self.values[column]))
        trials, firsts = np.unique(self.trial[rows][::-1], return_index=True)
        return self._spread(trials, rows[::-1][firsts])

    def sums(self, column: str) -> NDArray[np.float64]:
        """Return each trial's sum over its epochs."""
        sums = np.zeros(self.num_trials)
        np.add.at(sums, self.trial, np.nan_to_num(self.values[column]))
        return sums

    def _spread(self, trials: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        spread = np.full(self.num_trials, -1, dtype=np.int64)
        spread[trials] = rows
        return spread


def curves(record: Record, columns: Sequence[str]) -> Curves:
    """Return the curves of a record: `columns` names metrics of an epoch, or `seconds`."""
    position = {row.trial: index for index, row in enumerate(record.trials)}
    names = ("epoch", *columns)
    parts: list[list[NDArray[np.float64]]] = [[] for _ in names]
    owners: list[NDArray[np.int64]] = []
    for table in record.epoch_tables:
        owners.append(_owners(table, position))
        for part, name in zip(parts, names, strict=True):
            part.append(numbers(table.column(name)))
    results = [result for _, result in record.recent_epochs]
    owners.append(np.array([position[trial] for trial, _ in record.recent_epochs], dtype=np.int64))
    for part, name in zip(parts, names, strict=True):
        found = [
            getattr(result, name) if name in ("epoch", "seconds") else result.metrics.get(name) for result in results
        ]
        part.append(np.array(found, dtype=np.float64))
    trial, *values = np.concatenate(owners), *(np.concatenate(part) for part in parts)
    order = np.argsort(trial, kind="stable")
    order = order[_current(trial[order], values[0][order])]
    epoch, *rest = (column[order] for column in values)
    return Curves(trial[order], epoch.astype(np.int64), dict(zip(columns, rest, strict=True)), len(position))


def _owners(table: SealedTable, position: Mapping[str, int]) -> NDArray[np.int64]:
    trial, names = table.codes("trial")
    return np.take(np.array([position[name] for name in names], dtype=np.int64), trial)


def _current(trial: NDArray[np.int64], epoch: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows still count: an epoch that was trained again replaces itself and what followed it.

    Rows come trial by trial, in order of arrival; a row counts when all later ones of its trial are of later epochs.
    """
    kept = np.ones(len(trial), dtype=np.bool_)
    falls = (trial[1:] == trial[:-1]) & (epoch[1:] <= epoch[:-1])
    for index in np.unique(trial[1:][falls]):
        start, end = np.searchsorted(trial, [index, index + 1])
        later = np.minimum.accumulate(epoch[start:end][::-1])[::-1]
        kept[start : end - 1] = epoch[start : end - 1] < later[1:]
    return kept
