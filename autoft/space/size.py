"""How large a space is: how many configurations where that is finite, how many continuous dimensions where not."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from autoft.space.normals import Normal
from autoft.space.plan import Plan
from autoft.space.tree import Block, Branch, Scalar, Searched, Section

_COUNTED: Final = 20_000
"""Configurations that are counted one by one where conditions or `forbid:` tie sections together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """The size of a space or of a part of it."""

    count: int | None
    """Configurations, if every value can be listed; else combinations of what can be, ranges left out."""
    is_exact: bool
    """Whether conditions and `forbid:` are counted in; if not, `count` is the most that it can be."""
    min_active: int
    """Parameters of the configuration that has fewest."""
    max_active: int
    """Of the one that has most."""
    min_continuous: int
    """Continuous dimensions of the configuration that has fewest."""
    max_continuous: int
    """Of the one that has most."""

    @property
    def is_finite(self) -> bool:
        """Whether there are no continuous dimensions at all."""
        return self.max_continuous == 0


def size_of(plan: Plan) -> Size:
    """Return the size of a space."""
    parts = [section_size(section) for section in plan.sections]
    whole = Size(
        count=math.prod(part.count or 1 for part in parts),
        is_exact=all(part.is_exact for part in parts),
        min_active=sum(part.min_active for part in parts),
        max_active=sum(part.max_active for part in parts),
        min_continuous=sum(part.min_continuous for part in parts),
        max_continuous=sum(part.max_continuous for part in parts),
    )
    if whole.is_exact and not plan.forbidden:
        return whole
    listed = math.prod(parameter.domain.num_values or 1 for parameter in plan.parameters)
    if not whole.is_finite or listed > _COUNTED:
        return Size(**{**_fields(whole), "is_exact": False})
    active = {tuple(sorted(values.items(), key=str)) for values in _every(plan)}
    counts = [len(values) for values in active]
    return Size(
        count=len(active),
        is_exact=True,
        min_active=min(counts),
        max_active=max(counts),
        min_continuous=0,
        max_continuous=0,
    )


def section_size(section: Section) -> Size:
    """Return the size of one section, as if nothing outside of it had a say."""
    if isinstance(section, Scalar):
        return _setting_size(section.value)
    parts = [branch_size(branch) for branch in section.branches]
    conditional = section.choice is not None and bool(section.choice.when)
    own = int(section.choice is not None)
    return Size(
        count=sum(part.count or 1 for part in parts),
        is_exact=not conditional and all(part.is_exact for part in parts),
        min_active=0 if conditional else own + min(part.min_active for part in parts),
        max_active=own + max(part.max_active for part in parts),
        min_continuous=0 if conditional else min(part.min_continuous for part in parts),
        max_continuous=max(part.max_continuous for part in parts),
    )


def branch_size(branch: Branch) -> Size:
    """Return the size of one branch, its choice not counted."""
    parts = [
        section_size(value) if isinstance(value, Block) else _setting_size(value) for value in branch.settings.values()
    ]
    return Size(
        count=math.prod(part.count or 1 for part in parts),
        is_exact=all(part.is_exact for part in parts),
        min_active=sum(part.min_active for part in parts),
        max_active=sum(part.max_active for part in parts),
        min_continuous=sum(part.min_continuous for part in parts),
        max_continuous=sum(part.max_continuous for part in parts),
    )


def _setting_size(value: Any) -> Size:
    if not isinstance(value, Searched):
        return Size(count=1, is_exact=True, min_active=0, max_active=0, min_continuous=0, max_continuous=0)
    continuous = int(value.domain.num_values is None)
    always = int(not value.when)
    return Size(
        count=value.domain.num_values or 1,
        is_exact=bool(always),
        min_active=always,
        max_active=1,
        min_continuous=continuous * always,
        max_continuous=continuous,
    )


def _every(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield every allowed assignment of a finite space, some of them many times."""
    labels = [parameter.label for parameter in plan.parameters]
    values = [list(_values(parameter.domain)) for parameter in plan.parameters]
    for chosen in product(*values):
        found = plan.active(dict(zip(labels, chosen, strict=True)))
        if plan.forbids(found) is None:
            yield found


def _values(domain: Any) -> Iterator[Any]:
    count = domain.num_values
    if hasattr(domain, "values"):
        yield from domain.values
    elif isinstance(domain, Normal):
        yield from map(domain.nth, range(count))
    elif domain.is_log:
        yield from (domain.low + index * domain.grid for index in range(count))
    else:
        yield from (domain.at((index + 0.5) / count) for index in range(count))


def _fields(size: Size) -> dict[str, Any]:
    return {name: getattr(size, name) for name in Size.__slots__}
