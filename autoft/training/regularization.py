"""What is added to the loss of a batch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoft.core import catalog
from autoft.core.errors import ConfigError
from autoft.tasks.losses import Loss

Embed = Callable[[Tensor], Tensor]
"""From the embeddings (B, L, E) of a batch's tokens to those that the encoder gets in their place."""

Forward = Callable[[Embed | None], Tensor]
"""From what happens to the embeddings to fresh logits (B, C), float32, of one batch: each call has a new dropout."""

Regularization = Callable[[Forward, Loss, Tensor, float | Tensor], Tensor]
"""From forward pass, loss, targets, int64 (B,) or probabilities (B, C), and a scale to the scalar to go back from.

The scale is what a plain mean over the rows counts beside the loss, whose rows may have the weights of their classes:
of pieces of an update, each with its part of the weights, the plain mean would else be another than of all rows.
"""


def build_regularization(config: Mapping[str, Any]) -> Regularization | None:
    """Return the regularization of a recipe's section, or None if there is the loss alone.

    Raises:
        ConfigError: If there is no such regularization.
    """
    entry = catalog.entry("regularization", config["name"], where="regularization.name")
    regularization: Regularization | None = entry.load()(config)
    return regularization


def none(config: Mapping[str, Any]) -> None:
    """Return None: there is the loss alone."""


def r_drop(config: Mapping[str, Any]) -> Regularization:
    """Return the mean loss of two passes plus `alpha` times how far apart they predict; each update costs two.

    How far is the mean of both Kullback-Leibler divergences between the softmaxes of the logits, and their mean over
    the batch. The paper's sum of two losses is their mean here, as in its code, so that alpha 0 would be the loss.

    Reference: Liang et al., R-Drop, arXiv:2106.14448, equations 1 to 4.
    """
    alpha = float(config["alpha"])

    def regularize(forward: Forward, loss: Loss, targets: Tensor, scale: float | Tensor) -> Tensor:
        first, second = forward(None), forward(None)
        return (loss(first, targets) + loss(second, targets)) / 2 + alpha * scale * divergence(first, second)

    return regularize


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of KL(p || q) and KL(q || p) of two predictions' logits (B, C), a mean over the batch."""
    # Both together are the sum of (p - q)(log p - log q).
    logs_p, logs_q = functional.log_softmax(first, dim=1), functional.log_softmax(second, dim=1)
    return ((logs_p.exp() - logs_q.exp()) * (logs_p - logs_q)).sum(dim=1).mean() / 2


def fgm(config: Mapping[str, Any]) -> Regularization:
    """Return the loss plus the loss after the embeddings moved by `epsilon` to where it grows fastest.

    Each row's embeddings move together, by epsilon in the Euclidean norm over all of its tokens; the move itself is
    taken as constant. As in the paper both losses are added. The paper scales the embeddings to deviation 1 first;
    here they stay as they were pretrained, so epsilon is in their units.

    Raises:
        ConfigError: In the first batch, if the backbone has no embeddings to move.

    Reference: Miyato et al., arXiv:1605.07725, equations 4 and 5.
    """
    epsilon = float(config["epsilon"])

    def regularize(forward: Forward, loss: Loss, targets: Tensor, _scale: float | Tensor) -> Tensor:
        seen: list[Tensor] = []

        def see(embeddings_BLE: Tensor) -> Tensor:
            # Frozen embeddings have no gradient by themselves.
            seen.append(embeddings_BLE if embeddings_BLE.requires_grad else embeddings_BLE.detach().requires_grad_())
            return seen[-1]

        clean = loss(forward(see), targets)
        if not seen:
            raise ConfigError(
                "regularization.name: fgm moves the embeddings of tokens, and this backbone does not say which part of "
                "it gives them. Take 'none' or 'r_drop'."
            )
        (slope,) = torch.autograd.grad(clean, seen[-1], retain_graph=True)
        move_BLE = steepest(slope, epsilon)
        return clean + loss(forward(lambda embeddings_BLE: embeddings_BLE + move_BLE), targets)

    return regularize


def steepest(slope_BLE: Tensor, epsilon: float) -> Tensor:
    """Return each row of the gradient scaled to the norm `epsilon`; a row of zeros stays."""
    slope = slope_BLE.float()
    # By the largest entry first: the squares of small gradients, of rows that are learned, would be rounded to zero.
    slope = slope / slope.abs().amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    norms_B = torch.linalg.vector_norm(slope, dim=(1, 2), keepdim=True).clamp(min=1)
    move_BLE: Tensor = epsilon * slope / norms_B
    return move_BLE.to(slope_BLE.dtype)


@contextmanager
def embedded(embeddings: nn.Module | None, *changes: Embed | None) -> Iterator[None]:
    """Pass what `embeddings` gives, (B, L, E), through `changes`, the first one first.

    Raises:
        ConfigError: If there are changes and no embeddings.
    """
    active = [change for change in changes if change is not None]
    if not active:
        yield
        return
    if embeddings is None:
        raise ConfigError("This backbone has no word embeddings, which mixing or regularization would change.")

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        for change in active:
            output = change(output)
        return output

    handle = embeddings.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
