"""`forbid:`, combinations that no draw holds: read, judged, and refused where nothing would be left."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from autoft.core.jsonable import Json
from autoft.space.conditions import When
from autoft.space.liveness import nearest_path, possible, possible_values
from autoft.space.nodes import Node, Problems, in_yaml, place, shown
from autoft.space.tree import Section
from autoft.space.when import read_conditions

if TYPE_CHECKING:
    from autoft.space.plan import Plan

_DRAWS: Final = 10_000
"""A space that forbids all of so many draws is refused: what is left is nothing, or too little to be found."""


_SHOWN: Final = 3
"""Combinations that an error names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forbidden:
    """A combination: everything in `tests` holds at once."""

    tests: tuple[When, ...]
    number: int = field(default=0, compare=False)
    """Its place in the list, from 0."""

    def to_json(self) -> Json:
        """Return the form that `forbid:` lists."""
        return {str(test.path): test.test.to_json() for test in self.tests}


def read_forbidden(node: Node | None, problems: Problems) -> list[tuple[Forbidden, Node]]:
    """Return the combinations that stand after `forbid:`, each with where it was written; mistakes are noted."""
    if node is None:
        return []
    if node.items is None:
        hint = " Write `forbid: [{optimizer.name: sgd, batch_size: {above: 32}}]`."
        problems.add("forbid", f"must be a list of maps of path to value, not {shown(node.plain())}", node, hint=hint)
        return []
    found = []
    for index, item in enumerate(node.items):
        path = f"forbid[{index}]"
        if not item.map:
            problems.add(path, f"must be a map of path to value, not {shown(item.plain())}", item)
            continue
        tests = read_conditions(item.map, path, problems, word="a value")
        if len(tests) == len(item.map):
            found.append((Forbidden(tests=tests, number=index), item))
    return found


def judged(
    given: Iterable[tuple[Forbidden, Node]],
    tree: tuple[Section, ...],
    problems: Problems,
    *,
    partial: Collection[str],
    own: str | None,
) -> tuple[Forbidden, ...]:
    """Return the combinations that can occur; note those that cannot, and so have no effect.

    Args:
        given: As read.
        tree: The sections.
        problems: Takes what is found.
        partial: Sections that other mistakes left incomplete: what is in them cannot be judged.
        own: The file that the person wrote: what another file forbids, and what is narrowed away (None), may have
            nothing left to forbid.
    """
    by_name = {section.name: section for section in tree}
    kept = []
    for forbidden, node in given:
        dead = [test for test in forbidden.tests if not _can_hold(test, by_name, partial)]
        if not dead:
            kept.append(forbidden)
        elif own is not None and node.where.rpartition(":")[0] == own:
            for test in dead:
                where = (node.map or {}).get(str(test.path), node)
                problem, hint = _why_dead(test, by_name)
                problems.add(f"forbid[{forbidden.number}]", problem, where, hint=hint)
    return tuple(kept)


def _can_hold(test: When, by_name: Mapping[str, Section], partial: Collection[str]) -> bool:
    section = by_name.get(test.path.section)
    if test.path.section in partial:
        return True
    return section is not None and any(test.test.can_hold(domain) for domain in possible(section, test.path))


def _why_dead(test: When, by_name: Mapping[str, Section]) -> tuple[str, str]:
    """Return what is wrong with a test that can never hold, and a hint."""
    section = by_name.get(test.path.section)
    found = [] if section is None else possible(section, test.path)
    if not found:
        return f"names '{test.path}', which is not in this space", nearest_path(str(test.path), by_name.values())
    asked = in_yaml(test.test.to_json())
    return f"asks '{test.path}' for {asked}, which it can never be, so it has no effect", possible_values(test, found)


def check_possible(
    plan: "Plan", given: Iterable[tuple[Forbidden, Node]], whole: Node | None, problems: Problems
) -> None:
    """Note that the default is forbidden, or that no draw is left."""
    if not plan.forbidden:
        return
    rng = np.random.default_rng(0)
    hits = list(takewhile(bool, (plan.forbids(plan.draw(rng)) for _ in range(_DRAWS))))
    if len(hits) == _DRAWS:
        by = " and ".join(islice(dict.fromkeys(in_yaml(hit.to_json()) for hit in hits if hit), _SHOWN))
        hint = " Forbid less, or write the branches that may go together."
        problems.add("forbid", f"leaves nothing: all of {_DRAWS:,} draws are forbidden, by {by}", whole, hint=hint)
        return
    default = plan.default()
    hit = plan.forbids(default)
    if hit is None:
        return
    node = next(node for forbidden, node in given if forbidden == hit)
    holds = ", ".join(f"{test.path}: {shown(plan.value_at(test, default))}" for test in hit.tests)
    hint = f" It is tried first: give {' or '.join(str(test.path) for test in hit.tests)} another `prior:`."
    problems.say(f"{place(f'forbid[{hit.number}]', node)} forbids the default, {holds}.{hint}", node)


def forbidden_json(forbidden: Iterable[Forbidden]) -> list[Any]:
    """Return the form that a space holds."""
    return [one.to_json() for one in forbidden]
