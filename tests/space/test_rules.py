"""What cannot work together is refused when a space is read, unless the space leaves it out itself."""

import json
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.core.errors import ConfigError, SpaceError
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.core.rules import RULES, mistakes, passes, reader
from autoft.space import Choice, IntUniform, SearchSpace, Uniform, load_space

IMAGE, TEXT = "image-classification", "text-classification"
VIT, RESNET, BERT = "timm:vit_tiny_patch16_224", "timm:resnet18", "hf:google-bert/bert-base-uncased"

CASES: list[tuple[str, str, Json, Json]] = [
    (
        "Probe then full solves for a linear head.",
        IMAGE,
        {"finetune": Choice(["full", "lp_ft"]), "head": Choice(["linear", "mlp"])},
        {"finetune.mode": "lp_ft", "head.name": "mlp"},
    ),
    (
        "FGM needs embeddings that the trial computes.",
        TEXT,
        {"finetune": Choice(["full", "head"]), "regularization": Choice(["none", "fgm"])},
        {"regularization.name": "fgm", "finetune.mode": ["probe", "head"]},
    ),
    (
        "Embedding MixUp needs embeddings that the trial computes.",
        TEXT,
        {"finetune": Choice(["full", "head"]), "mixing": Choice(["none", "embedding_mixup"])},
        {"mixing.name": "embedding_mixup", "finetune.mode": ["probe", "head"]},
    ),
    (
        "R-Drop needs two passes that differ.",
        IMAGE,
        {"regularization": Choice(["none", "r_drop"]), "head": {"name": "linear", "dropout": Choice([0.0, 0.1])}},
        {"regularization.name": "r_drop", "head.dropout": 0, "backbone.drop_path": 0},
    ),
    (
        "Progressive resizing needs a backbone that takes several sizes.",
        IMAGE,
        {"backbone": Choice([RESNET, VIT]), "resizing": Choice(["fixed", "progressive"])},
        {"resizing.name": "progressive", "backbone.name": VIT},
    ),
    (
        "Adapters go to the linear layers of attention.",
        IMAGE,
        {"backbone": Choice([VIT, RESNET]), "finetune": Choice(["full", "lora", "dora"])},
        {"finetune.mode": ["lora", "dora"], "finetune.targets": "attention", "backbone.name": RESNET},
    ),
    (
        "Adapters go to the linear layers of the blocks.",
        IMAGE,
        {"backbone": Choice([VIT, RESNET]), "finetune": Choice(["full", {"mode": "lora", "targets": "all"}])},
        {"finetune.mode": ["lora", "dora"], "finetune.targets": "all", "backbone.name": RESNET},
    ),
    (
        "(IA)^3 scales keys and values.",
        IMAGE,
        {"backbone": Choice([VIT, RESNET]), "finetune": Choice(["full", "ia3"])},
        {"finetune.mode": "ia3", "backbone.name": RESNET},
    ),
    (
        "Some layer group must be left to learn.",
        IMAGE,
        {"backbone": RESNET, "finetune": Choice(["full", {"mode": "partial", "frozen_groups": IntUniform(1, 9)}])},
        {"finetune.frozen_groups": {"at_least": 9}, "backbone.name": RESNET},
    ),
    (
        "Some layer group must stay pretrained.",
        TEXT,
        {"backbone": BERT, "finetune": {"mode": "full", "reinit_groups": Choice([0, 3, 13])}},
        {"finetune.reinit_groups": {"at_least": 13}, "backbone.name": BERT},
    ),
    (
        "Mixing needs two rows.",
        IMAGE,
        {"batch_size": Choice([16, 1]), "mixing": Choice(["none", "mixup"])},
        {"mixing.name": {"not": "none"}, "batch_size": 1},
    ),
    (
        "The statistics of batches need batch norms that learn.",
        IMAGE,
        {
            "backbone": {"name": RESNET, "batch_norm": Choice(["pretrained", "batch"])},
            "finetune": Choice(["full", "head"]),
        },
        {"backbone.batch_norm": "batch", "finetune.mode": ["probe", "head", "lora", "dora", "ia3"]},
    ),
    (
        "Probe then full keeps the statistics of the probe.",
        IMAGE,
        {
            "backbone": {"name": RESNET, "batch_norm": Choice(["pretrained", "batch"])},
            "finetune": Choice(["full", "lp_ft"]),
        },
        {"backbone.batch_norm": "batch", "finetune.mode": "lp_ft"},
    ),
    (
        "The statistics of batches take the place of pretrained ones.",
        IMAGE,
        {"backbone": {"name": RESNET, "weights": "none", "batch_norm": Choice(["pretrained", "batch"])}},
        {"backbone.batch_norm": "batch", "backbone.weights": "none"},
    ),
    (
        "Nesterov's momentum needs momentum.",
        IMAGE,
        {"optimizer": {"name": "sgd", "nesterov": Choice([True, False]), "momentum": Choice([0.9, 0.0])}},
        {"optimizer.nesterov": True, "optimizer.momentum": 0},
    ),
    (
        "A decay of norms and biases needs a decay.",
        IMAGE,
        {
            "optimizer": {
                "name": "adamw",
                "decay_norms_and_biases": Choice([False, True]),
                "weight_decay": Choice([0.05, 0.0]),
            }
        },
        {"optimizer.decay_norms_and_biases": True, "optimizer.weight_decay": 0},
    ),
    (
        "Muon needs matrices that learn.",
        IMAGE,
        {"optimizer": Choice(["adamw", "muon"]), "finetune": Choice(["full", "norm_bias"])},
        {"optimizer.name": "muon", "finetune.mode": ["head", "norm_bias", "ia3"]},
    ),
]
"""Of each rule: its line, the task, sections that can break it, and the combination that must be forbidden."""


