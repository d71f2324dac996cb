"""Learning-rate schedules: from the update to a factor on the learning rate.

The first update is 0. During the warm-up of w updates the factor is (step + 1) / w, so the first update already
learns. The minimum is reached at `num_steps`, after the last update, which so still learns. All but `Plateau` are pure
functions of the update.

The settings of each class are those of its entry in the catalog.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autoft.core import catalog
from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json


class Schedule(ABC):
    """A learning-rate schedule over the updates of one trial."""

    @abstractmethod
    def factor(self, step: int) -> float:
        """Return the factor on the learning rate at an update, counted from 0; in [0, 1]."""

    # Most schedules learn nothing from the validation, so these two do nothing unless a class says else.
    def observe(self, value: float) -> None:  # noqa: B027
        """Take the objective after an epoch's validation; larger is better."""

    def state(self) -> Json:
        """Return what the schedule learned from the values it observed."""
        return {}

    def load(self, state: Json) -> None:  # noqa: B027
        """Go on from a `state`."""


def build_schedule(config: Mapping[str, Any], *, num_steps: int) -> Schedule:
    """Return the schedule of a recipe's section `schedule` over `num_steps` updates.

    Args:
        config: `name` and all settings of that entry of the catalog.
        num_steps: Updates of the whole trial, as planned; at least 1.

    Raises:
        ConfigError: If there is no such schedule.
    """
    schedule = catalog.entry("schedule", config["name"], where="schedule.name").load()
    settings = {key: value for key, value in config.items() if key != "name"}
    built: Schedule = schedule(num_steps=num_steps, **settings)
    return built


@dataclass(kw_only=True)
class Warmed(Schedule):
    """A linear warm-up, and then what `after` says.

    Raises:
        ConfigError: If the warm-up is longer than the trial.

    Reference: Goyal et al., arXiv:1706.02677, 2.2.
    """

    num_steps: int
    """Total updates, warm-up included."""
    warmup_fraction: float = 0.0
    """Share of the updates in which the rate rises, rounded to whole updates."""

    def __post_init__(self) -> None:
        """Check the warm-up."""
        self.num_warmup = round(self.warmup_fraction * self.num_steps)
        if self.num_warmup > self.num_steps:
            raise ConfigError(f"The warm-up of {self.num_warmup} updates is longer than the trial's {self.num_steps}.")

    def factor(self, step: int) -> float:
        """Return (step + 1) / w within the warm-up of w updates, then `after`, and its end from `num_steps` on."""
        if step < self.num_warmup:
            return (step + 1) / self.num_warmup
        if step >= self.num_steps:
            return self.after(1, 1)
        return self.after(step - self.num_warmup, self.num_steps - self.num_warmup)

    @abstractmethod
    def after(self, done: int, total: int) -> float:
        """Return the factor when `done` of the `total` updates after the warm-up are done."""


