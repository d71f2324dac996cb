"""Losses of the classification tasks.

Each takes labels and probabilities alike (mixed labels), with the same value for a label and its one-hot row. Label
smoothing moves its share of a target evenly to all classes (Szegedy et al., arXiv:1512.00567, section 7).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits (B, C) and targets, int64 (B,) or probabilities (B, C), to a scalar, a mean over the batch."""


def cross_entropy(config: Mapping[str, Any], class_counts: Sequence[int], device: torch.device | str = "cpu") -> Loss:
    """Return the cross-entropy with the smoothing and class weights of `config`.

    With class weights the mean over a batch is the weighted mean, as in torch.
    """
    smoothing = float(config["label_smoothing"])
    weights = _class_weights(config, class_counts, device)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        value = functional.cross_entropy(logits.float(), targets, weight=weights, label_smoothing=smoothing)
        if weights is None or not targets.is_floating_point():
            return value
        # Of probabilities torch takes the sum over the number of rows, of labels over the sum of their weights.
        return value * len(targets) / (targets @ weights).sum()

    return loss


def focal(config: Mapping[str, Any], class_counts: Sequence[int], device: torch.device | str = "cpu") -> Loss:
    """Return the cross-entropy with each class's term times (1 - p)^gamma: rows that are learned count little.

    The paper's sigmoid is a softmax here: the loss of a target y is the sum over classes of -y_c (1 - p_c)^gamma
    log p_c, of a label c alone -(1 - p_c)^gamma log p_c. The paper's alpha is `class_weights`; with these the mean over
    a batch is the weighted mean.

    Reference: Lin et al., arXiv:1708.02002, equation 5.
    """
    gamma, smoothing = float(config["gamma"]), float(config["label_smoothing"])
    weights = _class_weights(config, class_counts, device)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        logs = functional.log_softmax(logits.float(), dim=1)
        # (1 - p)^gamma has no finite slope at p = 1 where gamma is below 1; the clamp gives it one of 0.
        others = (-torch.expm1(logs)).clamp(min=torch.finfo(logs.dtype).tiny)
        probabilities = as_probabilities(targets, logits.shape[1])
        smoothed = probabilities * (1 - smoothing) + smoothing / logits.shape[1]
        terms = -smoothed * others**gamma * logs
        if weights is None:
            return terms.sum() / len(terms)
        return (terms @ weights).sum() / (probabilities @ weights).sum()

    return loss


def class_balanced(config: Mapping[str, Any], class_counts: Sequence[int], device: torch.device | str = "cpu") -> Loss:
    """Return the cross-entropy with each class weighted by the inverse of its effective number of rows.

    As the paper has it, the mean over a batch is by the number of rows, not by their weights.

    Reference: Cui et al., arXiv:1901.05555, equations 4 and 11.
    """
    smoothing = float(config["label_smoothing"])
    weights = effective_weights(class_counts, float(config["beta"])).to(device)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        probabilities = as_probabilities(targets, logits.shape[1])
        return functional.cross_entropy(logits.float(), probabilities, weight=weights, label_smoothing=smoothing)

    return loss


def logit_adjusted(config: Mapping[str, Any], class_counts: Sequence[int], device: torch.device | str = "cpu") -> Loss:
    """Return the cross-entropy of logits + tau log(prior), the prior being a class's share of the training rows.

    Predictions are by the logits alone, so they are as if all classes were as likely. A class without rows counts as
    one with a single row: the logarithm of its share has no value, and smoothed labels reach it.

    Reference: Menon et al., arXiv:2007.07314, equation 10.
    """
    smoothing, tau = float(config["label_smoothing"]), float(config["tau"])
    counts = _counts(class_counts).clamp(min=1)
    adjustment = (tau * (counts / counts.sum()).log()).float().to(device)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float() + adjustment, targets, label_smoothing=smoothing)

    return loss


def weights_of_mean(
    config: Mapping[str, Any], class_counts: Sequence[int], device: torch.device | str = "cpu"
) -> Tensor | None:
    """Return the weight (C,) of each class in the mean that a loss takes over a batch; None: rows count alike."""
    return _class_weights(config, class_counts, device) if "class_weights" in config else None


def balanced_weights(class_counts: Sequence[int]) -> Tensor:
    """Return the weight (C,) of each class with which all classes count the same; their mean over rows is 1.

    A class without rows weighs 0.

    Reference: King & Zeng, Logistic Regression in Rare Events Data, 2001; scikit-learn's "balanced".
    """
    counts = _counts(class_counts)
    present = counts > 0
    weights = counts.sum() / (present.sum() * counts.clamp(min=1))
    return torch.where(present, weights, 0.0).float()


def effective_weights(class_counts: Sequence[int], beta: float) -> Tensor:
    """Return the weight (C,) of each class, in proportion to (1 - beta) / (1 - beta^n); their sum is C.

    beta 0 weighs all alike; near 1 a class weighs as the inverse of its rows. A class without rows weighs 0, and C
    does not count it.

    Reference: Cui et al., arXiv:1901.05555, equations 3 and 11.
    """
    counts = _counts(class_counts)
    present = counts > 0
    weights = torch.where(present, (1 - beta) / (1 - beta ** counts.clamp(min=1)), 0.0)
    return (weights * present.sum() / weights.sum()).float()


def as_probabilities(targets: Tensor, num_classes: int) -> Tensor:
    """Return targets as probabilities, float32 (B, C): labels as one-hot rows, probabilities as they are."""
    if targets.is_floating_point():
        return targets
    return functional.one_hot(targets, num_classes).float()


def _counts(class_counts: Sequence[int]) -> Tensor:
    return torch.tensor([int(count) for count in class_counts], dtype=torch.float64)


def _class_weights(config: Mapping[str, Any], class_counts: Sequence[int], device: torch.device | str) -> Tensor | None:
    return balanced_weights(class_counts).to(device) if config["class_weights"] == "balanced" else None
