"""The sentence about a combination that cannot work: where it was written, why not, and what excludes it."""

from collections.abc import Mapping
from typing import Any, Final

from autoft.core.jsonable import Json, canonical_json
from autoft.core.rules import Read, shown
from autoft.space.nodes import Node, Problems, in_yaml, place

_KEYS: Final = ("name", "mode")
"""What a branch is known by."""
_LINES: Final = 3
"""Lines for `forbid:` that a mistake writes out."""


def spot(path: str, read: Read, section: Node | None, parameter: Node | None) -> Node | None:
    """Return where a setting was written: the branch where the path means one, else the nearest above it.

    Args:
        path: Without branches: "optimizer.base.name".
        read: Of a configuration that has it; of a branch its label.
        section: The section as written; None: it was left out.
        parameter: Where the parameter at the path was written; None: there is a constant.
    """
    if parameter is not None:
        return _branch(parameter, read(path)) or parameter
    steps = path.split(".")
    node = section
    for depth, step in enumerate(steps[1:], start=1):
        if node is None:
            return None
        labels = [read(f"{'.'.join(steps[:depth])}.{key}") for key in _KEYS]
        node = next((found for label in labels if (found := _branch(node, label))), node)
        node = (node.map or {}).get(step, node)
    return node


def note(
    reason: str,
    combinations: list[Json],
    spots: Mapping[str, Node | None],
    read: Read,
    problems: Problems,
    *,
    is_fixed: bool,
) -> None:
    """Note that a space can give combinations that break one rule.

    Args:
        reason: The rule's.
        combinations: As `forbid:` lists them, the one of `read` first.
        spots: Where each setting of the first was written.
        read: Of a configuration that holds the first.
        problems: Takes the mistake.
        is_fixed: Whether the space gives nothing else.
    """
    written = [path for path, where in spots.items() if where is not None and where.where] or list(spots)
    lead = written[0]
    others = " and ".join(f"{place(path, spots[path])}: {shown(read(path))}" for path in spots if path != lead)
    lines = _merged(combinations)
    listed = ", ".join(in_yaml(line) for line in lines[:_LINES]) + (", ..." if len(lines) > _LINES else "")
    hint = " Change one of them." if is_fixed else f" Take one of them out, or write `forbid: [{listed}]`."
    problem = f"can be {shown(read(lead))}, which does not go with {others}: {reason}"
    problems.add(lead, problem, spots[lead], hint=hint)


def _branch(node: Node, label: Any) -> Node | None:
    """Return the branch of that label in a choice, or None."""
    listed = (node.map or {}).get("choice", Node(None)).items or ()
    return next((one for one in listed if label is not None and _label(one) == label), None)


def _label(branch: Node) -> Any:
    entries = branch.map or {}
    return next((entries[key].value for key in ("as", *_KEYS) if key in entries), branch.value)


def _merged(combinations: list[Json]) -> list[Json]:
    """Return the combinations, those that differ in the backbone alone as one that lists the backbones."""
    merged: dict[str, tuple[Json, list[Any]]] = {}
    for one in combinations:
        rest = {path: test for path, test in one.items() if path != "backbone.name"}
        _, names = merged.setdefault(canonical_json(rest), (rest, []))
        if "backbone.name" in one:
            names.append(one["backbone.name"])
    return [
        rest | ({"backbone.name": names[0] if len(names) == 1 else names} if names else {})
        for rest, names in merged.values()
    ]
