"""The language of a space: what each form means."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoft.core.configs import Budget
from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json, canonical_json
from autoft.space import Choice, IntUniform, LogUniform, Normal, SearchSpace, Uniform, load_space
from autoft.space.yaml_text import parse_yaml, read_scalar
from tests.space.spaces import DOCUMENTED


def from_yaml(text: str) -> SearchSpace:
    return SearchSpace.from_node(parse_yaml(text, file="vision.yaml"), name="vision.yaml")


def image(**sections: Any) -> SearchSpace:
    return SearchSpace(task="image-classification", **sections)


@pytest.fixture(scope="module")
def documented() -> SearchSpace:
    return from_yaml(DOCUMENTED)


def test_labels_name_the_branch_and_paths_do_not(documented: SearchSpace) -> None:
    assert [(one.label, one.path) for one in documented.parameters] == [
        ("backbone", "backbone.name"),
        ("backbone[timm:tf_efficientnet_lite0].input_size", "backbone.input_size"),
        ("backbone[timm:resnet18].drop_path", "backbone.drop_path"),
        ("finetune", "finetune.mode"),
        ("finetune[full].layer_decay", "finetune.layer_decay"),
        ("augmentation", "augmentation.name"),
        ("augmentation[randaugment].magnitude", "augmentation.magnitude"),
        ("optimizer", "optimizer.name"),
        ("optimizer[adamw].lr", "optimizer.lr"),
        ("optimizer[adamw].weight_decay", "optimizer.weight_decay"),
        ("optimizer[sgd].lr", "optimizer.lr"),
        ("optimizer[sgd].momentum", "optimizer.momentum"),
        ("schedule[cosine].warmup_fraction", "schedule.warmup_fraction"),
        ("batch_size", "batch_size"),
    ]


def test_the_default_is_every_default_together(documented: SearchSpace) -> None:
    assert documented.default() == {
        "backbone": "timm:tf_efficientnet_lite0",
        "backbone[timm:tf_efficientnet_lite0].input_size": 128,
        "finetune": "head",
        "augmentation": "none",
        "optimizer": "adamw",
        "optimizer[adamw].lr": 3e-4,
        "optimizer[adamw].weight_decay": pytest.approx(1e-3 / 10**0.5),
        "schedule[cosine].warmup_fraction": 0.1,
        "batch_size": 16,
    }


def test_columns_have_the_path_without_the_branch(documented: SearchSpace) -> None:
    assert documented.columns(documented.default())["optimizer.lr"] == 3e-4
    assert documented.column_names == (
        "backbone.name",
        "backbone.input_size",
        "backbone.drop_path",
        "finetune.mode",
        "finetune.layer_decay",
        "augmentation.name",
        "augmentation.magnitude",
        "optimizer.name",
        "optimizer.lr",
        "optimizer.weight_decay",
        "optimizer.momentum",
        "schedule.warmup_fraction",
        "batch_size",
    )


def test_backbones_are_complete_with_their_defaults(documented: SearchSpace) -> None:
    assert documented.backbones() == [
        {
            "name": "timm:tf_efficientnet_lite0",
            "weights": None,
            "input_size": 128,
            "drop_path": 0.0,
            "batch_norm": "pretrained",
            "pooling": None,
        },
        {
            "name": "timm:resnet18",
            "weights": None,
            "input_size": 224,
            "drop_path": 0.1,
            "batch_norm": "pretrained",
            "pooling": None,
        },
    ]


def test_the_python_form_is_the_same_space(documented: SearchSpace) -> None:
    same = image(
        backbone=Choice(
            [
                {"name": "timm:tf_efficientnet_lite0", "input_size": Choice([128, 192, 224])},
                {"name": "timm:resnet18", "drop_path": Uniform(0.0, 0.2)},
            ]
        ),
        finetune=Choice(["head", {"mode": "full", "layer_decay": Uniform(0.5, 1.0)}]),
        optimizer=Choice(
            [
                {"name": "adamw", "lr": LogUniform(1e-5, 3e-3, prior=3e-4), "weight_decay": LogUniform(1e-6, 1e-1)},
                {"name": "sgd", "lr": LogUniform(1e-4, 1e-1), "momentum": Uniform(0.8, 0.99)},
            ]
        ),
        schedule={"name": "cosine", "warmup_fraction": Uniform(0, 0.2)},
        augmentation=Choice(["none", "flip", {"name": "randaugment", "magnitude": IntUniform(1, 10)}]),
        batch_size=Choice(np.array([16, 32, 64])),
    )
    assert canonical_json(same.to_json()) == canonical_json(documented.to_json())
    assert same == documented
    assert hash(same) == hash(documented)
    assert pickle.loads(pickle.dumps(same)) == documented


def test_what_is_left_out_is_the_tasks_default() -> None:
    space = image()
    assert space.parameters == ()
    assert space.default() == {}
    recipe = space.recipe({})
    assert recipe["backbone"]["name"] == "timm:tf_efficientnet_lite0"
    assert recipe["optimizer"]["lr"] == 3e-4
    assert recipe["schedule"] == {"name": "cosine", "warmup_fraction": 0.1, "min_factor": 0.0}
    assert list(space.to_json()) == ["task", "budget", *recipe]


def test_a_plain_name_is_a_branch_and_a_constant_block() -> None:
    assert image(optimizer="sgd").recipe({})["optimizer"]["name"] == "sgd"
    assert image(optimizer=Choice(["sgd", "adamw"])).default() == {"optimizer": "sgd"}


def test_a_choice_of_one_does_not_vary() -> None:
    space = image(optimizer=Choice([{"name": "sgd", "lr": Choice([0.1])}]), batch_size=Choice([16]))
    assert space.parameters == ()
    assert space.recipe({})["batch_size"] == 16
    assert space == image(optimizer={"name": "sgd", "lr": 0.1}, batch_size=16)


def test_two_branches_of_one_name_are_known_by_their_labels() -> None:
    branches = [{"name": "sgd", "momentum": 0.0}, {"name": "sgd", "as": "heavy", "momentum": Uniform(0.8, 0.99)}]
    space = image(optimizer=Choice(branches, prior="heavy"))
    assert space.default() == {"optimizer": "heavy", "optimizer[heavy].momentum": pytest.approx(0.895)}
    assert space.recipe({"optimizer": "sgd"})["optimizer"]["momentum"] == 0.0
    for assignment in (space.default(), {"optimizer": "sgd"}):
        assert space.assignment(space.recipe(assignment)) == assignment
    assert space.narrowed({"optimizer.name": "heavy"}).to_json()["optimizer"]["as"] == "heavy"


@pytest.mark.parametrize(
    ("when", "batch_sizes"),
    [
        ({"batch_size": 16}, {16}),
        ({"batch_size": [16, 64]}, {16, 64}),
        ({"batch_size": {"above": 16}}, {32, 64}),
        ({"batch_size": {"at_least": 32}}, {32, 64}),
        ({"batch_size": {"below": 32}}, {16}),
        ({"batch_size": {"at_most": 32}}, {16, 32}),
        ({"batch_size": {"not": 32}}, {16, 64}),
        ({"batch_size": {"in": [16, 32], "not": [16]}}, {32}),
        ({"batch_size": 16, "optimizer.name": "adamw"}, {16}),
    ],
)
def test_when_is_equality_membership_or_comparison(when: Json, batch_sizes: set[int]) -> None:
    space = image(optimizer="adamw", batch_size=Choice([16, 32, 64]), clip_value=Uniform(0.9, 0.99, when=when))
    active = {size for size in (16, 32, 64) if "clip_value" in space.active({"batch_size": size, "clip_value": 0.95})}
    assert active == batch_sizes
    assert SearchSpace.from_json(space.to_json()) == space


def test_a_setting_that_is_not_active_has_the_tasks_default() -> None:
    decay = LogUniform(1e-6, 1e-4, when={"finetune.mode": "head"})
    space = image(finetune=Choice(["full", "head"]), optimizer={"name": "adamw", "weight_decay": decay})
    assert space.default() == {"finetune": "full"}
    assert space.recipe(space.default())["optimizer"]["weight_decay"] == 0.05
    assert space.assignment(space.recipe(space.default())) == space.default()


def test_a_path_in_when_means_the_active_branch() -> None:
    optimizer = Choice([{"name": "sgd", "lr": LogUniform(1e-3, 1.0)}, {"name": "adamw", "lr": 1e-4}])
    space = image(optimizer=optimizer, patience=IntUniform(1, 5, when={"optimizer.lr": {"above": 0.1}}))
    sgd = {"optimizer": "sgd", "patience": 2}
    assert "patience" in space.active(sgd | {"optimizer[sgd].lr": 0.2})
    assert "patience" not in space.active(sgd | {"optimizer[sgd].lr": 0.05})
    assert "patience" not in space.active({"optimizer": "adamw", "patience": 2})


def test_a_section_that_is_not_active_has_the_tasks_default() -> None:
    augmentation = Choice(
        [{"name": "randaugment", "magnitude": IntUniform(1, 10)}, "none"], when={"finetune.mode": "full"}
    )
    space = image(finetune=Choice(["head", "full"]), augmentation=augmentation)
    assert space.default() == {"finetune": "head"}
    usual = {"name": "crop_flip", "min_scale": 0.35, "flip": True, "vertical_flip": False, "erasing": 0.0}
    assert space.recipe(space.default())["augmentation"] == usual


def test_conditions_may_be_written_before_what_they_look_at() -> None:
    space = image(
        backbone={"name": "timm:resnet18", "drop_path": Uniform(0.0, 0.2, when={"batch_size": 32})},
        batch_size=Choice([16, 32], when={"optimizer.name": "sgd"}),
        optimizer=Choice(["adamw", "sgd"]),
    )
    # Inactive, batch_size has the task's default, 32.
    assert list(space.default()) == ["backbone[timm:resnet18].drop_path", "optimizer"]
    assert list(space.active({"optimizer": "sgd", "batch_size": 16})) == ["optimizer", "batch_size"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("010", 10),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("none", "none"),
        ("null", None),
        ("~", None),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("-.inf", float("-inf")),
    ],
)
def test_scalars_of_yaml(text: str, value: object) -> None:
    assert read_scalar(text) == value
    assert type(read_scalar(text)) is type(value)


@pytest.mark.parametrize("text", ["\U0001f389", "\\ud83c\\udf89", "a\\\\b", 'é\n\t"/'])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_json_file_may_escape_any_letter(text: str, is_ascii: bool, tmp_path: Path) -> None:
    space = image(description=text)
    path = tmp_path / "space.json"
    path.write_text(json.dumps(space.to_json(), ensure_ascii=is_ascii, indent="\t"), encoding="utf-8")
    assert load_space(path) == space


def test_a_quoted_scalar_is_a_text() -> None:
    assert parse_yaml("""[1e-5, "1e-5", 'true']""", file="x").plain() == [1e-5, "1e-5", "true"]


def test_texts_that_look_like_numbers_survive_a_round_trip() -> None:
    space = image(backbone={"name": "timm:resnet18", "weights": "1e-5"}, description="yes")
    assert from_yaml(space.to_yaml()) == space


def test_anchors_and_merge_keys_work() -> None:
    space = from_yaml(
        "task: image-classification\n"
        "optimizer:\n"
        "  choice:\n"
        "    - &adam {name: adamw, lr: &lr {log_uniform: [1e-5, 1e-3]}}\n"
        "    - {<<: *adam, name: nadamw}\n"
        "    - {name: sgd, lr: *lr}\n"
    )
    assert [one.label for one in space.parameters] == [
        "optimizer",
        *(f"optimizer[{n}].lr" for n in ("adamw", "nadamw", "sgd")),
    ]


def test_budget_and_description_are_kept() -> None:
    space = image(budget={"trials": 5}, description="small")
    assert space.budget == Budget(trials=5, epochs=12)
    assert from_yaml(space.to_yaml()).description == "small"
    assert image(budget=Budget(epochs=3)).budget == Budget(trials=32, epochs=3)


def test_a_task_of_the_data_is_taken_and_another_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("batch_size: 8\n")
    assert load_space(path, "text-classification").task == "text-classification"
    space = load_space(path, "image-classification")
    assert load_space(space) is space
    with pytest.raises(SpaceError, match=r"is for image-classification, but the data are for text-classification\."):
        load_space(space, "text-classification")


def test_a_whole_number_may_be_written_as_a_float() -> None:
    written = from_yaml(
        "task: image-classification\nbatch_size: {choice: [8.0, 16, 3.2e1], prior: 16.0}\naccumulation: 2.0\n"
    )
    assert canonical_json(written.to_json()) == canonical_json(
        image(batch_size=Choice([8, 16, 32], prior=16), accumulation=2).to_json()
    )


def test_of_branches_that_could_give_a_block_the_rest_decides() -> None:
    branches = ["sgd", {"name": "sgd", "as": "searched", "lr": LogUniform(1e-3, 1.0, prior=0.01)}]
    sizes = Choice([8, 16], when={"optimizer.name": "searched"})
    space = image(optimizer=Choice(branches), batch_size=sizes)
    for assignment in (
        {"optimizer": "sgd"},
        {"optimizer": "searched", "optimizer[searched].lr": 0.5, "batch_size": 16},
        {"optimizer": "searched", "optimizer[searched].lr": 0.01, "batch_size": 8},
    ):
        assert space.assignment(space.recipe(assignment)) == assignment


@pytest.mark.parametrize("name", ["image-classification/quick", "base.yaml"])
def test_extends_in_python_and_json_is_that_of_a_file(name: str, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base.parent)
    Path("mine.yaml").write_text(f"extends: {name}\nbatch_size: {{choice: [4, 8]}}\n")
    form = {"task": "image-classification", "extends": name, "batch_size": {"choice": [4, 8]}}
    expected = load_space("mine.yaml")
    assert image(extends=name, batch_size=Choice([4, 8])) == expected
    assert SearchSpace.from_json(form) == expected


def test_a_stepped_curve_starts_at_the_first_step_that_its_setting_takes() -> None:
    space = image(clip_norm=Normal(0.0, 1.0, step=0.5), optimizer={"name": "adamw", "lr": Normal(0.1, 0.2, step=0.1)})
    assert space.to_json()["clip_norm"] == {"normal": [0.0, 1.0], "bounds": [0.5, None], "step": 0.5}
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(200)]
    assert min(one["clip_norm"] for one in drawn) == 0.5
    assert min(one["optimizer[adamw].lr"] for one in drawn) == 0.1
    assert SearchSpace.from_json(space.to_json()) == space


def test_a_stepped_curve_is_counted() -> None:
    space = image(clip_norm=Normal(1.0, 1.0, bounds=(0.5, 2.0), step=0.5), batch_size=Choice([8, 16]))
    assert (space.size.count, space.size.is_finite) == (8, True)
    tied = image(
        clip_norm=Normal(1.0, 1.0, bounds=(0.5, 2.0), step=0.5, when={"batch_size": 8}), batch_size=Choice([8, 16])
    )
    assert (tied.size.count, tied.size.is_exact) == (5, True)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text(DOCUMENTED + "budget: {trials: 9, epochs: 4}\n")
    return path


def extended(base: Path, text: str) -> Json:
    path = base.parent / "mine.yaml"
    path.write_text(f"extends: base.yaml\n{text}")
    return load_space(path).to_json()


def test_extends_takes_what_is_not_given(base: Path) -> None:
    assert extended(base, "batch_size: 8\n") == load_space(base).to_json() | {"batch_size": 8}


def test_extends_replaces_a_block_that_names_its_branch(base: Path) -> None:
    assert extended(base, "schedule: {name: cosine}\n")["schedule"] == {"name": "cosine"}
    assert extended(base, "optimizer: sgd\n")["optimizer"] == {"name": "sgd"}


def test_extends_replaces_a_block_that_holds_a_choice(base: Path) -> None:
    assert extended(base, "finetune: {choice: [{mode: full}]}\n")["finetune"] == {"mode": "full"}


def test_extends_merges_maps(base: Path) -> None:
    merged = extended(base, "budget: {trials: 3}\nschedule: {min_factor: 0.1}\nbatch_size: {prior: 64}\n")
    assert merged["budget"] == {"trials": 3, "epochs": 4}
    assert merged["schedule"] == {"name": "cosine", "warmup_fraction": {"uniform": [0.0, 0.2]}, "min_factor": 0.1}
    assert merged["batch_size"] == {"choice": [16, 32, 64], "prior": 64}


def test_extends_changes_a_setting_in_every_branch_that_has_it(base: Path) -> None:
    branches = extended(base, "optimizer: {lr: 0.01, nesterov: false, prior: sgd}\n")["optimizer"]
    assert branches["prior"] == "sgd"
    assert [branch["lr"] for branch in branches["choice"]] == [0.01, 0.01]
    assert [branch.get("nesterov") for branch in branches["choice"]] == [None, False]


def test_extends_leaves_alone_what_a_branch_has_in_name_only(base: Path) -> None:
    base.write_text(
        "task: image-classification\nfinetune: full\nbackbone: {choice: [timm:resnet18, timm:vit_tiny_patch16_224]}\n"
    )
    branches = extended(base, "backbone: {batch_norm: batch}\n")["backbone"]["choice"]
    assert [branch.get("batch_norm") for branch in branches] == ["batch", None]


def test_extends_changes_a_block_in_every_branch_that_has_it(base: Path) -> None:
    base.write_text(
        "task: image-classification\nbackbone: timm:resnet18\n"
        "optimizer: {choice: [{name: sam, as: near, rho: 0.01}, {name: sam, as: far, rho: 0.2}]}\n"
    )
    branches = extended(base, "optimizer: {base: {name: sgd, lr: 0.1}}\n")["optimizer"]["choice"]
    assert [branch["base"] for branch in branches] == [{"name": "sgd", "lr": 0.1}] * 2


@pytest.mark.parametrize("change", ["0.9", "{uniform: [0.8, 0.9]}"])
def test_extends_replaces_a_domain_with_its_condition(base: Path, change: str) -> None:
    base.write_text(
        "task: image-classification\n"
        "optimizer: {name: sgd, momentum: {uniform: [0.5, 0.9], when: {batch_size: 8}}}\n"
        "batch_size: {choice: [8, 16]}\n"
    )
    momentum = extended(base, f"optimizer: {{momentum: {change}}}\n")["optimizer"]["momentum"]
    assert momentum == (0.9 if change == "0.9" else {"uniform": [0.8, 0.9]})
    kept = extended(base, "optimizer: {momentum: {prior: 0.6}}\n")["optimizer"]["momentum"]
    assert kept == {"uniform": [0.5, 0.9], "prior": 0.6, "when": {"batch_size": 8}}


def test_extends_a_shipped_space_and_another_file(base: Path) -> None:
    (base.parent / "inner").mkdir()
    path = base.parent / "inner" / "mine.yaml"
    path.write_text("extends: ../base.yaml\nbatch_size: 8\n")
    assert load_space(path).to_json()["batch_size"] == 8
    path.write_text("extends: image-classification/quick\nbatch_size: 8\n")
    assert load_space(path).narrowed({"batch_size": 16}) == load_space("image-classification/quick").narrowed(
        {"batch_size": 16}
    )