def refusals(task: str, **sections: Any) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        SearchSpace(task=task, **sections)
    return list(caught.value.problems)


def test_every_rule_has_a_case() -> None:
    assert {rule.description for rule in RULES} == {description for description, *_ in CASES}


@pytest.mark.parametrize(("description", "task", "sections", "forbidden"), CASES, ids=[case[0] for case in CASES])
def test_a_space_that_could_break_a_rule_is_refused_and_forbidding_it_is_the_remedy(
    description: str, task: str, sections: Json, forbidden: Json
) -> None:
    (problem,) = refusals(task, **sections)
    rule = next(rule for rule in RULES if rule.description == description)
    assert rule.reason in problem
    assert "does not go with" in problem
    assert "Take one of them out, or write `forbid: [{" in problem
    space = SearchSpace(task=task, **sections, forbid=[forbidden])
    assert SearchSpace.from_json(space.to_json()) == space
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert list(mistakes(space.recipe(space.sample(rng)))) == []


@pytest.mark.parametrize(("description", "task", "sections", "forbidden"), CASES, ids=[case[0] for case in CASES])
def test_a_space_that_was_recorded_before_there_was_the_rule_is_read(
    description: str, task: str, sections: Json, forbidden: Json
) -> None:
    recorded = SearchSpace(task=task, **sections, forbid=[forbidden]).to_json()
    del recorded["forbid"]
    with pytest.raises(SpaceError, match="does not go with"):
        SearchSpace.from_json(recorded)
    space = SearchSpace.from_record(recorded)
    assert space.to_json() == recorded
    assert pickle.loads(pickle.dumps(space)) == space


def test_the_sentence_names_the_line_the_values_the_reason_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "vision.yaml"
    path.write_text(
        f"task: image-classification\nbackbone:\n  choice: [{VIT}, {RESNET}]\n"
        "finetune:\n  choice:\n    - full\n    - ia3\n"
    )
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    (problem,) = caught.value.problems
    assert problem == (
        f"finetune.mode ({path}:7) can be ia3, which does not go with backbone.name ({path}:3): timm:resnet18: "
        "(IA)^3 goes to the linear layers of attention, of which the backbone has none. Take one of them out, or "
        "write `forbid: [{finetune.mode: ia3, backbone.name: 'timm:resnet18'}]`."
    )
    path.write_text(path.read_text() + f"forbid: [{{finetune.mode: ia3, backbone.name: '{RESNET}'}}]\n")
    assert load_space(path).forbids({"backbone": RESNET, "finetune": "ia3"}) is not None


def test_of_two_branches_of_one_name_the_line_is_that_of_the_one_which_breaks_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "task: image-classification\nbackbone:\n  choice:\n"
        "    - {name: timm:resnet50, as: a, batch_norm: pretrained}\n"
        "    - {name: timm:resnet50, as: b, batch_norm: batch}\n"
        "finetune: {mode: lp_ft}\n"
    )
    with pytest.raises(SpaceError) as error:
        load_space(path)
    (sentence,) = error.value.problems
    assert sentence.startswith(f"backbone.batch_norm ({path}:5) can be batch, which does not go with finetune.mode")


def test_of_two_branches_of_one_mode_the_line_is_that_of_the_one_which_breaks_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "task: image-classification\nbackbone: timm:convnext_tiny\nfinetune:\n  choice:\n"
        "    - {mode: lora, as: a, targets: all}\n"
        "    - {mode: lora, as: b, targets: attention}\n"
    )
    with pytest.raises(SpaceError) as error:
        load_space(path)
    assert f"finetune.mode ({path}:6)" in str(error.value)


