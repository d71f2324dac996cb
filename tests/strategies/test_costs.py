import pytest

from autoft.core import catalog
from autoft.core.recipe import complete
from autoft.strategies.costs import epoch_cost

IMAGE, TEXT = "image-classification", "text-classification"


def cost(task=IMAGE, **recipe):
    return epoch_cost(complete(recipe, task=task))


def resnet18(size):
    return {"name": "timm:resnet18", "input_size": size}


def test_a_full_epoch_costs_three_forward_passes_at_the_published_multiply_adds():
    gmacs = catalog.entry("backbone", "timm:resnet18").facts["gmacs"]
    assert cost(backbone=resnet18(224), finetune={"mode": "full"}) == pytest.approx(3 * gmacs)


def test_half_the_side_is_a_quarter_of_the_cost():
    assert cost(backbone=resnet18(112)) == pytest.approx(cost(backbone=resnet18(224)) / 4)


@pytest.mark.parametrize(
    ("recipe", "passes"),
    [
        ({"finetune": {"mode": "head"}}, 1.0),
        ({"finetune": {"mode": "head"}, "augmentation": {"name": "none"}}, 0.1),
        ({"finetune": {"mode": "norm_bias"}}, 2.0),
        ({"optimizer": {"name": "sam"}}, 6.0),
    ],
)
def test_modes_cost_as_many_passes_as_they_take(recipe, passes):
    forward = cost(backbone=resnet18(224)) / 3
    assert cost(backbone=resnet18(224), **recipe) == pytest.approx(passes * forward)


def test_half_the_groups_frozen_is_two_passes():
    groups = catalog.entry("backbone", "timm:resnet18").facts["groups"]
    full = cost(backbone=resnet18(224))
    frozen = groups // 2
    partial = cost(backbone=resnet18(224), finetune={"mode": "partial", "frozen_groups": frozen})
    assert partial == pytest.approx(full / 3 * (1 + 2 * (1 - frozen / groups)))


def test_a_text_costs_its_tokens_times_the_parameters():
    name = "hf:sentence-transformers/all-MiniLM-L6-v2"
    parameters = catalog.entry("backbone", name).facts["parameters"]
    short = cost(TEXT, backbone={"name": name, "max_length": 64})
    assert short == pytest.approx(3 * parameters * 64 / 1e9)
