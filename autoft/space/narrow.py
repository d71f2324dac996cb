"""Overrides: `optimizer.lr=1e-3` fixes or narrows a setting, `optimizer.name=sgd` picks a branch."""

from collections.abc import Mapping
from typing import Any

from autoft.core.catalog import Argument
from autoft.core.errors import nearest
from autoft.core.recipe import BLOCKS, SCALARS, Block, inner_block
from autoft.space.conditions import Path, Step, read_path
from autoft.space.extend import arguments_of, with_setting
from autoft.space.liveness import nearest_path
from autoft.space.nodes import Node, Problems, shown, to_node
from autoft.space.settings import domain_forms
from autoft.space.tree import Block as TreeBlock
from autoft.space.tree import Section

WHERE = "override"
"""Stands where a file's errors name file and line."""


def narrowed_node(whole: Node, tree: tuple[Section, ...], overrides: Mapping[str, Any]) -> Node:
    """Return the space `whole`, whose tree is given, with the overrides in it; not checked yet.

    Raises:
        SpaceError: If a path is not in the space, or a branch is none of its branches; all of them at once.
    """
    problems = Problems()
    sections = {section.name: section for section in tree}
    entries = dict(whole.map or {})
    picks, settings = [], []
    for text, value in ((str(key), value) for key, value in overrides.items()):
        node = to_node(value, where=WHERE)
        path = read_path(text)
        if path is None or path.section not in sections:
            problems.add(text, "is not in this space", hint=nearest(text, sections) or nearest_path(text, tree))
        elif path.section in SCALARS:
            entries[path.section] = _under_condition(entries.get(path.section), node)
        elif len(path.steps) == 1 and node.map is not None and not _lists_names(node):
            entries[path.section] = node
        elif path.names_branch:
            picks.append((path, node))
        else:
            settings.append((path, node))
    # A section that is replaced by what is no block is refused when the space is read.
    picks, settings = (
        [(path, node) for path, node in found if _is_block(BLOCKS[path.section], entries[path.section])]
        for found in (picks, settings)
    )
    # Settings first: one that is given for a branch that is not picked is no mistake.
    for path, node in settings:
        change = _Change(path, node, problems)
        changed = change.within(BLOCKS[path.section], entries[path.section], path.steps)
        if changed is None and not change.is_wrong:
            problems.add(str(path), "is not in this space", hint=nearest_path(_bare(path), tree))
        entries[path.section] = changed or entries[path.section]
    for path, node in picks:
        entries[path.section] = _Change(path, node, problems).picked(BLOCKS[path.section], entries[path.section])
    problems.check()
    return Node(entries, whole.where)


def require_effect(tree: tuple[Section, ...], overrides: Mapping[str, Any]) -> None:
    """Refuse overrides of settings that branches which are left could have, and none has.

    Raises:
        SpaceError: If there are any; all of them at once.
    """
    problems = Problems()
    sections = {section.name: section for section in tree}
    for text in map(str, overrides):
        path = read_path(text)
        block = None if path is None else sections.get(path.section)
        if path is None or not isinstance(block, TreeBlock) or len(path.steps) != len(("section", "setting")):
            continue
        wanted, setting = path.steps[0].branch, path.steps[1].name
        able = [one for one in block.branches if wanted in (None, one.label) and setting in one.bare]
        if setting != block.key and able and not any(setting in one.settings for one in able):
            problems.add(
                text, "has no effect: its `when:` and the branches that are left never let it be", hint=" Leave it out."
            )
    problems.check()


def _bare(path: Path) -> str:
    return ".".join(step.name for step in path.steps)


def _lists_names(node: Node) -> bool:
    """Return whether a domain is a choice of branch names alone."""
    items = (node.map or {}).get("choice", Node(None)).items
    return items is not None and all(isinstance(item.value, str) for item in items)


def _is_block(block: Block, node: Node) -> bool:
    """Return whether a section is a branch, or a choice of such."""
    if domain_forms(node):
        items = (node.map or {}).get("choice", Node(None)).items
        return items is not None and all(_is_named(block, item) for item in items)
    return _is_named(block, node)


def _is_named(block: Block, node: Node) -> bool:
    return isinstance(_name(block, node), str)


def _branches(node: Node) -> list[Node]:
    if domain_forms(node):
        return list((node.map or {})["choice"].items or ())
    return [node]


def _name(block: Block, node: Node) -> Any:
    return node.value if node.map is None else node.map.get(block.key, node).value


def _label(block: Block, node: Node) -> Any:
    return _name(block, node) if node.map is None or "as" not in node.map else node.map["as"].value


