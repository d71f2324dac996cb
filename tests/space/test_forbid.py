"""What is forbidden is never drawn, and a space of which nothing is left is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json, canonical_json
from autoft.space import Choice, LogUniform, SearchSpace, Uniform, load_space
from autoft.space.yaml_text import parse_yaml

SIZES = [8, 16, 32, 64]
OPTIMIZERS = Choice([{"name": "adamw", "lr": LogUniform(1e-5, 1e-2)}, {"name": "sgd", "lr": LogUniform(1e-3, 1.0)}])


def image(**sections: Any) -> SearchSpace:
    return SearchSpace(task="image-classification", **sections)


def problems(**sections: Any) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        image(**sections)
    return list(caught.value.problems)


TESTS = {
    "batch_size": st.sampled_from([8, [16, 32], {"above": 16}, {"at_most": 16}, {"not": 32}]),
    "optimizer.name": st.sampled_from(["sgd", "adamw"]),
    "optimizer.lr": st.sampled_from([{"above": 1e-3}, {"below": 1e-4}]),
    "optimizer[sgd].lr": st.just({"at_least": 0.1}),
    "finetune.mode": st.sampled_from(["head", ["full", "head"]]),
}
COMBINATIONS = st.lists(
    st.fixed_dictionaries({}, optional=TESTS).filter(lambda tests: len(tests) >= 2), min_size=1, max_size=4
)


def _possible(**sections: Any) -> SearchSpace | None:
    """Return the space, or None where what is left is nothing, or lacks the default."""
    try:
        return image(**sections)
    except SpaceError as error:
        (sentence,) = error.problems
    if "forbids the default" in sentence or "leaves nothing" in sentence:
        return None
    raise AssertionError(sentence)


def _holds(test: Any, value: Any) -> bool:
    """Judge one value by the words of INTERFACE, apart from our own reading of them."""
    if value is None:
        return False
    if isinstance(test, list):
        return value in test
    if not isinstance(test, dict):
        return bool(value == test)
    ((word, bound),) = test.items()
    return bool(
        {
            "above": value > bound,
            "at_most": value <= bound,
            "at_least": value >= bound,
            "below": value < bound,
            "not": value != bound,
        }[word]
    )


def _value(recipe: Json, path: str) -> Any:
    if path == "optimizer[sgd].lr":
        return recipe["optimizer"]["lr"] if recipe["optimizer"]["name"] == "sgd" else None
    section, _, setting = path.partition(".")
    return recipe[section][setting] if setting else recipe[section]


@settings(max_examples=60, deadline=None)
@given(COMBINATIONS, st.integers(0, 2**32 - 1))
def test_no_sample_holds_a_forbidden_combination(forbid: list[Json], seed: int) -> None:
    sections = {"optimizer": OPTIMIZERS, "finetune": Choice(["full", "head"]), "batch_size": Choice(SIZES)}
    space = _possible(**sections, forbid=forbid)
    if space is None:
        return
    rng = np.random.default_rng(seed)
    for _ in range(20):
        assignment = space.sample(rng)
        space.validate(assignment)
        recipe = space.recipe(assignment)
        assert not any(all(_holds(test, _value(recipe, path)) for path, test in one.items()) for one in forbid)
    space.validate(space.default())
    again = SearchSpace.from_json(space.to_json())
    assert canonical_json(again.to_json()) == canonical_json(space.to_json())
    from_yaml = SearchSpace.from_node(parse_yaml(space.to_yaml(), file="a.yaml"), name="a.yaml")
    assert from_yaml == space
    assert again.sample(np.random.default_rng(seed)) == space.sample(np.random.default_rng(seed))


def test_what_is_left_keeps_its_proportions() -> None:
    space = image(batch_size=Choice(SIZES), finetune=Choice(["full", "head"]), forbid=[{"batch_size": [16, 64]}])
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng)["batch_size"] for _ in range(2000)]
    assert set(drawn) == {8, 32}
    assert abs(drawn.count(8) - 1000) < 100


def test_a_forbidden_assignment_or_recipe_is_refused() -> None:
    space = image(
        batch_size=Choice(SIZES),
        finetune=Choice(["full", "head"]),
        forbid=[{"batch_size": 64, "finetune.mode": "head"}],
    )
    wrong = {"finetune": "head", "batch_size": 64}
    with pytest.raises(SpaceError, match="This assignment is forbidden"):
        space.validate(wrong)
    with pytest.raises(SpaceError, match="This recipe is forbidden"):
        space.assignment(space.recipe(wrong))
    assert space.forbids(wrong) == space.forbidden[0]


def test_a_path_without_a_value_forbids_nothing() -> None:
    momentum = {"name": "sgd", "momentum": Uniform(0.0, 0.9)}
    space = image(optimizer=Choice(["adamw", momentum]), forbid=[{"optimizer.momentum": {"above": 0.5}}])
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(200)]
    assert any(one["optimizer"] == "adamw" for one in drawn)
    assert max(one.get("optimizer[sgd].momentum", 0.0) for one in drawn) <= 0.5


def test_an_impossible_space_is_refused() -> None:
    assert problems(batch_size=Choice(SIZES), forbid=[{"batch_size": {"above": 16}}, {"batch_size": [8, 16]}]) == [
        (
            "forbid leaves nothing: all of 10,000 draws are forbidden, by {batch_size: {above: 16}} and "
            "{batch_size: [8, 16]}. "
            "Forbid less, or write the branches that may go together."
        )
    ]
    assert problems(optimizer="adamw", forbid=[{"optimizer.name": "adamw"}])[0].startswith("forbid leaves nothing")


def test_a_combination_is_known_by_its_place_in_the_list_as_written() -> None:
    found = problems(batch_size=Choice(SIZES), forbid=["batch_size", {"batch_size": 128}, {"batch_sise": 8}])
    assert [sentence.partition(" ")[0] for sentence in found] == ["forbid[0]", "forbid[1]", "forbid[2]"]


def test_a_forbidden_default_is_refused_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(
        "task: image-classification\nbatch_size: {choice: [8, 16]}\nforbid:\n  - {batch_size: 8, finetune.mode: full}\n"
    )
    with pytest.raises(SpaceError) as caught:
        load_space("a.yaml")
    assert list(caught.value.problems) == [
        (
            "forbid[0] (a.yaml:4) forbids the default, batch_size: 8, finetune.mode: 'full'. "
            "It is tried first: give batch_size or finetune.mode another `prior:`."
        )
    ]


@pytest.mark.parametrize(
    ("forbid", "sentence"),
    [
        (
            [{"optimizer.nam": "sgd"}],
            "forbid[0] names 'optimizer.nam', which is not in this space. Did you mean 'optimizer.name'?",
        ),
        (
            [{"batch_size": 128}],
            (
                "forbid[0] asks 'batch_size' for 128, which it can never be, so it has no effect. "
                "It can be: 8, 16, 32, 64."
            ),
        ),
        (
            [{"batch_size": {"abov": 3}}],
            "forbid[0] has a value on 'batch_size' with the unknown comparison 'abov'. Did you mean 'above'?",
        ),
        ([{}], "forbid[0] must be a map of path to value, not {}."),
        (["batch_size"], "forbid[0] must be a map of path to value, not 'batch_size'."),
        ({"batch_size": 8}, "forbid must be a list of maps of path to value, not {'batch_size': 8}."),
    ],
)
def test_a_mistake_in_forbid(forbid: Any, sentence: str) -> None:
    (found,) = problems(batch_size=Choice(SIZES), forbid=forbid)
    assert found.startswith(sentence)


def test_what_is_narrowed_away_is_no_longer_forbidden() -> None:
    space = image(optimizer=OPTIMIZERS, batch_size=Choice(SIZES), forbid=[{"optimizer.name": "sgd", "batch_size": 64}])
    narrow = space.narrowed({"optimizer.name": "adamw"})
    assert narrow.forbidden == ()
    assert "forbid" not in narrow.to_json()
    assert space.narrowed({"optimizer.lr": 1e-3}).forbidden == space.forbidden
    with pytest.raises(SpaceError, match="leaves nothing"):
        space.narrowed({"optimizer.name": "sgd", "batch_size": 64})


def test_what_an_extended_space_searches_under_a_condition_that_is_gone_is_not_searched(tmp_path: Path) -> None:
    base, mine = tmp_path / "base.yaml", tmp_path / "mine.yaml"
    base.write_text(
        "task: image-classification\noptimizer: {choice: [adamw, sgd]}\n"
        "batch_size: {choice: [8, 16], when: {optimizer.name: sgd}}\n"
    )
    mine.write_text("extends: base.yaml\noptimizer: adamw\n")
    space = load_space(mine)
    assert (space.parameters, space.recipe({})["batch_size"]) == ((), 32)
    mine.write_text("extends: base.yaml\noptimizer: adamw\nbatch_size: {choice: [8], when: {optimizer.name: sgd}}\n")
    with pytest.raises(SpaceError, match="that can never hold: sgd"):
        load_space(mine)


def test_what_an_extended_space_forbids_may_be_gone(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text(
        "task: image-classification\noptimizer: {choice: [adamw, sgd]}\nbatch_size: {choice: [8, 16]}\n"
        "forbid: [{optimizer.name: sgd, batch_size: 16}]\n"
    )
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: base.yaml\noptimizer: adamw\n")
    assert load_space(mine).forbidden == ()
    mine.write_text("extends: base.yaml\nbatch_size: {prior: 16}\n")
    assert len(load_space(mine).forbidden) == 1
