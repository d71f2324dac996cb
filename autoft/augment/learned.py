"""A policy of operations in a row, whose kinds, probabilities and magnitudes a space searches over."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from autoft.augment import colours, draws, geometry, texture
from autoft.augment.common import Step, policy
from autoft.augment.operations import (
    Operation,
    apply_operations,
    enhancement,
    kept_bits,
    plain,
    signed,
    strong,
    up_to,
    up_to_side,
)
from autoft.augment.policy import Augmentation
from autoft.core import catalog

PLACES = ("op1", "op2", "op3", "op4")


def learned(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return the operations of `op1` to `op4`, in this order.

    Each picture has each operation with its probability, and, where it has two directions, in a drawn one.

    Reference: Cubuk et al., AutoAugment, arXiv:1805.09501, section 3 (operation, probability, magnitude), here one
    policy whose numbers are parameters of the space.
    """
    return policy(config, *(step for place in PLACES for step in _steps(config[place])))


def _steps(config: Mapping[str, Any]) -> list[Step]:
    if config["name"] == "identity":
        return []
    operation = catalog.entry("operation", config["name"]).load()
    # Those that have no magnitude have no value either.
    return [
        partial(apply_one, operation=operation, probability=config["probability"], level=config.get("magnitude", 0))
    ]


def apply_one(
    images_BCHW: Tensor, generator: torch.Generator, *, operation: Operation, probability: float, level: float
) -> Tensor:
    """Return each picture changed with `probability`, at a level in [0, 1], in a drawn direction."""
    count = len(images_BCHW)
    choices = torch.where(draws.occurs(count, probability, generator), 0, -1)
    levels = torch.full((count,), level, dtype=torch.float64)
    return apply_operations(
        images_BCHW,
        [operation],
        choices_B=choices,
        levels_B=levels,
        signs_B=draws.signs(count, generator),
        generator=generator,
    )


# Each is the identity at level 0 and reaches AutoAugment's range (arXiv:1805.09501, table 6) at level 1; blur, noise,
# hue and cutout, which it has not or not so, reach what the comment beside them says.
IDENTITY = plain("identity", lambda images: images)
ROTATE = signed("rotate", partial(geometry.rotate, interpolation="bilinear"), up_to(30))
SHEAR_X = signed("shear_x", partial(geometry.shear_x, interpolation="bilinear"), up_to(0.3))
SHEAR_Y = signed("shear_y", partial(geometry.shear_y, interpolation="bilinear"), up_to(0.3))
TRANSLATE_X = signed("translate_x", geometry.translate_x, up_to_side(150 / 331))
TRANSLATE_Y = signed("translate_y", geometry.translate_y, up_to_side(150 / 331))
BRIGHTNESS = enhancement("brightness", colours.brightness, 0.9)
COLOUR = enhancement("colour", colours.saturation, 0.9)
CONTRAST = enhancement("contrast", colours.contrast, 0.9)
SHARPNESS = enhancement("sharpness", colours.sharpness, 0.9)
HUE = signed("hue", colours.hue, up_to(0.5))  # Half of the circle: all hues.
POSTERIZE = strong("posterize", colours.posterize, kept_bits(4))
SOLARIZE = strong("solarize", colours.solarize, lambda levels_B, _size: 256 * (1 - levels_B))
AUTOCONTRAST = plain("autocontrast", functional.autocontrast)
EQUALIZE = plain("equalize", functional.equalize)
INVERT = plain("invert", colours.invert)
GRAYSCALE = plain("grayscale", colours.grayscale)
BLUR = strong("blur", texture.gaussian_blur, up_to(2.0))  # Pixels: SimCLR's largest.
NOISE = Operation(name="noise", apply=texture.gaussian_noise, value=up_to(0.2))  # A fifth of the range.
CUTOUT = Operation(name="cutout", apply=texture.cutout, value=up_to_side(0.5))  # DeVries & Taylor's on CIFAR-10.
