import numpy as np
import pytest

from autoft.space import Choice
from autoft.strategies.parzen import Categories, Numbers


def test_a_density_over_the_unit_interval_adds_up_to_one():
    at = (np.arange(2000) + 0.5) / 2000
    for points in ([], [0.0], [0.2, 0.21, 0.9], [1.0] * 30):
        assert np.exp(Numbers.around(points).log_density(at)).mean() == pytest.approx(1.0, abs=1e-3)


def test_draws_follow_the_density():
    density = Numbers.around([0.2, 0.25, 0.9])
    drawn = density.draw(20_000, np.random.default_rng(0))
    counts = np.histogram(drawn, bins=10, range=(0, 1))[0] / 2000
    expected = np.exp(density.log_density((np.arange(1000) + 0.5) / 1000)).reshape(10, 100).mean(1)
    assert counts == pytest.approx(expected, abs=0.1)


def test_without_points_the_density_is_even():
    assert Numbers.around([]).log_density(np.array([0.1, 0.9])) == pytest.approx([0.0, 0.0])


def test_a_point_reaches_as_far_as_its_farther_neighbour():
    assert Numbers.around([0.1, 0.2, 0.6]).widths == pytest.approx([0.25, 0.4, 0.4])


def test_values_of_a_choice_count_with_their_share_in_the_space():
    domain = Choice(["a", "b", "c"], probabilities=[0.5, 0.25, 0.25])
    seen = Categories.of(domain, [domain.position("b"), domain.position("b"), domain.position("c")])
    assert seen.weights == pytest.approx([0.125, 0.5625, 0.3125])
    drawn = seen.draw(8000, np.random.default_rng(0))
    assert [np.mean([domain.at(at) == value for at in drawn]) for value in "abc"] == pytest.approx(
        seen.weights, abs=0.02
    )
