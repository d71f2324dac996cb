import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import InterpolationMode, functional

from autoft.augment import geometry
from autoft.augment.geometry import draw_boxes, random_padded_crop, random_resized_crop, random_vertical_flip
from tests.augment.pictures import copies, generator, pictures


def boxes(count, height=200, width=200, min_scale=0.3, seed=0):
    return draw_boxes(count, height, width, generator(seed), areas=(min_scale, 1), ratio=4 / 3)


@given(st.integers(1, 64), st.integers(1, 64), st.floats(0.01, 1.0), st.integers(0, 10))
def test_every_box_lies_within_the_picture(height, width, min_scale, seed):
    found, fits = boxes(20, height, width, min_scale, seed)
    top, left, rows, columns = found[fits].unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (rows >= 1).all()
    assert (columns >= 1).all()
    assert (top + rows <= height).all()
    assert (left + columns <= width).all()


def test_crops_keep_the_papers_area_and_aspect():
    _, _, rows, columns = boxes(5000)[0].double().unbind(1)
    areas, ratios = rows * columns / 200**2, columns / rows
    assert 0.29 < areas.min() < 0.31
    assert areas.max() > 0.98
    # Even in the logarithm, both ends reached; a long part of over 3/4 squared of the area may not fit.
    assert 0.73 < ratios.min() < 0.77
    assert 1.30 < ratios.max() < 1.36
    logarithms = ratios[areas < 0.56].log()
    assert abs(logarithms.mean()) < 0.01
    assert abs(logarithms.abs().mean() - math.log(4 / 3) / 2) < 0.01


def test_crops_reach_every_corner():
    top, left, rows, columns = boxes(5000)[0].unbind(1)
    assert (top == 0).any()
    assert (left == 0).any()
    assert (top + rows == 200).any()
    assert (left + columns == 200).any()


def test_a_size_that_never_fits_leaves_the_whole_picture():
    assert boxes(3, height=64, width=8, min_scale=1.0)[1].tolist() == [False] * 3
    images = pictures()[..., :8]
    assert torch.equal(random_resized_crop(images, generator(), min_scale=1.0), images)


def test_each_picture_is_the_resized_part_of_its_box():
    images = pictures(4, 20)
    crops = random_resized_crop(images, generator(2), min_scale=0.3)
    found, fits = boxes(4, 20, 20, 0.3, 2)
    assert fits.all()
    for image, crop, (top, left, rows, columns) in zip(images, crops, found.tolist(), strict=True):
        expected = functional.resized_crop(image, top, left, rows, columns, [20, 20], antialias=True)
        assert torch.equal(crop, expected)


def test_padded_crops_are_all_parts_of_the_mirrored_picture_equally_often():
    image = pictures(1, 8)
    padded = functional.pad(image, [2, 2, 2, 2], padding_mode="reflect")
    parts = [padded[0, :, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
    crops = random_padded_crop(image.repeat(2500, 1, 1, 1), generator(), padding=2)
    counts = [int((crops == part).flatten(1).all(1).sum()) for part in parts]
    assert sum(counts) == 2500
    assert all(60 < count < 145 for count in counts)


def test_padding_is_at_most_what_can_be_mirrored():
    assert random_padded_crop(pictures(3, 4), generator(), padding=64).shape == (3, 3, 4, 4)


def test_half_of_the_pictures_are_turned_upside_down():
    images = copies(1000)
    result = random_vertical_flip(images, generator())
    is_mirrored = (result == images.flip(-2)).flatten(1).all(dim=1)
    is_same = (result == images).flatten(1).all(dim=1)
    assert (is_mirrored ^ is_same).all()
    assert 450 < is_mirrored.sum() < 550


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize(
    ("name", "values", "settings"),
    [
        ("rotate", [-30.0, 0.0, 12.5, 180.0], lambda value: {"angle": value}),
        ("shear_x", [-0.3, 0.0, 0.17, 0.9], lambda value: {"shear": [math.degrees(math.atan(value)), 0.0]}),
        ("shear_y", [-0.3, 0.0, 0.17, 0.9], lambda value: {"shear": [0.0, math.degrees(math.atan(value))]}),
    ],
)
def test_each_picture_is_turned_and_sheared_as_torchvision_does(name, values, settings, mode):
    images = pictures(4, 32)
    result = getattr(geometry, name)(images, torch.tensor(values, dtype=torch.float64), interpolation=mode)
    for image, changed, value in zip(images, result, values, strict=True):
        still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
        given = settings(value)
        if name == "rotate":
            expected = functional.rotate(image, value, interpolation=InterpolationMode(mode))
        else:
            center = [0, 0]
            expected = functional.affine(
                image, **{**still, **given}, interpolation=InterpolationMode(mode), center=center
            )
        # A place halfway between two pixels, or a mean halfway between two levels, may be rounded to either.
        assert (changed != expected).float().mean() < 0.02
        assert mode == "nearest" or (changed.int() - expected.int()).abs().max() <= 1


def test_shifts_are_whole_pixels_and_what_comes_in_is_black():
    images = pictures(3, 16)
    pixels = torch.tensor([3.9, -3.9, 0.4])
    right = geometry.translate_x(images, pixels)
    assert torch.equal(right[0, :, :, 3:], images[0, :, :, :-3])
    assert not right[0, :, :, :3].any()
    assert torch.equal(right[1, :, :, :-3], images[1, :, :, 3:])
    assert torch.equal(right[2], images[2])
    down = geometry.translate_y(images, pixels)
    assert torch.equal(down[0, :, 3:], images[0, :, :-3])
    assert not down[0, :, :3].any()
    assert torch.equal(down[2], images[2])
