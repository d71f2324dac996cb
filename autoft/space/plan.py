"""Draws, recipes and columns of a tree, with everything worked out beforehand: this runs for every trial."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json
from autoft.space.conditions import Condition, When
from autoft.space.forbid import Forbidden
from autoft.space.liveness import activation_order
from autoft.space.nodes import shown
from autoft.space.tree import (
    MISSING,
    Block,
    Branch,
    Parameter,
    Scalar,
    Searched,
    Section,
    parameters,
    readings,
)
from autoft.space.verdicts import Verdict

Assignment = dict[str, Any]
"""Label to value, of exactly the active parameters."""


_Step = tuple[str, int, Callable[[float], Any], tuple[Verdict, ...]]
"""Of one parameter the label, which of a draw's numbers is its own, what makes a value of it, and its conditions."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Parameters that stand one after the other in the same branch: they are passed over together."""

    choice: str | None
    """Label of what must be `branch`; None: nothing must."""
    branch: str | None
    steps: tuple[_Step, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    """What the recipe of one branch is made from."""

    bare: Json
    searched: tuple[tuple[str, str], ...]
    """Setting and label of what varies."""
    blocks: tuple[tuple[str, Block], ...]
    """Settings that are blocks themselves."""
    maps: tuple[str, ...]
    """Settings that are maps, and constant: each recipe has its own."""


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
        self._contains = {label: parameter.domain.contains for label, parameter in self.by_label.items()}
        self._index = {label: index for index, label in enumerate(self.by_label)}
        self._is_ordered = [parameter.label for parameter in self.order] == list(self._index)
        self.blocks = {block.name: block for block in _blocks(sections)}
        self._forms = {
            name: {branch.label: _form(block, branch) for branch in block.branches}
            for name, block in self.blocks.items()
        }
        self._when = {one.label: tuple(self._verdict(when) for when in one.when) for one in self.parameters}
        self._tests = [(one, tuple(self._verdict(test) for test in one.tests)) for one in forbidden]
        self._runs = tuple(self._run(*run) for run in groupby(self.order, lambda one: one.conditions))

    def _verdict(self, when: When) -> Verdict:
        return Verdict(when, self.by_name.get(when.path.section))

    def _run(self, conditions: tuple[Condition, ...], steps: Iterable[Parameter]) -> _Run:
        made = tuple((one.label, self._index[one.label], one.domain.at, self._when[one.label]) for one in steps)
        if not conditions:
            return _Run(None, None, made)
        (condition,) = conditions
        (branch,) = condition.values
        return _Run(condition.label, branch, made)

    # What is active

    def is_active(self, parameter: Parameter, values: Mapping[str, Any]) -> bool:
        """Return whether a parameter exists, given the values of all before it in `order`."""
        for condition in parameter.conditions:
            if values.get(condition.label, MISSING) not in condition.values:
                return False
        return _all_hold(self._when[parameter.label], values)

    def in_order(self, values: Assignment) -> Assignment:
        """Return an assignment in the order of the parameters."""
        return values if self._is_ordered else {label: values[label] for label in self._index if label in values}

    def forbids(self, values: Mapping[str, Any]) -> Forbidden | None:
        """Return the first forbidden combination that an assignment holds, or None."""
        for forbidden, tests in self._tests:
            if _all_hold(tests, values):
                return forbidden
        return None

    def value_at(self, when: When, values: Mapping[str, Any]) -> Any:
        """Return what an assignment has at a condition's path; None where there is nothing."""
        for reading in readings(self.by_name[when.path.section], when.path):
            if reading.holds(values):
                return reading.read(values)[0]
        return None

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
        for run in self._runs:
            if run.choice is not None and values.get(run.choice) != run.branch:
                continue
            for label, index, at, when in run.steps:
                if not when or _all_hold(when, values):
                    values[label] = at(positions[index])
        return self.in_order(values)

    def default(self, fixed: Mapping[str, Any] | None = None) -> Assignment:
        """Return every default together, with the values of `fixed` where they are active."""
        values: Assignment = {}
        for parameter in self.order:
            if self.is_active(parameter, values):
                values[parameter.label] = (fixed or {}).get(parameter.label, parameter.domain.default)
        return self.in_order(values)

    def active(self, values: Mapping[str, Any]) -> Assignment:
        """Return the values of the active parameters alone, of a map that may hold all of them.

        Raises:
            SpaceError: If an active one is missing.
        """
        kept: Assignment = {}
        missing = []
        for run in self._runs:
            if run.choice is not None and kept.get(run.choice) != run.branch:
                continue
            for label, _, _, when in run.steps:
                if when and not _all_hold(when, kept):
                    continue
                if label in values:
                    kept[label] = values[label]
                else:
                    missing.append(f"{label} is missing from the assignment.")
        if missing:
            raise SpaceError(missing)
        return self.in_order(kept)

    def validate(self, values: Mapping[str, Any]) -> None:
        """Refuse an assignment that has not exactly the active parameters, has a wrong value, or is forbidden.

        Raises:
            SpaceError: With all that is wrong.
        """
        active = self.active(values)
        problems = [f"{label} is not active in this assignment." for label in values if label not in active]
        for label, value in active.items():
            if not self._contains[label](value):
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
        branch = block.branches[0].label if block.choice is None else values.get(block.name)
        if branch is None:
            return copy.deepcopy(block.fallback)
        form = self._forms[block.name][branch]
        made = dict(form.bare)
        for setting, label in form.searched:
            if label in values:
                made[setting] = values[label]
        for setting, inner in form.blocks:
            made[setting] = self._block_value(inner, values)
        for setting in form.maps:
            made[setting] = copy.deepcopy(made[setting])
        return made


def _all_hold(verdicts: tuple[Verdict, ...], values: Mapping[str, Any]) -> bool:
    for verdict in verdicts:  # noqa: SIM110 - a generator costs more than what it would ask
        if not verdict.holds(values):
            return False
    return True


def _form(block: Block, branch: Branch) -> _Form:
    maps = (name for name, value in branch.bare.items() if isinstance(value, dict) and name not in branch.blocks)
    return _Form(
        bare=branch.bare,
        searched=tuple((name, f"{block.name}[{branch.label}].{name}") for name in branch.searched),
        blocks=tuple(branch.blocks.items()),
        maps=tuple(maps),
    )


def _blocks(sections: Iterable[Section]) -> Iterator[Block]:
    """Yield all blocks, those inside others after them."""
    for section in sections:
        if isinstance(section, Block):
            yield section
            for branch in section.branches:
                yield from _blocks(branch.blocks.values())