def test_the_remedy_of_several_backbones_is_one_line() -> None:
    backbone = Choice([VIT, RESNET, "timm:resnet34"])
    (problem,) = refusals(IMAGE, backbone=backbone, finetune=Choice(["full", "ia3"]))
    assert "forbid: [{finetune.mode: ia3, backbone.name: ['timm:resnet18', 'timm:resnet34']}]`" in problem


def test_what_is_fixed_is_to_be_changed_not_forbidden() -> None:
    optimizer = {"name": "sgd", "momentum": 0.0, "nesterov": True}
    (problem,) = refusals(IMAGE, optimizer=optimizer, batch_size=Choice([16, 32]))
    assert problem.endswith("and there is none. Change one of them.")


def test_when_leaves_a_combination_out_as_well_as_forbid() -> None:
    momentum = Choice([0.9, 0.0], when={"optimizer.nesterov": False})
    optimizer = {"name": "sgd", "nesterov": Choice([True, False]), "momentum": momentum}
    SearchSpace(task=IMAGE, optimizer=optimizer)


def test_an_end_of_a_range_that_is_never_drawn_breaks_no_rule_but_the_default_does() -> None:
    optimizer = {"name": "sgd", "nesterov": True, "momentum": Uniform(0.0, 0.9)}
    SearchSpace(task=IMAGE, optimizer=optimizer)
    refusals(IMAGE, optimizer=optimizer | {"momentum": Uniform(0.0, 0.9, prior=0.0)})


def test_a_rule_holds_for_the_optimizer_inside_of_another() -> None:
    base = {"name": "sgd", "nesterov": True, "momentum": Choice([0.9, 0.0])}
    (problem,) = refusals(IMAGE, optimizer=Choice(["adamw", {"name": "sam", "base": base}]))
    assert "forbid: [{optimizer.base.nesterov: true, optimizer.base.momentum: 0}]" in problem


def test_a_branch_is_known_by_its_name_whatever_its_label() -> None:
    plain, nesterov = {"name": "sgd", "as": "plain", "nesterov": False, "momentum": 0.0}, {"name": "sgd", "as": "ahead"}
    SearchSpace(task=IMAGE, optimizer=Choice([plain, nesterov]))
    muon = {"name": "muon", "as": "mine"}
    assert refusals(IMAGE, optimizer=Choice([plain, muon]), finetune=Choice(["full", "norm_bias"]))


def test_what_another_combination_forbids_does_not_hide_one_that_can_occur() -> None:
    optimizer = {"name": "sgd", "nesterov": True, "momentum": Choice([0.9, 0.0])}
    forbid = [{"optimizer.momentum": 0, "batch_size": 32}, {"batch_size": 64, "accumulation": 2}]
    sections: Json = {"optimizer": optimizer, "batch_size": Choice([16, 32, 64]), "accumulation": Choice([1, 2])}
    assert refusals(IMAGE, **sections, forbid=forbid)
    SearchSpace(task=IMAGE, **sections, forbid=[*forbid, {"optimizer.momentum": 0, "batch_size": [16, 64]}])


def test_adapters_may_go_to_the_blocks_of_a_backbone_without_attention() -> None:
    mixer = "timm:mixer_s16_224"
    SearchSpace(task=IMAGE, backbone=mixer, finetune={"mode": "lora", "targets": "all"})
    assert refusals(IMAGE, backbone=mixer, finetune="lora")


def test_r_drop_is_random_by_a_text_encoders_own_dropout_but_not_where_it_is_frozen() -> None:
    SearchSpace(task=TEXT, backbone=BERT, regularization="r_drop")
    refusals(TEXT, backbone={"name": BERT, "dropout": 0.0}, regularization="r_drop")
    refusals(TEXT, backbone=BERT, finetune="head", regularization="r_drop")
    SearchSpace(
        task=TEXT, backbone=BERT, finetune="head", regularization="r_drop", head={"name": "linear", "dropout": 0.1}
    )


