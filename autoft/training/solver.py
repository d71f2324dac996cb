"""Multinomial logistic regression on frozen features, for the probe and for what starts from its solution."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

L2_GRID = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3)
"""Strengths of the penalty, strongest first: each solution starts the next."""
MAX_ITERATIONS = 100


@torch.no_grad()
def fit_linear(
    layer: nn.Linear,
    features: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    *,
    heartbeat: Callable[[], None] | None = None,
) -> None:
    """Give a linear layer the weights that solve the classification of features.

    Features are standardised by the training split; the penalty is the one of `L2_GRID` with the smallest
    validation loss; the standardisation is then folded into the layer.

    Args:
        layer: From F features to C logits.
        features: Of the splits `train` and `val`, float64 (N, F).
        targets: Of the same rows, int64 (N,).
        heartbeat: Called at every evaluation of the loss.

    Reference: Kornblith et al., Do Better ImageNet Models Transfer Better?, arXiv:1805.08974.
    """
    mean = features["train"].mean(0)
    scale = features["train"].std(0, correction=0).clamp(min=1e-6)
    standardised = {split: (values - mean) / scale for split, values in features.items()}
    weight, bias = _best(standardised, targets, layer.out_features, heartbeat)
    layer.weight.copy_(weight / scale)
    layer.bias.copy_(bias - (weight / scale) @ mean)


def _best(
    features: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    num_classes: int,
    heartbeat: Callable[[], None] | None,
) -> tuple[Tensor, Tensor]:
    """Return weight (C, F) and bias (C,) in float64, on standardised features."""
    weight = torch.zeros(num_classes, features["train"].shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    best, chosen = float("inf"), (weight.detach().clone(), bias.detach().clone())
    for l2 in L2_GRID:
        minimise(weight, bias, features["train"], targets["train"], l2, heartbeat=heartbeat)
        loss = nn.functional.cross_entropy(features["val"] @ weight.T + bias, targets["val"]).item()
        if loss < best:
            best, chosen = loss, (weight.detach().clone(), bias.detach().clone())
    return chosen


@torch.enable_grad()
def minimise(
    weight: Tensor,
    bias: Tensor,
    features: Tensor,
    targets: Tensor,
    l2: float,
    *,
    heartbeat: Callable[[], None] | None = None,
) -> None:
    """Move weight (C, F) and bias (C,) to the minimum of mean cross-entropy + l2 / 2 * |weight|^2, by L-BFGS."""
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=MAX_ITERATIONS, history_size=10, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        solver.zero_grad()
        loss = nn.functional.cross_entropy(features @ weight.T + bias, targets)
        loss = loss + 0.5 * l2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        if heartbeat is not None:
            heartbeat()
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]


def linear_head(network: nn.Module) -> nn.Linear:
    """Return the linear layer of a network's head."""
    linear = network.get_submodule("head.linear")
    if not isinstance(linear, nn.Linear):
        raise TypeError(f"A probe needs a linear head, not {type(linear).__name__}.")
    return linear