class _Change:
    """One override of a setting or of which branches there are."""

    def __init__(self, path: Path, value: Node, problems: Problems) -> None:
        self.path = path
        self.value = value
        self.problems = problems
        self.is_wrong = False

    def within(self, block: Block, node: Node, steps: tuple[Step, ...]) -> Node | None:
        """Return a block with the value laid over `steps` of one branch, or of every one that has it; None if none."""
        wanted, setting, rest = steps[0].branch, steps[1], steps[1:]
        branches = _branches(node)
        labels = [_label(block, branch) for branch in branches]
        if wanted is not None and wanted not in labels:
            hint = f"{nearest(wanted, labels)} It has {', '.join(labels)}."
            self.problems.add(str(self.path), f"names no branch of {steps[0].name}", hint=hint)
            self.is_wrong = True
            return None
        asked = {index: branch for index, branch in enumerate(branches) if wanted in (None, labels[index])}
        arguments = arguments_of(block, asked, setting.name)
        has_it = False
        for index, argument in arguments.items():
            branch = branches[index]
            if argument.type == "block":
                value = self.inner(argument, branch, rest)
            else:
                value = self.laid(argument, arguments, labels)
            if value is not None and (argument.type == "block" or len(rest) == 1):
                branches[index] = _replaced(block, branch, setting.name, value, whole=argument.type == "block")
                has_it = True
        return _with_branches(node, branches) if has_it else None

    def laid(self, argument: Argument, arguments: Mapping[int, Argument], labels: list[Any]) -> Node:
        """Return the value for a setting, with the branches that take the same in its errors, unless all do.

        Args:
            argument: The setting in one branch.
            arguments: It in each of the branches that are changed, by their place among all.
            labels: Of all branches.
        """
        alike = [str(labels[index]) for index, other in arguments.items() if other.wanted == argument.wanted]
        if len(alike) == len(arguments) and not argument.is_fixed:
            return self.value
        return to_node(self.value.plain(), where=f"{WHERE} for {', '.join(alike)}")

    def inner(self, argument: Argument, branch: Node, steps: tuple[Step, ...]) -> Node | None:
        """Return a setting that is a block itself, with the value laid over `steps` of it."""
        block = inner_block(argument)
        node = (branch.map or {}).get(argument.name, to_node(argument.default))
        names = tuple(step.name for step in steps[1:])
        if steps[0].branch is None and names in ((), (block.key,)):
            is_whole = self.value.map is not None and not _lists_names(self.value)
            return self.value if is_whole and not names else self.picked(block, node)
        return None if node.value is None or not names else self.within(block, node, steps)

    def picked(self, block: Block, node: Node) -> Node:
        """Return a block with the branches that the value names, in that order."""
        value = self.value
        branches = _branches(node)
        labels = [_label(block, branch) for branch in branches]
        names = (value.map or {})["choice"].items if _lists_names(value) else (value,)
        wanted: list[int] = []
        if not names:
            hint = f" It has {', '.join(labels)}."
            self.problems.add(str(self.path), "picks none of its branches", value, hint=hint)
        for name in names or ():
            found = [index for index, label in enumerate(labels) if label == name.value]
            found = found or [index for index, branch in enumerate(branches) if _name(block, branch) == name.value]
            if not found:
                hint = f"{nearest(str(name.plain()), labels)} To search others, write a space with `extends:`."
                if name.items is not None:
                    hint = " To pick several, write `{choice: [...]}`."
                problem = f"must be one of its branches, {', '.join(labels)}, not {shown(name.plain())}"
                self.problems.add(str(self.path), problem, name, hint=hint)
            wanted.extend(index for index in found if index not in wanted)
        if not wanted:
            return node
        rest = _kept(node, labels, wanted) if domain_forms(node) else {}
        rest |= {key: one for key, one in (value.map or {}).items() if key != "choice"}
        if len(wanted) == 1 and not rest.get("when"):
            return branches[wanted[0]]
        return Node({"choice": Node(tuple(branches[index] for index in wanted), node.where), **rest}, node.where)


def _kept(node: Node, labels: list[Any], wanted: list[int]) -> dict[str, Node]:
    """Return what stands beside a choice and still holds for the branches `wanted` of it."""
    entries = node.map or {}
    kept = {key: one for key, one in entries.items() if key == "when"}
    if "prior" in entries and entries["prior"].value in [labels[index] for index in wanted]:
        kept["prior"] = entries["prior"]
    if "probabilities" in entries:
        shares = [one.value for one in entries["probabilities"].items or ()]
        total = sum(shares[index] for index in wanted)
        kept["probabilities"] = to_node([shares[index] / total for index in wanted])
    return kept


def _replaced(block: Block, branch: Node, setting: str, value: Node, *, whole: bool) -> Node:
    """Return a branch with a setting replaced by `value`, or with `value` laid over it."""
    if not whole:
        return with_setting(block, branch, setting, _under_condition((branch.map or {}).get(setting), value))
    entries = {block.key: branch} if branch.map is None else dict(branch.map)
    return Node({**entries, setting: value}, branch.where)


def _under_condition(before: Node | None, value: Node) -> Node:
    """Return a constant or domain under the condition of what stood there before, unless it brings its own."""
    when = None if before is None else (before.map or {}).get("when")
    if when is None or (value.map is not None and (not domain_forms(value) or "when" in value.map)):
        return value
    domain = {"choice": Node((value,), value.where)} if value.map is None else value.map
    return Node({**domain, "when": when}, value.where)


def _with_branches(node: Node, branches: list[Node]) -> Node:
    if not domain_forms(node):
        return branches[0]
    return Node({**(node.map or {}), "choice": Node(tuple(branches), node.where)}, node.where)
