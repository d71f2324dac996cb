import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoft.core.metrics import parse_objective
from autoft.record.pareto import by_front, dominated_share, fronts, hypervolume, losses, num_ahead

POINTS = arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 3)), elements=st.integers(0, 4).map(float))


def dominates(one, other):
    return bool((one <= other).all() and (one < other).any())


def test_accuracy_is_turned_round_and_latency_is_not():
    objectives = [parse_objective("accuracy"), parse_objective("-latency_ms")]
    assert losses(np.array([[0.9, 3.0]]), objectives).tolist() == [[-0.9, 3.0]]


def test_three_trade_offs_are_one_front_and_what_they_dominate_the_next():
    points = np.array([[1, 3], [2, 2], [3, 1], [3, 3], [4, 4], [2, 2], [np.nan, 0]], dtype=float)
    assert fronts(points) == [1, 1, 1, 2, 3, 1, 0]


@given(POINTS)
def test_a_points_front_is_one_behind_the_last_front_that_dominates_it(points):
    found = fronts(points)
    for index, point in enumerate(points):
        above = [found[other] for other in range(len(points)) if dominates(points[other], point)]
        assert found[index] == 1 + max(above, default=0)


@given(POINTS, st.integers(0, 8))
def test_who_comes_to_lead_with_more_points_had_fewer_ahead_of_it_than_lead(points, count):
    known = list(range(min(count, len(points))))
    ahead = num_ahead(points[known], known)
    order, _ = by_front(points)
    for most in range(1, len(points)):
        assert all(ahead[place] < most for place in order[:most] if place in known)


def test_ahead_for_good_are_those_that_dominate_and_of_equals_the_earlier():
    points = np.array([[1, 3], [2, 2], [2, 2], [2, np.nan], [3, 2]], dtype=float)
    assert num_ahead(points, [0, 1, 2, 3, 4]) == [0, 0, 1, 3, 2]


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([[0, 0]], 16.0),
        ([[1, 3], [2, 2], [3, 1]], 3 + 2 + 1),
        ([[1, 3], [1, 3]], 3.0),
        ([[4, 0]], 0.0),
        ([[0, 5]], 0.0),
    ],
)
def test_the_volume_of_two_objectives_is_the_area_of_the_stairs(points, volume):
    assert hypervolume(np.array(points, dtype=float), np.array([4.0, 4.0])) == volume


@given(POINTS)
def test_the_volume_counts_the_unit_cells_that_a_point_dominates(points):
    size = points.shape[1]
    cells = sum(
        any((point <= cell).all() for point in points)
        for cell in map(np.array, itertools.product(range(5), repeat=size))
    )
    assert hypervolume(points, np.full(size, 5.0)) == pytest.approx(cells)


def test_the_dominated_share_is_one_for_a_best_in_all_and_a_half_for_the_two_corners_with_their_middle():
    assert dominated_share(np.array([[0.0, 0.0], [5.0, 9.0]])) == 1.0
    assert dominated_share(np.array([[0.0, 8.0], [2.0, 4.0], [4.0, 0.0]])) == pytest.approx(0.25)
    assert dominated_share(np.array([[1.0, 1.0]])) == 0.0
