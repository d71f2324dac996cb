"""`backbone: {query: "timm:*", ...}`: what the table of facts answers with, as a choice of backbones."""

import math
import re
from typing import Any, Final

from autoft.core.entries import backbones
from autoft.core.errors import nearest
from autoft.core.jsonable import Json
from autoft.space.nodes import Node, Problems, is_number, shown, to_node

LIMITS: Final = {
    "min_parameters": ("parameters", False),
    "max_parameters": ("parameters", True),
    "min_input_size": ("input_size", False),
    "max_input_size": ("input_size", True),
}
FAVOUR: Final = 4.0
"""How many times as likely as the last of a ranked answer the first is drawn."""
_KEYS: Final = ("query", *LIMITS, "input_size", "pretrained", "pretrained_on", "top", "by", "settings")
_CHOICE_KEYS: Final = ("prior", "when")
_COUNT = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")
_UNITS: Final = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


def expanded(node: Node, task: str | None, problems: Problems) -> Node:
    """Return the section `backbone` with every query in it replaced by the branches that answer it.

    A query is answered without network, from the facts that ship: `core.entries.backbones`. One that is a section by
    itself and says `by:` gives its branches their probabilities too, the best ranked the largest; the best is the
    default, unless `prior:` names another.

    Args:
        node: As written: a map with `query:`, or a choice some of whose branches are such maps.
        task: Backbones for another are left out; None: all are taken.
        problems: Takes what is wrong.
    """
    entries = node.map
    if entries is None:
        return node
    if "query" in entries:
        query = {key: value for key, value in entries.items() if key not in _CHOICE_KEYS}
        found = _Query(query, node, task, problems).branches()
        rest = {key: value for key, value in entries.items() if key in _CHOICE_KEYS}
        if len(found) == 1 and "when" not in rest:
            return found[0]
        if "by" in entries and len(found) > 1:
            rest["probabilities"] = to_node(probabilities(len(found)), where=node.where)
        return Node({"choice": Node(tuple(found), node.where), **rest}, node.where) if found else Node(_FAILED)
    items = entries["choice"].items if "choice" in entries else None
    if items is None or not any(map(is_query, items)):
        return node
    branches: list[Node] = []
    for item in items:
        found = _Query(item.map or {}, item, task, problems).branches() if is_query(item) else [item]
        names = {_name(branch) for branch in branches}
        branches.extend(branch for branch in found if not (is_query(item) and _name(branch) in names))
    return Node({**entries, "choice": Node(tuple(branches), entries["choice"].where)}, node.where)


def is_query(node: Node) -> bool:
    """Return whether a branch, as written, is a query."""
    return "query" in (node.map or {})


def answers_with(query: Node, setting: str) -> bool:
    """Return whether some backbone that answers a query has a setting in more than name.

    Of a query that is wrong, which reading it says, that is taken for granted.
    """
    if setting not in [argument.name for argument in backbones.arguments("hf")]:
        return False
    entries = {**(query.map or {}), "settings": Node({setting: Node(None)})}
    found = _Query(entries, query, None, Problems()).branches()
    return not found or any(setting in (branch.map or {}) for branch in found)


def probabilities(count: int) -> list[float]:
    """Return how likely each of `count` ranked backbones is drawn: down the ranks they fall by an even factor.

    The first is `FAVOUR` times as likely as the last, however many there are. So a published rank is a hint that a
    search overrules, not a filter; `top` and the limits are those.
    """
    weights = [FAVOUR ** (-rank / (count - 1)) for rank in range(count)]
    total = math.fsum(weights)
    return [round(weight / total, 6) for weight in weights]


_FAILED: Final = "timm:resnet18"
"""Stands for a query without an answer, which was noted, so that the other mistakes are found."""


def _name(branch: Node) -> Any:
    return branch.value if branch.map is None else branch.map.get("as", branch.map.get("name", branch)).value


