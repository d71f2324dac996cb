"""From the map that stands after `when:` to conditions."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from autoft.core.errors import nearest
from autoft.core.jsonable import Json
from autoft.space.conditions import COMPARISONS, Test, When, read_path
from autoft.space.domains import Domain
from autoft.space.nodes import Node, Problems, is_number, shown
from autoft.space.tree import Searched

_WORDS = ("in", "not", *COMPARISONS)


def with_conditions(domain: Domain, node: Node, path: str, problems: Problems) -> Searched:
    """Return the domain with the condition that stands beside it in the map `node`."""
    when = (node.map or {}).get("when")
    if when is None:
        return Searched(domain=domain)
    if not when.map:
        hint = " Write `when: {optimizer.name: adamw}`."
        problems.add(path, f"has a `when:` that is no map of path to value: {shown(when.plain())}", when, hint=hint)
        return Searched(domain=domain)
    conditions = read_conditions(when.map, path, problems)
    form: Json = {str(condition.path): condition.test.to_json() for condition in conditions}
    return Searched(domain=dataclasses.replace(domain, when=form), when=conditions)  # type: ignore[type-var]


def read_conditions(
    entries: Mapping[str, Node], path: str, problems: Problems, *, word: str = "`when:`"
) -> tuple[When, ...]:
    """Return the conditions of a map of path to value, less those that are wrong, which are noted.

    Args:
        entries: The map.
        path: What the problems are about.
        problems: Takes what is found.
        word: What the problems call a condition.
    """
    found = [_read_when(key, value, path, problems, word) for key, value in entries.items()]
    return tuple(condition for condition in found if condition is not None)


def _read_when(key: str, node: Node, path: str, problems: Problems, word: str) -> When | None:
    target = read_path(key)
    if target is None:
        problems.add(path, f"has {word} on '{key}', which is no path such as optimizer.lr", node)
        return None
    if node.map is not None:
        test = _read_words(key, node.map, path, problems, word)
    else:
        values = _scalars(node)
        if not values:
            problems.add(path, f"has {word} on '{key}' that lists no plain values: {shown(node.plain())}", node)
        test = Test(values=values) if values else None
    return None if test is None else When(target, test)


def _read_words(key: str, words: dict[str, Node], path: str, problems: Problems, what: str) -> Test | None:
    lists: dict[str, tuple[Any, ...]] = {}
    comparisons: list[tuple[str, float]] = []
    before = len(problems)
    for word, node in words.items():
        if word not in _WORDS:
            hint = f"{nearest(word, _WORDS)} Allowed: {', '.join(_WORDS)}."
            problems.add(path, f"has {what} on '{key}' with the unknown comparison '{word}'", node, hint=hint)
        elif word not in COMPARISONS and (values := _scalars(node)):
            lists[word] = values
        elif word in COMPARISONS and is_number(node.value):
            comparisons.append((word, node.value))
        else:
            wanted = "a number" if word in COMPARISONS else "a value or a list of values"
            problem = f"has {what} on '{key}' with {word}: {shown(node.plain())}; it must be {wanted}"
            problems.add(path, problem, node)
    if not words:
        problems.add(path, f"has {what} on '{key}' with an empty map")
    if len(problems) > before:
        return None
    return Test(lists.get("in"), lists.get("not", ()), tuple(comparisons))


def _scalars(node: Node) -> tuple[Any, ...]:
    """Return one value or the values of a list; nothing where one of them is a map or a list."""
    nodes = (node,) if node.items is None else node.items
    return tuple(one.value for one in nodes) if all(one.is_scalar for one in nodes) else ()
