"""The modes that need no more than to say which parameters learn, and when."""

import logging
import math
from typing import TYPE_CHECKING

from torch import nn

from autoft.backbones.layers import batch_norms
from autoft.core.errors import ConfigError
from autoft.optim import decay_groups
from autoft.training.finetune.fresh import reinitialise
from autoft.training.finetune.learning import (
    backbone_groups,
    freeze,
    head_groups,
    kept_norms,
    l2_sp,
    layer_groups,
    named,
    pretrained,
)
from autoft.training.finetune.plans import Plan

if TYPE_CHECKING:
    from autoft.training.workbench import Workbench

_log = logging.getLogger(__name__)


def head_only(bench: "Workbench") -> Plan:
    """Freeze the backbone, in evaluation mode; the head learns."""
    for name in ("drop_path", "dropout"):
        if bench.config.recipe["backbone"].get(name):
            _log.warning("finetune.mode head drops nothing within the backbone: backbone.%s has no effect.", name)
    freeze(pretrained(bench))
    return Plan(groups=head_groups(bench))


def full(bench: "Workbench") -> Plan:
    """Let all weights learn, the last `reinit_groups` layer groups from fresh ones.

    Raises:
        ConfigError: If that is all of the backbone.
    """
    settings, layers = bench.config.recipe["finetune"], bench.backbone.layer_groups
    num_fresh = settings["reinit_groups"]
    fresh = reinitialise(bench, num_fresh)
    kept = [parameter for _, group in layers[: len(layers) - num_fresh] for parameter in group]
    return Plan(
        groups=head_groups(bench) + layer_groups(bench, layer_decay=settings["layer_decay"]),
        penalise=l2_sp(settings["l2_sp"], kept),
        kept_norms=kept_norms(bench, fresh=fresh),
    )


def partial(bench: "Workbench") -> Plan:
    """Freeze the first `frozen_groups` layer groups.

    Raises:
        ConfigError: If that is all of the backbone.
    """
    settings, layers = bench.config.recipe["finetune"], bench.backbone.layer_groups
    num_frozen = settings["frozen_groups"]
    if num_frozen >= len(layers):
        raise ConfigError(
            f"finetune.frozen_groups is {num_frozen} and would freeze all of {_backbone(bench)}, which has "
            f"{len(layers)} layer groups; give at most {len(layers) - 1}, or finetune.mode head."
        )
    freeze(parameter for _, group in layers[:num_frozen] for parameter in group)
    if bench.config.recipe["backbone"].get("batch_norm") == "batch" and not _has_learning_norm(bench):
        _log.warning("finetune.mode partial freezes every batch norm: backbone.batch_norm batch has no effect.")
    return Plan(
        groups=head_groups(bench) + layer_groups(bench, layer_decay=settings["layer_decay"]),
        penalise=l2_sp(settings["l2_sp"], pretrained(bench)),
        kept_norms=kept_norms(bench),
    )


def gradual(bench: "Workbench") -> Plan:
    """Let the head learn first, then one layer group after another from the output; see `num_unfrozen`.

    Reference: Howard & Ruder, ULMFiT, arXiv:1801.06146, 3.3.
    """
    settings, epochs = bench.config.recipe["finetune"], bench.config.epochs
    if epochs == 1:
        _log.warning("finetune.mode gradual has a single epoch: all layer groups learn from its start.")
    layers = [[p for p in group if p.requires_grad] for _, group in bench.backbone.layer_groups]

    def start_epoch(epoch: int) -> None:
        fraction = settings["unfreeze_fraction"]
        num_frozen = len(layers) - num_unfrozen(epoch, epochs, num_groups=len(layers), fraction=fraction)
        for index, parameters in enumerate(layers):
            for parameter in parameters:
                parameter.requires_grad_(index >= num_frozen)

    return Plan(
        groups=head_groups(bench) + layer_groups(bench, layer_decay=settings["layer_decay"]),
        start_epoch=start_epoch,
        penalise=l2_sp(settings["l2_sp"], pretrained(bench)),
        kept_norms=kept_norms(bench),
    )


def num_unfrozen(epoch: int, epochs: int, *, num_groups: int, fraction: float) -> int:
    """Return how many layer groups learn in an epoch, counted from 1, of `epochs`.

    None in the first; all from epoch `ceil(fraction * epochs)` on, though not before the second; between, their
    number grows evenly and is rounded up. A single epoch has all.
    """
    last = max(min(2, epochs), math.ceil(fraction * epochs))
    if epoch >= last:
        return num_groups
    return math.ceil(num_groups * (epoch - 1) / (last - 1))


def norm_bias(bench: "Workbench") -> Plan:
    """Let the norms, the biases and the head learn.

    Raises:
        ConfigError: If the backbone has neither.
    """
    learning = {id(parameter) for parameter in _norms_and_biases(bench.backbone.module)}
    if not learning:
        raise ConfigError(f"finetune.mode norm_bias has nothing to train in {_backbone(bench)}: no norm and no bias.")
    parameters = pretrained(bench)
    freeze(parameter for parameter in parameters if id(parameter) not in learning)
    return Plan(
        groups=head_groups(bench) + backbone_groups(bench, parameters, 1.0, name="backbone.norm_bias"),
        kept_norms=kept_norms(bench),
    )


def adapters_only(bench: "Workbench") -> Plan:
    """Let the head and the adapters learn, which `install_adapters` has put in."""
    kept = {id(parameter) for parameter in pretrained(bench)}
    if bench.backbone.pooling is not None:
        kept |= {id(parameter) for parameter in bench.backbone.pooling.parameters()}
    freeze(pretrained(bench))
    adapters = [parameter for parameter in bench.network.backbone.parameters() if id(parameter) not in kept]
    # The factors of (IA)^3 start at one, and decay would pull them to zero.
    factors = {name for name, _ in named(bench, adapters) if ".ia3_l." in name}
    return Plan(groups=head_groups(bench) + decay_groups(named(bench, adapters), name="adapters", no_decay=factors))


def _norms_and_biases(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of norms, which are modules named so, and those named a bias."""
    found = []
    for part in module.modules():
        kind = type(part).__name__.lower()
        is_norm = "norm" in kind and "normfree" not in kind
        for name, parameter in part.named_parameters(recurse=False):
            if is_norm or name == "bias" or name.endswith("_bias"):
                found.append(parameter)
    return found


def _has_learning_norm(bench: "Workbench") -> bool:
    norms = batch_norms(bench.backbone.module).values()
    return any(parameter.requires_grad for norm in norms for parameter in norm.parameters())


def _backbone(bench: "Workbench") -> str:
    return str(bench.config.recipe["backbone"]["name"])
