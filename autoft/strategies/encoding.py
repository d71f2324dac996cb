"""Assignments as vectors, for models that need distances, and the space's quantiles as assignments."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from autoft.space import Choice, Domain, SearchSpace
from autoft.space.domains import same_value
from autoft.strategies.base import Assignment

IDLE = 0.5
"""Where a number lies while it is not active: its branch's own columns tell such configurations apart."""
KEPT = 10_000
"""Rows that are kept before all are forgotten."""
KEPT_POSITIONS = 100_000
"""Positions that are: of trials alone, and not of what was only considered."""
_APART = 0.5**0.5
"""So that two values of a choice lie 1 apart, as do the ends of a range."""


class Encoding:
    """The columns of a space: one for a number, on its quantiles; one for each value of a choice.

    A choice of rising numbers is a number, since what lies between two of them is between them.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.parameters = space.parameters
        widths = [_width(one.domain) for one in self.parameters]
        self.groups_C = np.repeat(np.arange(len(widths)), widths)
        """The number of the parameter that each column belongs to."""
        self.is_choice_P = np.array([not is_ordered(one.domain) for one in self.parameters], dtype=bool)
        """Whether a parameter is a choice that is no number."""
        starts = np.cumsum([0, *widths])[:-1].tolist()
        self._columns = list(zip(self.parameters, starts, self.is_choice_P.tolist(), strict=True))
        self._rows: dict[int, tuple[Assignment, np.ndarray]] = {}
        self._positions: dict[int, tuple[Assignment, np.ndarray]] = {}

    def encode(self, assignments: Sequence[Assignment]) -> np.ndarray:
        """Return one row for each assignment."""
        return np.array([self._row(assignment) for assignment in assignments]).reshape(-1, len(self.groups_C))

    def _row(self, assignment: Assignment) -> np.ndarray:
        """Return the row of one assignment; kept, since a trial's is asked for at every decision."""
        kept = self._rows.get(id(assignment))
        if kept is not None and kept[0] is assignment:
            return kept[1]
        row_C = np.zeros(len(self.groups_C))
        for parameter, start, is_choice in self._columns:
            if parameter.label not in assignment:
                row_C[start] = 0.0 if is_choice else IDLE
            elif is_choice:
                row_C[start + _index(parameter.domain, assignment[parameter.label])] = _APART
            else:
                row_C[start] = parameter.domain.position(assignment[parameter.label])
        if len(self._rows) >= KEPT:
            self._rows.clear()
        self._rows[id(assignment)] = (assignment, row_C)
        return row_C

    def decode(self, positions_P: np.ndarray) -> Assignment:
        """Return the assignment at a position in [0, 1] of every parameter; it may be a forbidden one."""
        values = {one.label: one.domain.at(float(at)) for one, at in zip(self.parameters, positions_P, strict=True)}
        return self.space.active(values)

    def positions(self, assignment: Assignment) -> np.ndarray:
        """Return the position in [0, 1] of every parameter; of one that is not active, `IDLE`."""
        return np.array(
            [one.domain.position(assignment[one.label]) if one.label in assignment else IDLE for one in self.parameters]
        )

    def active_positions(self, assignments: Sequence[Assignment]) -> list[np.ndarray]:
        """Return, for each parameter, its positions in the assignments in which it is active, in their order."""
        rows_NP = np.array([self._row_of_positions(one) for one in assignments]).reshape(-1, len(self.parameters))
        return [column_N[~np.isnan(column_N)] for column_N in rows_NP.T]

    def _row_of_positions(self, assignment: Assignment) -> np.ndarray:
        """Return the position of every parameter, NaN where it is not active; kept, as `_row` is."""
        kept = self._positions.get(id(assignment))
        if kept is not None and kept[0] is assignment:
            return kept[1]
        row_P = np.array(
            [
                one.domain.position(assignment[one.label]) if one.label in assignment else np.nan
                for one in self.parameters
            ]
        )
        if len(self._positions) >= KEPT_POSITIONS:
            self._positions.clear()
        self._positions[id(assignment)] = (assignment, row_P)
        return row_P


def is_ordered(domain: Domain) -> bool:
    """Return whether a domain's values are numbers, each above the one before."""
    if not isinstance(domain, Choice):
        return True
    values = domain.values
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return False
    return all(low < high for low, high in pairwise(values))


def _width(domain: Domain) -> int:
    return len(domain.values) if isinstance(domain, Choice) and not is_ordered(domain) else 1


def _index(domain: Domain, value: object) -> int:
    values = domain.values if isinstance(domain, Choice) else ()
    return next(index for index, known in enumerate(values) if same_value(known, value))
