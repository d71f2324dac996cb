import pytest
import torch

from autoft.augment.learned import apply_one
from autoft.core import catalog
from tests.augment.pictures import QUIET, augmented, copies, generator, pictures

ENTRIES = list(catalog.entries("operation"))
NAMES = [entry.name for entry in ENTRIES]
STRONG = [entry.name for entry in ENTRIES if entry.argument("magnitude")]
MOVING = [name for name in NAMES if name != "identity"]


def block(name, **changes):
    entry = catalog.entry("operation", name)
    return {"name": name, **{a.name: a.default for a in entry.arguments}, **changes}


def changed(images, name, seed=0, **changes):
    return augmented(images, "learned", seed, op1=block(name, **changes), **QUIET)


def test_each_entry_loads_the_operation_of_its_name():
    for entry in ENTRIES:
        assert entry.load().name == entry.name
        arguments = [argument.name for argument in entry.arguments]
        assert arguments == ["probability", "magnitude"][: len(arguments)]


@pytest.mark.parametrize("name", STRONG)
def test_magnitude_0_is_the_identity(name):
    assert torch.equal(changed(pictures(8), name, probability=1.0, magnitude=0.0), pictures(8))


@pytest.mark.parametrize("name", STRONG)
def test_a_larger_magnitude_changes_a_picture_more(name):
    ramp = torch.linspace(0, 255, 32).view(1, 1, 1, 32).expand(16, 3, 32, 32) * torch.tensor([1.0, 0.7, 0.2]).view(
        1, 3, 1, 1
    )
    images = ((ramp + ramp.transpose(-1, -2) + pictures(16, 32).float() / 4) / 2.5).to(torch.uint8)
    distances = [
        (changed(images, name, probability=1.0, magnitude=level).double() - images).abs().mean().item()
        for level in (0.0, 0.25, 0.5, 1.0)
    ]
    assert distances == sorted(distances)
    assert distances[0] == 0 < distances[1] < distances[3]


@pytest.mark.parametrize("name", [name for name in STRONG if catalog.entry("operation", name).load().is_signed])
def test_directions_are_both_taken(name):
    results = changed(copies(64), name, probability=1.0, magnitude=0.6)
    assert len(results.flatten(1).unique(dim=0)) == 2


@pytest.mark.parametrize("name", MOVING)
def test_a_picture_has_the_operation_with_its_probability(name):
    # Not the whole range, which autocontrast leaves, and no fewer than the 256 pixels that equalize leaves.
    images = (copies(1000, 20) * 0.7 + 20).to(torch.uint8)
    is_changed = (changed(images, name, probability=0.3) != images).flatten(1).any(dim=1)
    assert is_changed.double().mean().item() == pytest.approx(0.3, abs=0.06)


def test_operations_come_one_after_the_other():
    source = generator(2)
    invert, blur = (catalog.entry("operation", name).load() for name in ("invert", "solarize"))
    expected = apply_one(pictures(8), source, operation=invert, probability=0.5, level=0)
    expected = apply_one(expected, source, operation=blur, probability=0.8, level=0.6)
    result = augmented(
        pictures(8),
        "learned",
        2,
        op1=block("invert"),
        op3=block("solarize", probability=0.8, magnitude=0.6),
        **QUIET,
    )
    assert torch.equal(result, expected)


def test_identity_is_off():
    assert torch.equal(augmented(pictures(), "learned", op1=block("identity"), **QUIET), pictures())
