"""The sections of a recipe, and the defaults that make any part of one complete."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autoft.core import catalog
from autoft.core.catalog import Argument, Kind
from autoft.core.errors import ConfigError, nearest
from autoft.core.jsonable import Json, merged
from autoft.core.rules import mistakes


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A section whose entry of the catalog is named by `key`."""

    kind: Kind
    key: str
    default: str | None = None
    """The entry where neither a space nor the task names one; None: the task does."""


BLOCKS: dict[str, Block] = {
    "backbone": Block(kind="backbone", key="name"),
    "finetune": Block(kind="finetune", key="mode"),
    "head": Block(kind="head", key="name", default="linear"),
    "augmentation": Block(kind="augmentation", key="name"),
    "mixing": Block(kind="mixing", key="name", default="none"),
    "resizing": Block(kind="resizing", key="name", default="fixed"),
    "sampling": Block(kind="sampling", key="name", default="shuffle"),
    "loss": Block(kind="loss", key="name"),
    "regularization": Block(kind="regularization", key="name", default="none"),
    "optimizer": Block(kind="optimizer", key="name"),
    "schedule": Block(kind="schedule", key="name"),
    "averaging": Block(kind="averaging", key="name", default="none"),
}

SCALARS: dict[str, Argument] = {
    argument.name: argument
    for argument in (
        Argument(name="batch_size", type="int", default=32, low=1, high=65536, description="Rows of one forward pass."),
        Argument(
            name="accumulation",
            type="int",
            default=1,
            low=1,
            high=65536,
            description="Batches whose gradients are added up for one update.",
        ),
        Argument(
            name="clip_norm",
            type="float",
            default=1.0,
            low=0,
            low_open=True,
            optional=True,
            description="Largest norm of the gradient; null: not clipped.",
        ),
        Argument(
            name="clip_value",
            type="float",
            default=None,
            low=0,
            low_open=True,
            optional=True,
            description="Largest size of an entry of the gradient, cut before clip_norm; null: not cut.",
        ),
        Argument(
            name="patience",
            type="int",
            default=None,
            low=1,
            high=10_000,
            optional=True,
            description="Epochs without improvement after which a trial stops; null: never.",
        ),
    )
}

PROBE_SECTIONS = ("backbone", "finetune")
"""A frozen probe has these sections alone: nothing else can change its result."""


def sections() -> tuple[str, ...]:
    """Return the names of all sections, in the order in which a recipe is written."""
    return (*BLOCKS, *SCALARS)


def complete(recipe: Mapping[str, Any], *, task: str) -> Json:
    """Return `recipe` with every missing section and setting filled in, in the order of `sections()`.

    Raises:
        ConfigError: If a name or setting is unknown or out of range, or two cannot work together (`core.rules`); the
            first mistake is given.
    """
    for path, problem in problems(recipe, task=task):
        raise ConfigError(f"{path}: {problem}")
    default = catalog.entry("task", task).facts["recipe"]
    full: Json = {}
    is_probe = recipe.get("finetune", {}).get("mode") == "probe"
    for name in sections():
        if is_probe and name not in PROBE_SECTIONS:
            continue
        if name in SCALARS:
            full[name] = recipe.get(name, default.get(name, SCALARS[name].default))
            continue
        block = BLOCKS[name]
        usual = default.get(name, None if block.default is None else {block.key: block.default})
        given = recipe.get(name, usual)
        if given is None:
            raise ConfigError(f"The recipe has no {name}.")
        full[name] = filled(block, given, usual)
    for path, problem in mistakes(full):
        raise ConfigError(f"{path}: {problem}")
    return full


def filled(block: Block, given: Mapping[str, Any], default: Mapping[str, Any] | None) -> Json:
    """Return one block with every setting: as given, else as in `default` if that names the same entry."""
    if default is not None and default.get(block.key) == given[block.key]:
        given = merged(default, given)
    full: Json = {block.key: given[block.key]}
    for argument in catalog.entry(block.kind, given[block.key]).arguments:
        value = given.get(argument.name, argument.default)
        if argument.type == "block" and value is not None:
            value = filled(inner_block(argument), value, argument.default)
        full[argument.name] = value
    return full


def inner_block(argument: Argument) -> Block:
    """Return what a block-valued argument holds.

    Raises:
        ValueError: If the argument holds no block.
    """
    if argument.kind is None:
        raise ValueError(f"{argument.name} holds no block.")
    return Block(kind=argument.kind, key="name")


def problems(recipe: Mapping[str, Any], *, task: str) -> Iterator[tuple[str, str]]:
    """Yield (path, what is wrong) for every mistake in a recipe or a part of one."""
    for name, value in recipe.items():
        if name in SCALARS:
            if problem := SCALARS[name].problem(value):
                yield name, problem
        elif name in BLOCKS:
            yield from _block_problems(name, BLOCKS[name], value, task)
        else:
            yield name, f"unknown section.{nearest(name, sections())} Allowed: {', '.join(sections())}"


def _block_problems(name: str, block: Block, value: Any, task: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping) or block.key not in value:
        yield name, f"must be a map with '{block.key}', not {value!r}"
        return
    try:
        entry = catalog.entry(block.kind, str(value[block.key]))
    except ConfigError as error:
        yield f"{name}.{block.key}", str(error)
        return
    if entry.tasks and task not in entry.tasks:
        yield f"{name}.{block.key}", f"{entry.name} is for {', '.join(entry.tasks)}, not for {task}"
    for key, setting in value.items():
        if key == block.key:
            continue
        argument = entry.argument(key)
        if argument is None:
            names = [a.name for a in entry.arguments]
            allowed = f"Allowed: {', '.join(names)}" if names else "It has no settings"
            yield f"{name}.{key}", f"{entry.name} has no setting '{key}'.{nearest(key, names)} {allowed}"
        elif problem := argument.problem(setting):
            yield f"{name}.{key}", problem
        elif argument.type == "block" and setting is not None:
            yield from _block_problems(f"{name}.{key}", inner_block(argument), setting, task)
