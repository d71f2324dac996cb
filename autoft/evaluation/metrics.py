"""The metrics of core/metrics.py on predictions: exact, never NaN, with intervals that say how far to trust them."""

from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from autoft.core.errors import ConfigError, nearest, one_of
from autoft.core.jsonable import Json
from autoft.core.metrics import METRICS
from autoft.core.seeds import generator
from autoft.evaluation import counting, scoring
from autoft.evaluation.counting import Counts, Floats, Integers

CONFIDENCE = 0.95
RESAMPLES = 1000
FEWEST_RESAMPLES = 100
"""Where rows times classes are so many that more would take long."""
ERROR_RESAMPLES = 50
"""For a standard error, which is wanted after every epoch: it is within 10 % then."""

_CELLS_AT_ONCE = 4_000_000
"""Rows times resamples whose weights are held in memory together: 32 MB."""
_MOST_CELLS = 2_000_000_000
"""Rows times classes times resamples; the area under the ROC curve goes through all of them."""

_Computed = Callable[[Integers, Floats, Floats, Counts], Floats]
_COMPUTED: dict[str, _Computed] = {
    "accuracy": lambda _targets, _probabilities, _weights, counts: counts.accuracy,
    "balanced_accuracy": lambda _targets, _probabilities, _weights, counts: counts.balanced_accuracy,
    "f1_macro": lambda _targets, _probabilities, _weights, counts: counts.f1_macro,
    "f1_weighted": lambda _targets, _probabilities, _weights, counts: counts.f1_weighted,
    "roc_auc": lambda targets, probabilities, weights, _counts: scoring.roc_auc(targets, probabilities, weights),
    "log_loss": lambda targets, probabilities, weights, _counts: scoring.log_loss(targets, probabilities, weights),
}

PREDICTION_METRICS = tuple(name for name, metric in METRICS.items() if not metric.is_cost)
"""Names of the metrics that are computed here; the cost metrics are measured where the model runs."""


def evaluate(names: Sequence[str], targets: Any, probabilities: Any) -> dict[str, float | None]:
    """Return metrics of predictions by name; None where one is undefined.

    That is every metric where a probability is not finite, and roc_auc where fewer than two classes have rows.

    Args:
        names: Metrics, without a sign; cost metrics are refused.
        targets: Right classes, integers of shape (rows,).
        probabilities: Of shape (rows, classes).

    Raises:
        ConfigError: If a name is no metric of predictions.
        ValueError: If there are no rows, or the shapes do not fit each other.
    """
    targets, probabilities = _checked(names, targets, probabilities)
    if not np.isfinite(probabilities).all():
        return dict.fromkeys(names, None)
    values = _values(names, targets, probabilities, np.ones((1, len(targets))))
    return {name: _number(values[name][0]) for name in names}


