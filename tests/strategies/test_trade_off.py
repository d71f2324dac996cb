import numpy as np
import pytest

from autoft.strategies.trade_off import trade_offs, weights


def test_weights_add_up_to_one_and_change_with_every_trial_that_starts():
    drawn = [weights(0, number, 3) for number in range(4)]
    assert [float(one.sum()) for one in drawn] == pytest.approx([1.0] * 4)
    assert len({tuple(one) for one in drawn}) == 4
    assert tuple(weights(0, 2, 3)) == tuple(drawn[2])


def test_the_number_is_the_weighted_maximum_of_the_ranks_and_a_twentieth_of_their_sum():
    curves = [[(-0.9, 30.0)], [(-0.8, 10.0)], [(-0.5, 20.0)]]
    found = trade_offs(curves, np.array([0.75, 0.25]))
    assert [one[0] for one in found] == pytest.approx(
        [
            0.25 + 0.05 * (0.25 + 0.25),
            0.75 * 2 / 3 + 0.05 * (0.5 + 0.25 / 3),
            0.75 + 0.05 * (0.75 + 0.5 / 3),
        ]
    )


def test_what_dominates_has_the_lower_number_whatever_the_weights():
    curves = [[(-0.9, 1.0)], [(-0.8, 2.0)], [(-0.7, 2.0)]]
    for number in range(20):
        first, second, third = (one[0] for one in trade_offs(curves, weights(0, number, 2)))
        assert first < second < third


def test_trials_are_compared_epoch_by_epoch_with_those_that_came_so_far():
    found = trade_offs([[(-0.1, 1.0), (-0.9, 1.0)], [(-0.2, 1.0)]], np.array([1.0, 0.0]))
    assert found == [(1.05, 1.05), (pytest.approx(0.525),)]


def test_a_first_objective_that_is_not_finite_has_none_and_another_counts_as_worst():
    found = trade_offs([[(None, 1.0)], [(-0.5, None)], [(-0.5, 2.0)]], np.array([0.0, 1.0]))
    assert found[0] == (None,)
    assert found[1][0] > found[2][0]
