"""Which parameters can ever be active: conditions on paths that exist, that can hold, and that do not go round."""

import dataclasses
import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from autoft.core.errors import closest, nearest, one_of
from autoft.space.conditions import Path, When
from autoft.space.domains import Domain
from autoft.space.nodes import Node, Problems, in_yaml
from autoft.space.tree import Block, Branch, Parameter, Scalar, Section, parameters, readings


def paths(sections: Iterable[Section]) -> Iterator[str]:
    """Yield every path without a branch that the sections have."""
    for section in sections:
        if isinstance(section, Scalar):
            yield section.name
        else:
            yield from dict.fromkeys(_block_paths(section))


def _block_paths(block: Block) -> Iterator[str]:
    for branch in block.branches:
        for name, value in branch.bare.items():
            inner = branch.blocks.get(name)
            if inner is not None:
                yield from _block_paths(inner)
            elif isinstance(value, dict):
                yield from (f"{block.path}.{name}.{key}" for key in value)
            else:
                yield f"{block.path}.{name}"


def possible(section: Section, path: Path) -> list[Domain]:
    """Return the domains of every value that `path` can have in `section`; none if there is no such place."""
    return [domain for reading in readings(section, path) for domain in reading.domains]


def check_conditions(
    tree: tuple[Section, ...], nodes: dict[str, Node], problems: Problems, *, partial: Collection[str]
) -> None:
    """Note every `when:` on a path that does not exist, that can never hold, or that depends on itself.

    Args:
        tree: The sections.
        nodes: Where each parameter was written, by label.
        problems: Takes what is found.
        partial: Sections that other mistakes left incomplete: what is in them cannot be judged.
    """
    by_name = {section.name: section for section in tree}
    for parameter in parameters(tree):
        node = nodes.get(parameter.label)
        for when in parameter.when:
            section = by_name.get(when.path.section)
            found = [] if section is None else possible(section, when.path)
            if when.path.section in partial:
                continue
            if not found:
                hint = nearest_path(str(when.path), tree)
                problem = f"has `when:` on '{when.path}', which is not in this space"
                problems.add(parameter.path, problem, node, hint=hint)
            elif not any(when.test.can_hold(domain) for domain in found):
                problem = f"has `when:` on '{when.path}' that can never hold: {in_yaml(when.test.to_json())}"
                problems.add(parameter.path, problem, node, hint=possible_values(when, found))
    try:
        activation_order(tree)
    except CycleError as error:
        chain = " -> ".join(error.args[1])
        label = error.args[1][0]
        problems.add(label, f"depends on itself through `when:`: {chain}", nodes.get(label))


def possible_values(when: When, found: Iterable[Domain]) -> str:
    """Return the end of an error on a condition that never holds: the nearest value, and all that there can be."""
    texts: list[str] = []
    for domain in found:
        listed = getattr(domain, "values", None)
        texts += [f"{domain.form} {domain.arguments()}"] if listed is None else map(in_yaml, listed)
    close = nearest(in_yaml((when.test.values or ("",))[0]), texts)
    return f"{close} It can be: {', '.join(dict.fromkeys(texts))}."


def nearest_path(text: str, sections: Iterable[Section]) -> str:
    """Return " Did you mean 'x'?" for the path closest to `text`, or what its section has where none is close."""
    known = list(paths(sections))
    inside: dict[str, list[str]] = {}
    for path in known:
        above, _, setting = path.rpartition(".")
        inside.setdefault(above, []).append(setting)
    above, _, setting = text.rpartition(".")
    section = above if above in inside else closest(above, inside)
    if not above or section is None:
        same = [path for path in known if path.endswith(f".{setting}")]
        return f" Did you mean {one_of(same[:3])}?" if same else nearest(text, known)
    found = closest(setting, inside[section])
    if found is None:
        return f" There {section} has {', '.join(inside[section])}."
    return f" Did you mean '{section}.{found}'?"


def activation_order(sections: tuple[Section, ...]) -> list[Parameter]:
    """Return the parameters so that each comes after all that decide whether it is active.

    Raises:
        CycleError: If there is no such order.
    """
    every = {parameter.label: parameter for parameter in parameters(sections)}
    if not any(parameter.when for parameter in every.values()):
        return list(every.values())
    by_name = {section.name: section for section in sections}
    # Of the many parameters that look at one path the places are the same.
    behind: dict[Path, set[str]] = {}
    for path in {when.path for parameter in every.values() for when in parameter.when}:
        behind[path] = set(_behind(path, by_name))
    sorter = TopologicalSorter(
        {
            label: {condition.label for condition in one.conditions}.union(*(behind[when.path] for when in one.when))
            for label, one in every.items()
        }
    )
    sorter.prepare()
    # Of what is ready the first as written, so that a branch's parameters stay together.
    rank = {label: number for number, label in enumerate(every)}
    ready: list[int] = []
    order: list[Parameter] = []
    labels = list(every)
    while sorter.is_active():
        for label in sorter.get_ready():
            heapq.heappush(ready, rank[label])
        label = labels[heapq.heappop(ready)]
        order.append(every[label])
        sorter.done(label)
    return order


def decided_by(parameter: Parameter, by_name: Mapping[str, Section]) -> Iterator[str]:
    """Yield the labels of the parameters that decide whether this one is active."""
    yield from (condition.label for condition in parameter.conditions)
    for when in parameter.when:
        yield from _behind(when.path, by_name)


def _behind(path: Path, by_name: Mapping[str, Section]) -> Iterator[str]:
    """Yield the labels of the parameters that decide what stands at a path."""
    for reading in readings(by_name[path.section], path) if path.section in by_name else ():
        yield from (label for label, _ in reading.guards)
        if reading.label is not None:
            yield reading.label


def without_dead(sections: tuple[Section, ...], *, but_for: Collection[str] = ()) -> tuple[Section, ...]:
    """Return the sections with each parameter that can never be active replaced by what stands for it then.

    Args:
        sections: Of a space.
        but_for: Labels of parameters that stay, whatever their conditions.
    """
    while True:
        by_name = {section.name: section for section in sections}
        dead = {one.label for one in parameters(sections) if one.label not in but_for and _is_dead(one, by_name)}
        if not dead:
            return sections
        sections = tuple(_pruned(section, dead) for section in sections)


def _pruned(section: Section, dead: Collection[str]) -> Section:
    if isinstance(section, Block):
        return _pruned_block(section, dead)
    return dataclasses.replace(section, value=section.fallback) if section.name in dead else section


def _pruned_block(section: Block, dead: Collection[str]) -> Block:
    if section.name in dead:
        key = section.key
        rest = {name: value for name, value in section.fallback.items() if name != key}
        name = section.fallback[key]
        only = Branch(label=name, name=name, settings=rest, bare=section.fallback)
        return dataclasses.replace(section, branches=(only,), choice=None)
    return dataclasses.replace(
        section, branches=tuple(_pruned_branch(section.name, branch, dead) for branch in section.branches)
    )


def _pruned_branch(block: str, branch: Branch, dead: Collection[str]) -> Branch:
    settings = {
        name: _pruned_block(value, dead) if isinstance(value, Block) else value
        for name, value in branch.settings.items()
        if f"{block}[{branch.label}].{name}" not in dead
    }
    return dataclasses.replace(branch, settings=settings)


def _is_dead(parameter: Parameter, by_name: Mapping[str, Section]) -> bool:
    """Return whether some condition of a parameter can never hold."""
    return not all(
        when.path.section in by_name
        and any(when.test.can_hold(domain) for domain in possible(by_name[when.path.section], when.path))
        for when in parameter.when
    )
