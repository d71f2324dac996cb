"""What a setting may be: a choice, a range, or a bell curve; the same objects for YAML, JSON and Python.

Every domain maps the unit interval onto its values (`at`) and back (`position`), evenly in its own probability, so
that a sampler, a grid or a model needs to know no more than that.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate
from typing import Any, ClassVar, Final

from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json
from autoft.core.rules import shown


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""Stands for a `prior` that is not given; None is a value that a choice may hold."""


_SUM_TOLERANCE = 1e-3
"""So that three thirds may be written .333, .333 and .334, and .3333 three times."""


def is_share(value: Any) -> bool:
    """Return whether `value` can be a probability that is not 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


def _seen(value: Any) -> str:
    return shown(value) if value is None or isinstance(value, bool) else repr(value)


def same_value(one: Any, other: Any) -> bool:
    """Return whether two scalars are equal, true and 1 being two things."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


class Domain(ABC):
    """The values that one setting may take; immutable."""

    __slots__ = ()
    form: ClassVar[str]
    """Its key in YAML and JSON."""
    prior: Any
    """Its default, tried first; `UNSET` if none is given."""
    when: Mapping[str, Any] | None
    """Condition on other paths, as written; None: always active."""

    @property
    def default(self) -> Any:
        """The prior; without one the first of a choice and the middle of a range on its own scale."""
        return self.middle if self.prior is UNSET else self.prior

    @property
    @abstractmethod
    def middle(self) -> Any:
        """The default where no prior is given."""

    @property
    @abstractmethod
    def num_values(self) -> int | None:
        """How many values there are; None: a continuum."""

    @abstractmethod
    def at(self, position: float) -> Any:
        """Return the value at `position` in [0, 1]; an even position gives the domain's distribution."""

    @abstractmethod
    def position(self, value: Any) -> float:
        """Return where in [0, 1] a value of the domain lies; `at` of it gives the value back."""

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Return whether `value` can be drawn."""

    @abstractmethod
    def problems(self) -> Iterable[str]:
        """Yield what is wrong, each as the end of a sentence that begins with the path."""

    @abstractmethod
    def arguments(self) -> Any:
        """Return what stands after the domain's key in YAML and JSON."""

    def options(self) -> Json:
        """Return the options beside `prior` and `when` that were given."""
        return {}

    def to_json(self) -> Json:
        """Return the form that YAML and JSON hold, `{"uniform": [0.0, 1.0], "prior": 0.5}`."""
        values = {self.form: self.arguments(), **self.options()}
        if self.prior is not UNSET:
            values["prior"] = self.prior
        if self.when is not None:
            values["when"] = dict(self.when) if isinstance(self.when, Mapping) else self.when
        return values


@dataclass(frozen=True, slots=True, init=False)
class Choice(Domain):
    """One of several values, all equally likely unless told; of a section, one of several branches."""

    form: ClassVar[str] = "choice"
    values: tuple[Any, ...]
    """Constants; or, as written for a section such as `optimizer`, maps with `name` or `mode`, or plain names."""
    prior: Any = field(default=UNSET, kw_only=True)
    when: Mapping[str, Any] | None = field(default=None, kw_only=True)
    probabilities: tuple[float, ...] | None = field(default=None, kw_only=True)
    """How likely each value is drawn, in their order, 1 in all; None: all equally. The default is not theirs."""
    _ends: tuple[float, ...] | None = field(default=None, init=False, repr=False, compare=False)
    """Upper end of each value's share of [0, 1] but the last's."""

    def __init__(
        self,
        values: Iterable[Any],
        *,
        prior: Any = UNSET,
        when: Mapping[str, Any] | None = None,
        probabilities: Iterable[float] | None = None,
    ) -> None:
        """Take what `values` lists.

        Raises:
            SpaceError: If `values` or `probabilities` is no list.
        """
        for what, given in (("values", values), ("probabilities", probabilities)):
            if isinstance(given, str | Mapping) or not (given is None or isinstance(given, Iterable)):
                raise SpaceError([f"Choice takes a list of {what}, not {given!r}."])
        shares = None if probabilities is None else tuple(probabilities)
        object.__setattr__(self, "values", tuple(values))
        object.__setattr__(self, "prior", prior)
        object.__setattr__(self, "when", when)
        object.__setattr__(self, "probabilities", shares)
        # What is wrong with them is said by `problems`.
        is_right = shares is not None and shares and all(map(is_share, shares))
        ends = tuple(end / math.fsum(shares) for end in accumulate(shares)) if shares and is_right else None
        object.__setattr__(self, "_ends", ends and ends[:-1])

    @property
    def middle(self) -> Any:
        """The first value."""
        return self.values[0]

    @property
    def num_values(self) -> int:
        """How many values there are."""
        return len(self.values)

    def at(self, position: float) -> Any:
        """Return the value at `position` in [0, 1]."""
        if self._ends is not None:
            return self.values[bisect_right(self._ends, position)]
        index = int(position * len(self.values))
        return self.values[index if index < len(self.values) else -1]

    def position(self, value: Any) -> float:
        """Return the middle of the value's share of [0, 1]."""
        index = next(i for i, known in enumerate(self.values) if same_value(known, value))
        if self._ends is not None:
            ends = (0.0, *self._ends, 1.0)
            return (ends[index] + ends[index + 1]) / 2
        return (index + 0.5) / len(self.values)

    @property
    def shares(self) -> tuple[float, ...]:
        """How likely each value is, 1 in all."""
        if self.probabilities is None:
            return (1 / len(self.values),) * len(self.values)
        return tuple(share / math.fsum(self.probabilities) for share in self.probabilities)

    def contains(self, value: Any) -> bool:
        """Return whether `value` is listed."""
        for known in self.values:  # noqa: SIM110 - asked for every trial, where a generator costs more than this
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return True
        return False

    def problems(self) -> Iterable[str]:
        """Yield what is wrong."""
        if not self.values:
            yield "has an empty choice; list at least one value"
        for index, value in enumerate(self.values):
            if any(same_value(value, other) for other in self.values[:index]):
                yield f"lists {_seen(value)} twice in its choice"
        if self.values and self.prior is not UNSET and not self.contains(self.prior):
            listed = ", ".join(map(_seen, self.values))
            yield f"has prior {_seen(self.prior)}, which is not in its choice [{listed}]"
        if self.probabilities is not None:
            yield from self._wrong_probabilities(self.probabilities)

    def _wrong_probabilities(self, shares: tuple[float, ...]) -> Iterable[str]:
        if not all(map(is_share, shares)):
            yield f"has probabilities {list(shares)}; each must be a number above 0: leave out what is never drawn"
        elif len(shares) != len(self.values):
            yield f"has {len(shares)} probabilities for {len(self.values)} values; write one for each, in their order"
        elif abs(math.fsum(shares) - 1) > _SUM_TOLERANCE:
            yield f"has probabilities {list(shares)}, which add up to {math.fsum(shares):.4g}; they must add up to 1"

    def arguments(self) -> Any:
        """Return the list of values."""
        return list(self.values)

    def options(self) -> Json:
        """Return the probabilities, if they are given."""
        return {} if self.probabilities is None else {"probabilities": list(self.probabilities)}
