"""From nodes to the checked tree: every mistake of a space, in one pass."""

from collections.abc import Mapping
from dataclasses import dataclass

from autoft.core import catalog
from autoft.core.configs import Budget
from autoft.core.errors import SpaceError, nearest
from autoft.core.jsonable import Json
from autoft.core.recipe import BLOCKS, sections
from autoft.space.conditions import read_path
from autoft.space.extend import is_change
from autoft.space.forbid import Forbidden, check_possible, judged, read_forbidden
from autoft.space.idle import check_idle
from autoft.space.liveness import check_conditions, without_dead
from autoft.space.nodes import Node, Problems, place, shown
from autoft.space.plan import Plan
from autoft.space.query import expanded
from autoft.space.rules import check_rules
from autoft.space.sections import SectionReader
from autoft.space.tree import Section, parameters

DEFAULT_BUDGET = Budget(trials=32, epochs=12)
"""For what neither the space nor the person gives."""

RESERVED = ("task", "extends", "description", "budget", "forbid")
"""Top-level keys that are no section."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """A checked space."""

    task: str
    description: str
    budget: Budget
    sections: tuple[Section, ...]
    """All of them, in the order of `core.recipe.sections`."""
    forbidden: tuple[Forbidden, ...]
    """Combinations that no draw holds."""
    plan: Plan
    """What it can do."""


def parse_space(
    root: Node, problems: Problems, *, task: str | None = None, narrowing: bool = False, recorded: bool = False
) -> Tree:
    """Return the tree that `root` writes.

    Args:
        root: The whole space, `extends` already resolved; where it stays its space is missing, which was noted: of the
            sections those are checked that are whole without it.
        problems: What reading the text found.
        task: The task of the data, if it is known; a space of another task is refused.
        narrowing: Whether the space was checked before and only got smaller: a parameter whose condition can no
            longer hold is then dropped, and is a mistake otherwise.
        recorded: Whether the rules were asked when it was written: those that have been added since say nothing of it.

    Raises:
        SpaceError: With all mistakes.
    """
    entries = root.map
    is_read = len(problems) == 0
    if entries is None:
        problems.add("A space", f"must be a map with `task:`, not {shown(root.plain())}", root)
        raise SpaceError(problems.sentences)
    lacks_base = "extends" in entries
    _check_keys(entries, problems)
    found_task = task
    if "task" in entries or not lacks_base:
        found_task = _read_task(root, entries.get("task"), task, problems)
    reader = SectionReader(found_task, problems)
    if lacks_base:
        entries = {key: node for key, node in entries.items() if not is_change(key, node)}
        reader.partial.update(name for name in sections() if name not in entries)
    if found_task is None:
        reader.hidden.update(name for name in sections() if name not in entries)
    if "backbone" in entries:
        before = len(problems)
        entries = {**entries, "backbone": expanded(entries["backbone"], found_task, problems)}
        if len(problems) > before:
            reader.hidden.add("backbone")
    made = tuple(reader.section(name, entries.get(name)) for name in sections())
    budget = _read_budget(entries.get("budget"), problems)
    description = entries.get("description", Node("")).plain()
    if not isinstance(description, str):
        problems.add("description", f"must be a text, not {shown(description)}", entries["description"])
    whole = tuple(section for section in made if section is not None)
    own = None if narrowing else root.where.rpartition(":")[0]
    if own is None:
        problems.check()
        whole = without_dead(whole)
    else:
        whole = without_dead(whole, but_for=_own_labels(whole, reader, own))
    plan = _judged(whole, entries, reader, own=own, is_read=is_read)
    if not recorded:
        check_rules(plan, entries, reader.nodes, problems, hidden=reader.hidden)
        problems.check()
    return Tree(
        task=plan.task,
        description=str(description),
        budget=budget,
        sections=whole,
        forbidden=plan.forbidden,
        plan=plan,
    )


def _check_keys(entries: Mapping[str, Node], problems: Problems) -> None:
    """Note every top-level key that is no section."""
    known = (*RESERVED, *sections())
    for key, node in entries.items():
        if key not in known:
            path = read_path(key)
            if path is not None and path.section in BLOCKS and len(path.steps) == 2:
                block, setting = BLOCKS[path.section], path.steps[1].name
                hint = f" Here a section is a map: `{path.section}: {{{block.key}: ..., {setting}: ...}}`."
            else:
                hint = f"{nearest(key, known)} Allowed: {', '.join(known)}."
            problems.say(f"Unknown section '{key}'{_at(node)}.{hint}", node)


def _own_labels(whole: tuple[Section, ...], reader: SectionReader, own: str) -> set[str]:
    """Return the labels of the parameters whose conditions are the person's own, or hang on what is incomplete."""
    return {
        one.label
        for one in parameters(whole)
        if one.label not in reader.nodes
        or reader.nodes[one.label].where.rpartition(":")[0] == own
        or not reader.partial.isdisjoint(when.path.section for when in one.when)
    }


