"""Metrics that need probabilities: the area under the ROC curve and the logarithmic loss."""

from typing import Any

import numpy as np

from autoft.evaluation.counting import Floats, Integers

_SMALLEST = float(np.finfo(np.float64).eps)
"""No right label counts as less probable, so that one sure mistake is not an infinite loss (as in scikit-learn)."""


def log_loss(targets: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Return the mean negative log-likelihood of the right label in nats, of shape (weightings,).

    Args:
        targets: Right classes, of shape (rows,).
        probabilities: Of shape (rows, classes); each row is brought to a sum of 1.
        weights: How often each row counts, of shape (weightings, rows).
    """
    return np.asarray(weights @ row_losses(targets, probabilities) / weights.sum(axis=1))


def row_losses(targets: Integers, probabilities: Floats) -> Floats:
    """Return the negative log-likelihood of each row's right label in nats, of shape (rows,)."""
    right = probabilities[np.arange(len(targets)), targets] / probabilities.sum(axis=1)
    return np.asarray(-np.log(np.clip(right, _SMALLEST, 1.0)))


def roc_auc(targets: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Return the area under the ROC curve, of shape (weightings,); NaN where fewer than two classes have rows.

    Two classes: of the second. More: one against the rest, averaged over the classes that have rows (Fawcett, An
    introduction to ROC analysis, 2006), each the share of pairs that are ranked right, ties counting a half.
    """
    num_classes = probabilities.shape[1]
    classes = [1] if num_classes == 2 else range(num_classes)
    by_row = np.ascontiguousarray(weights.T)
    areas = np.stack([_area(targets == place, probabilities[:, place], by_row) for place in classes])
    defined = np.isfinite(areas)
    total = np.where(defined, areas, 0.0).sum(axis=0)
    found = defined.sum(axis=0)
    return np.asarray(np.divide(total, found, out=np.full(len(weights), np.nan), where=found > 0))


def _area(is_positive: np.ndarray[Any, np.dtype[np.bool_]], scores: Floats, by_row: Floats) -> Floats:
    """Return one class's area for each column of `by_row`, of shape (rows, weightings); NaN where it has no pairs."""
    positives = np.flatnonzero(is_positive)
    negatives = np.flatnonzero(~is_positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    up_to = np.zeros((len(negatives) + 1, by_row.shape[1]))
    np.cumsum(by_row[negatives], axis=0, out=up_to[1:])
    below = np.searchsorted(scores[negatives], scores[positives], side="left")
    not_above = np.searchsorted(scores[negatives], scores[positives], side="right")
    weights = by_row[positives]
    right = np.einsum("rw,rw->w", weights, up_to[below] + up_to[not_above]) / 2
    pairs = weights.sum(axis=0) * up_to[-1]
    return np.asarray(np.divide(right, pairs, out=np.full(by_row.shape[1], np.nan), where=pairs > 0))
