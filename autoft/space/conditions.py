"""When a parameter exists: the branch that it stands in is chosen, and what its `when:` asks for holds."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from autoft.core.jsonable import Json
from autoft.core.recipe import BLOCKS, SCALARS
from autoft.space.domains import Choice, Domain, same_value
from autoft.space.normals import Normal

COMPARISONS: Final = ("above", "at_least", "below", "at_most")
"""Keys that compare a number; beside them stands `not`."""

_STEP = re.compile(r"(?P<name>\w+)(?:\[(?P<branch>[^\[\]]+)\])?(?P<dot>\.|$)")


@dataclass(frozen=True, slots=True)
class Step:
    """One word of a path, with the branch that stands behind it in brackets."""

    name: str
    branch: str | None = None
    """Label of one branch; None: the active one, or every one that has what follows."""

    def __str__(self) -> str:
        return self.name if self.branch is None else f"{self.name}[{self.branch}]"


@dataclass(frozen=True, slots=True)
class Path:
    """A place in a space: "batch_size", "optimizer.name", "optimizer[sgd].lr", "optimizer[sam].base[sgd].lr"."""

    steps: tuple[Step, ...]
    """The section, then the setting in it, then the setting in that, if it is a block."""

    @property
    def section(self) -> str:
        """Name of the section."""
        return self.steps[0].name

    @property
    def names_branch(self) -> bool:
        """Whether it means which branch of a section is chosen."""
        rest = tuple(step.name for step in self.steps[1:])
        key = BLOCKS[self.section].key if self.section in BLOCKS else None
        return key is not None and self.steps[0].branch is None and rest in ((), (key,))

    def __str__(self) -> str:
        return ".".join(map(str, self.steps))


def read_path(text: str) -> Path | None:
    """Return the path that `text` writes, or None where it has another shape."""
    steps: list[Step] = []
    place = 0
    while place < len(text) or not steps:
        match = _STEP.match(text, place)
        if match is None or (match["dot"] and match.end() == len(text)):
            return None
        steps.append(Step(match["name"], match["branch"]))
        place = match.end()
    if steps[-1].branch is not None or (steps[0].name in SCALARS and len(steps) > 1):
        return None
    return Path(tuple(steps))


@dataclass(frozen=True, slots=True)
class Condition:
    """That the branch parameter `label` is one of `values`."""

    label: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """What a value must be: one of `values` (if given), none of `excluded`, and within the comparisons."""

    values: tuple[Any, ...] | None = None
    excluded: tuple[Any, ...] = ()
    comparisons: tuple[tuple[str, float], ...] = ()

    def holds(self, value: Any) -> bool:
        """Return whether one value passes."""
        if self.values is not None and not any(same_value(value, wanted) for wanted in self.values):
            return False
        return not any(same_value(value, other) for other in self.excluded) and all(
            _compare(name, value, bound) for name, bound in self.comparisons
        )

    def can_hold(self, domain: Domain) -> bool:
        """Return whether some value of `domain` may pass."""
        if isinstance(domain, Choice):
            return any(self.holds(value) for value in domain.values)
        if self.values is not None:
            return any(domain.contains(value) and self.holds(value) for value in self.values)
        if isinstance(domain, Normal):
            return True
        ends = [domain.at(0.0), domain.at(1.0)]
        return all(any(_compare(name, end, bound) for end in ends) for name, bound in self.comparisons)

    def to_json(self) -> Any:
        """Return the form that `when:` holds for one path."""
        if self.values is not None and not self.excluded and not self.comparisons:
            return self.values[0] if len(self.values) == 1 else list(self.values)
        form: Json = {"in": list(self.values)} if self.values is not None else {}
        if self.excluded:
            form["not"] = self.excluded[0] if len(self.excluded) == 1 else list(self.excluded)
        return form | dict(self.comparisons)


@dataclass(frozen=True, slots=True)
class When:
    """That the value at `path` in the configuration passes `test`; where the path has no value it does not."""

    path: Path
    test: Test

    def holds(self, values: Iterable[Any]) -> bool:
        """Return whether one of the readings of the path (a branch's label and its name) passes.

        With `not`, none of them may be excluded.
        """
        readings = list(values)
        if any(same_value(reading, other) for reading in readings for other in self.test.excluded):
            return False
        return any(self.test.holds(reading) for reading in readings)


def _compare(name: str, value: Any, bound: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if name == "above":
        return value > bound
    if name == "at_least":
        return value >= bound
    return value < bound if name == "below" else value <= bound