def _judged(
    whole: tuple[Section, ...], entries: Mapping[str, Node], reader: SectionReader, *, own: str | None, is_read: bool
) -> Plan:
    """Return the plan of the sections, after what takes more than one of them to see, less the rules.

    Beside other mistakes that is judged as far as they hide nothing of it.

    Args:
        whole: The sections, less what is wrong.
        entries: As written.
        reader: Has read them.
        own: The file that the person wrote; None: the space was narrowed.
        is_read: Whether the text itself was without mistakes.

    Raises:
        SpaceError: With all mistakes, those that were noted before too.
    """
    problems, partial = reader.problems, reader.partial
    before = len(problems)
    check_conditions(whole, reader.nodes, problems, partial=partial)
    asked = {when.path.section for one in parameters(whole) for when in one.when}
    can_be_planned = len(problems) == before and partial.isdisjoint(asked)
    before = len(problems)
    given = read_forbidden(entries.get("forbid"), problems)
    forbidden = judged(given, whole, problems, partial=partial, own=own)
    can_be_judged = is_read and len(problems) == before
    if own and "finetune" not in partial:
        check_idle(next(section for section in whole if section.name == "finetune"), entries, problems, own=own)
    if not can_be_planned:
        problems.check()
    clear = tuple(one for one in forbidden if partial.isdisjoint(test.path.section for test in one.tests))
    plan = Plan(whole, task=reader.task or "", forbidden=clear)
    before = len(problems)
    check_possible(plan, given, entries.get("forbid"), problems)
    if not can_be_judged or len(problems) > before or len(clear) < len(forbidden):
        problems.check()
    return plan


def _at(node: Node) -> str:
    return f" ({node.where})" if node.where else ""


def _read_task(root: Node, node: Node | None, wanted: str | None, problems: Problems) -> str | None:
    names = [entry.name for entry in catalog.entries("task")]
    if node is None and wanted is None:
        problems.add("task", f"is missing; it is one of {', '.join(names)}", Node(None, root.where.rpartition(":")[0]))
        return None
    value = wanted if node is None else node.plain()
    if value not in names:
        hint = f"{nearest(str(value), names)} Allowed: {', '.join(names)}."
        problems.say(f"Unknown task {shown(value)} at {place('task', node)}.{hint}", node)
        return None
    if wanted is not None and value != wanted:
        problems.add("task", f"is {value}, but the data are for {wanted}", node, hint=f" Take a space for {wanted}.")
    return str(value)


def _read_budget(node: Node | None, problems: Problems) -> Budget:
    values: Json = {"trials": DEFAULT_BUDGET.trials, "epochs": DEFAULT_BUDGET.epochs}
    if node is None:
        return Budget(**values)
    if node.map is None:
        problems.add("budget", f"must be a map with trials and epochs, not {shown(node.plain())}", node)
        return Budget(**values)
    for key, entry in node.map.items():
        if key not in values:
            hint = f"{nearest(key, values)} Allowed: trials, epochs."
            problems.add(f"budget.{key}", "is unknown", entry, hint=hint)
            continue
        value = entry.plain()
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            problems.add(f"budget.{key}", f"must be a whole number of at least 1, not {shown(value)}", entry)
        else:
            values[key] = value
    return Budget(**values)
