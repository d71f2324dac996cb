"""Groups of the parameters that learn, by part of the network."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from autoft.backbones.layers import batch_norms
from autoft.backbones.locate import NO_WEIGHTS
from autoft.optim import ParamGroup, decay_groups

if TYPE_CHECKING:
    from autoft.training.workbench import Workbench

NamedParameters = list[tuple[str, nn.Parameter]]


def head_groups(bench: "Workbench") -> list[ParamGroup]:
    """Return the groups of all that is fresh: the head, and the pooling's own parameters if it has any."""
    network, pooling = bench.network, bench.backbone.pooling
    scale = bench.config.recipe["head"]["lr_multiplier"]
    groups = decay_groups(named(bench, network.head.parameters()), scale, name="head")
    if pooling is not None:
        groups += decay_groups(named(bench, pooling.parameters()), scale, name="pooling")
    return groups


def layer_groups(bench: "Workbench", *, layer_decay: float) -> list[ParamGroup]:
    """Return the groups of the backbone's layers that are not frozen, from input to output.

    Layer group k from the head, the last one being k = 1, learns at `layer_decay ** k` of the rate.

    Reference: Clark et al., ELECTRA, arXiv:2003.10555, appendix B.
    """
    depth = len(bench.backbone.layer_groups)
    groups: list[ParamGroup] = []
    for index, (title, parameters) in enumerate(bench.backbone.layer_groups):
        scale = layer_decay ** (depth - index)
        groups += backbone_groups(bench, parameters, scale, name=f"backbone.{title}")
    return groups


def backbone_groups(
    bench: "Workbench", parameters: Iterable[nn.Parameter], lr_scale: float, *, name: str
) -> list[ParamGroup]:
    """Return the groups of those of the backbone's `parameters` that are not frozen."""
    no_decay = {f"backbone.{parameter}" for parameter in bench.backbone.no_decay}
    return decay_groups(named(bench, parameters), lr_scale, name=name, no_decay=no_decay)


def named(bench: "Workbench", parameters: Iterable[nn.Parameter]) -> NamedParameters:
    """Return parameters with their names in the network."""
    names = {id(parameter): name for name, parameter in bench.network.named_parameters()}
    return [(names[id(parameter)], parameter) for parameter in parameters]


def freeze(parameters: Iterable[nn.Parameter]) -> None:
    """Let none of the parameters learn."""
    for parameter in parameters:
        parameter.requires_grad_(False)


def pretrained(bench: "Workbench") -> list[nn.Parameter]:
    """Return the backbone's parameters without those of its pooling, from input to output."""
    return [parameter for _, group in bench.backbone.layer_groups for parameter in group]


def kept_norms(bench: "Workbench", *, fresh: Sequence[nn.Module] = ()) -> list[nn.Module]:
    """Return the batch norms that keep their statistics: all with pretrained ones, where the recipe wants that.

    Args:
        bench: Of the trial.
        fresh: Parts of the backbone that start from fresh weights.
    """
    settings = bench.config.recipe["backbone"]
    if settings.get("batch_norm", "pretrained") != "pretrained" or settings["weights"] == NO_WEIGHTS:
        return []
    return [norm for norm in batch_norms(bench.network).values() if norm not in fresh]


def l2_sp(strength: float, parameters: Sequence[nn.Parameter]) -> Callable[[], None] | None:
    """Return what adds the gradient of `strength / 2 * |w - w0|^2` to the gradients; None for a strength of 0.

    w are the `parameters` that have a gradient at the time, w0 their values now: a pull back to the pretrained
    weights, where weight decay pulls to zero.

    Reference: Li et al., Explicit Inductive Bias for Transfer Learning with CNNs, arXiv:1802.01483, eq. 2 (strength is
    their alpha; their beta is weight decay on the head).
    """
    if strength == 0:
        return None
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    starts = [parameter.detach().clone() for parameter in learning]

    @torch.no_grad()
    def penalise() -> None:
        for parameter, start in zip(learning, starts, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(parameter - start, alpha=strength)

    return penalise
