import pytest
import torch

from autoft.augment import colours
from autoft.augment.jitter import colour_jitter, one_of_three, random_blur, random_noise, random_rotation
from autoft.augment.texture import gaussian_blur
from tests.augment.pictures import QUIET, augmented, copies, generator, pictures

STILL = {
    "rotation": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
    "grayscale": 0.0,
    "blur": 0.0,
    "noise": 0.0,
}


def is_equal(images, one):
    return (images == one).flatten(1).all(dim=1)


def test_all_at_nothing_is_nothing():
    assert torch.equal(augmented(pictures(), "jitter", **STILL, **QUIET), pictures())


@pytest.mark.parametrize(("strength", "low", "high"), [(0.3, 0.7, 1.3), (1.0, 0.0, 2.0)])
def test_factors_are_drawn_evenly_around_1(strength, low, high):
    grey = torch.full((4000, 3, 2, 2), 100, dtype=torch.uint8)
    factors = colour_jitter(grey, generator(), strengths={"brightness": strength})[:, 0, 0, 0] / 100
    assert low - 0.011 <= factors.min() < low + 0.02
    assert high - 0.03 < factors.max() <= high
    assert factors.mean().item() == pytest.approx(0.995, abs=0.02)


def test_hue_turns_to_either_side():
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).repeat(3000, 1, 2, 2)
    result = colour_jitter(red, generator(), strengths={"hue": 1 / 6})[:, :, 0, 0]
    towards_green, towards_blue = result[:, 1] > result[:, 2], result[:, 2] > result[:, 1]
    assert 1350 < towards_green.sum() < 1650
    assert 1350 < towards_blue.sum() < 1650
    assert (result[:, 0] == 255).all()
    assert result[:, 1].max() > 250


def test_each_picture_draws_the_order_of_the_changes():
    images, both = copies(2000, 8), {"brightness": 0.0, "contrast": 0.0}
    # At strength 0 every order is nothing; the first of two strong changes cuts what the second sees.
    assert torch.equal(colour_jitter(images, generator(), strengths=both), images)
    strong = torch.full((1,), 1.9)
    first = colours.contrast(colours.brightness(images[:1], strong), strong)
    second = colours.brightness(colours.contrast(images[:1], strong), strong)
    assert not torch.equal(first, second)


def test_angles_reach_the_limit_on_both_sides():
    bar = torch.zeros((600, 3, 65, 65), dtype=torch.uint8)
    bar[:, :, 32, 33:] = 255
    rows = random_rotation(bar, generator(), degrees=30.0)[:, 0, :, 52].float().argmax(dim=1) - 32
    # 20 pixels to the right of the middle the bar rises or falls by 20 times the tangent.
    assert rows.min() in (-12, -11)
    assert rows.max() in (11, 12)
    assert abs(rows.double().mean()) < 1


@pytest.mark.parametrize("probability", [0.2, 1.0])
def test_grayscale_and_blur_come_with_their_probability(probability):
    images = copies(1500, 8)
    grey = augmented(images, "jitter", **{**STILL, "grayscale": probability}, **QUIET)
    is_grey = is_equal(grey, colours.grayscale(images[:1]))
    assert (is_grey | is_equal(grey, images[:1])).all()
    assert is_grey.double().mean().item() == pytest.approx(probability, abs=0.04)
    # A blur of less than 0.27 pixels, a tenth of the range, hardly reaches the next pixel.
    is_blurred = ~is_equal(random_blur(images, generator(), probability=probability), images[:1])
    assert 0.85 * probability - 0.04 < is_blurred.double().mean() <= probability + 0.04


def test_deviations_of_noise_are_drawn_up_to_the_largest():
    grey = torch.full((400, 3, 30, 30), 128, dtype=torch.uint8)
    deviations = random_noise(grey, generator(), deviation=0.1).double().flatten(1).std(dim=1) / 255
    assert deviations.max().item() == pytest.approx(0.1, rel=0.06)
    assert deviations.min() < 0.003
    assert deviations.mean().item() == pytest.approx(0.05, abs=0.004)


def test_one_of_three_is_gray_solarized_or_blurred_equally_often():
    images = copies(3000, 8)
    result = one_of_three(images, generator())
    is_grey = is_equal(result, colours.grayscale(images[:1]))
    is_solar = is_equal(result, torch.where(images[:1] >= 128, 255 - images[:1], images[:1]))
    assert is_grey.double().mean().item() == pytest.approx(1 / 3, abs=0.03)
    assert is_solar.double().mean().item() == pytest.approx(1 / 3, abs=0.03)
    strongest, soft = gaussian_blur(images[:1], torch.tensor([2.0])), result[~is_grey & ~is_solar]
    spreads = soft.double().flatten(1).std(dim=1)
    assert spreads.min() >= strongest.double().std() - 0.5
    assert spreads.max() <= images[0].double().std() + 0.5


def test_three_augment_is_one_of_three_then_jitter():
    source = generator(6)
    expected = one_of_three(pictures(8), source)
    expected = colour_jitter(expected, source, strengths=dict.fromkeys(("brightness", "contrast", "saturation"), 0.4))
    result = augmented(pictures(8), "three_augment", 6, padding=0, jitter=0.4, **QUIET)
    assert torch.equal(result, expected)
