import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.space import Choice, IntLogUniform, IntUniform, LogUniform, SearchSpace, Uniform, load_space
from autoft.space.tree import MISSING
from autoft.strategies.experience import flattened
from autoft.strategies.experience.mapping import Mapper, nearest_value
from tests.strategies.worlds import branching_space

SPACE = branching_space()
SEEDS = st.integers(0, 2**32 - 1)
GOOD = {
    "backbone.name": "timm:resnet34",
    "backbone.drop_path": 0.1,
    "finetune.mode": "head",
    "optimizer.name": "sgd",
    "optimizer.lr": 0.01,
    "optimizer.momentum": 0.9,
    "augmentation.name": "none",
    "batch_size": 32,
}
MAPPED = {
    "backbone": "timm:resnet34",
    "backbone[timm:resnet34].drop_path": 0.1,
    "finetune": "head",
    "augmentation": "none",
    "optimizer": "sgd",
    "optimizer[sgd].lr": 0.01,
    "optimizer[sgd].momentum": 0.9,
    "batch_size": 32,
}


def mapped(**changes: object) -> dict[str, object] | None:
    recipe = {**GOOD, **{path.replace("__", "."): value for path, value in changes.items()}}
    return Mapper(SPACE).assignment({path: value for path, value in recipe.items() if value is not MISSING})


def test_a_recipe_becomes_the_assignment_of_the_same_values():
    assert mapped() == MAPPED


def test_what_the_space_does_not_vary_is_left_to_it():
    assert mapped(schedule__name="onecycle", optimizer__nesterov=True) == MAPPED


def test_what_the_recipe_does_not_say_takes_the_default():
    assert mapped(backbone__drop_path=MISSING) == {**MAPPED, "backbone[timm:resnet34].drop_path": 0.1}
    assert mapped(augmentation__name="randaugment") == {
        **MAPPED,
        "augmentation": "randaugment",
        "augmentation[randaugment].magnitude": 5,
    }
    assert mapped(optimizer__momentum=None) == {
        **MAPPED,
        "optimizer[sgd].momentum": SPACE.parameter("optimizer[sgd].momentum").domain.default,
    }
    assert mapped(batch_size=MISSING) == {**MAPPED, "batch_size": 16}


def test_a_number_beyond_a_range_takes_its_nearer_end():
    assert mapped(optimizer__lr=30.0) == {**MAPPED, "optimizer[sgd].lr": 1.0}
    assert mapped(optimizer__lr=1e-9) == {**MAPPED, "optimizer[sgd].lr": 1e-4}


def test_a_number_that_is_not_among_the_choices_takes_the_nearest_by_its_ratio():
    assert mapped(batch_size=46) == {**MAPPED, "batch_size": 64}
    assert mapped(batch_size=45) == {**MAPPED, "batch_size": 32}
    assert mapped(batch_size=4096) == {**MAPPED, "batch_size": 64}


def test_a_branch_that_the_space_does_not_offer_leaves_the_trial_out():
    assert mapped(backbone__name="timm:resnet50") is None
    assert mapped(optimizer__name="lion") is None


@pytest.mark.parametrize(("path", "other"), [("backbone.name", "timm:resnet18"), ("finetune.mode", "full")])
def test_a_space_of_one_backbone_or_mode_takes_its_trials_alone_and_those_that_do_not_say(path, other):
    narrowed = SPACE.narrowed({path: GOOD[path]})
    expected = {label: value for label, value in MAPPED.items() if label != path.partition(".")[0]}
    assert Mapper(narrowed).assignment(GOOD) == expected
    assert Mapper(narrowed).assignment({key: value for key, value in GOOD.items() if key != path}) == expected
    assert Mapper(narrowed).assignment({**GOOD, path: other}) is None


@settings(max_examples=40, deadline=None)
@given(SEEDS, SEEDS)
def test_a_space_narrowed_to_what_decides_takes_exactly_the_trials_of_all_of_it(seed, other):
    recipe, offered = (flattened(SPACE.recipe(SPACE.sample(np.random.default_rng(number)))) for number in (seed, other))
    kept = {path: offered[path] for path in ("backbone.name", "finetune.mode", "optimizer.name")}
    found = Mapper(SPACE.narrowed(kept)).assignment(recipe)
    assert (found is not None) == all(recipe[path] == name for path, name in kept.items())


def test_of_two_branches_of_one_name_the_first_is_taken():
    space = SearchSpace(
        task="image-classification",
        backbone="timm:resnet18",
        optimizer=Choice(
            [
                {"name": "adamw", "as": "slow", "lr": LogUniform(1e-5, 1e-3)},
                {"name": "adamw", "as": "fast", "lr": LogUniform(1e-3, 1e-1)},
            ]
        ),
    )
    assert Mapper(space).assignment({"optimizer.name": "adamw", "optimizer.lr": 0.05}) == {
        "optimizer": "slow",
        "optimizer[slow].lr": 1e-3,
    }


def test_what_the_space_forbids_is_left_out():
    space = SearchSpace(
        task="image-classification",
        backbone="timm:resnet18",
        batch_size=Choice([16, 32]),
        accumulation=Choice([1, 2]),
        forbid=[{"batch_size": 32, "accumulation": 2}],
    )
    assert Mapper(space).assignment({"batch_size": 32, "accumulation": 1}) == {"batch_size": 32, "accumulation": 1}
    assert Mapper(space).assignment({"batch_size": 32, "accumulation": 2}) is None


@pytest.mark.parametrize(
    ("domain", "given_value", "value"),
    [
        (IntUniform(1, 10), 3.4, 3),
        (IntUniform(1, 10), 99, 10),
        (IntLogUniform(16, 512), 15.9, 16),
        (Uniform(0.0, 1.0, step=0.25), 0.3, 0.25),
        (Uniform(0.0, 1.0), "high", 0.5),
        (Uniform(0.0, 1.0), float("nan"), 0.5),
        (Uniform(0.0, 1.0), True, 0.5),
        (Choice([True, False]), 1, MISSING),
        (Choice([None, 1.0]), None, None),
        (Choice([None, 1.0]), 3.0, 1.0),
        (Choice(["a", "b"]), "c", MISSING),
        (Choice([0, 10]), 4, 0),
    ],
)
def test_the_nearest_value(domain, given_value, value):
    found = nearest_value(domain, given_value)
    assert found is value if value is MISSING else (found == value and type(found) is type(value))


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_a_recipe_of_the_space_gives_its_own_assignment_back(seed):
    assignment = SPACE.sample(np.random.default_rng(seed))
    assert Mapper(SPACE).assignment(flattened(SPACE.recipe(assignment))) == assignment


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_whatever_is_mapped_from_a_shipped_space_to_another_is_valid_there(seed):
    rng = np.random.default_rng(seed)
    recipe = flattened(THOROUGH.recipe(THOROUGH.sample(rng)))
    found = Mapper(QUICK).assignment(recipe)
    assert found is None or QUICK.validate(found) is None


THOROUGH = load_space("text-classification/thorough")
QUICK = load_space("text-classification/quick")
