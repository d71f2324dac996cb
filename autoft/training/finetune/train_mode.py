"""Training mode where something learns, evaluation mode where all is frozen."""

from torch import nn


def set_train_mode(network: nn.Module) -> None:
    """Put a network into training mode, but for its frozen parts.

    A part that has parameters, none of which learns, goes into evaluation mode with all that it holds: its batch
    norms keep their statistics, and it drops nothing. A part without parameters follows the part that holds it.
    """
    # By `train` itself, which some models (LeViT) override to forget what they keep for evaluation.
    network.train()
    _evaluate_frozen(network)


def _evaluate_frozen(part: nn.Module) -> None:
    parameters = list(part.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        part.eval()
        return
    for child in part.children():
        _evaluate_frozen(child)
