"""What every policy for pictures has around its own steps: crop and mirroring before, erasing after them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from autoft.augment.geometry import random_flip, random_resized_crop, random_vertical_flip
from autoft.augment.policy import Augmentation, Batch
from autoft.augment.texture import random_erasing

Step = Callable[[Tensor, torch.Generator], Tensor]
"""From pictures, uint8 (B, 3, S, S), to as many of the same size."""


def policy(config: Mapping[str, Any], *steps: Step) -> Augmentation:
    """Return crop, mirroring, the steps and random erasing, in this order.

    Args:
        config: The settings that every policy has: `min_scale` (1: no crop), `flip`, `vertical_flip` and `erasing`.
        steps: The policy's own.
    """
    before: list[Step] = []
    if config["min_scale"] < 1:
        before.append(partial(random_resized_crop, min_scale=config["min_scale"]))
    if config["flip"]:
        before.append(random_flip)
    if config["vertical_flip"]:
        before.append(random_vertical_flip)
    after: list[Step] = [partial(random_erasing, probability=config["erasing"])] if config["erasing"] > 0 else []
    every = [*before, *steps, *after]

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        (images_BCHW,) = batch
        for step in every:
            images_BCHW = step(images_BCHW, generator)
        return (images_BCHW,)

    return augment
