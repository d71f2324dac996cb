"""Every name a configuration may use, with its arguments, without importing what implements it.

An entry names its implementation as "module:attribute"; `Entry.load` imports it when it is first needed. So a
space is checked, and `autoft list` answers, without torch. The entries themselves stand in `entries/`.
"""

import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from autoft.core.errors import ConfigError, nearest, one_of
from autoft.core.jsonable import Json

Kind = Literal[
    "backbone",
    "finetune",
    "head",
    "augmentation",
    "operation",
    "mixing",
    "resizing",
    "sampling",
    "loss",
    "regularization",
    "optimizer",
    "schedule",
    "averaging",
    "task",
    "metric",
    "searcher",
    "scheduler",
]
ArgumentType = Literal["float", "int", "bool", "str", "block"]
"""A block is itself an entry of the catalog with its settings: `{"name": "adamw", "lr": 1e-3}`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """One setting of an entry, or one scalar section of a recipe."""

    name: str
    type: ArgumentType
    default: Any
    """Used where a space does not give the setting; None means off or "the backbone's own"."""
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    """Whether `low` itself is refused (a learning rate of 0)."""
    multiple_of: int | None = None
    """Of a whole number: what it must be a multiple of."""
    choices: tuple[Any, ...] | None = None
    optional: bool = False
    """Whether None (YAML null) may be given."""
    kind: Kind | None = None
    """Of a block: what its name is an entry of; `choices` are then the names that fit, None: all of the kind."""
    description: str

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with `value` ("must be ..., not ..."), or None."""
        if value is None:
            return None if self.optional else f"must be {self.wanted}, not null"
        if self.type == "block":
            is_named = isinstance(value, dict) and isinstance(value.get("name"), str)
            fits = is_named and (self.choices is None or value["name"] in self.choices)
            return None if fits else f"must be {self.wanted}, not {value!r}"
        kinds: dict[str, tuple[type, ...]] = {"float": (int, float), "int": (int,), "bool": (bool,), "str": (str,)}
        is_truth = isinstance(value, bool)
        if not isinstance(value, kinds[self.type]) or (is_truth and self.type != "bool"):
            return f"must be {self.wanted}, not {str(value).lower() if is_truth else repr(value)}"
        if self.choices is not None and value not in self.choices:
            return f"must be {self.wanted}, not {value!r}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            below = self.low is not None and (value <= self.low if self.low_open else value < self.low)
            above = self.high is not None and value > self.high
            is_off_grid = self.multiple_of is not None and value % self.multiple_of != 0
            if math.isnan(value) or below or above or is_off_grid:
                return f"must be {self.wanted}, not {value!r}"
        return None

    @property
    def is_fixed(self) -> bool:
        """Whether its default is all that it takes: the drop_path of a model without one must be 0."""
        return self.choices == (self.default,)

    @property
    def wanted(self) -> str:
        """What is allowed, in words."""
        if self.type == "block":
            names = "" if self.choices is None else f": {one_of(map(str, self.choices))}"
            return f"a map with `name:`, of {'an' if str(self.kind)[0] in 'aeiou' else 'a'} {self.kind}{names}"
        if self.choices == (None,):
            return "null"
        if self.choices is not None:
            return one_of(map(str, self.choices))
        word = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "a text"}[self.type]
        if self.multiple_of is not None:
            word += f", a multiple of {self.multiple_of},"
        if self.low is not None:
            word += f" {'above' if self.low_open else 'of at least'} {self.low:g}"
        if self.high is not None:
            word += f"{' and' if self.low is not None else ' of'} at most {self.high:g}"
        return word


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One name of one kind."""

    kind: Kind
    name: str
    target: str
    """Implementation as "module:attribute"."""
    description: str
    """One line."""
    source: str
    """Paper, library or page that defines it."""
    arguments: tuple[Argument, ...] = ()
    tasks: tuple[str, ...] = ()
    """Tasks it is for; empty: all."""
    facts: Json = field(default_factory=dict)
    """Published figures, of backbones: parameters, input_size, hub, ..."""

    def load(self) -> Any:
        """Import and return the implementation."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def argument(self, name: str) -> Argument | None:
        """Return the argument of that name, or None."""
        return next((argument for argument in self.arguments if argument.name == name), None)


_LONGEST = 120
"""Letters of an unknown name that an error shows."""
_UNCOUNTED = ("finetune", "mixing", "resizing", "sampling", "regularization", "averaging")
"""Kinds that `autoft list` knows by the word itself."""
_MODULES = (
    "finetune",
    "heads",
    "augmentations",
    "text_augmentations",
    "operations",
    "mixing",
    "resizing",
    "sampling",
    "losses",
    "regularization",
    "optimizers",
    "schedules",
    "averaging",
    "tasks",
    "strategies",
)
"""Where the entries stand, but for the backbones, whose tables are read when they are asked for."""


@cache
def _registry() -> dict[str, dict[str, Entry]]:
    entries: dict[str, dict[str, Entry]] = {}
    for module in _MODULES:
        for entry in importlib.import_module(f"autoft.core.entries.{module}").ENTRIES:
            entries.setdefault(entry.kind, {})[entry.name] = entry
    return entries


def entries(kind: Kind, *, task: str | None = None) -> Iterator[Entry]:
    """Yield the entries of a kind, those of `task` alone if it is given, in the order of the catalog."""
    if kind == "backbone":
        from autoft.core.entries import backbones

        found: Iterator[Entry] = backbones.entries()
    else:
        found = iter(_registry().get(kind, {}).values())
    return (entry for entry in found if task is None or not entry.tasks or task in entry.tasks)


def entry(kind: Kind, name: str, *, where: str | None = None) -> Entry:
    """Return one entry.

    Raises:
        ConfigError: If there is no such name; gives the nearest and the command that lists all.
    """
    if kind == "backbone":
        from autoft.core.entries import backbones

        return backbones.entry(name)
    known = _registry().get(kind, {})
    if name not in known:
        place = f" at {where}" if where else ""
        plural = kind if kind in _UNCOUNTED else {"loss": "losses"}.get(kind, f"{kind}s")
        named = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
        raise ConfigError(f"Unknown {kind} '{named}'{place}.{nearest(named, known)} `autoft list {plural}` shows all.")
    return known[name]
