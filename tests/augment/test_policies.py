"""What holds for every policy for pictures in the catalog."""

import pytest
import torch

from autoft.augment import build_augmentation
from autoft.core import catalog
from autoft.core.errors import ConfigError
from tests.augment.pictures import augmented, copies, pictures

NAMES = [entry.name for entry in catalog.entries("augmentation") if "image-classification" in entry.tasks]
SETTINGS = [(name, argument.name) for name in NAMES for argument in catalog.entry("augmentation", name).arguments]
COMMON = ["min_scale", "flip", "vertical_flip", "erasing"]
CHANGED = {
    "min_scale": 0.2,
    "flip": False,
    "vertical_flip": True,
    "erasing": 0.9,
    "rotation": 90.0,
    "brightness": 0.8,
    "contrast": 0.8,
    "saturation": 0.8,
    "hue": 0.4,
    "grayscale": 0.5,
    "blur": 0.5,
    "noise": 0.2,
    "magnitude": 9,
    "num_ops": 4,
    "policy": "svhn",
    "width": 2,
    "depth": 3,
    "severity": 9.0,
    "alpha": 5.0,
    "jitter": 0.9,
    "padding": 2,
    **{f"op{place}": {"name": "invert", "probability": 0.5} for place in range(1, 5)},
}


def test_none_is_no_augmentation():
    assert build_augmentation({"name": "none"}, {}) is None


def test_unknown_augmentation_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'randaugment'"):
        build_augmentation({"name": "randaug"}, {})


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_ends_with_the_common_settings(name):
    assert [argument.name for argument in catalog.entry("augmentation", name).arguments][-4:] == COMMON


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_dtypes_stay_and_the_batch_is_not_changed(name):
    images = copies(16)
    result = augmented(images, name)
    assert (result.shape, result.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, copies(16))
    assert not torch.equal(result, images)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_a_batch_have_draws_of_their_own(name):
    # A flip has two outcomes, one operation in two directions three beside it; all others nearly one a picture.
    distinct = len(augmented(copies(32), name).flatten(1).unique(dim=0))
    assert distinct == {"flip": 2, "learned": 6}.get(name, distinct)
    assert distinct > 16 or name in ("flip", "learned")


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_alone_decides(name):
    torch.manual_seed(0)
    first = augmented(copies(16), name, seed=5)
    torch.manual_seed(1)
    global_state = torch.get_rng_state()
    assert torch.equal(first, augmented(copies(16), name, seed=5))
    assert torch.equal(global_state, torch.get_rng_state())
    assert not torch.equal(first, augmented(copies(16), name, seed=6))


@pytest.mark.parametrize("name", NAMES)
def test_one_picture_no_picture_and_a_tiny_one_are_batches_too(name):
    everything = {"erasing": 1.0, "min_scale": 0.1, "vertical_flip": True}
    for images in (pictures(1), pictures(0), pictures(3, 2)):
        assert augmented(images, name, **everything).shape == images.shape


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_every_setting_changes_the_batch(name, setting):
    argument = catalog.entry("augmentation", name).argument(setting)
    assert argument.problem(argument.default) is None
    assert argument.problem(CHANGED[setting]) is None
    assert argument.default != CHANGED[setting]
    images = copies(16)
    assert not torch.equal(augmented(images, name), augmented(images, name, **{setting: CHANGED[setting]}))


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_both_ends_of_every_range_can_be_taken(name, setting):
    argument = catalog.entry("augmentation", name).argument(setting)
    for end in (argument.low, argument.high):
        if end is not None:
            value = end if end or not argument.low_open else 1e-3
            typed = int(value) if argument.type == "int" else float(value)
            assert augmented(pictures(5), name, **{setting: typed}).shape == (5, 3, 33, 33)


OPERATIONS = [(e.name, argument.name) for e in catalog.entries("operation") for argument in e.arguments]


@pytest.mark.parametrize(("name", "setting"), OPERATIONS)
def test_every_setting_of_every_operation_changes_the_batch(name, setting):
    images = (copies(32) * 0.7 + 20).to(torch.uint8)
    usual = {argument.name: argument.default for argument in catalog.entry("operation", name).arguments}
    results = [augmented(images, "learned", op1={"name": name, **usual, **change}) for change in ({}, {setting: 0.9})]
    assert not torch.equal(*results)
