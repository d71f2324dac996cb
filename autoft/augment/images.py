"""Policies for pictures that draw from a list of operations, and those of crop and mirroring alone."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from autoft.augment import draws
from autoft.augment.common import policy
from autoft.augment.operations import NUM_BINS, RANDAUGMENT, TRIVIALAUGMENT_WIDE, apply_operations
from autoft.augment.policy import Augmentation


def crop_and_flip(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return what every policy has, alone: `flip` and `crop_flip`, which differ in the crop that is their default."""
    return policy(config)


def randaugment(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return `num_ops` operations in a row, each drawn evenly, all at one magnitude.

    Reference: Cubuk et al., RandAugment, arXiv:1909.13719; N is `num_ops`, M is `magnitude`, of 10.
    """
    step = partial(_rand_operations, num_ops=config["num_ops"], level=config["magnitude"] / 10)
    return policy(config, step)


def trivialaugment(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return one operation, drawn evenly, at an evenly drawn magnitude.

    Reference: Mueller & Hutter, TrivialAugment, arXiv:2103.10158, the wide space.
    """
    return policy(config, _trivial_operation)


def _rand_operations(images_BCHW: Tensor, generator: torch.Generator, *, num_ops: int, level: float) -> Tensor:
    count = len(images_BCHW)
    levels = torch.full((count,), level, dtype=torch.float64)
    for _ in range(num_ops):
        choices, signs = draws.one_of(count, len(RANDAUGMENT), generator), draws.signs(count, generator)
        images_BCHW = apply_operations(
            images_BCHW, RANDAUGMENT, choices_B=choices, levels_B=levels, signs_B=signs, generator=generator
        )
    return images_BCHW


def _trivial_operation(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    count = len(images_BCHW)
    levels = draws.one_of(count, NUM_BINS, generator).double() / (NUM_BINS - 1)
    choices, signs = draws.one_of(count, len(TRIVIALAUGMENT_WIDE), generator), draws.signs(count, generator)
    return apply_operations(
        images_BCHW, TRIVIALAUGMENT_WIDE, choices_B=choices, levels_B=levels, signs_B=signs, generator=generator
    )
