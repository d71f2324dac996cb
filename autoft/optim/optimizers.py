"""Optimizers of torch and timm, built from the settings of a recipe.

Every builder takes the section `optimizer` of a complete recipe and torch's parameter groups, which already hold the
learning rate and weight decay of each, the names of its parameters, and whether they are such as decay.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from autoft.core import catalog
from autoft.core.jsonable import Json
from autoft.optim.groups import ParamGroup
from autoft.optim.muon import Muon, split_groups
from autoft.optim.sam import SAM

Groups = list[Json]


def build_optimizer(config: Mapping[str, Any], groups: Sequence[ParamGroup]) -> Optimizer:
    """Return the optimizer of a recipe's section `optimizer`, its rate at `lr` times each group's `lr_scale`.

    Args:
        config: `name` and all settings of that entry of the catalog.
        groups: Parameters, no one in two groups.

    Raises:
        ConfigError: If there is no such optimizer, or it is not for these parameters.
    """
    entry = catalog.entry("optimizer", config["name"], where="optimizer.name")
    shared = _innermost(config)
    param_groups = [
        {
            "params": list(group.parameters),
            "names": group.names,
            "name": group.name,
            "lr_scale": group.lr_scale,
            "decay": group.decay,
            "lr": shared["lr"] * group.lr_scale,
            "weight_decay": shared["weight_decay"] if group.decay or shared["decay_norms_and_biases"] else 0.0,
        }
        for group in groups
        if group.parameters
    ]
    optimizer: Optimizer = entry.load()(config, param_groups)
    for param_group in optimizer.param_groups:
        # Else every checkpoint would hold them.
        del param_group["names"]
    return optimizer


def peak_lr(config: Mapping[str, Any]) -> float:
    """Return the largest learning rate of a recipe's section `optimizer`: SAM's is that of its base."""
    return float(_innermost(config)["lr"])


def _innermost(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of the optimizer that steps."""
    return _innermost(config["base"]) if "base" in config else config


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Give every group `learning_rate` times its `lr_scale`.

    Args:
        optimizer: From `build_optimizer`.
        learning_rate: `peak_lr` of the recipe times the schedule's factor.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_scale"]


def adamw(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return torch's AdamW, fused where torch has a fused kernel for the parameters."""
    return torch.optim.AdamW(groups, betas=_betas(config), eps=config["eps"], fused=_fusable(groups))


def sgd(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return torch's SGD."""
    momentum = config["momentum"]
    # Without momentum Nesterov's step is the plain one; torch refuses the pair.
    nesterov = config["nesterov"] and momentum > 0
    return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov, fused=_fusable(groups))


def radam(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return torch's RAdam, with decoupled weight decay as in AdamW."""
    return torch.optim.RAdam(groups, betas=_betas(config), eps=config["eps"], decoupled_weight_decay=True)


def nadamw(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return timm's NAdamW."""
    return _timm("nadamw", groups, betas=_betas(config), eps=config["eps"])


def lamb(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return timm's LAMB, without its own clipping: the recipe's `clip_norm` alone decides.

    All weights are stepped in proportion to their norm; norms and biases, which start at 0 or 1, are not. timm would
    read that from the weight decay, so that a decay of 0 changed the method.
    """
    for group in groups:
        group["always_adapt"] = group["decay"]
    return _counting_own_steps(_timm("lamb", groups, betas=_betas(config), eps=config["eps"], max_grad_norm=None))


def lion(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return timm's Lion."""
    return _timm("lion", groups, betas=_betas(config))


def adan(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return timm's Adan."""
    betas = (*_betas(config), config["beta3"])
    return _counting_own_steps(_timm("adan", groups, betas=betas, eps=config["eps"]))


def adafactor(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return timm's Adafactor, with the recipe's rate in place of its own."""
    betas = None if config["beta1"] is None else (config["beta1"], 0.0)
    decay_rate, threshold = -config["decay_rate"], config["clip_threshold"]
    return _timm("adafactor", groups, betas=betas, decay_rate=decay_rate, clip_threshold=threshold)


def muon(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return Muon for the hidden matrices and convolutions, AdamW for the rest.

    Raises:
        ConfigError: If no hidden matrix learns.
    """
    return Muon(
        split_groups(groups, adamw_lr_ratio=config["adamw_lr_ratio"]),
        momentum=config["momentum"],
        nesterov=config["nesterov"],
        ns_steps=config["ns_steps"],
        betas=_betas(config),
        eps=config["eps"],
        fused=_fusable(groups),
    )


def sam(config: Mapping[str, Any], groups: Groups) -> Optimizer:
    """Return SAM around the optimizer of the block `base`."""
    base: Optimizer = catalog.entry("optimizer", config["base"]["name"]).load()(config["base"], groups)
    return SAM(base, rho=config["rho"], adaptive=config["adaptive"])


def _betas(config: Mapping[str, Any]) -> tuple[float, float]:
    return config["beta1"], config["beta2"]


def _fusable(groups: Groups) -> bool:
    parameters = [parameter for group in groups for parameter in group["params"]]
    return all(p.device.type in {"cpu", "cuda"} and torch.is_floating_point(p) for p in parameters)


def _timm(name: str, groups: Groups, **settings: Any) -> Optimizer:
    from timm.optim import get_optimizer_class

    # timm's classes read the rate and decay of each group; the defaults they ask for are never used.
    optimizer: Optimizer = get_optimizer_class(name)(groups, lr=groups[0]["lr"], **settings)
    return optimizer


def _counting_own_steps(optimizer: Optimizer) -> Optimizer:
    """Let each group of an optimizer of timm's that counts steps by group count those in which it had a gradient.

    timm counts all: the moments of a group that thaws late would be taken for old ones, and its first steps be too
    small or too large.
    """

    def take_back(optimizer: Optimizer, _args: Any, _settings: Any) -> None:
        for group in optimizer.param_groups:
            if all(parameter.grad is None for parameter in group["params"]):
                group["step"] -= 1

    optimizer.register_step_post_hook(take_back)
    return optimizer
