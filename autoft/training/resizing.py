"""Sizes of pictures over the epochs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torchvision.transforms.v2 import functional

from autoft.core import catalog

MULTIPLE = 32
"""Sides below the input size are multiples of this, the stride of most backbones; of patches that do not divide it the
nearest whole number of those."""


class Resizing(Protocol):
    """A side of the pictures for each epoch."""

    def side(self, epoch: int, epochs: int) -> int:
        """Return the side in pixels in `epoch`, counted from 1, of a trial of `epochs`."""

    def resize(self, images_BCHW: Tensor, side: int) -> Tensor:
        """Return pictures, uint8 (B, 3, S, S), as (B, 3, side, side)."""


def resizing_of(recipe: Mapping[str, Any], size: int) -> Resizing:
    """Return the resizing of a recipe, whose sides fit its backbone; `size` as for `build_resizing`."""
    argument = catalog.entry("backbone", recipe["backbone"]["name"]).argument("input_size")
    grid = argument.multiple_of if argument is not None else None
    return build_resizing(recipe["resizing"], size, grid=grid or 1)


def build_resizing(config: Mapping[str, Any], size: int, *, grid: int = 1) -> Resizing:
    """Return the resizing of a recipe's section `resizing`.

    Args:
        config: `name` and all settings of that entry of the catalog.
        size: Side of the backbone's input in pixels; 0 where it reads no pictures.
        grid: What sides must be multiples of.

    Raises:
        ConfigError: If there is no such resizing.
    """
    multiple = grid * max(1, round(MULTIPLE / grid))
    build = catalog.entry("resizing", config["name"], where="resizing.name").load()
    resizing: Resizing = build(config, size, multiple)
    return resizing


@dataclass(frozen=True, slots=True)
class Fixed:
    """The backbone's input size from the first epoch on."""

    size: int

    def side(self, epoch: int, epochs: int) -> int:
        """Return the input size."""
        return self.size

    def resize(self, images_BCHW: Tensor, side: int) -> Tensor:
        """Return the pictures at that side."""
        return resized(images_BCHW, side)


@dataclass(frozen=True, slots=True)
class Progressive:
    """Small pictures first: the side grows linearly from epoch to epoch.

    The side is `initial_fraction` of the input size in the first epoch and the whole of it once `growth_fraction` of
    the way from the first to the last epoch is done; so it is whole in the last epoch, and in a trial of one epoch.
    The paper's growth in four stages, with the regularization growing too, is not followed.

    Reference: Tan & Le, EfficientNetV2, arXiv:2104.00298, section 4.2.
    """

    size: int
    initial_fraction: float
    growth_fraction: float
    multiple: int = MULTIPLE

    def side(self, epoch: int, epochs: int) -> int:
        """Return the side in `epoch`, from 1: a multiple of `multiple`, at least that, or the input size."""
        way = (epoch - 1) / (epochs - 1) if epochs > 1 else 1.0
        # Where both are the same number the division may give a hair less than 1.
        grown = min(1.0, round(way / self.growth_fraction, 9))
        exact = self.size * (self.initial_fraction + (1 - self.initial_fraction) * grown)
        if grown == 1:
            return self.size
        return min(self.size, max(self.multiple, self.multiple * int(exact / self.multiple + 0.5)))

    def resize(self, images_BCHW: Tensor, side: int) -> Tensor:
        """Return the pictures at that side."""
        return resized(images_BCHW, side)


def fixed(config: Mapping[str, Any], size: int, multiple: int) -> Fixed:
    """Return the input size for every epoch."""
    return Fixed(size)


def progressive(config: Mapping[str, Any], size: int, multiple: int) -> Progressive:
    """Return sides that grow by `initial_fraction` and `growth_fraction`."""
    return Progressive(size, float(config["initial_fraction"]), float(config["growth_fraction"]), multiple)


def resized(images_BCHW: Tensor, side: int) -> Tensor:
    """Return square pictures at another side, bilinear with antialiasing; at their own, as they are."""
    if images_BCHW.shape[-1] == side:
        return images_BCHW
    smaller: Tensor = functional.resize(images_BCHW, [side, side], antialias=True)
    return smaller
