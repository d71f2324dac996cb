import math

import pytest
import torch

from autoft.core import catalog
from autoft.core.errors import ConfigError
from autoft.tasks import get_task

TASKS = [entry.name for entry in catalog.entries("task")]


DEFAULT_LOSSES = [
    {"name": entry.name} | {argument.name: argument.default for argument in entry.arguments}
    for entry in catalog.entries("loss")
]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("loss", DEFAULT_LOSSES, ids=lambda loss: loss["name"])
def test_every_task_learns_by_every_loss_of_the_catalog(name, loss):
    task = get_task(name)
    assert task.name == name
    assert task.input_kind == catalog.entry("task", name).facts["input"]
    recipe = {"loss": loss}
    head = task.build_head(6, 3, recipe, seed=0)
    value = task.build_loss(recipe, [2, 2, 2])(head(torch.randn(4, 6)), torch.tensor([0, 1, 2, 0]))
    value.backward()
    assert head.linear.weight.grad.abs().max() > 0


def test_unknown_task_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'image-classification'"):
        get_task("image-clasification")


def test_a_probes_recipe_has_a_head_without_dropout():
    head = get_task("image-classification").build_head(6, 3, {"finetune": {"mode": "probe"}}, seed=0)
    assert head.dropout.p == 0


def test_head_dropout_is_the_recipes():
    head = {"name": "linear", "dropout": 0.3, "lr_multiplier": 1.0}
    assert get_task("text-classification").build_head(6, 3, {"head": head}, seed=0).dropout.p == 0.3


def test_predictions_are_the_softmax():
    probabilities = get_task("image-classification").predictions(torch.tensor([[0.0, math.log(3)], [5.0, 5.0]]))
    assert probabilities.flatten().tolist() == pytest.approx([0.25, 0.75, 0.5, 0.5])
