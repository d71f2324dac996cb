"""`extends:`: a space laid over another, maps merged, named blocks and domains replaced whole."""

from collections.abc import Callable, Mapping, Sequence

from autoft.core import catalog
from autoft.core.catalog import Argument
from autoft.core.errors import ConfigError, SpaceError
from autoft.core.recipe import BLOCKS, SCALARS, Block
from autoft.space.nodes import Node, Problems, shown
from autoft.space.query import answers_with, is_query
from autoft.space.settings import domain_forms, read_setting

ReadOther = Callable[[Node, tuple[str, ...]], Node]
"""Returns the space that the node of an `extends:` names; the names are those on the way to it."""


def resolve_extends(root: Node, read_other: ReadOther, above: tuple[str, ...], problems: Problems) -> Node:
    """Return `root` laid over the space that it extends, or itself if it extends none.

    Where that space cannot be had its `extends` stays, by which `parse_space` knows that something is missing.

    Args:
        root: A space as written.
        read_other: Reads another space, its own `extends` resolved.
        above: The names of the spaces on the way here, to find a circle.
        problems: Takes that `extends` is no name, or that there is no such space.
    """
    target = (root.map or {}).get("extends")
    if target is None or root.map is None:
        return root
    if not isinstance(target.value, str) or not target.value:
        problems.add("extends", f"must be the name or path of a space, not {shown(target.plain())}", target)
        return root
    try:
        base = read_other(target, above)
    except SpaceError as error:
        for sentence in error.problems:
            problems.say(sentence, target)
        return root
    change = {key: node for key, node in root.map.items() if key != "extends"}
    if base.map is None:
        return base
    merged = dict(base.map)
    for key, node in change.items():
        merged[key] = _over(key, merged[key], node) if key in merged else node
    return Node(merged, root.where)


def _over(section: str, base: Node, change: Node) -> Node:
    """Return one section of `base` with `change` laid over it."""
    block = BLOCKS.get(section)
    if block is not None and base.map is not None and "choice" in base.map and _is_partial(change, block.key):
        return change_branches(section, base, change)
    if block is not None and isinstance(base.value, str) and _is_partial(change, block.key):
        base = Node({block.key: base}, base.where)
    if change.map is not None and block is not None and block.key in change.map:
        return change
    return _merged(base, change)


def is_change(section: str, node: Node) -> bool:
    """Return whether a section, as written, only changes what another space has there."""
    if section in BLOCKS:
        return _is_partial(node, BLOCKS[section].key)
    return section in SCALARS and node.map is not None and not domain_forms(node)


def _is_partial(change: Node, key: str) -> bool:
    return change.map is not None and key not in change.map and "query" not in change.map and not domain_forms(change)


def _merged(base: Node, change: Node) -> Node:
    names_branch = change.map is not None and ("name" in change.map or "query" in change.map)
    if base.map is None or change.map is None or domain_forms(change) or names_branch:
        return change
    merged = dict(base.map)
    for key, node in change.map.items():
        merged[key] = _merged(merged[key], node) if key in merged else node
    return Node(merged, base.where)


def change_branches(section: str, base: Node, change: Node) -> Node:
    """Return a choice of branches with settings changed in every branch that has them.

    What no branch has stays beside `choice:`, where reading the space refuses it.
    """
    block = BLOCKS[section]
    entries = dict(base.map or {})
    branches = list(entries["choice"].items or ())
    for key, node in (change.map or {}).items():
        asking = [index for index, one in enumerate(branches) if is_query(one) and answers_with(one, key)]
        having = arguments_of(block, dict(enumerate(branches)), key)
        if asking:
            having = {index: argument for index, argument in having.items() if not argument.is_fixed}
        if key in ("prior", "when", "probabilities") or not (asking or having):
            entries[key] = node
        for index in asking:
            if (branches[index].map or {}).get("settings", Node({})).map is None:
                continue  # Reading the query says so, with its line.
            branches[index] = _merged(branches[index], Node({"settings": Node({key: node}, node.where)}, node.where))
        for index in having:
            branches[index] = with_setting(block, branches[index], key, node)
    entries["choice"] = Node(tuple(branches), entries["choice"].where)
    return Node(entries, base.where)


def argument_of(block: Block, branch: Node, setting: str) -> Argument | None:
    """Return what the catalog knows of a setting of the entry that a branch names; None if it has no such setting."""
    name = branch.value if branch.map is None else branch.map.get(block.key, branch).value
    if not isinstance(name, str):
        return None
    try:
        return catalog.entry(block.kind, name).argument(setting)
    except ConfigError:
        return None  # Reading the space says so, with the line.


def arguments_of(block: Block, branches: Mapping[int, Node], setting: str) -> dict[int, Argument]:
    """Return what the catalog knows of a setting of each branch that has it.

    A branch that has it in name alone counts only where no other has it.
    """
    found = {index: argument_of(block, branch, setting) for index, branch in branches.items()}
    having = {index: argument for index, argument in found.items() if argument is not None}
    return {index: argument for index, argument in having.items() if not argument.is_fixed} or having


def with_setting(block: Block, branch: Node, setting: str, value: Node) -> Node:
    """Return a branch with one setting laid over what it has."""
    entries = {block.key: branch} if branch.map is None else dict(branch.map)
    entries[setting] = _merged(entries[setting], value) if setting in entries else value
    return Node(entries, branch.where)


def with_refusals(block: Block, branches: Sequence[Node]) -> list[Node]:
    """Return branches in which a value that they share, and that not all of them take, knows which refuse it.

    A change to every branch is shared, and a setting of all backbones that a query finds.
    """
    told = list(branches)
    places: dict[tuple[str, int], list[int]] = {}
    for index, branch in enumerate(branches):
        for key, node in (branch.map or {}).items():
            places.setdefault((key, id(node)), []).append(index)
    for (key, _), sharing in places.items():
        node = (branches[sharing[0]].map or {})[key]
        arguments = {index: argument_of(block, branches[index], key) for index in sharing if len(sharing) > 1}
        first = next(iter(arguments.values()), None)
        if all(argument == first for argument in arguments.values()):
            continue
        refusals = {index: _refusals(node, argument) for index, argument in arguments.items()}
        for index, said in refusals.items():
            alike = tuple(_label(block, branches[other]) for other, text in refusals.items() if text == said)
            if said and len(alike) < len(sharing):
                told[index] = Node({**(told[index].map or {}), key: node.in_branches(alike)}, told[index].where)
    return told


def _refusals(node: Node, argument: Argument | None) -> tuple[str, ...]:
    """Return what reading a setting says against it; nothing of one that is a block, or is no setting."""
    problems = Problems()
    if argument is not None and argument.type != "block":
        read_setting(node, argument.name, argument, problems)
    return tuple(problems.sentences)


def _label(block: Block, branch: Node) -> str:
    return str((branch.map or {}).get("as", (branch.map or {}).get(block.key, branch)).value)
