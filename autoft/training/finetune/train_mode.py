"""Training mode where something learns, evaluation mode where all is frozen."""

from collections.abc import Iterable

from torch import nn


def set_train_mode(network: nn.Module, *, kept_norms: Iterable[nn.Module] = ()) -> None:
    """Put a network into training mode, but for its frozen parts.

    A part that has parameters, none of which learns, goes into evaluation mode with all that it holds: its batch
    norms keep their statistics, and it drops nothing. A part without parameters follows the part that holds it.

    Args:
        network: As the trial's plan left it.
        kept_norms: Its batch norms that keep their statistics: they go into evaluation mode too; their weights learn
            all the same.
    """
    # By `train` itself, which some models (LeViT) override to forget what they keep for evaluation.
    network.train()
    _evaluate_frozen(network)
    for norm in kept_norms:
        norm.eval()


def _evaluate_frozen(part: nn.Module) -> None:
    parameters = list(part.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        part.eval()
        return
    for child in part.children():
        _evaluate_frozen(child)
