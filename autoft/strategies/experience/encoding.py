"""Assignments of a space as points of one cube, for models that measure distances or split along axes."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.space import Choice, SearchSpace
from autoft.strategies.base import Assignment

SPREAD = 0.5
"""Height of a choice's own axis: two values of a choice lie `SPREAD * sqrt(2)` apart."""
IDLE = 0.5
"""Where a number lies while its parameter is not active: in the middle, so that the branch alone tells them apart."""

Points = NDArray[np.float64]
"""Of shape (assignments, axes)."""


class Encoder:
    """One axis for each number, by its position in its own distribution, and one for each value of a choice."""

    def __init__(self, space: SearchSpace) -> None:
        self.num_axes = 0
        self._idle: list[float] = []
        self._numbers: dict[str, tuple[int, Any]] = {}
        self._choices: dict[str, tuple[int, dict[Any, int]]] = {}
        for parameter in space.parameters:
            domain = parameter.domain
            if isinstance(domain, Choice):
                places = {_key(value): place for place, value in enumerate(domain.values)}
                self._choices[parameter.label] = (self.num_axes, places)
                self._idle += [0.0] * len(places)
            else:
                self._numbers[parameter.label] = (self.num_axes, domain.position)
                self._idle.append(IDLE)
            self.num_axes = len(self._idle)

    def points(self, assignments: Iterable[Assignment]) -> Points:
        """Return the points of assignments."""
        rows = [self._point(assignment) for assignment in assignments]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.num_axes)

    def _point(self, assignment: Assignment) -> list[float]:
        point = self._idle.copy()
        for label, value in assignment.items():
            number = self._numbers.get(label)
            if number is not None:
                point[number[0]] = number[1](value)
            else:
                first, places = self._choices[label]
                point[first + places[_key(value)]] = SPREAD
        return point


def _key(value: Any) -> Any:
    return (type(value) is bool, value)


def typical_distance(num_active: int) -> float:
    """Return how far two draws lie apart in a cube of so many numbers: its square is 1/6 a number in the mean."""
    return math.sqrt(max(1, num_active) / 6)
