"""Ranges: numbers between two bounds, even on their own scale, whole or in steps if asked for."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from autoft.core.jsonable import Json
from autoft.space.domains import UNSET, Domain

_EDGE = 1e-12


@dataclass(frozen=True, slots=True)
class _Range(Domain):
    """Numbers from `low` to `high`, both included."""

    is_log: ClassVar[bool] = False
    is_whole: ClassVar[bool] = False

    low: float
    high: float
    prior: Any = field(default=UNSET, kw_only=True)
    step: float | None = field(default=None, kw_only=True)
    """Values lie at `low`, `low + step`, ...; None: 1 for whole numbers, a continuum for the others."""
    when: Mapping[str, Any] | None = field(default=None, kw_only=True)

    @property
    def grid(self) -> float | None:
        """Distance between two values; None: a continuum."""
        return self.step if self.step is not None else (1 if self.is_whole else None)

    @property
    def num_values(self) -> int | None:
        """How many values there are; None: a continuum."""
        grid = self.grid
        return None if grid is None else math.floor((self.high - self.low) / grid * (1 + _EDGE)) + 1

    @property
    def middle(self) -> Any:
        """The middle on the range's own scale; of an even number of values the lower one."""
        count = self.num_values
        if count is not None and not self.is_log:
            return self._nth((count - 1) // 2)
        if not self.is_log:
            return (self.low + self.high) / 2
        return self._snapped(math.sqrt(self.low * self.high))

    def at(self, position: float) -> Any:
        """Return the value at `position` in [0, 1]; every value of a grid has its full share, ends included."""
        low, high = self.low, self.high
        if self.step is None and not self.is_whole:
            value = low * (high / low) ** position if self.is_log else low + position * (high - low)
            return low if value < low else high if value > high else value
        if not self.is_log:
            count = self.num_values or 1
            return self._nth(min(int(position * count), count - 1))
        low, high = self._edges()
        return self._snapped(low * (high / low) ** position)

    def position(self, value: Any) -> float:
        """Return where in [0, 1] the value lies."""
        count, grid = self.num_values, self.grid
        if count is not None and grid is not None and not self.is_log:
            return float((round((value - self.low) / grid) + 0.5) / count)
        low, high = self._edges()
        if self.is_log:
            return min(max(math.log(value / low) / math.log(high / low), 0.0), 1.0)
        return float(min(max((value - low) / (high - low), 0.0), 1.0))

    def contains(self, value: Any) -> bool:
        """Return whether `value` is a number of the range and, with a step, of the grid."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.step is None:
            return not self.is_whole or value == int(value)
        if self.is_whole and value != int(value):
            return False
        return math.isclose(value, self._snapped(value), rel_tol=1e-9)

    def problems(self) -> Iterable[str]:
        """Yield what is wrong."""
        shown = f"{self.form} [{self.low:g}, {self.high:g}]"
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            yield f"has a bound that is not finite: {shown}"
            return
        if self.low > self.high:
            yield f"has its bounds the wrong way round: {shown}; the first must be below the second"
        if self.low == self.high:
            yield f"has two equal bounds: {shown}; write the plain value to fix it"
        if self.is_log and self.low <= 0:
            yield f"has a logarithmic range that does not start above 0: {shown}"
        if self.low >= self.high or (self.is_log and self.low <= 0):
            return
        step = self.step
        if step is not None and not (0 < step <= self.high - self.low):
            yield f"has step {step:g}; it must be above 0 and at most the width {self.high - self.low:g} of {shown}"
        elif self.prior is not UNSET and not self.contains(self.prior):
            grid = f" in steps of {step:g}" if step is not None else ""
            yield f"has prior {self.prior!r}, which is not in {shown}{grid}"

    def arguments(self) -> Any:
        """Return [low, high]."""
        return [self.low, self.high]

    def options(self) -> Json:
        """Return the step, if one is given."""
        return {} if self.step is None else {"step": self.step}

    def _edges(self) -> tuple[float, float]:
        """Return the ends of the continuum whose nearest grid values are the range, each with its full share."""
        grid = self.grid
        if grid is None:
            return self.low, self.high
        half = grid / 2
        low = self.low - half if self.low > half else self.low * self.low / (self.low + half)
        return low, self._nth((self.num_values or 1) - 1) + half

    def _nth(self, index: int) -> Any:
        """Return the value number `index` of the grid."""
        grid = self.grid or 0
        value = self.low + index * grid
        # 0.1 + 2 * 0.1 is not 0.3: twelve digits are what a person wrote.
        return int(value) if self.is_whole else min(max(float(f"{value:.12g}"), self.low), self.high)

    def _snapped(self, value: float) -> Any:
        """Return the value of the range that is nearest to `value`."""
        grid, count = self.grid, self.num_values
        if grid is None or count is None:
            return min(max(value, self.low), self.high)
        return self._nth(min(max(round((value - self.low) / grid), 0), count - 1))


class Uniform(_Range):
    """Any number between two bounds, evenly."""

    __slots__ = ()
    form = "uniform"


class LogUniform(_Range):
    """Any number between two positive bounds, evenly on a logarithmic scale."""

    __slots__ = ()
    form = "log_uniform"
    is_log = True


class IntUniform(_Range):
    """A whole number between two bounds, both included, evenly."""

    __slots__ = ()
    form = "int_uniform"
    is_whole = True


class IntLogUniform(_Range):
    """A whole number between two positive bounds, both included, evenly on a logarithmic scale."""

    __slots__ = ()
    form = "int_log_uniform"
    is_log = True
    is_whole = True


RANGES: Final[tuple[type[_Range], ...]] = (Uniform, LogUniform, IntUniform, IntLogUniform)
