from collections import Counter

import pytest
import torch
from torchvision.transforms import v2

from autoft.augment import draws
from autoft.augment.autoaugment import MAX_MAGNITUDE, OPERATIONS, POLICIES, apply_sub_policies
from tests.augment.pictures import QUIET, augmented, copies, generator, pictures


@pytest.mark.parametrize("name", ["imagenet", "cifar10", "svhn"])
def test_the_tables_are_torchvisions_copy_of_the_papers(name):
    assert list(POLICIES[name]) == v2.AutoAugment()._get_policies(v2.AutoAugmentPolicy(name))


def test_spots_of_the_papers_tables():
    assert [len(table) for table in POLICIES.values()] == [25, 25, 25]
    assert POLICIES["imagenet"][0] == (("Posterize", 0.4, 8), ("Rotate", 0.6, 9))
    assert POLICIES["cifar10"][1] == (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9))
    assert POLICIES["svhn"][24] == (("ShearX", 0.7, 2), ("Invert", 0.1, None))


def test_magnitudes_mean_what_they_do_in_torchvision():
    space = v2.AutoAugment._AUGMENTATION_SPACE
    assert {operation.name for operation in OPERATIONS} - {"Identity"} == set(space)
    levels = torch.arange(10, dtype=torch.float64) / MAX_MAGNITUDE
    for operation in OPERATIONS[1:]:
        magnitudes, is_signed = space[operation.name]
        expected = magnitudes(10, 224, 224)
        assert operation.is_signed == is_signed
        values = operation.value(levels, 224) / (255 if operation.name == "Solarize" else 1)
        assert values.tolist() == ([0.0] * 10 if expected is None else pytest.approx(expected.tolist(), abs=2e-5))


def test_both_operations_come_in_order_each_with_its_probability():
    table = ((("Invert", 0.25, None), ("Posterize", 0.6, 9)),)
    images = copies(4000, 4)
    result = apply_sub_policies(images, generator(), sub_policies=table)
    outcomes = {
        "neither": images[0],
        "invert": 255 - images[0],
        "posterize": images[0] & 0b11110000,
        "both": (255 - images[0]) & 0b11110000,
    }
    shares = {name: (result == one).flatten(1).all(1).double().mean().item() for name, one in outcomes.items()}
    expected = {"neither": 0.75 * 0.4, "invert": 0.25 * 0.4, "posterize": 0.75 * 0.6, "both": 0.25 * 0.6}
    assert shares == pytest.approx(expected, abs=0.03)


def test_each_picture_draws_its_sub_policy_evenly():
    table = tuple(((name, 1.0, 0), ("Invert", 0.0, None)) for name in ("Invert", "Identity", "Rotate", "Color"))
    images = copies(4000, 4)
    result = apply_sub_policies(images, generator(), sub_policies=table)
    share = (result == 255 - images).flatten(1).all(1).double().mean().item()
    assert share == pytest.approx(0.25, abs=0.03)
    counts = Counter(draws.one_of(2500, 25, generator()).tolist())
    assert len(counts) == 25


def test_the_policy_is_the_table_of_its_data_set():
    for name, table in POLICIES.items():
        expected = apply_sub_policies(pictures(16), generator(2), sub_policies=table)
        assert torch.equal(augmented(pictures(16), "autoaugment", 2, policy=name, **QUIET), expected)
