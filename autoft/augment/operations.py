"""The operations that policies draw from, on groups of pictures that share an operation.

torchvision's own transforms draw once for a whole batch; here each picture has its operation, its level and its sign,
and the pictures with one operation are changed together, each by a value of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from autoft.augment import colours, geometry
from autoft.augment.groups import change

NUM_BINS = 31
"""Strengths that TrivialAugment draws from, 0 included."""


class Apply(Protocol):
    """From uint8 (B, 3, H, W), a value a picture (B,), and the source of chance, to the same shape."""

    def __call__(self, images_BCHW: Tensor, values_B: Tensor, /, generator: torch.Generator) -> Tensor:
        """Return the changed pictures."""


Value = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One way to change a picture."""

    name: str
    apply: Apply
    value: Value = lambda levels_B, _size: torch.zeros_like(levels_B)
    """From levels in [0, 1] and the side of the pictures in pixels to the values."""
    is_signed: bool = False
    """Whether the value is negated half of the time."""


def plain(name: str, by: Callable[[Tensor], Tensor]) -> Operation:
    """Return an operation that has no strength."""
    return Operation(name=name, apply=lambda images_BCHW, values_B, generator: by(images_BCHW))


def strong(name: str, by: Callable[[Tensor, Tensor], Tensor], value: Value) -> Operation:
    """Return an operation with one direction."""
    return Operation(name=name, apply=lambda images_BCHW, values_B, generator: by(images_BCHW, values_B), value=value)


def signed(name: str, by: Callable[[Tensor, Tensor], Tensor], value: Value) -> Operation:
    """Return an operation with two directions, and nothing between them."""
    return Operation(
        name=name, apply=lambda images_BCHW, values_B, generator: by(images_BCHW, values_B), value=value, is_signed=True
    )


def enhancement(name: str, by: Callable[[Tensor, Tensor], Tensor], most: float) -> Operation:
    """Return an operation with a factor, 1 - `most` to 1 + `most`, that is the identity at 1."""
    return signed(name, lambda images, changes: by(images, 1 + changes), up_to(most))


def up_to(most: float) -> Value:
    """Return the values that go evenly from 0 to `most`."""
    return lambda levels_B, _size: levels_B * most


def up_to_side(share: float) -> Value:
    """Return the values that go evenly from 0 to a share of the side, in pixels."""
    return lambda levels_B, size: levels_B * (share * size)


def apply_operations(
    images_BCHW: Tensor,
    operations: Sequence[Operation],
    *,
    choices_B: Tensor,
    levels_B: Tensor,
    signs_B: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Return each picture changed by its own operation.

    Args:
        images_BCHW: uint8, square.
        operations: What there is to choose.
        choices_B: int64, which of them; -1: none.
        levels_B: float64 in [0, 1].
        signs_B: 1 or -1; for signed operations alone.
        generator: Source of what an operation itself draws.
    """
    size, result = images_BCHW.shape[-1], images_BCHW.clone()
    for choice in sorted(set(choices_B.tolist())):
        if choice < 0:
            continue
        operation = operations[choice]
        values_B = operation.value(levels_B, size)
        if operation.is_signed:
            values_B = values_B * signs_B
        change(result, choices_B == choice, partial(operation.apply, generator=generator), values_B)
    return result


def _space(*, shear: float, translate: Value, rotate: float, change: float, bits: int) -> tuple[Operation, ...]:
    """Return the 14 operations, with the value that each has at level 1.

    Args:
        shear: Slope.
        translate: From levels and the side of the picture to pixels.
        rotate: Degrees.
        change: Of brightness, colour, contrast and sharpness, from 1.
        bits: Lost by posterize.
    """
    return (
        plain("Identity", lambda images: images),
        signed("ShearX", geometry.shear_x, up_to(shear)),
        signed("ShearY", geometry.shear_y, up_to(shear)),
        signed("TranslateX", geometry.translate_x, translate),
        signed("TranslateY", geometry.translate_y, translate),
        signed("Rotate", geometry.rotate, up_to(rotate)),
        enhancement("Brightness", colours.brightness, change),
        enhancement("Color", colours.saturation, change),
        enhancement("Contrast", colours.contrast, change),
        enhancement("Sharpness", colours.sharpness, change),
        strong("Posterize", colours.posterize, kept_bits(bits)),
        strong("Solarize", colours.solarize, threshold),
        plain("AutoContrast", functional.autocontrast),
        plain("Equalize", functional.equalize),
    )


def kept_bits(lost: int) -> Value:
    """Return the bits that stay: 8 at level 0, `lost` fewer at level 1."""
    return lambda levels_B, _size: (8 - lost * levels_B).round()


def threshold(levels_B: Tensor, _size: int) -> Tensor:
    """Return the thresholds of solarize: 255 at level 0, where white alone is changed, 0 at level 1."""
    return 255 * (1 - levels_B)


RANDAUGMENT = _space(shear=0.3, translate=up_to_side(150 / 331), rotate=30, change=0.9, bits=4)
"""Cubuk et al., arXiv:1909.13719, with AutoAugment's ranges (arXiv:1805.09501), as in torchvision."""

TRIVIALAUGMENT_WIDE = _space(
    shear=0.99, translate=lambda levels_B, _size: levels_B * 32, rotate=135, change=0.99, bits=6
)
"""Mueller & Hutter, arXiv:2103.10158, table 6, "wide", as in torchvision."""
