"""AugMix: chains of operations, mixed with one another and with the picture."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from autoft.augment import colours, draws, geometry
from autoft.augment.common import policy
from autoft.augment.operations import Operation, apply_operations, plain, signed, strong, up_to
from autoft.augment.policy import Augmentation

MAX_SEVERITY = 10
LEAST_LEVEL = 0.1
"""Levels are drawn from here to the severity, both of `MAX_SEVERITY`."""
MAX_DEPTH = 3
"""Operations in a chain, at most, where the depth is drawn."""

OPERATIONS: tuple[Operation, ...] = (
    plain("autocontrast", functional.autocontrast),
    plain("equalize", functional.equalize),
    strong("posterize", colours.posterize, lambda levels_B, _size: 4 - (4 * levels_B).trunc()),
    signed(
        "rotate",
        partial(geometry.rotate, interpolation="bilinear"),
        lambda levels_B, _size: (30 * levels_B).trunc(),
    ),
    strong("solarize", colours.solarize, lambda levels_B, _size: 256 - (256 * levels_B).trunc()),
    signed("shear_x", partial(geometry.shear_x, interpolation="bilinear"), up_to(0.3)),
    signed("shear_y", partial(geometry.shear_y, interpolation="bilinear"), up_to(0.3)),
    signed("translate_x", geometry.translate_x, lambda levels_B, size: levels_B * (size / 3)),
    signed("translate_y", geometry.translate_y, lambda levels_B, size: levels_B * (size / 3)),
)
"""The nine that are no corruption of ImageNet-C, with the values of the authors' code (augmentations.py), which cuts
degrees, bits, thresholds and pixels to whole numbers; posterize keeps 4 bits or fewer there."""


def augmix(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return the mix of `width` chains of operations with the picture, without the consistency loss.

    Reference: Hendrycks et al., AugMix, arXiv:1912.02781, algorithm 1; k is `width`.
    """
    keys = ("width", "depth", "severity", "alpha")
    return policy(config, partial(mix, **{key: config[key] for key in keys}))


def mix(
    images_BCHW: Tensor, generator: torch.Generator, *, width: int, depth: int | None, severity: float, alpha: float
) -> Tensor:
    """Return (1 - m) times each picture plus m times the sum of its weighted chains, rounded.

    Args:
        images_BCHW: uint8, square.
        generator: Source of all draws.
        width: Chains.
        depth: Operations in each chain; None: drawn evenly from 1 to `MAX_DEPTH` for each.
        severity: Largest level of an operation, of `MAX_SEVERITY`.
        alpha: Of the Dirichlet distribution of the weights and of the Beta distribution of m.
    """
    weights_BW, shares_B = mixing_weights(len(images_BCHW), width, alpha, generator)
    mixed = images_BCHW * draws.spread(1 - shares_B, images_BCHW)
    for index in range(width):
        changed = chain(images_BCHW, generator, depth=depth, severity=severity)
        mixed.addcmul_(changed, draws.spread(shares_B * weights_BW[:, index], images_BCHW))
    return mixed.round_().clamp_(0, 255).to(torch.uint8)


def mixing_weights(count: int, width: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the weights of the chains (count, width), each row with sum 1, and their share of the result (count,)."""
    rng = draws.numpy_generator(generator)
    weights = rng.dirichlet([alpha] * width, size=count)
    return torch.from_numpy(weights), torch.from_numpy(rng.beta(alpha, alpha, size=count))


def chain(images_BCHW: Tensor, generator: torch.Generator, *, depth: int | None, severity: float) -> Tensor:
    """Return each picture after its chain; every operation and its level are drawn evenly, the level anew each time."""
    count = len(images_BCHW)
    depths = torch.full((count,), depth) if depth else 1 + draws.one_of(count, MAX_DEPTH, generator)
    for index in range(depth or MAX_DEPTH):
        choices = draws.one_of(count, len(OPERATIONS), generator).masked_fill(depths <= index, -1)
        levels = draws.between(count, LEAST_LEVEL, severity, generator) / MAX_SEVERITY
        signs = draws.signs(count, generator)
        images_BCHW = apply_operations(
            images_BCHW, OPERATIONS, choices_B=choices, levels_B=levels, signs_B=signs, generator=generator
        )
    return images_BCHW
