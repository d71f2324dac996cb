import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.space import Choice, SearchSpace, Uniform
from autoft.strategies.experience.encoding import Encoder, typical_distance
from autoft.strategies.experience.lessons import key_of
from tests.strategies.worlds import branching_space

SPACE = branching_space()
SEEDS = st.integers(0, 2**32 - 1)


def test_numbers_lie_at_their_positions_and_each_value_of_a_choice_has_an_axis():
    space = SearchSpace(
        task="image-classification",
        backbone="timm:resnet18",
        augmentation=Choice(["none", {"name": "crop_flip", "min_scale": Uniform(0.2, 1.0)}]),
        batch_size=Choice([16, 32]),
    )
    encoder = Encoder(space)
    points = encoder.points(
        [
            {"augmentation": "none", "batch_size": 16},
            {"augmentation": "crop_flip", "augmentation[crop_flip].min_scale": 0.4, "batch_size": 32},
        ]
    )
    assert points.tolist() == [[0.5, 0.0, 0.5, 0.5, 0.0], [0.0, 0.5, 0.25, 0.0, 0.5]]


def test_no_assignment_has_no_point_but_the_axes():
    encoder = Encoder(SPACE)
    assert encoder.points([]).shape == (0, encoder.num_axes)


@settings(max_examples=60, deadline=None)
@given(SEEDS, SEEDS)
def test_points_lie_in_the_cube_and_are_equal_for_equal_assignments_alone(one, other):
    first, second = (SPACE.sample(np.random.default_rng(seed)) for seed in (one, other))
    points = Encoder(SPACE).points([first, second])
    assert points.min() >= 0.0
    assert points.max() <= 1.0
    assert (points[0].tolist() == points[1].tolist()) == (key_of(first) == key_of(second))


def test_two_draws_of_a_cube_lie_as_far_apart_as_is_typical():
    rng = np.random.default_rng(0)
    gaps = ((rng.random((20000, 8)) - rng.random((20000, 8))) ** 2).sum(1)
    assert math.isclose(math.sqrt(gaps.mean()), typical_distance(8), rel_tol=0.01)


def test_true_and_1_are_two_things():
    assert key_of({"a": True}) != key_of({"a": 1})
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
