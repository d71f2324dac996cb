"""Bell curves: the normal and the log-normal distribution, cut off at bounds."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, ClassVar, Final

from autoft.core.jsonable import Json
from autoft.space.domains import UNSET, Domain

_EDGE = 1e-12
_STANDARD = NormalDist()


@dataclass(frozen=True, slots=True)
class Normal(Domain):
    """Numbers of a normal distribution, cut off at `bounds`."""

    form: ClassVar[str] = "normal"
    is_log: ClassVar[bool] = False

    mean: float
    std: float
    prior: Any = field(default=UNSET, kw_only=True)
    bounds: tuple[float | None, float | None] = field(default=(None, None), kw_only=True)
    """Smallest and largest value; None: as far as the setting allows."""
    step: float | None = field(default=None, kw_only=True)
    """Values are multiples of it; None: a continuum."""
    when: Mapping[str, Any] | None = field(default=None, kw_only=True)

    @property
    def middle(self) -> Any:
        """The mean if it is within the bounds, else the median of what is left."""
        value = self._snapped(_exp(self.mean) if self.is_log else self.mean)
        return value if self.contains(value) else self.at(0.5)

    @property
    def num_values(self) -> int | None:
        """How many values there are; None: a continuum, or steps without end."""
        low, high = self.bounds
        if self.step is None or low is None or high is None:
            return None
        return math.floor(high / self.step + _EDGE) - math.ceil(low / self.step - _EDGE) + 1

    def at(self, position: float) -> Any:
        """Return the quantile at `position` in [0, 1]."""
        low, high = self._mass()
        share = min(max(low + position * (high - low), _EDGE), 1 - _EDGE)
        value = self.mean + self.std * _STANDARD.inv_cdf(share)
        return self._snapped(_exp(value) if self.is_log else value)

    def position(self, value: Any) -> float:
        """Return the share of the distribution that lies below the value."""
        low, high = self._mass()
        return min(max((self._below(value) - low) / (high - low), 0.0), 1.0)

    def contains(self, value: Any) -> bool:
        """Return whether `value` is a number within the bounds and, with a step, on the grid."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        low, high = self.bounds
        inside = (low is None or value >= low) and (high is None or value <= high)
        if self.is_log and value <= 0:
            inside = inside and value == 0 and self.step is not None  # What is nearest to 0 is rounded to it.
        return inside and (self.step is None or math.isclose(value, self._snapped(value), rel_tol=1e-9, abs_tol=1e-12))

    def problems(self) -> Iterable[str]:
        """Yield what is wrong."""
        shown = f"{self.form} [{self.mean:g}, {self.std:g}]"
        low, high = self.bounds
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            yield f"has {shown}; its spread, the second number, must be above 0, and both finite"
        elif low is not None and high is not None and low >= high:
            yield f"has its bounds the wrong way round: [{low:g}, {high:g}]; the first must be below the second"
        elif self.step is not None and not self.step > 0:
            yield f"has step {self.step:g}; it must be above 0"
        elif self.num_values is not None and self.num_values < 1:
            yield f"has no multiple of its step {self.step:g} within its bounds {self._shown_bounds()}"
        elif self._mass()[1] - self._mass()[0] < 1e-6:
            yield f"has {shown}, of which nothing lies within its bounds {self._shown_bounds()}"
        elif not (math.isfinite(self.at(0.0)) and math.isfinite(self.at(1.0))):
            yield f"has {shown}, which reaches beyond the largest number; give it `bounds:`"
        elif self.prior is not UNSET and not self.contains(self.prior):
            grid = f" in steps of {self.step:g}" if self.step is not None else ""
            yield f"has prior {self.prior!r}, which is not within {self._shown_bounds()}{grid}"

    def arguments(self) -> Any:
        """Return [mean, spread]."""
        return [self.mean, self.std]

    def options(self) -> Json:
        """Return bounds and step, where given."""
        values: Json = {} if self.bounds == (None, None) else {"bounds": list(self.bounds)}
        return values if self.step is None else values | {"step": self.step}

    def _shown_bounds(self) -> str:
        low, high = self.bounds
        return f"[{'-inf' if low is None else f'{low:g}'}, {'inf' if high is None else f'{high:g}'}]"

    def _below(self, value: float) -> float:
        if self.is_log:
            return _STANDARD.cdf((math.log(value) - self.mean) / self.std) if value > 0 else 0.0
        return _STANDARD.cdf((value - self.mean) / self.std)

    def _mass(self) -> tuple[float, float]:
        """Return the shares of the whole distribution below the lower and the upper end.

        With a step an end lies half a step beyond the last value, so that each value has its full share.
        """
        low, high = self.bounds
        if self.step is not None:
            low = None if low is None else (math.ceil(low / self.step - _EDGE) - 0.5) * self.step
            high = None if high is None else (math.floor(high / self.step + _EDGE) + 0.5) * self.step
        return (0.0 if low is None else self._below(low)), (1.0 if high is None else self._below(high))

    def nth(self, index: int) -> float:
        """Return the value number `index` of the steps between the bounds."""
        low, step = self.bounds[0] or 0.0, self.step or 0.0
        return float(f"{(math.ceil(low / step - _EDGE) + index) * step:.12g}")

    def _snapped(self, value: float) -> float:
        low, high = self.bounds
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        if self.step is None:
            return min(max(value, low), high)
        first = math.ceil(low / self.step - _EDGE) if math.isfinite(low) else None
        last = math.floor(high / self.step + _EDGE) if math.isfinite(high) else None
        if not math.isfinite(value / self.step):
            return value
        index = round(value / self.step)
        index = index if first is None else max(index, first)
        index = index if last is None else min(index, last)
        return float(f"{index * self.step:.12g}")


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


class LogNormal(Normal):
    """Positive numbers whose natural logarithm is normal; mean and spread are those of the logarithm."""

    __slots__ = ()
    form = "log_normal"
    is_log = True


NORMALS: Final[tuple[type[Normal], ...]] = (Normal, LogNormal)
