"""Draws, recipes and columns of a tree, with everything worked out beforehand: this runs for every trial."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.space.conditions import Path, When
from autoft.space.forbid import Forbidden
from autoft.space.liveness import activation_order
from autoft.space.nodes import shown
from autoft.space.tree import (
    MISSING,
    Block,
    Branch,
    Parameter,
    Reading,
    Scalar,
    Searched,
    Section,
    parameters,
    readings,
)

Assignment = dict[str, Any]
"""Label to value, of exactly the active parameters."""


class Plan:
    """What a tree can do, prepared."""

    def __init__(self, sections: tuple[Section, ...], *, task: str, forbidden: tuple[Forbidden, ...] = ()) -> None:
        self.sections = sections
        self.task = task
        self.forbidden = forbidden
        self.by_name = {section.name: section for section in sections}
        self.parameters = tuple(parameters(sections))
        self.by_label = {parameter.label: parameter for parameter in self.parameters}
        self.order = activation_order(sections)
        self._index = {label: index for index, label in enumerate(self.by_label)}
        self._is_ordered = [parameter.label for parameter in self.order] == list(self._index)
        blocks = list(_blocks(sections))
        self._blocks = {block.name: block for block in blocks}
        self._branches = {block.name: {branch.label: branch for branch in block.branches} for block in blocks}
        self._labels = {
            (block.name, branch.label): [(name, f"{block.name}[{branch.label}].{name}") for name in branch.searched]
            for block in blocks
            for branch in block.branches
        }
        self._inner = {
            (block.name, branch.label): list(branch.blocks.items()) for block in blocks for branch in block.branches
        }
        self._copied = {
            (block.name, branch.label): [
                name for name, value in branch.bare.items() if isinstance(value, dict) and name not in branch.blocks
            ]
            for block in blocks
            for branch in block.branches
        }
        self._readings: dict[Path, tuple[Reading, ...]] = {}
        self._steps = [
            (one, one.label, self._index[one.label], one.conditions[0] if one.conditions else None)
            for one in self.order
        ]

    # What is active

    def is_active(self, parameter: Parameter, values: Mapping[str, Any]) -> bool:
        """Return whether a parameter exists, given the values of all before it in `order`."""
        for condition in parameter.conditions:
            if values.get(condition.label, MISSING) not in condition.values:
                return False
        return all(when.holds(self._read(when, values)) for when in parameter.when)

    def _read(self, when: When, values: Mapping[str, Any]) -> Iterable[Any]:
        """Return what the configuration so far has at the condition's path."""
        found = self._readings.get(when.path)
        if found is None:
            found = self._readings[when.path] = tuple(readings(self.by_name[when.path.section], when.path))
        for reading in found:
            if reading.holds(values):
                return reading.read(values)
        return ()

    def _active_branch(self, block: Block, values: Mapping[str, Any]) -> Branch | None:
        if block.choice is None:
            return block.branches[0]
        label = values.get(block.name)
        return None if label is None else self._branches[block.name][label]

    def _in_order(self, values: Assignment) -> Assignment:
        return values if self._is_ordered else {label: values[label] for label in self._index if label in values}

    def forbids(self, values: Mapping[str, Any]) -> Forbidden | None:
        """Return the first forbidden combination that an assignment holds, or None."""
        for forbidden in self.forbidden:
            if all(test.holds(self._read(test, values)) for test in forbidden.tests):
                return forbidden
        return None

    def value_at(self, when: When, values: Mapping[str, Any]) -> Any:
        """Return what an assignment has at a condition's path; None where there is nothing."""
        return next(iter(self._read(when, values)), None)

    # Draws

    def sample(self, generator: np.random.Generator) -> Assignment:
        """Return an independent draw of what is not forbidden."""
        values = self.draw(generator)
        # Reading the space saw that something is left, so this ends.
        while self.forbidden and self.forbids(values) is not None:
            values = self.draw(generator)
        return values

    def draw(self, generator: np.random.Generator) -> Assignment:
        """Return a draw, forbidden or not; always as many numbers are drawn, so that each parameter has its own."""
        positions = generator.random(len(self._index)).tolist()
        values: Assignment = {}
        for parameter, label, index, condition in self._steps:
            if condition is not None and values.get(condition.label) not in condition.values:
                continue
            if not parameter.when or self.is_active(parameter, values):
                values[label] = parameter.domain.at(positions[index])
        return self._in_order(values)

    def default(self, fixed: Mapping[str, Any] | None = None) -> Assignment:
        """Return every default together, with the values of `fixed` where they are active."""
        values: Assignment = {}
        for parameter in self.order:
            if self.is_active(parameter, values):
                values[parameter.label] = (fixed or {}).get(parameter.label, parameter.domain.default)
        return self._in_order(values)

    def active(self, values: Mapping[str, Any]) -> Assignment:
        """Return the values of the active parameters alone, of a map that may hold all of them.

        Raises:
            SpaceError: If an active one is missing.
        """
        kept: Assignment = {}
        missing = []
        for parameter, label, _, condition in self._steps:
            if condition is not None and kept.get(condition.label) not in condition.values:
                continue
            if not parameter.when or self.is_active(parameter, kept):
                if label in values:
                    kept[label] = values[label]
                else:
                    missing.append(f"{label} is missing from the assignment.")
        if missing:
            raise SpaceError(missing)
        return self._in_order(kept)

    def validate(self, values: Mapping[str, Any]) -> None:
        """Refuse an assignment that has not exactly the active parameters, has a wrong value, or is forbidden.

        Raises:
            SpaceError: With all that is wrong.
        """
        active = self.active(values)
        problems = [f"{label} is not active in this assignment." for label in values if label not in active]
        for label, value in active.items():
            if not self.by_label[label].domain.contains(value):
                problems.append(f"{label} is {shown(value)}, which is not in {self.by_label[label].domain.to_json()}.")
        if not problems and (hit := self.forbids(active)) is not None:
            problems.append(f"This assignment is forbidden: {shown(hit.to_json())}.")
        if problems:
            raise SpaceError(problems)

    # Recipes

    def recipe(self, values: Mapping[str, Any]) -> Json:
        """Return the complete recipe of an assignment."""
        recipe: Json = {}
        for section in self.sections:
            name = section.name
            if isinstance(section, Scalar):
                idle = section.fallback if isinstance(section.value, Searched) else section.value
                recipe[name] = values.get(name, idle)
                continue
            recipe[name] = self._block_value(section, values)
        return recipe

    def _block_value(self, block: Block, values: Mapping[str, Any]) -> Json:
        branch = self._active_branch(block, values)
        if branch is None:
            return copy.deepcopy(block.fallback)
        key = (block.name, branch.label)
        made = dict(branch.bare)
        for setting, label in self._labels[key]:
            if label in values:
                made[setting] = values[label]
        for setting, inner in self._inner[key]:
            made[setting] = self._block_value(inner, values)
        for setting in self._copied[key]:
            made[setting] = copy.deepcopy(made[setting])
        return made

    def assignment(self, recipe: Mapping[str, Any]) -> Assignment:
        """Return the assignment that gives a recipe; of branches that both could, the first.

        Raises:
            SpaceError: If the space cannot give it.
        """
        wanted = complete(recipe, task=self.task)
        values: Assignment = {}
        for parameter in self.order:
            if self.is_active(parameter, values):
                value = self._value_in(wanted, parameter)
                if value is MISSING or not parameter.domain.contains(value):
                    seen = "nothing" if value is MISSING else shown(value)
                    raise SpaceError([f"{parameter.path} is {seen}, which this space cannot give."])
                values[parameter.label] = value
        given = self.recipe(values)
        for section, value in wanted.items():
            if given[section] != value:
                raise SpaceError([f"{section} is {shown(value)}, which this space cannot give."])
        if (hit := self.forbids(values)) is not None:
            raise SpaceError([f"This recipe is forbidden: {shown(hit.to_json())}."])
        return self._in_order(values)

    def _value_in(self, recipe: Json, parameter: Parameter) -> Any:
        place = parameter.path.split(".")
        given: Any = recipe
        for name in place[:-1]:
            given = given.get(name) if isinstance(given, Mapping) else None
        if not isinstance(given, Mapping):
            return MISSING
        block = self._blocks.get(parameter.label)
        if block is None:
            return given.get(place[-1], MISSING)
        for branch in block.branches:
            if branch.name == given.get(block.key) and _could_give(branch, given):
                return branch.label
        return MISSING


def _blocks(sections: Iterable[Section]) -> Iterator[Block]:
    """Yield all blocks, those inside others after them."""
    for section in sections:
        if isinstance(section, Block):
            yield section
            for branch in section.branches:
                yield from _blocks(branch.blocks.values())


def _could_give(branch: Branch, given: Mapping[str, Any]) -> bool:
    searched, blocks = branch.searched, branch.blocks
    for name, value in given.items():
        if name in blocks:
            fitting = [one for one in blocks[name].branches if value is not None and one.name == value.get("name")]
            if not any(_could_give(one, value) for one in fitting):
                return False
        elif name not in searched:
            if branch.bare.get(name, MISSING) != value:
                return False
        elif not searched[name].domain.contains(value) and not (searched[name].when and branch.bare[name] == value):
            return False
    return True
