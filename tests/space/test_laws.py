"""What holds for every space and every draw."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json, canonical_json
from autoft.core.recipe import complete, sections
from autoft.space import SearchSpace
from autoft.space.yaml_text import parse_yaml
from tests.space.spaces import spaces

SEEDS = st.integers(0, 2**32 - 1)
LAW = settings(max_examples=25, deadline=None)


def draw(space: SearchSpace, seed: int) -> dict[str, Any]:
    return space.sample(np.random.default_rng(seed))


@LAW
@given(spaces(), SEEDS)
def test_a_sample_has_exactly_its_active_parameters(form: Json, seed: int) -> None:
    space = SearchSpace.from_json(form)
    assignment = draw(space, seed)
    recipe = space.recipe(assignment)

    def is_active(label: str) -> bool:
        parameter = space.parameter(label)
        inside = all(assignment.get(one.label) in one.values for one in parameter.conditions)
        for when in parameter.when:
            section, _, setting = str(when.path).partition(".")
            value = recipe[section][setting] if setting else recipe[section]
            inside = inside and when.test.holds(value)
        return inside

    assert set(assignment) == {one.label for one in space.parameters if is_active(one.label)}
    space.validate(assignment)


@LAW
@given(spaces(), SEEDS)
def test_each_value_is_a_json_scalar_of_its_domain(form: Json, seed: int) -> None:
    space = SearchSpace.from_json(form)
    for label, value in draw(space, seed).items():
        assert value is None or type(value) in {bool, int, float, str}
        assert space.parameter(label).domain.contains(value)


@LAW
@given(spaces(), SEEDS)
def test_the_recipe_is_complete_and_valid(form: Json, seed: int) -> None:
    space = SearchSpace.from_json(form)
    recipe = space.recipe(draw(space, seed))
    assert tuple(recipe) == sections()
    assert complete(recipe, task=space.task) == recipe
    canonical_json(recipe)


@LAW
@given(spaces(), SEEDS)
def test_a_recipe_gives_back_an_assignment_of_the_same_recipe(form: Json, seed: int) -> None:
    space = SearchSpace.from_json(form)
    assignment = draw(space, seed)
    again = space.assignment(space.recipe(assignment))
    assert space.recipe(again) == space.recipe(assignment)
    has_twins = assignment.get("backbone") in {"timm:resnet50", "large"}  # Either could have given the recipe.
    assert has_twins or again == assignment


@LAW
@given(spaces())
def test_the_default_is_valid_and_inside(form: Json) -> None:
    space = SearchSpace.from_json(form)
    default = space.default()
    space.validate(default)
    for label, value in default.items():
        assert value == space.parameter(label).domain.default


@LAW
@given(spaces())
def test_a_round_trip_by_json_and_yaml_gives_equal_bytes(form: Json) -> None:
    space = SearchSpace.from_json(form)
    bytes_before = canonical_json(space.to_json())
    assert canonical_json(SearchSpace.from_json(space.to_json()).to_json()) == bytes_before
    again = SearchSpace.from_node(parse_yaml(space.to_yaml(), file="space.yaml"), name="space.yaml")
    assert canonical_json(again.to_json()) == bytes_before
    assert again == space
    assert again.to_yaml() == space.to_yaml()


@LAW
@given(spaces(), SEEDS)
def test_equal_spaces_draw_the_same(form: Json, seed: int) -> None:
    space = SearchSpace.from_json(form)
    assert draw(space, seed) == draw(SearchSpace.from_json(space.to_json()), seed)


@LAW
@given(spaces(), SEEDS, st.floats(1e-4, 1e-2))
def test_a_fixed_setting_is_fixed_in_every_sample(form: Json, seed: int, rate: float) -> None:
    space = SearchSpace.from_json(form).narrowed({"optimizer.lr": rate, "batch_size": 7})
    assignment = draw(space, seed)
    assert "optimizer.lr" not in space.column_names
    recipe = space.recipe(assignment)
    assert recipe["optimizer"]["lr"] == rate
    assert recipe["batch_size"] == 7


@LAW
@given(spaces(), SEEDS)
def test_a_picked_branch_is_in_every_sample(form: Json, seed: int) -> None:
    space = SearchSpace.from_json(form).narrowed({"finetune.mode": "head"})
    assignment = draw(space, seed)
    assert space.recipe(assignment)["finetune"]["mode"] == "head"
    assert not any(label.startswith("finetune") for label in assignment)
    assert SearchSpace.from_json(space.to_json()) == space


@LAW
@given(spaces(), SEEDS)
def test_columns_are_the_active_parameters_by_path(form: Json, seed: int) -> None:
    space = SearchSpace.from_json(form)
    assignment = draw(space, seed)
    columns = space.columns(assignment)
    assert list(columns) == [name for name in space.column_names if name in columns]
    assert sorted(map(str, columns.values())) == sorted(map(str, assignment.values()))
    assert all("[" not in name for name in columns)


@LAW
@given(spaces(), SEEDS, SEEDS)
def test_active_keeps_what_a_map_of_all_parameters_needs(form: Json, seed: int, other: int) -> None:
    space = SearchSpace.from_json(form)
    positions = np.random.default_rng(other).random(len(space.parameters))
    everything = {one.label: one.domain.at(at) for one, at in zip(space.parameters, positions, strict=True)}
    space.validate(space.active(everything))
    assignment = draw(space, seed)
    assert space.active(everything | assignment) == assignment


@LAW
@given(spaces(), SEEDS, st.data())
def test_an_assignment_with_one_parameter_less_or_more_is_refused(form: Json, seed: int, data: st.DataObject) -> None:
    space = SearchSpace.from_json(form)
    assignment = draw(space, seed)
    inactive = [one.label for one in space.parameters if one.label not in assignment]
    if inactive:
        label = data.draw(st.sampled_from(inactive))
        with pytest.raises(SpaceError, match="is not active"):
            space.validate(assignment | {label: space.parameter(label).domain.default})
    gone = data.draw(st.sampled_from(list(assignment)))
    with pytest.raises(SpaceError, match="is missing"):
        space.validate({label: value for label, value in assignment.items() if label != gone})
