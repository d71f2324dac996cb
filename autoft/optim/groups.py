"""Parameters grouped by learning rate and weight decay."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class ParamGroup:
    """Parameters that share a learning rate and a weight decay."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    names: tuple[str, ...] = ()
    """The name of each parameter in the network ("head.weight"), by which Muon tells the layers; empty: unknown."""
    lr_scale: float = 1.0
    """Factor on the learning rate of the recipe."""
    decay: bool = True
    """Whether the weights decay; where the recipe says `decay_norms_and_biases`, those of all groups do."""


def decay_groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    lr_scale: float = 1.0,
    *,
    name: str = "all",
    no_decay: Collection[str] = (),
) -> list[ParamGroup]:
    """Return the trainable parameters as at most two groups: `name`, and `name.no_decay` with norms and biases.

    A parameter of at most one dimension is a norm's weight, a bias or a scale; decay would pull it toward zero, which
    is no simpler function. Frozen parameters are left out.

    Args:
        named_parameters: Each with its name in the network: "head.weight", "backbone.blocks.0.attn.qkv.weight".
        lr_scale: Factor on the learning rate of the recipe.
        name: What the groups are called.
        no_decay: Names of further parameters that do not decay: position embeddings, class tokens, what a model's
            `no_weight_decay()` lists.

    Reference: Goyal et al., arXiv:1706.02677, 5.3; He et al., Bag of Tricks, arXiv:1812.01187, 3.1.
    """
    decayed: dict[str, nn.Parameter] = {}
    others: dict[str, nn.Parameter] = {}
    for parameter_name, parameter in named_parameters:
        if parameter.requires_grad:
            is_other = parameter.ndim <= 1 or parameter_name.endswith(".bias") or parameter_name in no_decay
            (others if is_other else decayed)[parameter_name] = parameter
    parts = ((name, decayed, True), (f"{name}.no_decay", others, False))
    return [
        ParamGroup(name=group_name, parameters=tuple(part.values()), names=tuple(part), lr_scale=lr_scale, decay=decay)
        for group_name, part, decay in parts
        if part
    ]


def gradient_of(parameter: Tensor) -> Tensor:
    """Return the gradient of a parameter that has one.

    Raises:
        RuntimeError: If it has none.
    """
    if parameter.grad is None:
        raise RuntimeError("A parameter has no gradient.")
    return parameter.grad