def test_r_drop_is_not_random_by_a_text_encoder_without_dropout_of_its_own(tmp_path: Path) -> None:
    r_drop = Choice(["none", "r_drop"])
    for name in ("hf:answerdotai/ModernBERT-base", "hf:albert/albert-base-v2"):
        (problem,) = refusals(TEXT, backbone=Choice([name, BERT]), regularization=r_drop)
        listed = f"{{regularization.name: r_drop, head.dropout: 0, backbone.dropout: null, backbone.name: '{name}'}}"
        assert f"backbone.name: {name}: R-Drop compares" in problem
        assert f"write `forbid: [{listed}]`" in problem
        forbid = [{"regularization.name": "r_drop", "backbone.dropout": None, "backbone.name": name}]
        choice = {"name": name, "dropout": Choice([None, 0.1])}
        space = SearchSpace(task=TEXT, backbone=choice, regularization=r_drop, forbid=forbid)
        recipe = {"backbone": {"name": name, "dropout": 0.1}, "regularization": {"name": "r_drop"}}
        assert space.task == TEXT
        assert list(mistakes(complete(recipe, task=TEXT))) == []
        SearchSpace(task=TEXT, backbone={"name": name, "dropout": 0.1}, regularization="r_drop")
        SearchSpace(task=TEXT, backbone=name, finetune={"mode": "lora", "dropout": 0.1}, regularization="r_drop")
    path = write_config(tmp_path, model_type="modernbert")
    refusals(TEXT, backbone=path, regularization="r_drop")
    write_config(tmp_path, model_type="modernbert", mlp_dropout=0.1)
    SearchSpace(task=TEXT, backbone=path, regularization="r_drop")


def test_r_drop_is_random_by_the_own_dropout_of_an_encoder_of_pictures(tmp_path: Path) -> None:
    path = write_config(tmp_path, model_type="vit")
    refusals(IMAGE, backbone=path, regularization="r_drop")
    write_config(tmp_path, model_type="vit", hidden_dropout_prob=0.1)
    SearchSpace(task=IMAGE, backbone=path, regularization="r_drop")
    SearchSpace(task=IMAGE, backbone={"name": DINO, "drop_path": 0.1}, regularization="r_drop")


def write_config(folder: Path, **settings: Any) -> str:
    (folder / "config.json").write_text(json.dumps(settings))
    return f"hf:{folder}"


HF_VIT, DINO = "hf:google/vit-base-patch16-224", "hf:facebook/dinov2-small"
SWIN, CONVNEXT = "hf:microsoft/swin-tiny-patch4-window7-224", "hf:facebook/convnext-tiny-224"


def test_progressive_resizing_is_refused_for_the_hf_backbones_that_take_no_smaller_pictures(tmp_path: Path) -> None:
    backbone = Choice([HF_VIT, DINO, SWIN, CONVNEXT, write_config(tmp_path, model_type="pvt")])
    (problem,) = refusals(IMAGE, backbone=backbone, resizing=Choice(["fixed", "progressive"]))
    assert "the backbone is built for one size of pictures" in problem
    assert f"backbone.name: ['{SWIN}', 'hf:{tmp_path}']" in problem


@pytest.mark.parametrize(
    ("name", "setting", "value", "wanted"),
    [
        (HF_VIT, "drop_path", 0.1, "'0.0', not 0.1"),
        (HF_VIT, "batch_norm", "batch", "'pretrained', not 'batch'"),
        (HF_VIT, "input_size", 200, "a whole number, a multiple of 16, of at least 16 and at most 2048, not 200"),
        (DINO, "input_size", 256, "a whole number, a multiple of 14, of at least 16 and at most 2048, not 256"),
        (SWIN, "input_size", 192, "a whole number of at least 224 and at most 2048, not 192"),
        (CONVNEXT, "batch_norm", "batch", "'pretrained', not 'batch'"),
    ],
)
def test_a_setting_that_an_hf_backbone_cannot_take_is_refused_with_its_line(
    tmp_path: Path, name: str, setting: str, value: Any, wanted: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"task: image-classification\nbackbone:\n  name: {name}\n  {setting}: {value}\n")
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    assert f"backbone.{setting} ({path}:4) must be {wanted}" in str(caught.value)


def test_a_folder_is_judged_by_its_type(tmp_path: Path) -> None:
    path = write_config(tmp_path, model_type="resnet")
    refusals(IMAGE, backbone=path, finetune=Choice(["full", "lora"]))
    SearchSpace(task=IMAGE, backbone={"name": path, "batch_norm": Choice(["pretrained", "batch"]), "input_size": 100})
    (problem,) = refusals(IMAGE, backbone={"name": path, "drop_path": 0.1})
    assert "must be '0.0', not 0.1" in problem
    write_config(tmp_path, model_type="swin", window_size=12, image_size=384)
    (problem,) = refusals(IMAGE, backbone={"name": path, "input_size": 224})
    assert "at least 384" in problem
    write_config(tmp_path, model_type="gpt2")
    refusals(TEXT, backbone=path, finetune=Choice(["full", "lora"]))