class _Query:
    """One query."""

    def __init__(self, entries: dict[str, Node], node: Node, task: str | None, problems: Problems) -> None:
        self.entries = entries
        self.node = node
        self.task = task
        self.problems = problems

    def note(self, key: str, problem: str, hint: str = "") -> None:
        self.problems.add(f"backbone.{key}", problem, self.entries.get(key, self.node), hint=hint)

    def branches(self) -> list[Node]:
        """Return a branch for each backbone that answers; none, with the problems noted, if the query is wrong."""
        settings = self.settings()
        before = len(self.problems)
        for key in self.entries:
            if key not in _KEYS:
                is_setting = key in [argument.name for argument in backbones.arguments("hf")]
                hint = f" Write `settings: {{{key}: ...}}`." if is_setting else nearest(key, _KEYS)
                self.note(key, "is no part of a query", f"{hint} Allowed: {', '.join((*_KEYS, *_CHOICE_KEYS))}.")
        patterns, limits, order, top = self.patterns(), self.limits(), self.order(), self.top()
        words, pretrained = self.pretrained_on(), self.pretrained()
        if len(self.problems) > before:
            return []
        facts = [
            fact
            for fact in backbones.published(patterns)
            if (self.task is None or self.task in fact["tasks"])
            and all(low <= (fact[name] or -1) <= high for name, (low, high) in limits.items())
            and (pretrained is None or bool(fact["pretrained"]) == pretrained)
            and (words is None or not set(words).isdisjoint(fact["pretrained"].split("_")))
            and fact.get(order.lstrip("-")) is not None
        ]
        names = _ranked(facts, order)[:top]
        if not names:
            asked = {key: value.plain() for key, value in self.entries.items() if key != "settings"}
            self.note("query", f"finds no backbone: {shown(asked)}", " `autoft list backbones` shows what there is.")
        branches = [self.branch(name, settings) for name in names]
        for key, value in settings.items():
            if branches and not any(key in (branch.map or {}) for branch in branches):
                problem = "is a setting of none of the backbones that the query finds"
                self.problems.add(f"backbone.settings.{key}", problem, value, hint=" Leave it out.")
        return branches

    def branch(self, name: str, settings: dict[str, Node]) -> Node:
        named = Node(name, self.node.where)
        entry = backbones.entry(name)
        fitting = {
            key: value
            for key, value in settings.items()
            if (argument := entry.argument(key)) is not None and not argument.is_fixed
        }
        return Node({"name": named, **fitting}, self.node.where)

    def patterns(self) -> list[str]:
        node = self.entries["query"]
        patterns = [node.value] if node.items is None else [item.value for item in node.items]
        if patterns and all(isinstance(one, str) and one for one in patterns):
            return [str(one) for one in patterns]
        self.note("query", f'must be a pattern such as "timm:resnet*", or a list of them, not {shown(node.plain())}')
        return []

    def limits(self) -> dict[str, tuple[float, float]]:
        found = {"parameters": [0.0, float("inf")], "input_size": [0.0, float("inf")]}
        for key, (name, is_upper) in LIMITS.items():
            if key in self.entries and (number := self.number(key)) is not None:
                found[name][is_upper] = number
        if "input_size" in self.entries and (number := self.number("input_size")) is not None:
            found["input_size"] = [number, number]
        return {name: (low, high) for name, (low, high) in found.items() if (low, high) != (0.0, float("inf"))}

    def number(self, key: str) -> float | None:
        value = self.entries[key].plain()
        if isinstance(value, str) and (match := _COUNT.fullmatch(value)):
            return float(match[1]) * _UNITS[match[2]]
        if is_number(value) and value > 0:
            return float(value)
        self.note(key, f"must be a number above 0 such as 30e6 or 30M, not {shown(value)}")
        return None

    def top(self) -> int | None:
        value = self.entries["top"].plain() if "top" in self.entries else None
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            self.note("top", f"must be a whole number of at least 1, not {shown(value)}")
        return value if isinstance(value, int) else None

    def order(self) -> str:
        value = self.entries["by"].plain() if "by" in self.entries else "parameters"
        bare = value.removeprefix("-") if isinstance(value, str) else ""
        if bare not in backbones.ORDERS:
            hint = f"{nearest(bare, backbones.ORDERS)} Allowed: {', '.join(backbones.ORDERS)}; with - the least first."
            self.note("by", f"is {shown(value)}, which backbones cannot be ranked by", hint)
            return "parameters"
        return str(value)

    def pretrained(self) -> bool | None:
        value = self.entries["pretrained"].plain() if "pretrained" in self.entries else True
        if isinstance(value, bool):
            return value
        self.note("pretrained", f"must be true or false, not {shown(value)}")
        return None

    def pretrained_on(self) -> tuple[str, ...] | None:
        if "pretrained_on" not in self.entries:
            return None
        value = self.entries["pretrained_on"].plain()
        if value in backbones.PRETRAINED_ON:
            return backbones.PRETRAINED_ON[value]
        known = list(backbones.PRETRAINED_ON)
        hint = f"{nearest(str(value), known)} Allowed: {', '.join(known)}."
        self.note("pretrained_on", f"is {shown(value)}, which no published weights say", hint)
        return None

    def settings(self) -> dict[str, Node]:
        node = self.entries.get("settings")
        if node is None:
            return {}
        if node.map is None:
            self.note("settings", f"must be a map of setting to value, not {shown(node.plain())}")
            return {}
        known = [argument.name for argument in backbones.arguments("hf")]
        for key, value in node.map.items():
            if key not in known:
                hint = f"{nearest(key, known)} Allowed: {', '.join(known)}."
                self.problems.add(f"backbone.settings.{key}", "is no setting of a backbone", value, hint=hint)
        return {key: value for key, value in node.map.items() if key in known}


def _ranked(facts: list[Json], order: str) -> list[str]:
    """Return names, the largest of `order` first, or the least with `-`; equal ones in the order of the table.

    Of a model's tags the first one stands for it, unless the pattern was for tags.
    """
    name, sign = order.removeprefix("-"), 1 if order.startswith("-") else -1
    seen: set[str] = set()
    ranked = []
    for fact in sorted(facts, key=lambda fact: sign * fact[name]):
        if fact["tagged"] or fact["model"] not in seen:
            ranked.append(fact["name"])
        seen.add(fact["model"])
    return ranked
