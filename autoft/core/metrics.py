"""The names of the metrics, which way is better, and what they need; how they are computed lives in evaluation/."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autoft.core.errors import ConfigError, nearest, one_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One number that a trial is judged by."""

    name: str
    """The column's name after `val_` or `test_`; cost metrics have no prefix."""
    higher_is_better: bool
    is_cost: bool = False
    """Measured on the model or the clock, not on predictions."""
    description: str

    @property
    def column(self) -> str:
        """The leaderboard's column that holds it during the search."""
        return self.name if self.is_cost else f"val_{self.name}"


METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="accuracy", higher_is_better=True, description="Share of rows whose label is right."),
        Metric(name="balanced_accuracy", higher_is_better=True, description="Mean recall over the classes."),
        Metric(name="f1_macro", higher_is_better=True, description="Mean F1 over the classes, each counting the same."),
        Metric(name="f1_weighted", higher_is_better=True, description="Mean F1 over the classes, weighted by support."),
        Metric(
            name="roc_auc",
            higher_is_better=True,
            description="Area under the ROC curve; one class against the rest, averaged, when there are more than two.",
        ),
        Metric(
            name="log_loss",
            higher_is_better=False,
            description="Mean negative log-likelihood of the right label, in nats.",
        ),
        Metric(
            name="latency_ms",
            higher_is_better=False,
            is_cost=True,
            description="Median time to predict one row, in milliseconds, on the worker's device.",
        ),
        Metric(name="parameters", higher_is_better=False, is_cost=True, description="Number of weights of the model."),
        Metric(
            name="peak_memory_mb",
            higher_is_better=False,
            is_cost=True,
            description="Peak memory of the trial, in MiB: the device's on a GPU, the process's on a CPU.",
        ),
    )
}


TRANSFERABILITY = "logme"
"""The column of what a probe says of its backbone beside the metrics; more is better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """A metric and the direction in which a search drives it."""

    metric: str
    maximize: bool

    @property
    def column(self) -> str:
        """The leaderboard's column that holds it."""
        return METRICS[self.metric].column

    def better(self, value: float, other: float) -> bool:
        """Return whether `value` is strictly better than `other`."""
        return value > other if self.maximize else value < other


def parse_objective(text: str) -> Objective:
    """Return the objective that "accuracy" or "-latency_ms" (a minus sign: minimise) names.

    Raises:
        ConfigError: If there is no such metric, or the sign says the direction that is worse.
    """
    minimised, name = text.startswith("-"), text.removeprefix("-")
    if name not in METRICS:
        raise ConfigError(f"Unknown metric '{name}'.{nearest(name, METRICS)} Allowed: {one_of(METRICS)}.")
    metric = METRICS[name]
    if minimised and metric.higher_is_better:
        raise ConfigError(f"Metric '{text}' asks to minimise {name}, of which more is better; write '{name}'.")
    return Objective(metric=name, maximize=metric.higher_is_better)


def broken_limit(metrics: Mapping[str, Any], limits: Mapping[str, float]) -> str | None:
    """Return, in words, the first limit that a trial's costs break; None where they keep all.

    Args:
        metrics: Of an epoch, by column name; what it did not measure breaks nothing.
        limits: The most of each cost, by the metric's name.
    """
    for name, limit in limits.items():
        value = metrics.get(METRICS[name].column)
        if value is not None and value > limit:
            return f"{name} {value:,.10g} is over the limit {limit:,.10g}"
    return None


def check_limits(limits: Mapping[str, Any]) -> dict[str, float]:
    """Return limits as numbers.

    Raises:
        ConfigError: If a name is no cost, or a limit no number above 0.
    """
    costs = [name for name, metric in METRICS.items() if metric.is_cost]
    for name, limit in limits.items():
        if name not in costs:
            raise ConfigError(f"There is no limit on '{name}'.{nearest(name, costs)} Allowed: {one_of(costs)}.")
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < math.inf:
            raise ConfigError(f"The limit on {name} must be a number above 0, not {limit!r}.")
    return {name: float(limit) for name, limit in limits.items()}


def quality_metrics(given: Iterable[str]) -> list[str]:
    """Return the plain names of those metrics in `given` that are computed from predictions."""
    names = (name.removeprefix("-") for name in given)
    return [name for name in dict.fromkeys(names) if not METRICS[name].is_cost]


def all_quality_metrics(given: Iterable[str]) -> list[str]:
    """Return every metric computed from predictions, those in `given` first."""
    return quality_metrics([*given, *METRICS])
