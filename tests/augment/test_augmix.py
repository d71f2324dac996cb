import pytest
import torch

from autoft.augment import draws
from autoft.augment.augmix import OPERATIONS, chain, mix, mixing_weights
from tests.augment.pictures import QUIET, augmented, generator, pictures


def test_the_operations_are_those_that_are_no_corruption_of_the_benchmark():
    assert [operation.name for operation in OPERATIONS] == [
        "autocontrast",
        "equalize",
        "posterize",
        "rotate",
        "solarize",
        "shear_x",
        "shear_y",
        "translate_x",
        "translate_y",
    ]
    signed = [operation.name for operation in OPERATIONS if operation.is_signed]
    assert signed == ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("posterize", [4, 4, 3, 0]),
        ("rotate", [0, 3, 10, 30]),
        ("solarize", [254, 231, 166, 0]),
        ("shear_x", [0.003, 0.03, 0.1059, 0.3]),
        ("translate_y", [0.74, 7.4, 26.122, 74]),
        ("equalize", [0, 0, 0, 0]),
    ],
)
def test_values_are_those_of_the_authors_code(name, values):
    (operation,) = [operation for operation in OPERATIONS if operation.name == name]
    levels = torch.tensor([0.1, 1.0, 3.53, 10.0], dtype=torch.float64) / 10
    assert operation.value(levels, 222).tolist() == pytest.approx(values)


def test_weights_are_dirichlet_and_shares_beta():
    weights, shares = mixing_weights(20000, 3, 2.0, generator())
    assert torch.allclose(weights.sum(dim=1), torch.ones(20000, dtype=torch.float64))
    assert weights.mean(dim=0).tolist() == pytest.approx([1 / 3] * 3, abs=0.01)
    assert weights.var(dim=0).tolist() == pytest.approx([(1 / 3) * (2 / 3) / 7] * 3, rel=0.05)
    assert shares.mean().item() == pytest.approx(0.5, abs=0.01)
    assert shares.var().item() == pytest.approx(0.25 / 5, rel=0.05)


def test_the_result_is_the_convex_mix_of_the_picture_and_its_chains():
    images, source = pictures(8), generator(3)
    weights, shares = mixing_weights(8, 3, 1.0, source)
    chains = [chain(images, source, depth=2, severity=5.0).double() for _ in range(3)]
    mixed = sum(weights[:, index].view(-1, 1, 1, 1) * one for index, one in enumerate(chains))
    expected = (1 - shares).view(-1, 1, 1, 1) * images + shares.view(-1, 1, 1, 1) * mixed
    result = mix(images, generator(3), width=3, depth=2, severity=5.0, alpha=1.0)
    assert (result.double() - expected).abs().max() <= 0.501
    low = torch.stack([images.double(), *chains]).amin(dim=0)
    high = torch.stack([images.double(), *chains]).amax(dim=0)
    assert ((result >= low) & (result <= high)).all()
    policy = augmented(images, "augmix", 3, width=3, depth=2, severity=5.0, alpha=1.0, **QUIET)
    assert torch.equal(policy, result)


def test_a_chain_is_as_long_as_its_depth_or_one_to_three_evenly():
    # At hardly any severity only autocontrast, equalize, posterize (to 4 bits) and solarize (above 253) do anything.
    ramp = (torch.arange(400) // 3).to(torch.uint8).view(1, 1, 20, 20).repeat(1500, 3, 1, 1)
    names = {"posterize", "autocontrast", "equalize"}
    still = 1 - len(names) / len(OPERATIONS)
    for depth, expected in ((1, still), (3, still**3), (None, (still + still**2 + still**3) / 3)):
        result = chain(ramp, generator(), depth=depth, severity=0.1)
        moved = (result[:, :, 2:-2, 2:-2].int() - ramp[:, :, 2:-2, 2:-2].int()).abs().flatten(1).amax(dim=1)
        assert (moved <= 1).double().mean().item() == pytest.approx(expected, abs=0.035), depth


def test_levels_reach_from_a_tenth_to_the_severity():
    levels = draws.between(5000, 0.1, 3.0, generator())
    assert 0.1 <= levels.min() < 0.11
    assert 2.98 < levels.max() < 3.0
