"""Changes of colour, with one value a picture."""

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from autoft.augment.draws import spread


def brightness(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Return the pictures times their factors: 0 is black, 1 the picture."""
    return _whole(images_BCHW * spread(factors_B, images_BCHW))


def contrast(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Return the pictures, their distance from their mean grey times their factors."""
    grey = functional.rgb_to_grayscale(images_BCHW.float()).floor_()
    return _blended(images_BCHW, grey.mean(dim=(-3, -2, -1), keepdim=True), factors_B)


def saturation(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Return the pictures, their distance from grey times their factors."""
    grey = functional.rgb_to_grayscale(images_BCHW.float()).floor_()
    return _blended(images_BCHW, grey, factors_B)


def sharpness(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Return the pictures, their distance from a smoothed copy times their factors; the outermost pixels stay.

    The smoothing is Pillow's: the mean of 3 by 3 pixels with weight 5 in the middle and 1 elsewhere.
    """
    if min(images_BCHW.shape[-2:]) <= 2 or not len(images_BCHW):
        return images_BCHW
    sharp = images_BCHW.float()
    rows = sharp[..., :-2, :] + sharp[..., 1:-1, :] + sharp[..., 2:, :]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = sharp.clone()
    smooth[..., 1:-1, 1:-1] = total.add_(sharp[..., 1:-1, 1:-1], alpha=4).div_(13).round_()
    return _blended(images_BCHW, smooth, factors_B)


def hue(images_BCHW: Tensor, turns_B: Tensor) -> Tensor:
    """Return the pictures, the hue of every pixel moved by its picture's share of the colour circle.

    Reference: Smith, Color Gamut Transform Pairs, SIGGRAPH 1978 (HSV); back by f(n) = V - C max(0, min(k, 4 - k, 1)),
    k = (n + 6 hue) mod 6, n = 5, 3, 1 for red, green, blue.
    """
    colours = images_BCHW.float()
    red, green, blue = colours.unbind(1)
    value, least = colours.amax(dim=1), colours.amin(dim=1)
    chroma = value - least
    divisor = torch.where(chroma == 0, 1.0, chroma)
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths += 6 * spread(turns_B, images_BCHW).squeeze(1)
    channels = [value - chroma * _ramp((number + sixths) % 6) for number in (5, 3, 1)]
    return _whole(torch.stack(channels, dim=1).round_())


def _ramp(k: Tensor) -> Tensor:
    return torch.minimum(k, 4 - k).clamp_(0, 1)


def grayscale(images_BCHW: Tensor) -> Tensor:
    """Return the pictures without colour, in three equal channels."""
    grey: Tensor = functional.rgb_to_grayscale(images_BCHW, num_output_channels=3)
    return grey


def invert(images_BCHW: Tensor) -> Tensor:
    """Return the negatives."""
    return 255 - images_BCHW


def solarize(images_BCHW: Tensor, thresholds_B: Tensor) -> Tensor:
    """Return the pictures, all that is at least their threshold turned to the negative."""
    # In bytes, which is several times as fast; a byte that is at least the threshold is at least its ceiling too.
    whole = thresholds_B.ceil().view(-1, 1, 1, 1).to(images_BCHW.device)
    is_bright = (images_BCHW >= whole.clamp(max=255).to(torch.uint8)) & (whole <= 255)
    return torch.where(is_bright, 255 - images_BCHW, images_BCHW)


def posterize(images_BCHW: Tensor, bits_B: Tensor) -> Tensor:
    """Return the pictures with their first bits of every channel alone; 0 bits are black, 8 the picture."""
    masks = 256 - 2 ** (8 - bits_B.to(torch.int64))
    return images_BCHW & masks.to(images_BCHW.device, torch.uint8).view(-1, 1, 1, 1)


def _blended(images_BCHW: Tensor, others: Tensor, factors_B: Tensor) -> Tensor:
    """Return factor times picture plus (1 - factor) times other, cut to [0, 255]."""
    # In this form nothing is lost below a whole number at factor 1, nor where picture and other are equal.
    images = images_BCHW.float()
    return _whole((images - others).mul_(spread(factors_B.double() - 1, images_BCHW)).add_(images))


def _whole(values: Tensor) -> Tensor:
    """Return values cut to [0, 255] as uint8, without rounding up, as Pillow and torchvision do."""
    return values.clamp_(0, 255).to(torch.uint8)
