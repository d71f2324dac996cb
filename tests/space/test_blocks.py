"""A setting that is a block itself: an optimizer around another, as SAM is."""

from typing import Any

import numpy as np
import pytest

from autoft.core import catalog
from autoft.core.catalog import Argument, Entry
from autoft.core.errors import SpaceError
from autoft.core.recipe import complete
from autoft.space import Choice, LogUniform, SearchSpace, Uniform
from autoft.space.schema import space_schema
from autoft.space.yaml_text import parse_yaml

AROUND = Entry(
    kind="optimizer",
    name="around",
    target="tests:none",
    description="Stands for an optimizer around another.",
    source="this test",
    arguments=(
        Argument(name="rho", type="float", default=0.05, low=0, low_open=True, description="Radius."),
        Argument(
            name="base",
            type="block",
            kind="optimizer",
            choices=("adamw", "sgd"),
            default={"name": "adamw", "lr": 1e-3},
            description="What takes the step.",
        ),
    ),
)
INNER = Choice(
    [
        {"name": "adamw", "lr": LogUniform(1e-5, 1e-2)},
        {"name": "sgd", "lr": LogUniform(1e-3, 1.0), "momentum": Uniform(0.1, 0.9, when={"batch_size": 16})},
    ]
)


@pytest.fixture(autouse=True)
def around(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: Any = catalog._registry()
    monkeypatch.setitem(registry, "optimizer", registry["optimizer"] | {"around": AROUND})


def image(**sections: Any) -> SearchSpace:
    return SearchSpace(task="image-classification", **sections)


@pytest.fixture
def space() -> SearchSpace:
    around = {"name": "around", "rho": Uniform(0.01, 0.1), "base": INNER}
    forbid = [{"optimizer.base.name": "sgd", "batch_size": 32}]
    return image(optimizer=Choice(["lion", around]), batch_size=Choice([16, 32]), forbid=forbid)


def test_labels_and_paths_go_on_inside(space: SearchSpace) -> None:
    assert [(one.label, one.path) for one in space.parameters] == [
        ("optimizer", "optimizer.name"),
        ("optimizer[around].rho", "optimizer.rho"),
        ("optimizer[around].base", "optimizer.base.name"),
        ("optimizer[around].base[adamw].lr", "optimizer.base.lr"),
        ("optimizer[around].base[sgd].lr", "optimizer.base.lr"),
        ("optimizer[around].base[sgd].momentum", "optimizer.base.momentum"),
        ("batch_size", "batch_size"),
    ]
    assert space.num_branches == 3


def test_samples_are_active_complete_and_come_back(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        assignment = space.sample(rng)
        space.validate(assignment)
        recipe = space.recipe(assignment)
        assert complete(recipe, task=space.task) == recipe
        assert space.assignment(recipe) == assignment
        base = recipe["optimizer"].get("base")
        seen.add(base and base["name"])
        assert ("optimizer[around].base" in assignment) == (assignment["optimizer"] == "around")
        if base:
            assert space.columns(assignment)["optimizer.base.lr"] == base["lr"]
            assert base["name"] == "adamw" or assignment["batch_size"] == 16
    assert seen == {None, "adamw", "sgd"}


def test_a_round_trip_gives_equal_bytes(space: SearchSpace) -> None:
    assert SearchSpace.from_json(space.to_json()) == space
    again = SearchSpace.from_node(parse_yaml(space.to_yaml(), file="a.yaml"), name="a.yaml")
    assert again.to_yaml() == space.to_yaml()


def test_what_is_left_out_is_the_arguments_default() -> None:
    recipe = image(optimizer="around").recipe({})
    assert recipe["optimizer"]["base"]["lr"] == 1e-3
    recipe["optimizer"]["base"]["lr"] = 5.0
    assert image(optimizer="around").recipe({})["optimizer"]["base"]["lr"] == 1e-3


def test_narrowing_reaches_inside(space: SearchSpace) -> None:
    one = space.narrowed({"optimizer[around].base[sgd].lr": 0.5}).to_json()["optimizer"]["choice"][1]["base"]["choice"]
    assert (one[0]["lr"], one[1]["lr"]) == ({"log_uniform": [1e-5, 1e-2]}, 0.5)
    every = space.narrowed({"optimizer.base.lr": 0.005}).to_json()["optimizer"]["choice"][1]["base"]["choice"]
    assert [branch["lr"] for branch in every] == [0.005, 0.005]
    picked = space.narrowed({"optimizer.name": "around", "optimizer.base.name": "adamw"})
    assert picked.recipe(picked.default())["optimizer"]["base"]["name"] == "adamw"
    assert picked.parameters[0].label == "optimizer[around].rho"
    with pytest.raises(SpaceError, match=r"optimizer\.base\.lrr is not in this space"):
        space.narrowed({"optimizer.base.lrr": 1.0})


def test_a_condition_may_look_inside() -> None:
    base = {"name": "around", "base": INNER}
    space = image(
        optimizer=Choice([base, "lion"]),
        batch_size=Choice([16, 32]),
        clip_value=Uniform(0.9, 0.99, when={"optimizer.base.name": "sgd"}),
    )
    values = {one.label: one.domain.default for one in space.parameters}
    assert "clip_value" not in space.active(values)
    assert "clip_value" in space.active(values | {"optimizer[around].base": "sgd"})
    assert "clip_value" not in space.active(values | {"optimizer": "lion", "optimizer[around].base": "sgd"})


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        ({"name": "lion"}, "optimizer.base.name: lion does not fit here. Allowed: adamw, sgd."),
        (
            "sdg",
            "Unknown optimizer 'sdg' at optimizer.base.name. Did you mean 'sgd'? `autoft list optimizers` shows all.",
        ),
        (3, "optimizer.base must be a map with `name:`, not 3. Allowed: adamw, sgd."),
        (
            {"name": "sgd", "lr": -1},
            "optimizer[around].base[sgd].lr must be a number above 0 and at most 10, not -1.0.",
        ),
    ],
)
def test_a_mistake_inside(base: Any, sentence: str) -> None:
    with pytest.raises(SpaceError) as caught:
        image(optimizer={"name": "around", "base": base})
    assert list(caught.value.problems) == [sentence]


def test_the_schema_goes_inside(space: SearchSpace) -> None:
    from jsonschema import Draft202012Validator

    check = Draft202012Validator(space_schema())
    assert check.is_valid(space.to_json())
    wrong = {"task": "image-classification", "optimizer": {"name": "around", "base": {"name": "lion"}}}
    assert not check.is_valid(wrong)
