"""A space as it was written: JSON values that know their file and line."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from autoft.core.errors import SpaceError
from autoft.space.domains import Domain

LARGEST: Final = 10**300 - 1
"""A larger whole number is read as a float, as other readers of JSON do: as infinity."""

_MOST_LISTED: Final = 5
"""Branches that an error names; a query finds hundreds."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it was written."""

    value: Any
    """A scalar, a tuple of nodes, or a dict from key to node."""
    where: str = ""
    """As "file:line"; "" for what was not read from a file."""
    is_told: bool = False
    """Whether a mistake in it was told when the text was read; no other one is then."""
    branches: tuple[str, ...] = ()
    """Of the branches that share it those that refuse it alike, where others do not."""

    @property
    def map(self) -> dict[str, "Node"] | None:
        """The entries of a map; None for anything else."""
        return self.value if isinstance(self.value, dict) else None

    @property
    def items(self) -> tuple["Node", ...] | None:
        """The elements of a list; None for anything else."""
        return self.value if isinstance(self.value, tuple) else None

    @property
    def is_scalar(self) -> bool:
        """Whether this is neither a map nor a list."""
        return not isinstance(self.value, dict | tuple)

    def in_branches(self, branches: tuple[str, ...]) -> "Node":
        """Return the same, and all that is in it, as what those branches refuse."""
        value = self.value
        if isinstance(value, dict):
            value = {key: node.in_branches(branches) for key, node in value.items()}
        elif isinstance(value, tuple):
            value = tuple(node.in_branches(branches) for node in value)
        return Node(value, self.where, self.is_told, branches)

    def plain(self) -> Any:
        """Return the value as plain JSON."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value


def to_node(value: Any, *, where: str = "") -> Node:
    """Return the node of plain JSON values and domain objects, nested in any way.

    Raises:
        SpaceError: If something in it is neither, or it contains itself.
    """
    try:
        return _node_of(value, where)
    except RecursionError as error:
        raise SpaceError(["A space is nested too deeply, or contains itself."]) from error


def _node_of(value: Any, where: str) -> Node:
    if isinstance(value, Domain):
        return _node_of(value.to_json(), where)
    if isinstance(value, Mapping):
        return Node({str(key): _node_of(inner, where) for key, inner in value.items()}, where)
    if isinstance(value, list | tuple):
        return Node(tuple(_node_of(inner, where) for inner in value), where)
    return value if isinstance(value, Node) else Node(_scalar(value), where)


def _scalar(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > LARGEST:
        return math.inf if value > 0 else -math.inf
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _scalar(value.item())
    raise SpaceError([f"A space holds numbers, texts, lists, maps and domains, not {value!r}."])


class Problems:
    """The mistakes of a space, gathered in one pass."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, path: str, problem: str, node: Node | None = None, *, hint: str = "") -> None:
        """Note that `path`, written at `node`, has a problem: "must be ..., not ..."; no full stop."""
        if node is not None and node.branches and not hint:
            hint = " Write one that all branches take, or the whole `choice:` with one for each."
        self.say(f"{place(path, node)} {problem}.{hint}", node)

    def say(self, sentence: str, node: Node | None) -> None:
        """Note a whole sentence, once."""
        if node is not None and node.is_told:
            return
        file, _, line = (node.where if node is not None else "").rpartition(":")
        self._found.setdefault(sentence, (file, int(line) if line.isdecimal() else 0))

    @property
    def sentences(self) -> list[str]:
        """All of them, in the order of the lines of each file."""
        return sorted(self._found, key=self._found.__getitem__)

    def check(self) -> None:
        """Refuse the space if there is any problem.

        Raises:
            SpaceError: With all of them.
        """
        if self._found:
            raise SpaceError(self.sentences)


def place(path: str, node: Node | None) -> str:
    """Return "optimizer.lr (vision.yaml:12)", with the branches that refuse what others take."""
    if node is None or not node.where:
        return path
    listed = node.branches[:_MOST_LISTED]
    rest = len(node.branches) - len(listed)
    names = f" for {', '.join(listed)}" if listed else ""
    return f"{path} ({node.where}{names}{f' and {rest} more' if rest else ''})"


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def in_yaml(value: Any) -> str:
    """Return JSON values on one line, as YAML's flow style has them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {in_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(in_yaml, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"'{value}'" if isinstance(value, str) and ":" in value else str(value)


def shown(value: Any) -> str:
    """Return a value as an error shows it, null, true and false as YAML has them; cut if it is long."""
    text = in_yaml(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
