"""From a recipe back to the assignment that gives it."""

from collections.abc import Mapping
from typing import Any

from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.space.nodes import shown
from autoft.space.plan import Assignment, Plan
from autoft.space.tree import MISSING, Branch, Parameter


def assignment_of(plan: Plan, recipe: Mapping[str, Any]) -> Assignment:
    """Return the assignment that gives a recipe; of branches that all could, the first.

    Raises:
        SpaceError: If the space cannot give it.
    """
    wanted = complete(recipe, task=plan.task)
    refusal = None
    open_ends: list[tuple[int, Assignment]] = [(0, {})]
    while open_ends:
        start, values = open_ends.pop()
        problem = _complete_from(plan, start, values, wanted, open_ends)
        if problem is None:
            return plan.in_order(values)
        refusal = refusal or problem
    raise SpaceError([refusal or "This space cannot give the recipe."])


def _complete_from(
    plan: Plan, start: int, values: Assignment, wanted: Json, open_ends: list[tuple[int, Assignment]]
) -> str | None:
    """Add to `values` what gives the recipe `wanted`; return why it cannot be done, or None.

    Args:
        plan: Of the space.
        start: Of the order; what is before it stands in `values`.
        values: So far.
        wanted: Complete.
        open_ends: Takes what else could be tried: where two branches both could give a block, the rest decides.
    """
    for index, parameter in enumerate(plan.order[start:], start=start):
        if parameter.label in values or not plan.is_active(parameter, values):
            continue
        found = [value for value in _values_in(plan, wanted, parameter) if parameter.domain.contains(value)]
        if not found:
            seen = next(map(shown, _values_in(plan, wanted, parameter)), "nothing")
            return f"{parameter.path} is {seen}, which this space cannot give."
        open_ends.extend((index, {**values, parameter.label: other}) for other in reversed(found[1:]))
        values[parameter.label] = found[0]
    given = plan.recipe(values)
    for section, value in wanted.items():
        if given[section] != value:
            return f"{section} is {shown(value)}, which this space cannot give."
    hit = plan.forbids(values)
    return None if hit is None else f"This recipe is forbidden: {shown(hit.to_json())}."


def _values_in(plan: Plan, recipe: Json, parameter: Parameter) -> list[Any]:
    """Return what a parameter can be in a recipe; of a choice of branches the labels of all that fit."""
    place = parameter.path.split(".")
    given: Any = recipe
    for name in place[:-1]:
        given = given.get(name) if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping):
        return []
    block = plan.blocks.get(parameter.label)
    if block is None:
        return [given[place[-1]]] if place[-1] in given else []
    named = [branch for branch in block.branches if branch.name == given.get(block.key)]
    return [branch.label for branch in named if _could_give(branch, given)]


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
