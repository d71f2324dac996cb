"""From the nodes of one section to its branches and settings, checked against the catalog."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autoft.core import catalog, recipe
from autoft.core.catalog import Argument, Entry
from autoft.core.errors import ConfigError, nearest
from autoft.core.jsonable import Json
from autoft.core.recipe import BLOCKS, SCALARS, complete, filled, inner_block
from autoft.space.domains import UNSET, Choice
from autoft.space.extend import with_refusals
from autoft.space.nodes import Node, Problems, place, shown, to_node
from autoft.space.settings import domain_forms, read_probabilities, read_setting
from autoft.space.tree import MISSING, Block, Branch, Scalar, Searched, Section
from autoft.space.when import with_conditions

_CHOICE_KEYS = ("choice", "prior", "when", "probabilities")
_LABEL = re.compile(r"[\w:/+-][\w.:/+-]*")


@lru_cache(maxsize=64)
def _default_recipe(task: str) -> Json:
    return complete({}, task=task)


class SectionReader:
    """Reads the sections of one space."""

    def __init__(self, task: str | None, problems: Problems) -> None:
        self.task = task
        self.problems = problems
        # A space whose task is wrong is refused anyway; its other mistakes are found with any task's defaults.
        self.default_task = task or next(catalog.entries("task")).name
        self.defaults = _default_recipe(self.default_task)
        self.nodes: dict[str, Node] = {}
        """Where each parameter was written, by label."""
        self.partial: set[str] = set()
        """Sections of which a mistake left something out."""
        self.hidden: set[str] = set()
        """Paths of which a mistake hides what the person means, with all that is in them."""

    def section(self, name: str, node: Node | None) -> Section | None:
        """Return one section, less what is wrong with it; None if nothing is left. Every problem is noted."""
        node = to_node(self.defaults[name]) if node is None else node
        before = len(self.problems)
        if name in SCALARS:
            section: Section | None = self._scalar(name, node)
        else:
            section = self._block(_Spot(label=name, path=name, block=BLOCKS[name], fallback=self.defaults[name]), node)
        if len(self.problems) > before:
            self.partial.add(name)
            if name in SCALARS:
                self.hidden.add(name)
        return section

    def _scalar(self, name: str, node: Node) -> Scalar | None:
        value = read_setting(node, name, SCALARS[name], self.problems)
        if value is MISSING:
            return None
        if isinstance(value, Searched):
            self.nodes[name] = node
        return Scalar(name=name, value=value, fallback=self.defaults[name])

    def _block(self, spot: "_Spot", node: Node) -> Block | None:
        forms = domain_forms(node)
        if forms and forms != ["choice"]:
            hint = f" Write `choice:` with a list of maps that have `{spot.block.key}`."
            self.problems.add(spot.path, f"takes branches, not {' or '.join(forms)}", node, hint=hint)
            return None
        entries = node.map or {}
        written = entries["choice"].items if forms else (node,)
        if written is None:
            listed = shown(entries["choice"].plain())
            self.problems.add(spot.path, f"has a choice that is no list: {listed}", entries["choice"])
            return None
        if not written:
            self.problems.add(spot.path, "has an empty choice; list at least one branch", node)
            return None
        read = [(self._branch(spot, one), one) for one in with_refusals(spot.block, written)]
        branches = [(branch, one) for branch, one in read if branch is not None]
        self._check_labels(spot, branches)
        if forms:
            self._check_choice_keys(spot, node, [branch for branch, _ in branches])
        if not branches:
            return None
        made = tuple(branch for branch, _ in branches)
        choice = self._choice(spot, node, made, num_written=len(written)) if forms else None
        return Block(
            name=spot.label,
            path=spot.path,
            key=spot.block.key,
            branches=made,
            choice=choice,
            fallback=spot.fallback or dict(made[0].bare),
        )

    def _check_labels(self, spot: "_Spot", branches: list[tuple[Branch, Node]]) -> None:
        seen: set[str] = set()
        for branch, node in branches:
            if branch.label in seen:
                hint = f" Give each its own label: `as: {branch.name}_2`."
                self.problems.add(spot.path, f"has two branches called '{branch.label}'", node, hint=hint)
            seen.add(branch.label)

    def _check_choice_keys(self, spot: "_Spot", node: Node, branches: list[Branch]) -> None:
        for key, value in (node.map or {}).items():
            if key in _CHOICE_KEYS:
                continue
            self.hidden.add(spot.path)
            if any(key in branch.bare for branch in branches):
                problem = f"stands beside `choice:`; write it in the branches that have {key}"
                self.problems.add(f"{spot.path}.{key}", problem, value)
            else:
                settings = dict.fromkeys(name for branch in branches for name in branch.bare)
                hint = f"{nearest(key, [*_CHOICE_KEYS, *settings])} Allowed: {', '.join(_CHOICE_KEYS)}."
                self.problems.add(spot.path, f"has the unknown key '{key}' beside choice", value, hint=hint)

    def _choice(self, spot: "_Spot", node: Node, branches: tuple[Branch, ...], *, num_written: int) -> Searched | None:
        labels = [branch.label for branch in branches]
        entries = node.map or {}
        given = entries.get("prior")
        prior = UNSET if given is None else given.plain()
        if prior is not UNSET and prior not in labels:
            hint = f"{nearest(str(prior), labels)} Branches: {', '.join(labels)}."
            self.problems.add(spot.path, f"has prior {shown(prior)}, which is none of its branches", given, hint=hint)
            prior = UNSET
        shares = read_probabilities(entries.get("probabilities"), spot.path, self.problems)
        if len(labels) < num_written:
            shares = None  # A branch that is wrong was left out, and said.
        choice = Choice(labels, prior=prior, probabilities=shares)
        if shares is not None:
            for problem in choice.problems():
                if "probabilities" in problem:
                    self.problems.add(spot.path, problem, entries["probabilities"])
        before = len(self.problems)
        searched = with_conditions(choice, node, spot.path, self.problems)
        if len(self.problems) > before:
            self.hidden.add(spot.path)
        self.nodes[spot.label] = node
        return searched if len(labels) > 1 or searched.when else None

    def _branch(self, spot: "_Spot", node: Node) -> Branch | None:
        block = spot.block
        entries = {block.key: node} if isinstance(node.value, str) else node.map
        if entries is None or block.key not in entries:
            problem = f"must be a map with `{block.key}:`, not {shown(node.plain())}"
            self.problems.add(spot.path, problem, node, hint=self._how_to_name(spot, node))
            return None
        entry = self._entry(spot, entries[block.key])
        if entry is None:
            return None
        label = self._label(spot, entry.name, entries.get("as"))
        settings = {
            key: self._setting(spot, label, entry, key, value)
            for key, value in entries.items()
            if key not in (block.key, "as")
        }
        if any(entry.argument(key) is None for key in settings):  # A name that is wrong may have been any other's.
            self.hidden.update(f"{spot.path}.{a.name}" for a in entry.arguments if a.name not in settings)
        ordered = {a.name: value for a in entry.arguments if (value := settings.get(a.name, MISSING)) is not MISSING}
        constants = {key: value for key, value in ordered.items() if not isinstance(value, Searched | Block)}
        bare = filled(block, {block.key: entry.name, **constants}, spot.fallback)
        return Branch(label=label, name=entry.name, settings=ordered, bare=bare)

    def _entry(self, spot: "_Spot", node: Node) -> Entry | None:
        path = f"{spot.path}.{spot.block.key}"
        if not isinstance(node.value, str):
            hint = " Each name is a branch of `choice:`." if node.map else ""
            self.problems.add(path, f"must be a name, not {shown(node.plain())}", node, hint=hint)
            return None
        at = place(path, node)
        try:
            entry = catalog.entry(spot.block.kind, node.value, where=at)
        except ConfigError as error:
            text = str(error)
            self.problems.say(text if at in text else f"{at}: {text}", node)
            return None
        if self.task is not None and entry.tasks and self.task not in entry.tasks:
            fits = f"{at}: {entry.name} is for {', '.join(entry.tasks)}, not for {self.task}."
            self.problems.say(f"{fits} {self._names(spot)}", node)
            return None
        if spot.names is not None and entry.name not in spot.names:
            self.problems.say(f"{at}: {entry.name} does not fit here. {self._names(spot)}", node)
            return None
        if spot.path == "finetune" and entry.name == "probe":
            self.problems.add(path, "is 'probe', which runs by itself before every search; leave it out", node)
            return None
        return entry

    def _how_to_name(self, spot: "_Spot", node: Node) -> str:
        key = spot.block.key
        other = "mode" if key == "name" else "name"
        if other in (node.map or {}):
            return f" Write `{key}:` instead of `{other}:`."
        if node.items is not None:
            return " To search over several, write `{choice: [...]}`."
        return f" {self._names(spot)}"

    def _names(self, spot: "_Spot") -> str:
        kind = spot.block.kind
        if kind == "backbone":
            return "`autoft list backbones` shows all."  # Over a thousand.
        known: Iterable[str] = (entry.name for entry in catalog.entries(kind, task=self.task))
        return f"Allowed: {', '.join(name for name in known if spot.names is None or name in spot.names)}."

    def _label(self, spot: "_Spot", name: str, node: Node | None) -> str:
        if node is None:
            return name
        value = node.plain()
        if isinstance(value, str) and _LABEL.fullmatch(value):
            return value
        self.problems.add(spot.path, f"has `as: {shown(value)}`; it must be a word such as {name}_2", node)
        return shown(value)

    def _setting(self, spot: "_Spot", label: str, entry: Entry, key: str, node: Node) -> Any:
        # Without a line the branch says which of several is meant.
        path = f"{spot.path}.{key}" if node.where else f"{spot.label}[{label}].{key}"
        argument = entry.argument(key)
        if argument is None:
            names = [a.name for a in entry.arguments]
            hint = nearest(key, names) + (f" Allowed: {', '.join(names)}." if names else " It has no settings.")
            if key == "when":
                hint = " Put `when:` on the choice or on a setting."
            self.problems.add(path, f"is no setting of {entry.name}", node, hint=hint)
            return MISSING
        if argument.type == "block" and not (argument.optional and node.value is None):
            found = self._block(_inner(spot, label, argument), node)
            if found is None:
                self.hidden.add(f"{spot.path}.{key}")
                return MISSING
            return found
        before = len(self.problems)
        value = read_setting(node, path, argument, self.problems)
        if len(self.problems) > before:
            self.hidden.add(f"{spot.path}.{key}")
        if isinstance(value, Searched):
            self.nodes[f"{spot.label}[{label}].{key}"] = node
        return value


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spot:
    """Where a block stands."""

    label: str
    """With branches: "optimizer[sam].base"."""
    path: str
    """Without: "optimizer.base"."""
    block: recipe.Block
    fallback: Json | None
    """The complete default; None: a setting that is off by default."""
    names: tuple[Any, ...] | None = None
    """Those of the kind that fit; None: all."""


def _inner(spot: _Spot, label: str, argument: Argument) -> _Spot:
    block = inner_block(argument)
    return _Spot(
        label=f"{spot.label}[{label}].{argument.name}",
        path=f"{spot.path}.{argument.name}",
        block=block,
        fallback=None if argument.default is None else filled(block, argument.default, None),
        names=argument.choices,
    )