def test_the_class_token_of_a_backbone_without_one_is_refused_as_a_setting() -> None:
    (problem,) = refusals(IMAGE, backbone={"name": RESNET, "pooling": "cls"})
    assert "must be 'mean' or 'attention', not 'cls'" in problem
    SearchSpace(task=IMAGE, backbone={"name": VIT, "pooling": "cls"})


def test_a_backbone_of_which_nothing_is_known_is_not_judged() -> None:
    SearchSpace(task=TEXT, backbone="hf:someone/unknown", finetune="lora", regularization="r_drop")


@pytest.mark.parametrize("mode", ["full", "partial", "gradual", "norm_bias"])
def test_the_statistics_of_batches_go_with_each_mode_in_which_norms_learn(mode: str) -> None:
    SearchSpace(task=IMAGE, backbone={"name": RESNET, "batch_norm": Choice(["pretrained", "batch"])}, finetune=mode)


def test_the_statistics_of_batches_are_refused_as_a_setting_of_a_backbone_without_batch_norms() -> None:
    (problem,) = refusals(IMAGE, backbone={"name": VIT, "batch_norm": Choice(["pretrained", "batch"])})
    assert "must be 'pretrained', not 'batch'" in problem
    (problem,) = refusals(TEXT, backbone={"name": BERT, "batch_norm": "pretrained"})
    assert "batch_norm is no setting of hf:google-bert/bert-base-uncased" in problem


def test_an_override_meets_the_rules() -> None:
    optimizer = {"name": "sgd", "nesterov": True, "momentum": Choice([0.9, 0.5])}
    space = SearchSpace(task=IMAGE, optimizer=optimizer)
    with pytest.raises(SpaceError, match="does not go with"):
        space.narrowed({"optimizer.momentum": 0.0})


def test_a_default_that_does_no_harm_breaks_no_rule() -> None:
    SearchSpace(task=IMAGE, optimizer={"name": "sgd", "momentum": Choice([0.9, 0.0])})
    base = {"name": "sgd", "momentum": 0.0}
    SearchSpace(task=IMAGE, optimizer={"name": "sam", "base": base})
    assert complete({"optimizer": base}, task=IMAGE)["optimizer"]["nesterov"] is True


def test_a_finished_recipe_meets_the_rules() -> None:
    message = r"mixing\.name: mixup does not go with batch_size: 1: a batch of one row has no other to mix with"
    with pytest.raises(ConfigError, match=message):
        complete({"mixing": {"name": "mixup"}, "batch_size": 1}, task=IMAGE)
    with pytest.raises(ConfigError, match=r"finetune\.mode: ia3 does not go with backbone\.name: timm:resnet18"):
        complete({"backbone": {"name": RESNET}, "finetune": {"mode": "ia3"}}, task=IMAGE)


def test_a_space_of_many_parameters_is_judged_in_a_moment() -> None:
    backbones = [{"name": VIT, "as": f"b{n}", "drop_path": Uniform(0.0, 0.2)} for n in range(60)]
    optimizers = [
        {"name": "sgd", "as": f"o{n}", "lr": Uniform(1e-4, 1e-2), "momentum": Choice([0.9, 0.5])} for n in range(60)
    ]
    sections: Json = {
        "backbone": Choice(backbones),
        "optimizer": Choice(optimizers),
        "finetune": Choice(["full", {"mode": "partial", "frozen_groups": IntUniform(1, 6)}, "lora", "head"]),
        "regularization": Choice(["none", "r_drop"]),
        "head": {"name": "linear", "dropout": Uniform(0.0, 0.3)},
        "batch_size": Choice([1, 16, 32]),
    }
    start = time.process_time()
    space = SearchSpace(task=IMAGE, **sections)
    assert len(space.parameters) > 180
    assert time.process_time() - start < 0.6  # Alone 0.1 s.


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_comparisons_are_those_of_numbers(value: float, bound: float) -> None:
    assert passes({"above": bound}, value) == (value > bound)
    assert passes({"at_least": bound}, value) == (value >= bound)
    assert passes({"below": bound}, value) == (value < bound)
    assert passes({"at_most": bound}, value) == (value <= bound)


def test_true_is_not_one_and_nothing_passes_no_test() -> None:
    assert passes(0, 0.0)
    assert not passes(1, True)
    assert not passes({"not": "none"}, None)
    assert reader({"optimizer": {"base": {"name": "sgd"}}})("optimizer.base.name") == "sgd"
    assert reader({"batch_size": 2})("batch_size.name") is None
