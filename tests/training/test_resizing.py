from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.modules.module import register_module_forward_pre_hook
from torchvision.transforms.v2 import functional
from transformers import Dinov2Config

from autoft.backbones.hf_vision import VisionEncoder
from autoft.core.errors import ConfigError
from autoft.training.resizing import build_resizing


@contextmanager
def picture_sides(seen):
    """Fill a list with the sides of the pictures that an hf encoder is given."""

    def note(part, inputs):
        if isinstance(part, VisionEncoder):
            seen.append(inputs[0].shape[-1])

    handle = register_module_forward_pre_hook(note)
    try:
        yield
    finally:
        handle.remove()


def sides(size, epochs, initial_fraction=0.5, growth_fraction=0.75):
    config = {"name": "progressive", "initial_fraction": initial_fraction, "growth_fraction": growth_fraction}
    resizing = build_resizing(config, size)
    return [resizing.side(epoch, epochs) for epoch in range(1, epochs + 1)]


def test_unknown_resizing_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'progressive'"):
        build_resizing({"name": "progresive"}, 224)


def test_fixed_is_the_input_size():
    assert {build_resizing({"name": "fixed"}, 224).side(epoch, 5) for epoch in range(1, 6)} == {224}


def test_the_side_grows_linearly_in_multiples_of_32():
    # 112, 140, 168, 196, 224 rounded: 3.5, 4.4, 5.25 and 6.1 times 32.
    assert sides(224, 5, growth_fraction=1.0) == [128, 128, 160, 192, 224]


def test_the_growth_is_over_after_its_fraction():
    assert sides(256, 9, growth_fraction=0.5) == [128, 160, 192, 224, 256, 256, 256, 256, 256]
    assert sides(256, 9, growth_fraction=1.0) == [128, 160, 160, 192, 192, 224, 224, 256, 256]


def test_the_first_side_is_the_initial_fraction():
    assert [sides(320, 4, fraction)[0] for fraction in (0.1, 0.3, 0.5, 0.9)] == [32, 96, 160, 288]


def test_one_epoch_has_the_full_size_and_two_end_with_it():
    assert sides(224, 1, 0.5) == [224]
    assert sides(224, 2, 0.5) == [128, 224]


def test_an_input_size_that_is_no_multiple_is_reached_exactly():
    assert sides(300, 3, 0.5, 1.0) == [160, 224, 300]
    assert sides(48, 2, 0.5) == [32, 48]
    assert sides(24, 2, 0.5) == [24, 24]


@given(st.integers(1, 600), st.integers(1, 30), st.floats(0.1, 0.9), st.floats(0.05, 1.0))
def test_sides_never_shrink_and_end_at_the_input_size(size, epochs, initial, growth):
    found = sides(size, epochs, initial, growth)
    assert found == sorted(found)
    assert found[-1] == size
    assert all(side % 32 == 0 or side == size for side in found)


def test_sides_are_numbers_of_whole_patches():
    config = {"name": "progressive", "initial_fraction": 0.5, "growth_fraction": 1.0}
    for grid, expected in ((14, [112, 140, 168, 196, 224]), (16, [128, 128, 160, 192, 224])):
        resizing = build_resizing(config, 224, grid=grid)
        assert [resizing.side(epoch, 5) for epoch in range(1, 6)] == expected


@pytest.mark.parametrize("patch", [16, 14])
def test_an_hf_backbone_trains_at_several_sizes(tmp_path, make_config, run, patch):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    Dinov2Config(image_size=4 * patch, patch_size=patch, **sizes).save_pretrained(tmp_path)
    backbone = {"name": f"hf:{tmp_path}", "weights": "none", "input_size": 4 * patch, "drop_path": 0.1}
    config = make_config(backbone=backbone, finetune={"mode": "full"}, resizing={"name": "progressive"}, epochs=2)
    seen = []
    with picture_sides(seen):
        assert len(run(config)) == 2
    assert {2 * patch, 4 * patch} <= set(seen)


def test_pictures_are_resized_with_antialiasing_and_left_alone_at_their_own_side():
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    config = {"name": "progressive", "initial_fraction": 0.5, "growth_fraction": 1.0}
    resizing = build_resizing(config, 64)
    assert resizing.resize(images, 64) is images
    smaller = resizing.resize(images, 32)
    assert (smaller.shape, smaller.dtype) == ((2, 3, 32, 32), torch.uint8)
    assert torch.equal(smaller, functional.resize(images, [32, 32], antialias=True))
    flat = torch.full((1, 3, 64, 64), 77, dtype=torch.uint8)
    assert resizing.resize(flat, 32).unique().tolist() == [77]
