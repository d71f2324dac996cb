"""Mirroring, cropping, rotating, shearing and shifting, with one draw or one value a picture."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad
from torchvision.transforms.v2 import functional

from autoft.augment import draws

CROP_RATIO = 4 / 3
"""Widest crop, as width over height; the narrowest is its inverse."""
NUM_TRIES = 10

Interpolation = Literal["nearest", "bilinear"]


def random_flip(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures, each mirrored left to right with probability 1/2.

    Reference: Krizhevsky et al., NeurIPS 2012.
    """
    return _mirrored(images_BCHW, generator, axis=-1)


def random_vertical_flip(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures, each turned upside down, by a mirror, with probability 1/2."""
    return _mirrored(images_BCHW, generator, axis=-2)


def _mirrored(images_BCHW: Tensor, generator: torch.Generator, *, axis: int) -> Tensor:
    is_flipped = draws.occurs(len(images_BCHW), 0.5, generator).to(images_BCHW.device)
    return torch.where(is_flipped.view(-1, 1, 1, 1), images_BCHW.flip(axis), images_BCHW)


def random_resized_crop(images_BCHW: Tensor, generator: torch.Generator, *, min_scale: float) -> Tensor:
    """Return a random part of each picture, resized to the whole.

    Args:
        images_BCHW: uint8.
        generator: Source of all draws.
        min_scale: Smallest share of the area; the share is drawn evenly from [min_scale, 1], the logarithm of the
            aspect evenly from [log 3/4, log 4/3].

    Reference: Szegedy et al., arXiv:1409.4842, section 6; the tries and the fallback are torchvision's.
    """
    height, width = images_BCHW.shape[-2:]
    boxes, fits = draw_boxes(len(images_BCHW), height, width, generator, areas=(min_scale, 1), ratio=CROP_RATIO)
    boxes[~fits] = torch.tensor([0, 0, height, width])
    result = torch.empty_like(images_BCHW)
    for index, (top, left, rows, columns) in enumerate(boxes.tolist()):
        crop = images_BCHW[index, :, top : top + rows, left : left + columns]
        result[index] = functional.resize(crop, [height, width], antialias=True)
    return result


def random_padded_crop(images_BCHW: Tensor, generator: torch.Generator, *, padding: int) -> Tensor:
    """Return each picture cut out of itself at a random place, after `padding` mirrored pixels around it.

    Reference: Touvron et al., DeiT III, arXiv:2204.07118, section 3.2 ("simple random crop").
    """
    count, channels, height, width = images_BCHW.shape
    padding = min(padding, height - 1, width - 1)
    if not count:
        return images_BCHW
    padded = pad(images_BCHW.float(), [padding] * 4, mode="reflect").to(torch.uint8)
    top, left = (draws.one_of(count, 2 * padding + 1, generator).to(images_BCHW.device) for _ in range(2))
    rows = top[:, None] + torch.arange(height, device=images_BCHW.device)
    columns = left[:, None] + torch.arange(width, device=images_BCHW.device)
    padded = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, padded.shape[-1]))
    return padded.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))


def draw_boxes(
    count: int,
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    areas: tuple[float, float],
    ratio: float,
) -> tuple[Tensor, Tensor]:
    """Return boxes within a picture, each the first of ten drawn sizes that fits, at a drawn place.

    Args:
        count: Boxes to draw.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        generator: Source of all draws.
        areas: Least and largest share of the picture's area; drawn evenly.
        ratio: Largest width over height, and largest height over width; its logarithm is drawn evenly.

    Returns:
        boxes: int64 (count, 4): top, left, height, width.
        fits: bool (count,): False where no size did; the box means nothing there.
    """
    sizes = torch.rand((count, NUM_TRIES, 2), generator=generator, dtype=torch.float64)
    low, high = areas
    pixels = height * width * (low + (high - low) * sizes[..., 0])
    ratios = torch.exp((2 * sizes[..., 1] - 1) * math.log(ratio))
    rows, columns = (pixels / ratios).sqrt().round(), (pixels * ratios).sqrt().round()
    fits = (rows >= 1) & (rows <= height) & (columns >= 1) & (columns <= width)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    rows, columns = rows.gather(1, first).squeeze(1), columns.gather(1, first).squeeze(1)
    places = torch.rand((count, 2), generator=generator, dtype=torch.float64)
    top = (places[:, 0] * (height - rows + 1)).floor()
    left = (places[:, 1] * (width - columns + 1)).floor()
    return torch.stack([top, left, rows, columns], dim=1).long(), fits.any(dim=1)


def rotate(images_BCHW: Tensor, degrees_B: Tensor, *, interpolation: Interpolation = "nearest") -> Tensor:
    """Return each picture turned around its middle by its angle, against the clock; what comes in is black."""
    angles = torch.deg2rad(degrees_B.double())
    sines, cosines, zeros = angles.sin(), angles.cos(), torch.zeros_like(angles)
    return _affine(images_BCHW, [cosines, -sines, zeros, sines, cosines, zeros], interpolation)


def shear_x(images_BCHW: Tensor, slopes_B: Tensor, *, interpolation: Interpolation = "nearest") -> Tensor:
    """Return each picture with every row shifted left by its slope times the row's height; the top left stays."""
    ones, zeros = torch.ones_like(slopes_B), torch.zeros_like(slopes_B)
    shift = slopes_B * (images_BCHW.shape[-2] / 2)
    return _affine(images_BCHW, [ones, slopes_B, shift, zeros, ones, zeros], interpolation)


def shear_y(images_BCHW: Tensor, slopes_B: Tensor, *, interpolation: Interpolation = "nearest") -> Tensor:
    """Return each picture with every column shifted up by its slope times the column's x; the top left stays."""
    ones, zeros = torch.ones_like(slopes_B), torch.zeros_like(slopes_B)
    shift = slopes_B * (images_BCHW.shape[-1] / 2)
    return _affine(images_BCHW, [ones, zeros, zeros, slopes_B, ones, shift], interpolation)


def translate_x(images_BCHW: Tensor, pixels_B: Tensor) -> Tensor:
    """Return each picture shifted right by its whole number of pixels (cut towards 0)."""
    ones, zeros = torch.ones_like(pixels_B), torch.zeros_like(pixels_B)
    return _affine(images_BCHW, [ones, zeros, -pixels_B.trunc(), zeros, ones, zeros], "nearest")


def translate_y(images_BCHW: Tensor, pixels_B: Tensor) -> Tensor:
    """Return each picture shifted down by its whole number of pixels (cut towards 0)."""
    ones, zeros = torch.ones_like(pixels_B), torch.zeros_like(pixels_B)
    return _affine(images_BCHW, [ones, zeros, zeros, zeros, ones, -pixels_B.trunc()], "nearest")


def _affine(images_BCHW: Tensor, rows_6B: list[Tensor], interpolation: Interpolation) -> Tensor:
    """Return each picture seen through its own matrix.

    Args:
        images_BCHW: uint8.
        rows_6B: a, b, c, d, e, f: the pixel at (x, y) from the middle comes from (ax + by + c, dx + ey + f).
        interpolation: Between pixels.
    """
    height, width = images_BCHW.shape[-2:]
    device = images_BCHW.device
    a, b, c, d, e, f = (row.to(device, torch.float32).view(-1, 1, 1) for row in rows_6B)
    x = torch.arange(width, device=device, dtype=torch.float32).sub_((width - 1) / 2)
    y = torch.arange(height, device=device, dtype=torch.float32).sub_((height - 1) / 2).view(-1, 1)
    # A sum of a row and a column, in one pass, and without a matrix product, which autocast would round.
    grid_BHW2 = torch.empty((len(images_BCHW), height, width, 2), device=device)
    torch.add((a * x + c) / (width / 2), b * y / (width / 2), out=grid_BHW2[..., 0])
    torch.add((d * x + f) / (height / 2), e * y / (height / 2), out=grid_BHW2[..., 1])
    seen = grid_sample(images_BCHW.float(), grid_BHW2, mode=interpolation, padding_mode="zeros", align_corners=False)
    return seen.round_().to(torch.uint8)
