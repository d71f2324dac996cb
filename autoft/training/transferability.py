"""How much frozen features tell about the targets before anything is trained."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

RATIOS = (1e-10, 1e8)
"""Between them alpha / beta is sought, beside the largest eigenvalue: where features explain a class without an error
the evidence has no greatest value, and that of the first is taken."""
PER_DECADE = 4
HALVINGS = 28


@torch.no_grad()
def logme(features: Tensor, targets: Tensor) -> float | None:
    """Return the LogME of features: the log evidence, by row and class, that they explain the targets linearly.

    Each class is a regression of its indicator y on the features F: y ~ N(F w, 1 / beta), w ~ N(0, 1 / alpha). Its
    evidence p(y | F, alpha, beta) is taken at the alpha and beta where it is greatest. More is better; it compares
    backbones on the same rows. Where the paper iterates to a fixed point, here the ratio alpha / beta, of which all
    else follows, is sought on ever finer grids, which no start and no second maximum misleads. A class that no row or
    every row is of says nothing, and is left out; None where that leaves none, or a feature is not finite.

    Args:
        features: Float64 (N, F).
        targets: Classes of the rows, int64 (N,).

    Reference: You et al., LogME: Practical Assessment of Pre-trained Models for Transfer Learning, arXiv:2102.11005.
    """
    is_of_CN = (targets[None] == torch.unique(targets)[:, None]).to(features.dtype)
    if len(is_of_CN) < 2 or not torch.isfinite(features).all():
        return None
    eigenvalues_R, explained_CR = _spectrum(features, is_of_CN)
    largest = eigenvalues_R.max() if len(eigenvalues_R) else 1.0
    left_C = (is_of_CN.square().sum(1) - explained_CR.sum(1)).clamp(min=0.0)

    def evidence(logs_C: Tensor) -> Tensor:
        ratios_C1 = largest * logs_C.exp()[:, None]
        error_C = left_C + (explained_CR * (ratios_C1 / (ratios_C1 + eigenvalues_R))).sum(1)
        volume_C = torch.log1p(eigenvalues_R / ratios_C1).sum(1) / len(targets)
        return 0.5 * (torch.log(len(targets) / (2 * math.pi * error_C)) - 1 - volume_C)

    return float(_greatest(evidence, len(is_of_CN)).mean())


def _spectrum(features: Tensor, is_of_CN: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues above 0 of F F' (R), and each class's squared components along their vectors (C, R)."""
    num_rows, num_features = features.shape
    if num_rows <= num_features:
        eigenvalues, vectors = torch.linalg.eigh(features @ features.T)
        components = is_of_CN @ vectors
    else:
        eigenvalues, vectors = torch.linalg.eigh(features.T @ features)
        components = is_of_CN @ features @ vectors / eigenvalues.clamp(min=torch.finfo(features.dtype).tiny).sqrt()
    least = torch.finfo(features.dtype).eps * max(num_rows, num_features) * eigenvalues[-1]
    kept = eigenvalues > least
    return eigenvalues[kept], components[:, kept].square()


def _greatest(evidence: Callable[[Tensor], Tensor], count: int) -> Tensor:
    """Return the greatest of each of `count` functions of the logarithm of the ratio, within `RATIOS`."""
    low, high = map(math.log, RATIOS)
    num_steps = round(PER_DECADE * math.log10(RATIOS[1] / RATIOS[0]))
    step = (high - low) / num_steps
    at = torch.full((count,), low, dtype=torch.float64)
    best = evidence(at)
    for shift in (step * number for number in range(1, num_steps + 1)):
        at, best = _better(evidence, at, best, torch.full_like(at, low + shift))
    for _ in range(HALVINGS):
        step /= 2
        centre = at
        for shift in (-step, step):
            at, best = _better(evidence, at, best, (centre + shift).clamp(low, high))
    return best


def _better(evidence: Callable[[Tensor], Tensor], at: Tensor, best: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    found = evidence(other)
    return torch.where(found > best, other, at), torch.maximum(found, best)
