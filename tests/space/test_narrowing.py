"""What an override does to a space."""

from typing import Any

import pytest

from autoft.core.errors import SpaceError
from autoft.space import Choice, LogUniform, SearchSpace, Uniform, load_space

SPACE = SearchSpace(
    task="image-classification",
    finetune=Choice([{"mode": "full", "layer_decay": Uniform(0.5, 1.0, when={"optimizer.name": "adamw"})}, "head"]),
    optimizer=Choice(
        [
            {"name": "adamw", "lr": LogUniform(1e-5, 1e-3), "weight_decay": LogUniform(1e-6, 1e-1)},
            {"name": "sgd", "lr": LogUniform(1e-4, 1e-1), "momentum": Uniform(0.8, 0.99)},
            "lion",
        ],
        prior="sgd",
    ),
    batch_size=Choice([16, 32, 64]),
)


def section(name: str, **overrides: Any) -> Any:
    return SPACE.narrowed({key.replace("__", "."): value for key, value in overrides.items()}).to_json()[name]


def test_a_path_without_the_branch_means_every_branch_that_has_the_setting() -> None:
    changed = section("optimizer", optimizer__lr=0.001)
    assert [branch["lr"] for branch in changed["choice"]] == [0.001, 0.001, 0.001]
    changed = section("optimizer", optimizer__momentum=0.9)
    assert [branch.get("momentum") for branch in changed["choice"]] == [None, 0.9, None]


def test_a_path_with_the_branch_means_that_one() -> None:
    changed = SPACE.narrowed({"optimizer[sgd].lr": {"uniform": [0.1, 0.2]}}).to_json()["optimizer"]["choice"]
    assert [branch.get("lr") for branch in changed] == [
        {"log_uniform": [1e-5, 1e-3]},
        {"uniform": [0.1, 0.2]},
        None,
    ]


def test_a_branch_that_has_a_setting_in_name_alone_stays_as_it_is() -> None:
    default = load_space("image-classification/default")
    narrowed = default.narrowed({"finetune.mode": "full", "backbone.batch_norm": "batch"})
    batch = {"choice": ["batch"], "when": {"finetune.mode": "full"}}
    branches = narrowed.to_json()["backbone"]["choice"]
    assert {branch["name"].partition("_")[0]: branch.get("batch_norm") for branch in branches} == {
        "timm:tf": batch,  # EfficientNets, both.
        "timm:mobilenetv3": batch,
        "timm:resnet50.a1": batch,
        "timm:convnext": None,
        "timm:swin": None,
        "timm:vit": None,
    }


@pytest.mark.parametrize(
    ("names", "path", "branch"),
    [
        (["timm:resnet18", "timm:vit_tiny_patch16_224"], "backbone[timm:vit_tiny_patch16_224]", "vit_tiny_patch16_224"),
        (["timm:vit_tiny_patch16_224"], "backbone", "vit_tiny_patch16_224"),
    ],
)
def test_a_setting_that_is_there_in_name_alone_is_refused_by_branch(names: list[str], path: str, branch: str) -> None:
    space = SearchSpace(task="image-classification", backbone=Choice(names), finetune="full")
    with pytest.raises(SpaceError) as error:
        space.narrowed({f"{path}.batch_norm": "batch"})
    (sentence,) = error.value.problems
    assert sentence == f"backbone.batch_norm (override for timm:{branch}) must be 'pretrained', not 'batch'."


def test_a_value_that_some_branches_do_not_take_is_refused_with_their_names() -> None:
    backbones = Choice(["timm:resnet18", "timm:vit_tiny_patch16_224", "timm:vit_small_patch16_224"])
    space = SearchSpace(task="image-classification", backbone=backbones)
    with pytest.raises(SpaceError) as error:
        space.narrowed({"backbone.input_size": 230})
    (sentence,) = error.value.problems
    assert sentence == (
        "backbone.input_size (override for timm:vit_tiny_patch16_224, timm:vit_small_patch16_224) must be a whole "
        "number, a multiple of 16, of at least 16 and at most 2048, not 230."
    )


def test_a_value_that_no_branch_takes_is_refused_once() -> None:
    with pytest.raises(SpaceError) as error:
        SPACE.narrowed({"optimizer.lr": "fast"})
    (sentence,) = error.value.problems
    assert sentence == "optimizer.lr (override) must be a number above 0 and at most 10, not 'fast'."


@pytest.mark.parametrize("path", ["optimizer.name", "optimizer"])
def test_a_name_picks_its_branch(path: str) -> None:
    assert SPACE.narrowed({path: "adamw"}).to_json()["optimizer"] == SPACE.to_json()["optimizer"]["choice"][0]


