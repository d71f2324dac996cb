"""Recipes of earlier searches as assignments of another space, by parameter path.

The rule, path by path: what the space does not vary is left to the space; what the recipe does not say, or says by no
number where one is due, takes the space's default; a number beyond a range takes its nearer end, one between two values
the nearest; a number that is not among the choices of a number takes the nearest choice. A branch or a value that the
space does not offer makes the trial useless here, if that choice is active: it is left out. So does another backbone,
mode of fine-tuning or optimizer than the one of a space that has no choice of them: they decide what rates are worth.
"""

import math
from collections.abc import Mapping
from typing import Any

from autoft.core.errors import SpaceError
from autoft.space import Assignment, Choice, SearchSpace
from autoft.space.domains import Domain, same_value
from autoft.space.tree import MISSING, Block, Section
from autoft.strategies.experience.model import Recipe, flattened

DECISIVE = ("backbone", "finetune", "optimizer")
"""Sections of which a trial needs the space's own branch, though there be one alone."""


class Mapper:
    """Maps recipes to one space."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._names: dict[str, dict[str, str]] = {}
        for section in space.sections:
            self._note_names(section)
        self._fixed = {
            f"{section.path}.{section.key}": section.branches[0].name
            for section in space.sections
            if isinstance(section, Block) and section.name in DECISIVE and len(section.branches) == 1
        }
        self._parameters = [
            (parameter.label, parameter.path, parameter.domain, parameter.domain.default)
            for parameter in space.parameters
        ]

    def assignment(self, recipe: Recipe) -> Assignment | None:
        """Return the assignment that is nearest to a recipe, or None where the space holds none like it."""
        if any(recipe.get(path, name) != name for path, name in self._fixed.items()):
            return None
        values: dict[str, Any] = {}
        for label, path, domain, default in self._parameters:
            given = recipe.get(path, MISSING)
            if given is not MISSING and label in self._names:
                given = self._names[label].get(str(given), given)
            values[label] = default if given is MISSING else nearest_value(domain, given)
        found = self._space.active(values)
        if any(value is MISSING for value in found.values()):
            return None
        try:
            self._space.validate(found)
        except SpaceError:
            return None
        return found

    def _note_names(self, section: Section) -> None:
        """Note which branch's label each name means; of two branches of one name the first."""
        if not isinstance(section, Block):
            return
        labels: dict[str, str] = {}
        for branch in section.branches:
            labels.setdefault(branch.name, branch.label)
            for inner in branch.blocks.values():
                self._note_names(inner)
        self._names[section.name] = labels


def nearest_value(domain: Domain, given: Any) -> Any:
    """Return the value of a domain that stands for `given`, or `MISSING` where none does."""
    if domain.contains(given):
        return given
    if isinstance(domain, Choice):
        numbers = [value for value in domain.values if _is_number(value)]
        if _is_number(given) and numbers and not any(same_value(given, value) for value in domain.values):
            return _nearest(numbers, float(given))
        return MISSING
    return domain.at(domain.position(_within(domain, given))) if _is_number(given) else domain.default


def _within(domain: Domain, number: float) -> float:
    """Return the number, or the end of the domain that is nearer to it."""
    low, high = domain.at(0.0), domain.at(1.0)
    return float(min(max(number, low), high))


def _nearest(numbers: list[float], given: float) -> float:
    """Return the number nearest to `given`, by their ratio where all are above 0."""
    if min(*numbers, given) > 0:
        return min(numbers, key=lambda number: abs(math.log(number) - math.log(given)))
    return min(numbers, key=lambda number: abs(number - given))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def columns_of(space: SearchSpace, assignment: Mapping[str, Any]) -> Recipe:
    """Return the recipe of an assignment as scalars by path."""
    return flattened(space.recipe(assignment))
