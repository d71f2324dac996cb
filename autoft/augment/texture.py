"""Blur, noise, and rectangles that go, with one value or one draw a picture."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from autoft.augment import draws
from autoft.augment.geometry import draw_boxes
from autoft.augment.groups import rows_of

ERASED_AREA = (0.02, 1 / 3)
"""Least and largest share of a picture that random erasing takes."""
ERASED_RATIO = 3.3
"""Widest rectangle, as width over height; the narrowest is 0.3, its inverse to the digits that the paper gives."""


def gaussian_blur(images_BCHW: Tensor, sigmas_B: Tensor) -> Tensor:
    """Return the pictures, each convolved with a Gaussian of its own deviation in pixels; at 0 as it was.

    The kernel ends at three deviations of the widest; the border is mirrored.
    """
    if not len(images_BCHW):
        return images_BCHW
    radius = min(math.ceil(3 * float(sigmas_B.max())), min(images_BCHW.shape[-2:]) - 1)
    places = torch.arange(-radius, radius + 1, dtype=torch.float64)
    # A deviation of 1e-3 pixels leaves the middle of the kernel alone, as 0 would if it could be divided by.
    weights_BK = torch.exp(-0.5 * (places / sigmas_B.double().clamp(min=1e-3)[:, None]) ** 2)
    weights_BK /= weights_BK.sum(dim=1, keepdim=True)
    padded = pad(images_BCHW.float(), [radius] * 4, mode="reflect")
    return _weighted(_weighted(padded, weights_BK, axis=-1), weights_BK, axis=-2).round_().to(torch.uint8)


def _weighted(values_BCHW: Tensor, weights_BK: Tensor, *, axis: int) -> Tensor:
    """Return the sums of K neighbours along `axis`, which gets shorter by K - 1; symmetric weights."""
    taps = weights_BK.shape[1]
    size = values_BCHW.shape[axis] - taps + 1
    middle = taps // 2
    total = values_BCHW.narrow(axis, middle, size) * draws.spread(weights_BK[:, middle], values_BCHW)
    for index in range(middle):
        pair = values_BCHW.narrow(axis, index, size) + values_BCHW.narrow(axis, taps - 1 - index, size)
        total.addcmul_(pair, draws.spread(weights_BK[:, index], values_BCHW))
    return total


def gaussian_noise(images_BCHW: Tensor, deviations_B: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures plus normal noise, drawn for every value; deviations are shares of the range."""
    local = draws.local_generator(generator, images_BCHW.device)
    noise = torch.randn(images_BCHW.shape, generator=local, device=images_BCHW.device)
    noise.mul_(255 * draws.spread(deviations_B, images_BCHW)).add_(images_BCHW)
    return noise.round_().clamp_(0, 255).to(torch.uint8)


def cutout(images_BCHW: Tensor, sides_B: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures with a grey square, its middle at any pixel, so that part of it may lie outside.

    Args:
        images_BCHW: uint8.
        sides_B: Of the squares, in pixels, rounded; 0: none.
        generator: Source of the places.

    Reference: DeVries & Taylor, Cutout, arXiv:1708.04552 (grey is their mean after normalisation).
    """
    height, width = images_BCHW.shape[-2:]
    count, sides = len(images_BCHW), sides_B.round().long()
    top, left = (draws.one_of(count, size, generator) - sides // 2 for size in (height, width))
    inside = _rectangles(torch.stack([top, left, sides, sides], dim=1), images_BCHW)
    return images_BCHW.masked_fill(inside, 128)


def random_erasing(images_BCHW: Tensor, generator: torch.Generator, *, probability: float) -> Tensor:
    """Return the pictures, each with a rectangle of noise with `probability`.

    Its area is drawn evenly from `ERASED_AREA`, the logarithm of its aspect evenly; of ten tries the first that fits
    in the picture is taken. Every value in it is drawn evenly from 0 to 255, the filling that the paper found best.

    Reference: Zhong et al., Random Erasing, arXiv:1708.04896, algorithm 1 and table 4 (RE-R).
    """
    chosen = draws.occurs(len(images_BCHW), probability, generator)
    height, width = images_BCHW.shape[-2:]
    count = int(chosen.sum())
    boxes, fits = draw_boxes(count, height, width, generator, areas=ERASED_AREA, ratio=ERASED_RATIO)
    rows, boxes = rows_of(chosen, images_BCHW.device)[fits.to(images_BCHW.device)], boxes[fits]
    pictures = images_BCHW[rows]
    local = draws.local_generator(generator, images_BCHW.device)
    noise = torch.randint(256, pictures.shape, generator=local, device=images_BCHW.device, dtype=torch.uint8)
    result = images_BCHW.clone()
    result[rows] = torch.where(_rectangles(boxes, pictures), noise, pictures)
    return result


def _rectangles(boxes_B4: Tensor, images_BCHW: Tensor) -> Tensor:
    """Return bool (B, 1, H, W): whether a pixel lies in its picture's box (top, left, height, width)."""
    height, width = images_BCHW.shape[-2:]
    top, left, rows, columns = boxes_B4.to(images_BCHW.device).unbind(1)
    y = torch.arange(height, device=images_BCHW.device)
    x = torch.arange(width, device=images_BCHW.device)
    in_rows = (y >= top[:, None]) & (y < (top + rows)[:, None])
    in_columns = (x >= left[:, None]) & (x < (left + columns)[:, None])
    return (in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1)