def with_intervals(
    names: Sequence[str], targets: Any, probabilities: Any, seed: int, *, heartbeat: Callable[[], None] = lambda: None
) -> dict[str, Json]:
    """Return `value`, `low` and `high` of each metric by name: 95 % intervals over the draw of the rows.

    Accuracy: Wilson's interval (Brown, Cai & DasGupta, Interval Estimation for a Binomial Proportion, 2001). The
    others: percentiles of 1000 resamples of the rows (Efron & Tibshirani, An Introduction to the Bootstrap, 1993), of
    fewer where rows times classes are above 2 million, 100 at least.

    Args:
        names: As for `evaluate`.
        targets: As for `evaluate`.
        probabilities: As for `evaluate`.
        seed: Of the resamples; with the same seed the interval is the same.
        heartbeat: Called now and then.

    Raises:
        ConfigError: If a name is no metric of predictions.
        ValueError: If there are no rows, or the shapes do not fit each other.
    """
    values = evaluate(names, targets, probabilities)
    targets, probabilities = _checked(names, targets, probabilities)
    sampled = [name for name in names if values[name] is not None and name != "accuracy"]
    count = max(FEWEST_RESAMPLES, min(RESAMPLES, _MOST_CELLS // probabilities.size))
    draws = _bootstrap(sampled, targets, probabilities, seed, count=count, heartbeat=heartbeat) if sampled else {}
    intervals: dict[str, Json] = {}
    for name in names:
        low, high = None, None
        if name in draws:
            low, high = _percentiles(draws[name])
        elif values[name] is not None:
            right = int((probabilities.argmax(axis=1) == targets).sum())
            low, high = wilson(right, len(targets))
        intervals[name] = {"value": values[name], "low": low, "high": high}
    return intervals


def standard_error(name: str, targets: Any, probabilities: Any, seed: int) -> float | None:
    """Return the standard error of a metric over the draw of the rows; None where the metric is undefined.

    Accuracy: that of a proportion to which two right and two wrong rows are added, so that it is never 0 (Agresti &
    Coull, The American Statistician 1998). Log loss: that of a mean. The others: 50 resamples of the rows.

    Args:
        name: As one of `evaluate`'s names.
        targets: As for `evaluate`.
        probabilities: As for `evaluate`.
        seed: Of the resamples.
    """
    if evaluate([name], targets, probabilities)[name] is None:
        return None
    targets, probabilities = _checked([name], targets, probabilities)
    if name == "accuracy":
        total = len(targets) + 4
        share = (int((probabilities.argmax(axis=1) == targets).sum()) + 2) / total
        return float((share * (1 - share) / total) ** 0.5)
    if name == "log_loss":
        losses = scoring.row_losses(targets, probabilities)
        return float(np.std(losses, ddof=1) / len(losses) ** 0.5) if len(losses) > 1 else None
    draws = _bootstrap([name], targets, probabilities, seed, count=ERROR_RESAMPLES)[name]
    finite = draws[np.isfinite(draws)]
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else None


def report(
    names: Sequence[str],
    targets: Any,
    probabilities: Any,
    labels: Sequence[str],
    seed: int,
    *,
    heartbeat: Callable[[], None] = lambda: None,
) -> Json:
    """Return what `autoft evaluate --format json` prints: metrics, per_class, confusion and num_rows.

    Args:
        names: As for `evaluate`.
        targets: As for `evaluate`.
        probabilities: As for `evaluate`, with the classes in the order of `labels`.
        labels: Names of the classes.
        seed: Of the resamples.
        heartbeat: Called now and then.

    Raises:
        ConfigError: If a name is no metric of predictions.
        ValueError: If there are no rows, or the shapes do not fit each other.
    """
    metrics = with_intervals(names, targets, probabilities, seed, heartbeat=heartbeat)
    targets, probabilities = _checked(names, targets, probabilities)
    if probabilities.shape[1] != len(labels):
        raise ValueError(f"{probabilities.shape[1]} columns of probabilities for {len(labels)} labels")
    predictions = probabilities.argmax(axis=1).astype(np.int64)
    counts = counting.confusion(targets, predictions, len(labels))
    return {
        "metrics": metrics,
        "per_class": counting.per_class(targets, predictions, tuple(labels)),
        "confusion": {"labels": list(labels), "counts": counts.tolist()},
        "num_rows": len(targets),
    }


def wilson(successes: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval for a proportion of `successes` among `total`."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = successes / total
    centre = share + z * z / (2 * total)
    spread = z * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    scale = 1 + z * z / total
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == total else (centre + spread) / scale
    return low, high


def _checked(names: Sequence[str], targets: Any, probabilities: Any) -> tuple[Integers, Floats]:
    for name in names:
        if name not in PREDICTION_METRICS:
            raise ConfigError(
                f"'{name}' is no metric of predictions.{nearest(name, PREDICTION_METRICS)} "
                f"Allowed: {one_of(PREDICTION_METRICS)}."
            )
    targets = np.asarray(targets, dtype=np.int64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if not len(targets):
        raise ValueError("there are no rows to evaluate")
    if targets.ndim != 1 or probabilities.ndim != 2 or len(targets) != len(probabilities):
        raise ValueError(f"targets of shape {targets.shape} do not fit probabilities of shape {probabilities.shape}")
    if targets.min() < 0 or targets.max() >= probabilities.shape[1]:
        raise ValueError(f"targets lie in [{targets.min()}, {targets.max()}], not in [0, {probabilities.shape[1]})")
    return targets, probabilities


def _values(names: Sequence[str], targets: Integers, probabilities: Floats, weights: Floats) -> dict[str, Floats]:
    predictions = probabilities.argmax(axis=1).astype(np.int64)
    counts = counting.count(targets, predictions, probabilities.shape[1], weights)
    return {name: _COMPUTED[name](targets, probabilities, weights, counts) for name in names}


def _bootstrap(
    names: Sequence[str],
    targets: Integers,
    probabilities: Floats,
    seed: int,
    *,
    count: int,
    heartbeat: Callable[[], None] = lambda: None,
) -> dict[str, Floats]:
    chunks = []
    for weights in _resamples(len(targets), seed, count):
        chunks.append(_values(names, targets, probabilities, weights))
        heartbeat()
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in names}


def _resamples(num_rows: int, seed: int, count: int) -> Iterator[Floats]:
    """Yield how often each row is drawn, in chunks of resamples that fit into memory."""
    random = generator(seed, "bootstrap")
    at_once = max(1, min(count, _CELLS_AT_ONCE // num_rows))
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        drawn = [np.bincount(random.integers(0, num_rows, num_rows), minlength=num_rows) for _ in range(size)]
        yield np.asarray(drawn, dtype=np.float64)


def _percentiles(values: Floats) -> tuple[float | None, float | None]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None, None
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
