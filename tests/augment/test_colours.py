import pytest
import torch
from torchvision.transforms.v2 import functional

from autoft.augment import colours, texture
from autoft.augment.groups import change
from autoft.augment.texture import gaussian_blur, gaussian_noise
from tests.augment.pictures import copies, generator, pictures

FACTORS = torch.tensor([0.0, 0.4, 1.0, 1.9], dtype=torch.float64)


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (colours.brightness, functional.adjust_brightness),
        (colours.contrast, functional.adjust_contrast),
        (colours.saturation, functional.adjust_saturation),
        (colours.sharpness, functional.adjust_sharpness),
    ],
)
def test_each_picture_has_its_factor_as_torchvision_applies_it(own, theirs):
    images = pictures()
    for image, changed, factor in zip(images, own(images, FACTORS), FACTORS.tolist(), strict=True):
        # A product just under a whole number may be cut to the level below.
        assert (changed.int() - theirs(image, factor).int()).abs().max() <= 1
        assert (changed != theirs(image, factor)).float().mean() < 0.02
    assert torch.equal(own(images, torch.ones(4)), images)


def test_hues_turn_as_torchvisions_do_and_a_whole_turn_is_none():
    images, turns = pictures(), [-0.5, -0.1, 0.0, 0.3]
    for image, changed, turn in zip(images, colours.hue(images, torch.tensor(turns)), turns, strict=True):
        assert (changed.int() - functional.adjust_hue(image, turn).int()).abs().max() <= 2
    assert torch.equal(colours.hue(images, torch.zeros(4)), images)
    assert (colours.hue(images, torch.ones(4)).int() - images.int()).abs().max() <= 1


def test_a_third_of_a_turn_makes_red_green():
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).repeat(1, 1, 2, 2)
    assert colours.hue(red, torch.tensor([1 / 3]))[0, :, 0, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 100.0, 255.0, 256.0])
def test_solarize_inverts_what_is_at_least_its_threshold(threshold):
    ramp = torch.arange(256, dtype=torch.uint8).repeat(1, 3, 1, 1)
    expected = [255 - value if value >= threshold else value for value in range(256)]
    assert colours.solarize(ramp, torch.tensor([threshold]))[0, 0, 0].tolist() == expected


def test_posterize_keeps_the_first_bits():
    images = pictures(9)
    result = colours.posterize(images, torch.arange(9))
    for bits in range(1, 9):
        assert torch.equal(result[bits], functional.posterize(images[bits], bits))
    assert not result[0].any()


def test_blur_is_torchvisions_gaussian_and_nothing_at_nothing():
    images, sigmas = pictures(), [0.0, 0.5, 1.0, 2.0]
    result = gaussian_blur(images, torch.tensor(sigmas))
    assert torch.equal(result[0], images[0])
    for image, changed, sigma in zip(images[1:], result[1:], sigmas[1:], strict=True):
        expected = functional.gaussian_blur(image, [13, 13], [sigma, sigma])
        assert (changed.int() - expected.int()).abs().max() <= 1


def test_blur_of_a_picture_smaller_than_its_kernel():
    assert gaussian_blur(pictures(2, 3), torch.tensor([2.0, 0.1])).shape == (2, 3, 3, 3)
    assert torch.equal(gaussian_blur(pictures(2, 1), torch.tensor([2.0, 0.1])), pictures(2, 1))


def test_noise_has_each_pictures_deviation_and_no_mean():
    grey = torch.full((3, 3, 100, 100), 128, dtype=torch.uint8)
    noise = gaussian_noise(grey, torch.tensor([0.0, 0.05, 0.1]), generator()).double() - 128
    assert not noise[0].any()
    assert noise[1].std().item() == pytest.approx(0.05 * 255, rel=0.02)
    assert noise[2].std().item() == pytest.approx(0.1 * 255, rel=0.02)
    assert abs(noise.mean().item()) < 0.2


def test_cutout_is_a_grey_square_around_any_pixel():
    white = torch.full((2000, 3, 20, 20), 255, dtype=torch.uint8)
    result = texture.cutout(white, torch.full((2000,), 6.0), generator())
    is_grey = (result == 128).all(dim=1)
    assert ((result == 255).all(dim=1) | is_grey).all()
    sizes = is_grey.sum(dim=(1, 2))
    assert sizes.max() == 36
    assert sizes.min() == 9  # The middle in a corner: a quarter is inside.
    assert is_grey.any(dim=0).all()


def test_cutout_of_no_side_is_nothing():
    assert torch.equal(texture.cutout(pictures(), torch.zeros(4), generator()), pictures())


def test_only_the_chosen_pictures_are_changed_each_by_its_value():
    images, before = copies(7), copies(1)[0]
    chosen = torch.tensor([True, False, True, True, True, True, True])
    change(images, chosen, colours.brightness, torch.arange(7) / 6)
    assert torch.equal(images[1], before)
    assert not images[0].any()
    assert torch.equal(images[3], colours.brightness(before[None], torch.tensor([0.5]))[0])
    assert torch.equal(images[6], before)
