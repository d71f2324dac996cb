"""The tree of a checked space: sections, their branches, and the settings of each; immutable."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autoft.core.jsonable import Json
from autoft.space.conditions import Condition, Path, Step, When
from autoft.space.domains import Choice, Domain

MISSING = object()
"""Stands for a setting that a branch does not have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """A domain and the conditions under which it is active."""

    domain: Domain
    when: tuple[When, ...] = ()

    def to_json(self) -> Json:
        """Return the domain's form."""
        return self.domain.to_json()


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """One entry of the catalog in a section, with its settings."""

    label: str
    """Its name, or what `as:` says."""
    name: str
    settings: dict[str, Any]
    """As the space gives them: constants, `Searched`, and the `Block` of a setting that is a block itself."""
    bare: Json
    """Complete: name and every setting; what is searched has the value that it takes while it is not active."""

    @property
    def searched(self) -> dict[str, Searched]:
        """The settings that vary."""
        return {name: value for name, value in self.settings.items() if isinstance(value, Searched)}

    @property
    def blocks(self) -> "dict[str, Block]":
        """The settings that are blocks themselves."""
        return {name: value for name, value in self.settings.items() if isinstance(value, Block)}

    def to_json(self, key: str) -> Json:
        """Return the map that stands in a space."""
        values: Json = {key: self.name} if self.label == self.name else {key: self.name, "as": self.label}
        for name, value in self.settings.items():
            values[name] = value.to_json() if isinstance(value, Searched | Block) else value
        return values


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A section whose branches are entries of the catalog, or a setting that is such a block itself."""

    name: str
    """Unique: "optimizer", "optimizer[sam].base"."""
    path: str
    """Without branches: "optimizer", "optimizer.base"."""
    key: str
    """The key that names a branch, "name" or "mode"."""
    branches: tuple[Branch, ...]
    choice: Searched | None = None
    """Over the branches' labels; None: there is one branch."""
    fallback: Json = field(default_factory=dict)
    """What the recipe holds while it is not active: the default of the task, or of the setting."""

    def branch(self, label: str) -> Branch | None:
        """Return the branch of that label, or None."""
        return next((branch for branch in self.branches if branch.label == label), None)

    def named(self, name: str) -> tuple[Branch, ...]:
        """Return the branch of that label, or all of that name."""
        one = self.branch(name)
        return (one,) if one else tuple(branch for branch in self.branches if branch.name == name)

    def to_json(self) -> Json:
        """Return the section as a space holds it."""
        if self.choice is None:
            return self.branches[0].to_json(self.key)
        return self.choice.to_json() | {"choice": [branch.to_json(self.key) for branch in self.branches]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalar:
    """A section that is one value."""

    name: str
    value: Any
    """A constant or `Searched`."""
    fallback: Any
    """What the recipe holds while the section is not active: the task's default."""

    def to_json(self) -> Any:
        """Return the section as a space holds it."""
        return self.value.to_json() if isinstance(self.value, Searched) else self.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One thing that varies."""

    label: str
    """Unique: "optimizer", "optimizer[sgd].lr", "batch_size"."""
    path: str
    """Without the branch, as the leaderboard has it: "optimizer.name", "optimizer.lr", "batch_size"."""
    domain: Domain
    """Of a branch parameter: `Choice` over the labels of the branches."""
    conditions: tuple[Condition, ...] = ()
    """The branch that it stands in; none at the top."""
    when: tuple[When, ...] = ()
    """What its own `when:` asks for."""


Section = Block | Scalar


def parameters(sections: tuple[Section, ...]) -> Iterator[Parameter]:
    """Yield everything that varies: each section's choice of branch, then the settings of each branch."""
    for section in sections:
        if isinstance(section, Scalar):
            if isinstance(section.value, Searched):
                yield Parameter(
                    label=section.name, path=section.name, domain=section.value.domain, when=section.value.when
                )
            continue
        yield from _block_parameters(section, ())


def _block_parameters(block: Block, outer: tuple[Condition, ...]) -> Iterator[Parameter]:
    if block.choice is not None:
        path = f"{block.path}.{block.key}"
        choice = block.choice
        yield Parameter(label=block.name, path=path, domain=choice.domain, conditions=outer, when=choice.when)
    for branch in block.branches:
        held = outer if block.choice is None else (Condition(block.name, (branch.label,)),)
        for name, value in branch.settings.items():
            if isinstance(value, Searched):
                label, path = f"{block.name}[{branch.label}].{name}", f"{block.path}.{name}"
                yield Parameter(label=label, path=path, domain=value.domain, conditions=held, when=value.when)
            elif isinstance(value, Block):
                yield from _block_parameters(value, held)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One of the places that a path means, and what can be read there."""

    guards: tuple[tuple[str, str | None], ...] = ()
    """Which branch of which choice must be active for it; None: the choice itself is not."""
    label: str | None = None
    """The parameter whose value stands there; None: a constant."""
    idle: tuple[Any, ...]
    """What stands there while the parameter is not active, or always; a branch has its label and its name."""
    domain: Domain | None = None
    """Of the parameter."""
    can_idle: bool = True
    """Whether `idle` is ever read."""
    names: Mapping[str, tuple[str, str]] | None = None
    """Of a choice of branches: each label with label and name."""

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether the place exists, given the values of the parameters."""
        return all(values.get(label) == branch for label, branch in self.guards)

    def read(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what stands there."""
        value: Any = MISSING if self.label is None else values.get(self.label, MISSING)
        if value is MISSING:
            return self.idle
        return (value,) if self.names is None else self.names.get(str(value), (value,))

    @property
    def domains(self) -> Iterator[Domain]:
        """All that can stand there, constants as a choice of one."""
        if self.names is not None:
            yield Choice(list(dict.fromkeys(value for pair in self.names.values() for value in pair)))
        elif self.domain is not None:
            yield self.domain
        if self.can_idle:
            yield Choice(self.idle)


def readings(section: Section, path: Path) -> Iterator[Reading]:
    """Yield every place of `section` that `path` means; none if there is no such place."""
    if isinstance(section, Block):
        yield from _in_block(section, path.steps[0].branch, path.steps[1:])
    elif isinstance(section.value, Searched):
        yield _searched(section.value, section.name, section.fallback, ())
    else:
        yield Reading(idle=(section.value,))


def _in_block(block: Block, wanted: str | None, rest: tuple[Step, ...]) -> Iterator[Reading]:
    """Yield the places behind a block: the choice itself, or what `rest` means in the branch or branches `wanted`."""
    if wanted is None and (not rest or rest == (Step(block.key),)):
        yield _chosen(block)
        return
    for branch in block.branches:
        if rest and wanted in (None, branch.label):
            guards = () if block.choice is None else ((block.name, branch.label),)
            yield from _in_branch(block, branch, rest, guards)
    if block.choice is not None and block.choice.when and wanted is None:
        yield from _in_json(block.fallback, rest, ((block.name, None),))


def _chosen(block: Block) -> Reading:
    if block.choice is None:
        (branch,) = block.branches
        return Reading(idle=(branch.label, branch.name))
    names = {branch.label: (branch.label, branch.name) for branch in block.branches}
    idle = (block.fallback.get(block.key),)
    return Reading(label=block.name, names=names, idle=idle, can_idle=bool(block.choice.when))


def _in_branch(
    block: Block, branch: Branch, rest: tuple[Step, ...], guards: tuple[tuple[str, str | None], ...]
) -> Iterator[Reading]:
    step = rest[0]
    value = branch.settings.get(step.name, MISSING)
    if isinstance(value, Block):
        for reading in _in_block(value, step.branch, rest[1:]):
            yield replace(reading, guards=(*guards, *reading.guards))
    elif isinstance(value, Searched):
        if len(rest) == 1:
            yield _searched(value, f"{block.name}[{branch.label}].{step.name}", branch.bare[step.name], guards)
    else:
        yield from _in_json(branch.bare, rest, guards)


def _in_json(
    values: Mapping[str, Any], rest: tuple[Step, ...], guards: tuple[tuple[str, str | None], ...]
) -> Iterator[Reading]:
    """Yield the constant that `rest` means in a complete block."""
    found: Any = values
    for step in rest:
        if not isinstance(found, Mapping) or step.name not in found:
            return
        found = found[step.name]
        if step.branch is not None and (not isinstance(found, Mapping) or found.get("name") != step.branch):
            return
    yield Reading(guards=guards, idle=(found.get("name") if isinstance(found, Mapping) else found,))


def _searched(value: Searched, label: str, idle: Any, guards: tuple[tuple[str, str | None], ...]) -> Reading:
    return Reading(guards=guards, label=label, idle=(idle,), domain=value.domain, can_idle=bool(value.when))
