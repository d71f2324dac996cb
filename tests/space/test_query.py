"""`backbone: {query: ...}` is answered from the facts that ship, and recorded as the choice that it gave."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.core.entries import backbones
from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json
from autoft.space import Choice, SearchSpace, Uniform, load_space
from autoft.space.query import FAVOUR, probabilities

IMAGE = {"task": "image-classification"}


def answer(**query: Any) -> list[str]:
    section = SearchSpace.from_json(IMAGE | {"backbone": query}).to_json()["backbone"]
    return [branch["name"] for branch in section.get("choice", [section])]


def test_the_largest_within_the_limits_come_first() -> None:
    names = answer(query="timm:*", max_parameters=30e6, min_parameters="20M", top=12, by="parameters")
    sizes = [backbones.entry(name).facts["parameters"] for name in names]
    assert len(set(names)) == 12
    assert sizes == sorted(sizes, reverse=True)
    assert 20e6 <= sizes[-1] <= sizes[0] <= 30e6
    assert all(backbones.entry(name).facts["hub"] for name in names)


def test_a_minus_puts_the_least_first() -> None:
    sizes = [
        backbones.entry(name).facts["parameters"] for name in answer(query="timm:resnet*", top=4, by="-parameters")
    ]
    assert sizes == sorted(sizes)


def test_by_accuracy_takes_those_of_which_one_is_published() -> None:
    names = answer(query="timm:*", max_parameters=30e6, pretrained_on="imagenet", top=5, by="accuracy")
    found = [backbones.entry(name).facts["accuracy"] for name in names]
    assert found == sorted(found, reverse=True)
    assert (names[0], found[0]) == ("timm:tf_efficientnet_b5.ns_jft_in1k", 86.088)  # timm's results-imagenet.csv
    assert backbones.entry("timm:resnet50.tv_in1k").facts["accuracy"] == 76.13


def test_a_ranked_answer_favours_its_best_and_starts_with_it() -> None:
    space = SearchSpace(task="image-classification", backbone={"query": "timm:*", "by": "accuracy", "top": 3})
    section = space.to_json()["backbone"]
    assert section["probabilities"] == [0.571429, 0.285714, 0.142857]
    assert space.default()["backbone"] == section["choice"][0]["name"]
    assert SearchSpace.from_json(space.to_json()) == space
    rng = np.random.default_rng(0)
    draws = [space.sample(rng)["backbone"] for _ in range(700)]
    assert 350 < draws.count(section["choice"][0]["name"]) < 450


@given(st.integers(2, 2000))
def test_probabilities_fall_evenly_from_the_best_to_the_last(count: int) -> None:
    shares = probabilities(count)
    assert math.isclose(sum(shares), 1, abs_tol=1e-3)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] / shares[-1] == pytest.approx(FAVOUR, rel=0.02)


def test_an_answer_that_is_not_ranked_is_drawn_evenly() -> None:
    section = SearchSpace(task="image-classification", backbone={"query": "timm:resnet1?"}).to_json()["backbone"]
    assert "probabilities" not in section


def test_a_prior_may_name_another_than_the_best() -> None:
    query = {"query": "timm:resnet*", "by": "-gmacs", "top": 3}
    names = answer(**query)
    space = SearchSpace(task="image-classification", backbone={**query, "prior": names[2]})
    assert space.default()["backbone"] == names[2]


def test_encoders_of_texts_are_ranked_by_what_their_papers_give() -> None:
    space = SearchSpace(task="text-classification", backbone={"query": "hf:*", "by": "accuracy", "top": 2})
    names = [one["name"] for one in space.backbones()]
    assert names == ["hf:microsoft/deberta-v3-base", "hf:FacebookAI/roberta-large"]


def test_speed_is_an_order() -> None:
    names = answer(query="timm:resnet*", by="images_per_second", top=4)
    found = [backbones.entry(name).facts["images_per_second"] for name in names]
    assert found == sorted(found, reverse=True)


def test_pretraining_is_read_from_the_tag() -> None:
    names = answer(query="timm:convnext_tiny", pretrained_on="imagenet-21k")
    assert names == ["timm:convnext_tiny.fb_in22k"]
    assert answer(query="timm:convnext_tiny") == ["timm:convnext_tiny.in12k_ft_in1k"]
    assert len(answer(query="timm:convnext_tiny.*")) > 5


def test_input_size_is_a_filter() -> None:
    names = answer(query="timm:vit_*", input_size=384, top=3)
    assert {backbones.entry(name).facts["input_size"] for name in names} == {384}
    assert answer(query="timm:test_resnet", max_input_size=160) == ["timm:test_resnet.r160_in1k"]


def test_only_backbones_for_the_task_answer() -> None:
    text = SearchSpace(task="text-classification", backbone={"query": "hf:*", "max_parameters": 30e6})
    assert {backbone["name"] for backbone in text.backbones()} == {
        "hf:google/electra-small-discriminator",
        "hf:albert/albert-base-v2",
        "hf:sentence-transformers/all-MiniLM-L6-v2",
    }


def test_settings_are_given_to_each_that_has_them() -> None:
    query = {"query": ["timm:resnet18", "timm:vgg11"], "settings": {"drop_path": Uniform(0.0, 0.2), "input_size": 96}}
    space = SearchSpace(task="image-classification", backbone=query)
    first, second = space.to_json()["backbone"]["choice"]
    assert (first["name"].partition(".")[0], first["input_size"]) == ("timm:vgg11", 96)
    assert "drop_path" not in first
    assert second["drop_path"] == {"uniform": [0.0, 0.2]}


def test_batch_norms_are_asked_of_those_that_have_any() -> None:
    query = {"query": ["timm:resnet18", "timm:vgg11"], "settings": {"batch_norm": Choice(["pretrained", "batch"])}}
    space = SearchSpace(task="image-classification", backbone=query)
    first, second = space.to_json()["backbone"]["choice"]
    assert "batch_norm" not in first
    assert second["batch_norm"] == {"choice": ["pretrained", "batch"]}


def test_it_is_recorded_expanded_and_may_stand_among_names(tmp_path: Any) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "task: image-classification\nbackbone:\n  choice:\n    - timm:tf_efficientnet_lite0\n"
        "    - {query: 'timm:resnet*', max_parameters: 12M, top: 2}\n"
    )
    space = load_space(path)
    names = [branch["name"] for branch in space.to_json()["backbone"]["choice"]]
    assert names[0] == "timm:tf_efficientnet_lite0"
    assert len(names) == 3
    assert "query" not in space.to_yaml()
    assert SearchSpace.from_json(space.to_json()) == space


def test_extends_may_change_a_part_of_it(tmp_path: Any) -> None:
    (tmp_path / "base.yaml").write_text("task: image-classification\nbackbone: {query: 'timm:resnet*', top: 3}\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nbackbone: {top: 2, max_parameters: 12M}\n")
    assert len(load_space(tmp_path / "mine.yaml").backbones()) == 2
    (tmp_path / "mine.yaml").write_text("extends: image-classification/quick\nbackbone: {query: 'timm:resnet18'}\n")
    assert load_space(tmp_path / "mine.yaml").backbones()[0]["name"].startswith("timm:resnet18")


def among_names(tmp_path: Path, query: str, change: str) -> list[Json]:
    """Return the branches of a space whose base has a query beside a ResNet-50."""
    base = f"task: image-classification\nfinetune: full\nbackbone: {{choice: [{query}, timm:resnet50]}}\n"
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "mine.yaml").write_text(f"extends: base.yaml\nbackbone: {change}\n")
    branches: list[Json] = load_space(tmp_path / "mine.yaml").to_json()["backbone"]["choice"]
    return branches


CONVNEXTS = "{query: 'timm:convnext_*', top: 2}"


def test_extends_changes_a_setting_of_what_answers_too(tmp_path: Path) -> None:
    branches = among_names(tmp_path, CONVNEXTS, "{drop_path: 0.1}")
    assert [branch["drop_path"] for branch in branches] == [0.1, 0.1, 0.1]
    query = "{query: 'timm:convnext_*', top: 2, settings: {drop_path: {uniform: [0, 0.3]}, pooling: mean}}"
    branches = among_names(tmp_path, query, "{drop_path: 0.1}")
    assert [branch["drop_path"] for branch in branches] == [0.1, 0.1, 0.1]
    assert [branch.get("pooling") for branch in branches] == ["mean", "mean", None]


def test_extends_leaves_alone_a_query_of_which_none_has_the_setting(tmp_path: Path) -> None:
    branches = among_names(tmp_path, CONVNEXTS, "{batch_norm: batch}")
    assert [branch.get("batch_norm") for branch in branches] == [None, None, "batch"]


def test_extends_leaves_alone_a_name_beside_a_query_of_which_some_have_the_setting(tmp_path: Path) -> None:
    branches = among_names(tmp_path, f"timm:vgg11, {CONVNEXTS}", "{drop_path: 0.1}")
    assert [branch.get("drop_path") for branch in branches] == [None, 0.1, 0.1, 0.1]
    (tmp_path / "base.yaml").write_text(
        f"task: image-classification\nbackbone: {{choice: [timm:vgg11, {CONVNEXTS}]}}\n"
    )
    branches = load_space(tmp_path / "mine.yaml").to_json()["backbone"]["choice"]
    assert [branch.get("drop_path") for branch in branches] == [None, 0.1, 0.1]


def test_a_part_of_a_query_is_no_setting_of_a_choice(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="has the unknown key 'top' beside choice"):
        among_names(tmp_path, CONVNEXTS, "{top: 3}")


def test_extends_names_its_own_line_where_no_answer_takes_the_value(tmp_path: Path) -> None:
    with pytest.raises(SpaceError) as error:
        among_names(tmp_path, CONVNEXTS, "{drop_path: 2.0}")
    (sentence,) = error.value.problems
    assert sentence.startswith(f"backbone.drop_path ({tmp_path / 'mine.yaml'}:2) must be ")


def test_a_wrong_query_hides_no_setting_that_a_space_changes(tmp_path: Path) -> None:
    with pytest.raises(SpaceError) as error:
        among_names(tmp_path, "{query: 'timm:convnxt_*'}", "{drop_path: 0.1}")
    (sentence,) = error.value.problems
    assert "finds no backbone" in sentence


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"query": "timm:resnt*"}, "backbone.query finds no backbone: {'query': 'timm:resnt*'}."),
        ({"query": 3}, 'backbone.query must be a pattern such as "timm:resnet*", or a list of them, not 3.'),
        (
            {"query": "timm:*", "max_parameter": 3},
            "backbone.max_parameter is no part of a query. Did you mean 'max_parameters'?",
        ),
        (
            {"query": "timm:*", "drop_path": 0.1},
            "backbone.drop_path is no part of a query. Write `settings: {drop_path: ...}`.",
        ),
        (
            {"query": "timm:*", "max_parameters": "big"},
            "backbone.max_parameters must be a number above 0 such as 30e6 or 30M",
        ),
        (
            {"query": "timm:*", "by": "acuracy"},
            "backbone.by is 'acuracy', which backbones cannot be ranked by. Did you mean 'accuracy'?",
        ),
        ({"query": "timm:*", "top": 0}, "backbone.top must be a whole number of at least 1, not 0."),
        ({"query": "timm:*", "pretrained": "yes"}, "backbone.pretrained must be true or false, not 'yes'."),
        (
            {"query": "timm:*", "pretrained_on": "imagnet"},
            "backbone.pretrained_on is 'imagnet', which no published weights say. Did you mean 'imagenet'?",
        ),
        (
            {"query": "timm:*", "settings": {"drop_pth": 0}},
            "backbone.settings.drop_pth is no setting of a backbone. Did you mean 'drop_path'?",
        ),
        (
            {"query": "timm:vgg*", "settings": {"drop_path": 0.1, "input_size": 96}},
            "backbone.settings.drop_path is a setting of none of the backbones that the query finds. Leave it out.",
        ),
    ],
)
def test_a_mistake_in_a_query(query: Any, sentence: str) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace.from_json(IMAGE | {"backbone": query})
    (found,) = caught.value.problems
    assert found.startswith(sentence)


def test_a_wrong_name_among_the_settings_hides_no_wrong_value() -> None:
    query = {"query": "timm:resnet*", "top": 2, "settings": {"drop_pth": 0.1, "drop_path": 2}}
    with pytest.raises(SpaceError) as caught:
        SearchSpace.from_json(IMAGE | {"backbone": query})
    name, *values = caught.value.problems
    assert name.startswith("backbone.settings.drop_pth is no setting of a backbone.")
    assert len(values) == 2
    assert all("drop_path must be a number of at least 0 and at most 0.9, not 2.0." in value for value in values)


def test_a_text_longer_than_the_encoder_reads_is_refused() -> None:
    backbone = {"name": "hf:google-bert/bert-base-uncased", "max_length": 1024}
    with pytest.raises(SpaceError, match=r"max_length must be a whole number of at least 4 and at most 512, not 1024"):
        SearchSpace(task="text-classification", backbone=backbone)
    longer = {"name": "hf:answerdotai/ModernBERT-base", "max_length": 1024}
    assert SearchSpace(task="text-classification", backbone=longer).backbones()[0]["max_length"] == 1024


def test_a_size_that_does_not_fit_the_model_is_refused() -> None:
    name = "timm:maxvit_tiny_rw_224"
    for size in (200, {"choice": [192, 200]}, {"int_uniform": [128, 200], "step": 24}, {"int_uniform": [128, 224]}):
        with pytest.raises(SpaceError, match=r"multiples? of 32"):
            SearchSpace.from_json(IMAGE | {"backbone": {"name": name, "input_size": size}})
    for size in (192, {"choice": [192, 224]}, {"int_uniform": [128, 200], "step": 32}):
        SearchSpace.from_json(IMAGE | {"backbone": {"name": name, "input_size": size}})
    assert SearchSpace.from_json(IMAGE | {"backbone": {"name": "timm:resnet18", "input_size": 200}})


@pytest.mark.parametrize(
    ("name", "wrong", "right", "patch"),
    [
        ("vit_tiny_patch16_224", 100, 96, 16),
        ("vit_small_patch14_dinov2", 224 + 16, 224, 14),
        ("swin_tiny_patch4_window7_224", 230, 256, 4),
    ],
)
def test_a_picture_is_cut_into_whole_patches(name: str, wrong: int, right: int, patch: int) -> None:
    with pytest.raises(SpaceError, match=f"input_size must be a whole number, a multiple of {patch}, .* not {wrong}"):
        SearchSpace.from_json(IMAGE | {"backbone": {"name": f"timm:{name}", "input_size": wrong}})
    SearchSpace.from_json(IMAGE | {"backbone": {"name": f"timm:{name}", "input_size": right}})


def test_a_model_whose_own_size_is_no_multiple_of_its_patches_takes_any() -> None:
    backbone = {"name": "timm:vit_so400m_patch14_siglip_384", "input_size": 380}
    SearchSpace.from_json(IMAGE | {"backbone": backbone})
