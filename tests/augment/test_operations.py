from collections import Counter

import pytest
import torch
from torchvision.transforms import v2

from autoft.augment import draws
from autoft.augment.operations import RANDAUGMENT, TRIVIALAUGMENT_WIDE, apply_operations
from tests.augment.pictures import augmented, copies, generator, pictures

SPACES = [(RANDAUGMENT, v2.RandAugment), (TRIVIALAUGMENT_WIDE, v2.TrivialAugmentWide)]
BINS = 31
QUIET = {"flip": False, "min_scale": 1.0}


def applied(images, operations, *, choices, levels, signs):
    return apply_operations(
        images,
        operations,
        choices_B=torch.tensor(choices),
        levels_B=torch.tensor(levels, dtype=torch.float64),
        signs_B=torch.tensor(signs),
        generator=generator(),
    )


@pytest.mark.parametrize(("space", "reference"), SPACES, ids=["randaugment", "trivialaugment"])
def test_operations_and_values_are_torchvisions(space, reference):
    assert [operation.name for operation in space] == list(reference._AUGMENTATION_SPACE)
    levels = torch.linspace(0, 1, BINS, dtype=torch.float64)
    for operation in space:
        magnitudes, is_signed = reference._AUGMENTATION_SPACE[operation.name]
        assert operation.is_signed == is_signed
        expected = magnitudes(BINS, 224, 224)
        values = operation.value(levels, 224)
        if operation.name == "Solarize":
            values = values / 255
        assert values.tolist() == ([0.0] * BINS if expected is None else pytest.approx(expected.tolist(), abs=2e-5))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("operation", RANDAUGMENT, ids=lambda operation: operation.name)
def test_an_operation_does_to_each_picture_what_torchvisions_does(operation, sign):
    batch, level = pictures(), 0.7
    result = applied(batch, [operation], choices=[0] * 4, levels=[level] * 4, signs=[sign] * 4)
    (value,) = operation.value(torch.tensor([level], dtype=torch.float64), 33).tolist()
    magnitude = value / (255 if operation.name == "Solarize" else 1) * (sign if operation.is_signed else 1)
    reference = v2.RandAugment()
    for picture, changed in zip(batch, result, strict=True):
        expected = reference._apply_image_or_video_transform(
            picture, operation.name, magnitude, v2.InterpolationMode.NEAREST, reference._fill
        )
        # A place halfway between two pixels, or a product just under a level, may be rounded to either.
        is_rounded = operation.name in ("ShearX", "ShearY", "Rotate", "Color", "Contrast", "Sharpness")
        assert (changed != expected).float().mean() <= (0.01 if is_rounded else 0)


def test_each_picture_gets_its_own_operation_level_and_sign():
    batch = pictures(5)
    index_of = {operation.name: index for index, operation in enumerate(RANDAUGMENT)}
    choices = [index_of[name] for name in ("Identity", "Brightness", "Brightness", "Posterize")] + [-1]
    result = applied(batch, RANDAUGMENT, choices=choices, levels=[1.0, 1.0, 0.5, 1.0, 1.0], signs=[1, 1, -1, 1, 1])
    assert torch.equal(result[0], batch[0])
    assert torch.equal(result[1], (batch[1] * 1.9).clamp(0, 255).to(torch.uint8))
    assert torch.equal(result[2], (batch[2] * 0.55).to(torch.uint8))
    assert torch.equal(result[3], batch[3] & 0b11110000)
    assert torch.equal(result[4], batch[4])


def test_signed_operations_at_level_nothing_leave_the_picture():
    batch = pictures()
    for operation in RANDAUGMENT:
        if operation.is_signed:
            assert torch.equal(applied(batch, [operation], choices=[0] * 4, levels=[0.0] * 4, signs=[-1] * 4), batch), (
                operation.name
            )


def test_choices_and_signs_are_drawn_evenly():
    counts = Counter(draws.one_of(7000, 14, generator()).tolist())
    assert sorted(counts) == list(range(14))
    assert all(400 < count < 600 for count in counts.values())
    signs = Counter(draws.signs(7000, generator()).tolist())
    assert set(signs) == {1, -1}
    assert 3300 < signs[1] < 3700


def test_orders_are_drawn_evenly():
    counts = Counter(map(tuple, draws.orders(6000, 3, generator()).tolist()))
    assert len(counts) == 6
    assert all(850 < count < 1150 for count in counts.values())


def test_randaugment_is_its_number_of_drawn_operations_at_its_magnitude():
    source, expected = generator(5), pictures(16)
    for _ in range(3):
        choices, signs = draws.one_of(16, 14, source), draws.signs(16, source)
        expected = applied(expected, RANDAUGMENT, choices=choices.tolist(), levels=[0.4] * 16, signs=signs.tolist())
    result = augmented(pictures(16), "randaugment", 5, magnitude=4, num_ops=3, **QUIET)
    assert torch.equal(result, expected)


def test_trivialaugment_is_one_operation_at_an_evenly_drawn_level():
    source = generator(5)
    levels = draws.one_of(16, BINS, source).double() / 30
    choices, signs = draws.one_of(16, 14, source), draws.signs(16, source)
    expected = applied(
        pictures(16), TRIVIALAUGMENT_WIDE, choices=choices.tolist(), levels=levels.tolist(), signs=signs.tolist()
    )
    assert torch.equal(augmented(pictures(16), "trivialaugment", 5, **QUIET), expected)


def test_as_many_operations_of_each_kind_reach_the_pictures():
    # At magnitude 0, operations without one alone change a picture: autocontrast and equalize, and solarize white.
    dull = (copies(2000, 20) // 2) + 40
    is_changed = (augmented(dull, "randaugment", num_ops=1, magnitude=0, **QUIET) != dull).flatten(1).any(1)
    assert is_changed.double().mean().item() == pytest.approx(2 / 14, abs=0.02)