@pytest.mark.parametrize("path", ["optimizer.name", "optimizer"])
def test_a_choice_of_names_picks_several(path: str) -> None:
    picked = SPACE.narrowed({path: {"choice": ["lion", "sgd"]}})
    assert [branch["name"] for branch in picked.to_json()["optimizer"]["choice"]] == ["lion", "sgd"]
    assert picked.default()["optimizer"] == "sgd"  # The prior stays while its branch does.
    assert SPACE.narrowed({path: Choice(["lion", "adamw"])}).default()["optimizer"] == "lion"
    assert SPACE.narrowed({path: Choice(["lion", "adamw"], prior="adamw")}).default()["optimizer"] == "adamw"


def test_a_map_replaces_the_section() -> None:
    assert section("optimizer", optimizer={"name": "radam", "lr": {"uniform": [0.1, 0.2]}}) == {
        "name": "radam",
        "lr": {"uniform": [0.1, 0.2]},
    }


def test_a_part_of_a_domain_is_laid_over_it() -> None:
    assert section("batch_size", batch_size={"choice": [16, 32], "prior": 32}) == {"choice": [16, 32], "prior": 32}
    changed = SPACE.narrowed({"optimizer[adamw].lr": {"prior": 1e-4}}).to_json()["optimizer"]["choice"][0]
    assert changed["lr"] == {"log_uniform": [1e-5, 1e-3], "prior": 1e-4}


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (0.9, {"choice": [0.9]}),
        ({"uniform": [0.8, 0.9]}, {"uniform": [0.8, 0.9]}),
        ({"prior": 0.9}, {"uniform": [0.5, 1.0], "prior": 0.9}),
    ],
)
def test_a_setting_keeps_its_condition(value: object, domain: dict[str, Any]) -> None:
    changed = section("finetune", finetune__layer_decay=value)["choice"][0]["layer_decay"]
    assert changed == domain | {"when": {"optimizer.name": "adamw"}}


def test_a_condition_of_its_own_takes_the_place_of_the_one_before() -> None:
    domain = {"uniform": [0.8, 0.9], "when": {"optimizer.name": "sgd"}}
    assert section("finetune", finetune__layer_decay=domain)["choice"][0]["layer_decay"] == domain


def test_a_section_of_one_value_keeps_its_condition() -> None:
    when = {"optimizer.name": "adamw"}
    space = SearchSpace(
        task="image-classification",
        optimizer=Choice(["sgd", "adamw"]),
        clip_norm=Choice([1.0, 5.0], when=when),
    )
    assert space.narrowed({"clip_norm": 1.0}).to_json()["clip_norm"] == {"choice": [1.0], "when": when}


@pytest.mark.parametrize(("path", "value"), [("drop_path", {"uniform": [0, 0.1]}), ("batch_norm", "batch")])
def test_conditions_of_a_shipped_space_stay(path: str, value: object) -> None:
    quick = load_space("image-classification/quick")
    narrowed = quick.narrowed({f"backbone.{path}": value})
    before, after = (
        [branch[path]["when"] for branch in space.to_json()["backbone"]["choice"]] for space in (quick, narrowed)
    )
    assert after == before
    assert f"backbone.{path}" not in narrowed.narrowed({"finetune.mode": "head"}).column_names


@pytest.mark.parametrize(
    "overrides",
    [
        {"backbone.batch_norm": "batch", "finetune.mode": "lp_ft"},
        {"backbone.drop_path": 0.1, "finetune.mode": "head"},
        {"backbone.drop_path": {"uniform": [0, 0.1]}, "finetune.mode": "head"},
    ],
    ids=str,
)
def test_a_setting_that_the_other_overrides_never_let_be_is_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match=r"backbone.*has no effect: its `when:`.* Leave it out"):
        load_space("image-classification/quick").narrowed(overrides)


def test_the_order_of_overrides_does_not_matter() -> None:
    overrides = {"optimizer.name": "sgd", "optimizer.lr": 0.01, "optimizer[adamw].weight_decay": 0.1}
    assert SPACE.narrowed(overrides) == SPACE.narrowed(dict(reversed(overrides.items())))


def test_a_parameter_that_can_no_longer_be_active_goes() -> None:
    narrowed = SPACE.narrowed({"optimizer.name": "sgd"})
    assert "finetune.layer_decay" not in narrowed.column_names
    assert SearchSpace.from_json(narrowed.to_json()) == narrowed
    assert "finetune.layer_decay" in SPACE.narrowed({"optimizer.name": "adamw"}).column_names


def test_no_override_is_the_same_space() -> None:
    assert SPACE.narrowed({}) is SPACE


def test_the_name_stays() -> None:
    assert SPACE.narrowed({"batch_size": 8}).name == SPACE.name
