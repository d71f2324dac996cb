"""Pictures, generators and policies that the tests of augmentation share."""

import torch

from autoft.augment import build_augmentation
from autoft.core import recipe

QUIET = {"min_scale": 1.0, "flip": False, "vertical_flip": False, "erasing": 0.0}
"""No crop, no mirroring and no erasing: the policy's own steps alone."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=4, size=33, seed=3):
    return torch.randint(0, 256, (count, 3, size, size), generator=generator(seed), dtype=torch.uint8)


def copies(count, size=24, seed=3):
    return pictures(1, size, seed).repeat(count, 1, 1, 1)


def settings(name, **changes):
    return recipe.filled(recipe.BLOCKS["augmentation"], {"name": name, **changes}, None)


def augmented(images, name, seed=0, **changes):
    (result,) = build_augmentation(settings(name, **changes), {})((images,), generator(seed))
    return result
