"""AutoAugment: the sub-policies that were found on ImageNet, CIFAR-10 and SVHN."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from autoft.augment import colours, draws
from autoft.augment.common import policy
from autoft.augment.operations import RANDAUGMENT, apply_operations, plain
from autoft.augment.policy import Augmentation

Step = tuple[str, float, int | None]
"""Operation, probability, and magnitude from 0 to 9, None where the operation has none."""
SubPolicy = tuple[Step, Step]

MAX_MAGNITUDE = 9
"""The magnitudes are ten even steps over an operation's range."""
OPERATIONS = (*RANDAUGMENT, plain("Invert", colours.invert))
"""The ranges are table 6's; they are read as torchvision reads them: magnitude 0 is the identity, and brightness,
colour, contrast and sharpness, as the geometric ones, go to either side."""

IMAGENET: Final[tuple[SubPolicy, ...]] = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, None), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, None)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, None)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, None), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, None)),
    (("Equalize", 0.0, None), ("Equalize", 0.8, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, None)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, None)),
    (("Color", 0.4, 0), ("Equalize", 0.6, None)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
)
"""Table 9."""

CIFAR10: Final[tuple[SubPolicy, ...]] = (
    (("Invert", 0.1, None), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, None), ("Equalize", 0.9, None)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, None), ("Equalize", 0.5, None)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, None), ("AutoContrast", 0.4, None)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, None)),
    (("Equalize", 0.2, None), ("AutoContrast", 0.6, None)),
    (("Equalize", 0.2, None), ("Equalize", 0.6, None)),
    (("Color", 0.9, 9), ("Equalize", 0.6, None)),
    (("AutoContrast", 0.8, None), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, None)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, None), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, None), ("Invert", 0.1, None)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, None)),
)
"""Table 7."""

SVHN: Final[tuple[SubPolicy, ...]] = (
    (("ShearX", 0.9, 4), ("Invert", 0.2, None)),
    (("ShearY", 0.9, 8), ("Invert", 0.7, None)),
    (("Equalize", 0.6, None), ("Solarize", 0.6, 6)),
    (("Invert", 0.9, None), ("Equalize", 0.6, None)),
    (("Equalize", 0.6, None), ("Rotate", 0.9, 3)),
    (("ShearX", 0.9, 4), ("AutoContrast", 0.8, None)),
    (("ShearY", 0.9, 8), ("Invert", 0.4, None)),
    (("ShearY", 0.9, 5), ("Solarize", 0.2, 6)),
    (("Invert", 0.9, None), ("AutoContrast", 0.8, None)),
    (("Equalize", 0.6, None), ("Rotate", 0.9, 3)),
    (("ShearX", 0.9, 4), ("Solarize", 0.3, 3)),
    (("ShearY", 0.8, 8), ("Invert", 0.7, None)),
    (("Equalize", 0.9, None), ("TranslateY", 0.6, 6)),
    (("Invert", 0.9, None), ("Equalize", 0.6, None)),
    (("Contrast", 0.3, 3), ("Rotate", 0.8, 4)),
    (("Invert", 0.8, None), ("TranslateY", 0.0, 2)),
    (("ShearY", 0.7, 6), ("Solarize", 0.4, 8)),
    (("Invert", 0.6, None), ("Rotate", 0.8, 4)),
    (("ShearY", 0.3, 7), ("TranslateX", 0.9, 3)),
    (("ShearX", 0.1, 6), ("Invert", 0.6, None)),
    (("Solarize", 0.7, 2), ("TranslateY", 0.6, 7)),
    (("ShearY", 0.8, 4), ("Invert", 0.8, None)),
    (("ShearX", 0.7, 9), ("TranslateY", 0.8, 3)),
    (("ShearY", 0.8, 5), ("AutoContrast", 0.7, None)),
    (("ShearX", 0.7, 2), ("Invert", 0.1, None)),
)
"""Table 8."""

POLICIES: Final[dict[str, tuple[SubPolicy, ...]]] = {"imagenet": IMAGENET, "cifar10": CIFAR10, "svhn": SVHN}


def autoaugment(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return two operations in a row, those of a sub-policy of `policy` that each picture draws evenly.

    Reference: Cubuk et al., AutoAugment, arXiv:1805.09501, appendix (tables 6 to 9).
    """
    return policy(config, partial(apply_sub_policies, sub_policies=POLICIES[config["policy"]]))


def apply_sub_policies(
    images_BCHW: Tensor, generator: torch.Generator, *, sub_policies: tuple[SubPolicy, ...]
) -> Tensor:
    """Return each picture after both operations of its sub-policy, each with the probability that it has there."""
    count = len(images_BCHW)
    chosen = draws.one_of(count, len(sub_policies), generator)
    index_of = {operation.name: index for index, operation in enumerate(OPERATIONS)}
    for place in range(2):
        steps = [sub_policy[place] for sub_policy in sub_policies]
        operations = torch.tensor([index_of[name] for name, _, _ in steps])[chosen]
        probabilities = torch.tensor([probability for _, probability, _ in steps], dtype=torch.float64)[chosen]
        levels = torch.tensor([(magnitude or 0) / MAX_MAGNITUDE for _, _, magnitude in steps], dtype=torch.float64)
        is_on = draws.between(count, 0, 1, generator) < probabilities
        images_BCHW = apply_operations(
            images_BCHW,
            OPERATIONS,
            choices_B=torch.where(is_on, operations, -1),
            levels_B=levels[chosen],
            signs_B=draws.signs(count, generator),
            generator=generator,
        )
    return images_BCHW
