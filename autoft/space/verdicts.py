"""Conditions made ready: where each looks is worked out once, since it is asked for every draw."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoft.space.conditions import When
from autoft.space.tree import MISSING, Reading, Section, readings


@dataclass(frozen=True, slots=True)
class _Place:
    """One place that a condition's path means."""

    guards: tuple[tuple[str, str | None], ...]
    """Choice and branch that must be active for it."""
    label: str | None
    """Parameter whose value stands there; None: a constant."""
    idle: bool
    """Whether the condition holds for what stands there else."""
    branches: tuple[str, ...] | None
    """Of a choice of branches: the labels for which it holds; None: the value itself is asked."""


class Verdict:
    """Whether a condition holds, for any values of the parameters; where its path has no value it does not."""

    __slots__ = ("_places", "_when")

    def __init__(self, when: When, section: Section | None) -> None:
        """Prepare a condition on a place in `section`; None: the space has none of that name."""
        found = () if section is None else readings(section, when.path)
        self._when = when
        self._places = tuple(_place(when, reading) for reading in found)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether it holds, given the values of all parameters that it looks at."""
        for place in self._places:
            for choice, branch in place.guards:
                if values.get(choice) != branch:
                    break
            else:
                value = MISSING if place.label is None else values.get(place.label, MISSING)
                if value is MISSING:
                    return place.idle
                return self._when.holds((value,)) if place.branches is None else value in place.branches
        return False


def _place(when: When, reading: Reading) -> _Place:
    branches = None
    if reading.names is not None:
        branches = tuple(label for label, names in reading.names.items() if when.holds(names))
    return _Place(reading.guards, reading.label, when.holds(reading.idle), branches)