class Constant(Warmed):
    """The full rate after the warm-up."""

    def after(self, done: int, total: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(kw_only=True)
class Linear(Warmed):
    """A straight line from 1 down to `min_factor`.

    Reference: Devlin et al., BERT, arXiv:1810.04805, A.2.
    """

    min_factor: float = 0.0

    def after(self, done: int, total: int) -> float:
        """Return the point on the line."""
        return self.min_factor + (1 - self.min_factor) * (1 - done / total)


@dataclass(kw_only=True)
class Cosine(Warmed):
    """Half a cosine from 1 down to `min_factor`.

    Reference: Loshchilov & Hutter, SGDR, arXiv:1608.03983, equation 5 with one period.
    """

    min_factor: float = 0.0

    def after(self, done: int, total: int) -> float:
        """Return the point on the cosine."""
        return self.min_factor + (1 - self.min_factor) * _half_cosine(done / total)


@dataclass(kw_only=True)
class CosineRestarts(Warmed):
    """Half cosines of equal length, each from its peak down to `min_factor`; peaks shrink by `cycle_decay`.

    Peak k, counted from 0, is at `min_factor + (1 - min_factor) * cycle_decay ** k`.

    Reference: Loshchilov & Hutter, SGDR, arXiv:1608.03983, equation 5 with T_mult = 1.
    """

    num_cycles: int
    cycle_decay: float
    min_factor: float = 0.0

    def after(self, done: int, total: int) -> float:
        """Return the point on the cosine of the cycle."""
        # Whole numbers: a cycle must not begin an update late because a third is no binary fraction.
        cycle, within = divmod(done * self.num_cycles, total)
        if cycle >= self.num_cycles:
            return self.min_factor
        height = self.cycle_decay**cycle * _half_cosine(within / total)
        return float(self.min_factor + (1 - self.min_factor) * height)


@dataclass(kw_only=True)
class Polynomial(Warmed):
    """(1 - t)^power from 1 down to `min_factor`, t the share that is done.

    Reference: Chen et al., DeepLab, arXiv:1606.00915, 4.1 ("poly").
    """

    power: float
    min_factor: float = 0.0

    def after(self, done: int, total: int) -> float:
        """Return the point on the curve."""
        return float(self.min_factor + (1 - self.min_factor) * (1 - done / total) ** self.power)


@dataclass(kw_only=True)
class OneCycle(Schedule):
    """Half a cosine up from `initial_factor` to 1, half a cosine down to `final_factor`.

    Reference: Smith & Topin, arXiv:1708.07120, with the two cosines of Howard & Gugger, fastai, arXiv:2002.04688.
    """

    num_steps: int
    """Total updates."""
    peak_fraction: float
    """Share of the updates before the peak, rounded to whole updates."""
    initial_factor: float
    final_factor: float

    def factor(self, step: int) -> float:
        """Return the point on the cycle."""
        peak = round(self.peak_fraction * self.num_steps)
        if step >= self.num_steps:
            return self.final_factor
        if step < peak:
            return 1 + (self.initial_factor - 1) * _half_cosine(step / peak)
        return self.final_factor + (1 - self.final_factor) * _half_cosine((step - peak) / (self.num_steps - peak))


@dataclass(kw_only=True)
class Step(Warmed):
    """A drop to `gamma` of the rate, `num_drops` times, at equal distances.

    Reference: He et al., arXiv:1512.03385, 4.2 (tenths).
    """

    num_drops: int
    gamma: float

    def after(self, done: int, total: int) -> float:
        """Return gamma to the power of the drops so far."""
        return self.gamma ** min(done * (self.num_drops + 1) // total, self.num_drops)


@dataclass(kw_only=True)
class Exponential(Warmed):
    """The same ratio from each update to the next, from 1 down to `min_factor`.

    Reference: Tan & Le, EfficientNet, arXiv:1905.11946, 5.2 (0.97 every 2.4 epochs).
    """

    min_factor: float

    def after(self, done: int, total: int) -> float:
        """Return min_factor to the power of the share that is done."""
        return float(self.min_factor ** (done / total))


@dataclass(kw_only=True)
class WarmupStableDecay(Warmed):
    """The full rate, and at the end a decay down to `min_factor`.

    Reference: Hu et al., MiniCPM, arXiv:2404.06395, 4; Hägele et al., arXiv:2405.18392, 3 (shapes).
    """

    decay_fraction: float
    """Share of all updates in which the rate falls, rounded to whole updates; no more than the warm-up leaves."""
    shape: Literal["linear", "1-sqrt"]
    """1 - t or 1 - sqrt(t), t the share of the decay that is done."""
    min_factor: float = 0.0

    def after(self, done: int, total: int) -> float:
        """Return 1 before the decay, then the point on its curve."""
        if done >= total:
            return self.min_factor
        num_decay = min(round(self.decay_fraction * self.num_steps), total)
        decayed = done - (total - num_decay)
        if decayed <= 0:
            return 1.0
        share = decayed / num_decay
        fallen = share if self.shape == "linear" else math.sqrt(share)
        return self.min_factor + (1 - self.min_factor) * (1 - fallen)


@dataclass(kw_only=True)
class Plateau(Warmed):
    """A drop to `gamma` of the rate whenever the objective has not improved for `patience` epochs.

    Epochs that end within the warm-up count as others do; a drop then shows after it.

    Reference: torch.optim.lr_scheduler.ReduceLROnPlateau; He et al., arXiv:1512.03385, 3.4.
    """

    gamma: float
    patience: int
    """Epochs in a row without a new best."""
    min_factor: float = 0.0

    def __post_init__(self) -> None:
        """Begin without an observation."""
        super().__post_init__()
        self._best: float | None = None
        self._epochs_since_best = 0
        self._num_drops = 0

    def after(self, done: int, total: int) -> float:
        """Return gamma to the power of the drops so far, no less than min_factor."""
        return max(self.min_factor, self.gamma**self._num_drops)

    def observe(self, value: float) -> None:
        """Count the epoch, and drop if the last `patience` brought nothing."""
        if self._best is None or value > self._best:
            self._best, self._epochs_since_best = value, 0
            return
        self._epochs_since_best += 1
        if self._epochs_since_best >= self.patience:
            self._num_drops += 1
            self._epochs_since_best = 0

    def state(self) -> Json:
        """Return the best value, the epochs since, and the drops."""
        return {"best": self._best, "epochs_since_best": self._epochs_since_best, "num_drops": self._num_drops}

    def load(self, state: Json) -> None:
        """Go on from a `state`."""
        self._best = state["best"]
        self._epochs_since_best, self._num_drops = state["epochs_since_best"], state["num_drops"]


def _half_cosine(share: float) -> float:
    """Return half a cosine from 1 at 0 down to 0 at 1."""
    return (1 + math.cos(math.pi * share)) / 2
