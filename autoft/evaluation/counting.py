"""Metrics that follow from counts of targets and predictions: accuracy, recall, F1, the confusion matrix.

All are computed for many weightings of the same rows at once, as a bootstrap needs them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from autoft.core.jsonable import Json

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Counts:
    """Weighted counts by class, each of shape (weightings, classes)."""

    hits: Floats
    """Rows of the class that are predicted as it."""
    support: Floats
    """Rows of the class."""
    predicted: Floats
    """Rows predicted as the class."""

    @property
    def accuracy(self) -> Floats:
        """Share of rows whose label is right, of shape (weightings,)."""
        return np.asarray(self.hits.sum(axis=1) / self.support.sum(axis=1))

    @property
    def recall(self) -> Floats:
        """Share of a class's rows that are found; 0 where it has none."""
        return _ratio(self.hits, self.support)

    @property
    def precision(self) -> Floats:
        """Share of the rows predicted as a class that are of it; 0 where there are none."""
        return _ratio(self.hits, self.predicted)

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall; 0 where both are."""
        return _ratio(2 * self.hits, self.support + self.predicted)

    @property
    def balanced_accuracy(self) -> Floats:
        """Mean recall over the classes that have rows."""
        return _mean(self.recall, self.support > 0)

    @property
    def f1_macro(self) -> Floats:
        """Mean F1 over the classes that have rows or are predicted, as scikit-learn counts them."""
        return _mean(self.f1, self.support + self.predicted > 0)

    @property
    def f1_weighted(self) -> Floats:
        """Mean F1 over the classes, weighted by their rows."""
        return np.asarray((self.f1 * self.support).sum(axis=1) / self.support.sum(axis=1))


def count(targets: Integers, predictions: Integers, num_classes: int, weights: Floats) -> Counts:
    """Return the counts of each class under each weighting.

    Args:
        targets: Right classes, of shape (rows,).
        predictions: Predicted classes, of shape (rows,).
        num_classes: Number of classes.
        weights: How often each row counts, of shape (weightings, rows).
    """
    is_hit = targets == predictions
    return Counts(
        hits=_sums(targets[is_hit], num_classes, weights[:, is_hit]),
        support=_sums(targets, num_classes, weights),
        predicted=_sums(predictions, num_classes, weights),
    )


def confusion(targets: Integers, predictions: Integers, num_classes: int) -> Integers:
    """Return the counts of shape (num_classes, num_classes): rows are right classes, columns predicted ones."""
    cells = np.bincount(targets * num_classes + predictions, minlength=num_classes * num_classes)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def per_class(targets: Integers, predictions: Integers, labels: tuple[str, ...]) -> Json:
    """Return precision, recall, f1 and support of each class by its label; 0 where a ratio has no rows."""
    counts = count(targets, predictions, len(labels), np.ones((1, len(targets))))
    return {
        label: {
            "precision": float(counts.precision[0, place]),
            "recall": float(counts.recall[0, place]),
            "f1": float(counts.f1[0, place]),
            "support": int(counts.support[0, place]),
        }
        for place, label in enumerate(labels)
    }


def _sums(classes: Integers, num_classes: int, weights: Floats) -> Floats:
    """Return the weight of each class under each weighting, of shape (weightings, num_classes)."""
    sums = np.stack([np.bincount(classes, weights=row, minlength=num_classes) for row in weights])
    return sums.astype(np.float64)  # of no rows at all, numpy's counts are integers, whatever the weights


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _mean(values: Floats, counted: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    return np.asarray((values * counted).sum(axis=1) / counted.sum(axis=1))
