"""Policies of colour jitter and its kin, each strength drawn from a range around the picture."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from autoft.augment import colours, draws, geometry, texture
from autoft.augment.common import Step, policy
from autoft.augment.groups import change
from autoft.augment.policy import Augmentation

BLUR_SIGMAS = (0.1, 2.0)
"""Least and largest deviation of the blur in pixels: SimCLR, appendix A, and DeiT III's code."""
SOLARIZE_THRESHOLD = 128
"""Pillow's, which DeiT III's code takes."""

_CHANGES: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "brightness": colours.brightness,
    "contrast": colours.contrast,
    "saturation": colours.saturation,
    "hue": colours.hue,
}


def jitter(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return rotation, colour jitter, grayscale, blur and noise, in this order.

    The four changes of colour come in an order that is drawn for each picture.

    Reference: Chen et al., SimCLR, arXiv:2002.05709, appendix A (colour distortion and blur).
    """
    return policy(config, *_jitter_steps(config))


def _jitter_steps(config: Mapping[str, Any]) -> list[Step]:
    steps: list[Step] = []
    if config["rotation"] > 0:
        steps.append(partial(random_rotation, degrees=config["rotation"]))
    strengths = {name: config[name] for name in _CHANGES if config[name] > 0}
    if strengths:
        steps.append(partial(colour_jitter, strengths=strengths))
    if config["grayscale"] > 0:
        steps.append(partial(random_grayscale, probability=config["grayscale"]))
    if config["blur"] > 0:
        steps.append(partial(random_blur, probability=config["blur"]))
    if config["noise"] > 0:
        steps.append(partial(random_noise, deviation=config["noise"]))
    return steps


def three_augment(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return one of grayscale, solarization and blur, drawn evenly, then colour jitter.

    Reference: Touvron et al., DeiT III, arXiv:2204.07118, section 3.2; its "simple random crop" is `padding`, the
    random resized crop that it takes on ImageNet-1k is `min_scale`.
    """
    steps: list[Step] = []
    if config["padding"]:
        steps.append(partial(geometry.random_padded_crop, padding=config["padding"]))
    steps.append(one_of_three)
    if config["jitter"] > 0:
        steps.append(
            partial(colour_jitter, strengths=dict.fromkeys(("brightness", "contrast", "saturation"), config["jitter"]))
        )
    return policy(config, *steps)


def colour_jitter(images_BCHW: Tensor, generator: torch.Generator, *, strengths: Mapping[str, float]) -> Tensor:
    """Return the pictures, changed in colour as often as there are strengths, in an order that each draws.

    Args:
        images_BCHW: uint8.
        generator: Source of all draws.
        strengths: Of brightness, contrast and saturation: the factor is drawn evenly from [max(0, 1 - s), 1 + s];
            of hue: the turn is drawn evenly from [-s, s], in whole circles.

    Reference: torchvision's ColorJitter.
    """
    count, names = len(images_BCHW), list(strengths)
    order = draws.orders(count, len(names), generator)
    values = {name: _colour_values(count, name, strengths[name], generator) for name in names}
    result = images_BCHW.clone()
    for place in range(len(names)):
        for index, name in enumerate(names):
            change(result, order[:, place] == index, _CHANGES[name], values[name])
    return result


def _colour_values(count: int, name: str, strength: float, generator: torch.Generator) -> Tensor:
    low, high = (-strength, strength) if name == "hue" else (max(0.0, 1 - strength), 1 + strength)
    return draws.between(count, low, high, generator)


def random_rotation(images_BCHW: Tensor, generator: torch.Generator, *, degrees: float) -> Tensor:
    """Return the pictures, each turned by an angle drawn evenly from [-degrees, degrees]."""
    count, result = len(images_BCHW), images_BCHW.clone()
    angles = draws.between(count, -degrees, degrees, generator)
    turn = partial(geometry.rotate, interpolation="bilinear")
    change(result, torch.ones(count, dtype=torch.bool), turn, angles)
    return result


def random_grayscale(images_BCHW: Tensor, generator: torch.Generator, *, probability: float) -> Tensor:
    """Return the pictures, each without colour with `probability`."""
    count, result = len(images_BCHW), images_BCHW.clone()
    change(result, draws.occurs(count, probability, generator), _grayscale, torch.zeros(count))
    return result


def random_blur(images_BCHW: Tensor, generator: torch.Generator, *, probability: float) -> Tensor:
    """Return the pictures, each blurred with `probability`, by a deviation drawn evenly from `BLUR_SIGMAS`."""
    count, result = len(images_BCHW), images_BCHW.clone()
    is_chosen = draws.occurs(count, probability, generator)
    sigmas = draws.between(count, *BLUR_SIGMAS, generator)
    change(result, is_chosen, texture.gaussian_blur, sigmas)
    return result


def random_noise(images_BCHW: Tensor, generator: torch.Generator, *, deviation: float) -> Tensor:
    """Return the pictures with normal noise, its deviation drawn evenly from [0, deviation], as share of the range."""
    deviations = draws.between(len(images_BCHW), 0, deviation, generator)
    return texture.gaussian_noise(images_BCHW, deviations, generator)


def one_of_three(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures, each without colour, solarized or blurred, drawn evenly."""
    count, result = len(images_BCHW), images_BCHW.clone()
    choices = draws.one_of(count, 3, generator)
    sigmas = draws.between(count, *BLUR_SIGMAS, generator)
    thresholds = torch.full((count,), SOLARIZE_THRESHOLD)
    change(result, choices == 0, _grayscale, sigmas)
    change(result, choices == 1, colours.solarize, thresholds)
    change(result, choices == 2, texture.gaussian_blur, sigmas)
    return result


def _grayscale(images_BCHW: Tensor, _values: Tensor) -> Tensor:
    return colours.grayscale(images_BCHW)
