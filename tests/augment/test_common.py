"""Crop, mirroring and erasing around every policy."""

import pytest
import torch

from autoft.augment import build_augmentation
from autoft.augment.geometry import random_flip, random_resized_crop, random_vertical_flip
from autoft.augment.texture import random_erasing
from autoft.core import catalog
from tests.augment.pictures import QUIET, augmented, copies, generator, pictures, settings

NAMES = [e.name for e in catalog.entries("augmentation") if "image-classification" in e.tasks]


def test_crop_then_flips_then_policy_then_erasing():
    source, images = generator(4), pictures(12)
    expected = random_resized_crop(images, source, min_scale=0.3)
    expected = random_vertical_flip(random_flip(expected, source), source)
    expected = random_erasing(expected, source, probability=0.7)
    result = augmented(images, "flip", 4, min_scale=0.3, vertical_flip=True, erasing=0.7)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_ends_with_erasing_and_begins_with_flips(name):
    source, images = generator(4), pictures(12)
    turned = random_vertical_flip(random_flip(images, source), source)
    (own,) = build_augmentation(settings(name, **QUIET), {})((turned,), source)
    expected = random_erasing(own, source, probability=0.7)
    assert torch.equal(augmented(images, name, 4, min_scale=1.0, flip=True, vertical_flip=True, erasing=0.7), expected)


@pytest.mark.parametrize("name", ["flip", "crop_flip"])
def test_without_crop_flips_and_erasing_these_two_are_nothing(name):
    assert torch.equal(augmented(pictures(), name, **QUIET), pictures())


def test_half_of_the_pictures_are_mirrored():
    images = copies(1000)
    flipped = augmented(images, "flip")
    is_mirrored = (flipped == images.flip(-1)).flatten(1).all(dim=1)
    is_same = (flipped == images).flatten(1).all(dim=1)
    assert (is_mirrored ^ is_same).all()
    assert 450 < is_mirrored.sum() < 550


def erased(count=1200, side=60, probability=1.0):
    white = torch.full((count, 3, side, side), 255, dtype=torch.uint8)
    result = random_erasing(white, generator(), probability=probability)
    # Noise is white in all three channels once in 16 million times.
    return (result != 255).any(dim=1), result


def test_erased_areas_and_aspects_are_the_papers():
    is_erased, _ = erased()
    rows, columns = is_erased.any(dim=2).sum(dim=1), is_erased.any(dim=1).sum(dim=1)
    assert torch.equal(is_erased.sum(dim=(1, 2)), rows * columns)
    areas, ratios = rows * columns / 60**2, columns / rows
    assert 0.018 < areas.min() < 0.03
    assert 0.32 < areas.max() < 0.345
    assert areas.mean().item() == pytest.approx(0.5 * (0.02 + 1 / 3), abs=0.01)
    assert 0.27 < ratios.min() < 0.34
    assert 3.0 < ratios.max() < 3.7
    assert abs(ratios.log().mean().item()) < 0.05
    assert all(is_erased.select(axis, place).any() for axis in (1, 2) for place in (0, -1))


def test_erased_pixels_are_even_noise_in_each_channel():
    is_erased, result = erased()
    for channel in range(3):
        values = result[:, channel][is_erased].double()
        assert values.mean().item() == pytest.approx(127.5, abs=0.5)
        assert values.std().item() == pytest.approx(73.9, abs=0.5)


def test_pictures_are_erased_with_the_probability():
    is_erased, _ = erased(probability=0.3)
    assert is_erased.flatten(1).any(dim=1).double().mean().item() == pytest.approx(0.3, abs=0.03)
