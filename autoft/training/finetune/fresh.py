"""Fresh weights for the last layers of a pretrained backbone."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from autoft import backbones
from autoft.core.errors import ConfigError
from autoft.core.seeds import derive_seed

if TYPE_CHECKING:
    from autoft.training.workbench import Workbench


@torch.no_grad()
def reinitialise(bench: "Workbench", num_groups: int) -> list[nn.Module]:
    """Give the last `num_groups` layer groups of the backbone the weights that training from nothing starts with.

    They are drawn from the trial's seed. The statistics of norms whose weights are all fresh start anew, too.

    Returns:
        The parts of which all own weights are fresh.

    Raises:
        ConfigError: If that is all of the backbone.

    Reference: Zhang et al., Revisiting Few-sample BERT Fine-tuning, arXiv:2006.05987, 5.
    """
    backbone = bench.backbone
    if num_groups == 0:
        return []
    largest = len(backbone.layer_groups) - 1
    if num_groups > largest:
        raise ConfigError(
            f"finetune.reinit_groups is {num_groups} and would leave nothing pretrained of "
            f"{bench.config.recipe['backbone']['name']}, which has {largest + 1} layer groups; give at most {largest}, "
            "or backbone.weights none."
        )
    fresh = backbones.rebuild(backbone.architecture, seed=derive_seed(bench.config.seed, "reinit"))
    changed = set()
    for (_, old), (_, new) in zip(backbone.layer_groups[-num_groups:], fresh.layer_groups[-num_groups:], strict=True):
        for parameter, value in zip(old, new, strict=True):
            parameter.copy_(value)
            changed.add(id(parameter))
    parts = []
    for path, part in backbone.module.named_modules():
        own = [id(parameter) for parameter in part.parameters(recurse=False)]
        if own and changed.issuperset(own):
            parts.append(part)
            new_part = fresh.module.get_submodule(path)
            for name, buffer in part.named_buffers(recurse=False):
                buffer.copy_(new_part.get_buffer(name))
    return parts
