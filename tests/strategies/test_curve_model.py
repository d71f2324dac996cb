import numpy as np
import pytest
from scipy.optimize import check_grad

from autoft.strategies.curve_model import CurveModel, Hyperparameters, Observations, _Likelihood, learn, matern

GROUPS = np.array([0, 1, 1, 2])


def observations(count: int = 24, *, seed: int = 0, is_expected: bool = False) -> Observations:
    """Values that depend on the first column alone, each trial at two epochs."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.random((count // 2, len(GROUPS))), 2, axis=0)
    values = np.sin(4 * rows[:, 0]) + 0.05 * rng.standard_normal(count)
    return Observations(
        rows=rows,
        trials=np.repeat(np.arange(count // 2), 2),
        epochs=np.tile([3, 6], count // 2),
        values=(values - values.mean()) / values.std(),
        expected=rng.standard_normal(count // 2).repeat(2) if is_expected else np.zeros(count),
    )


@pytest.mark.parametrize("is_expected", [False, True])
def test_the_gradient_of_the_likelihood_is_that_of_its_value(is_expected):
    likelihood = _Likelihood(observations(is_expected=is_expected), GROUPS)
    at = likelihood.start + np.random.default_rng(1).standard_normal(len(likelihood.start)) / 3
    assert (
        check_grad(lambda x: likelihood(x)[0], lambda x: likelihood(x)[1], at) < 1e-4 * np.abs(likelihood(at)[1]).max()
    )


def test_a_parameter_that_matters_gets_a_shorter_length_than_those_that_do_not():
    lengths = learn(observations(60), GROUPS, num_steps=30).lengths
    assert lengths[0] < 0.7 * min(lengths[1:])


def test_a_value_that_was_seen_is_predicted_and_is_surer_than_one_far_away():
    seen = observations()
    model = CurveModel(seen, GROUPS, Hyperparameters(lengths=np.full(3, 0.3), configuration=1.0, trial=0.1))
    means, deviations = model.options(seen.rows[:4], seen.trials[:4]).predict(seen.epochs[:4], np.zeros(4))
    assert means == pytest.approx(seen.values[:4], abs=0.1)
    _, far = model.options(np.full((1, 4), 9.0), np.array([-1])).predict(np.array([3]), np.zeros(1))
    assert deviations.max() < 0.25 < far[0]


def test_a_trial_above_others_of_its_configuration_stays_above_them():
    rows = np.full((3, 4), 0.5)
    values = np.array([1.0, -0.5, -0.5])
    seen = Observations(rows=rows, trials=np.arange(3), epochs=np.full(3, 3), values=values, expected=np.zeros(3))
    model = CurveModel(seen, GROUPS, Hyperparameters(lengths=np.full(3, 1.0), configuration=1.0, trial=1.0))
    means, _ = model.options(rows[:2], np.array([0, -1])).predict(np.full(2, 27), np.zeros(2))
    assert means[0] > 0.7
    assert means[1] < 0.2


def test_a_trial_is_less_sure_the_farther_ahead_it_is_predicted():
    seen = observations()
    model = CurveModel(seen, GROUPS, Hyperparameters(lengths=np.full(3, 1.0), configuration=1.0, trial=1.0))
    _, deviations = model.options(seen.rows[[0] * 3], np.zeros(3, dtype=int)).predict(
        np.array([6, 12, 48]), np.zeros(3)
    )
    assert deviations[0] < deviations[1] < deviations[2]


def test_the_correlation_is_one_at_no_distance_and_falls():
    assert matern(np.array([0.0, 1.0, 4.0])) == pytest.approx([1.0, 0.5240, 0.1387], abs=1e-4)


def slope(values: np.ndarray, expected: np.ndarray) -> float:
    """Return by how much more a far configuration is predicted for one unit more of what is expected of it."""
    count = len(values)
    rows = np.random.default_rng(0).random((count, 4))
    seen = Observations(rows=rows, trials=np.arange(count), epochs=np.full(count, 3), values=values, expected=expected)
    hyper = Hyperparameters(lengths=np.full(3, 0.3), configuration=0.5, trial=0.1)
    far = CurveModel(seen, GROUPS, hyper).options(np.full((2, 4), 9.0), np.full(2, -1))
    low, high = far.predict(np.full(2, 3), np.array([0.0, 1.0]))[0]
    return float(high - low)


def test_what_earlier_searches_let_expect_is_believed_as_far_as_the_values_bear_it_out():
    expected = np.random.default_rng(1).standard_normal(40)
    expected -= expected.mean()
    assert slope(np.zeros(1), np.zeros(1)) == pytest.approx(1.0)
    assert slope(expected, expected) == pytest.approx(1.0, abs=0.1)
    assert slope(-expected, expected) == pytest.approx(-1.0, abs=0.2)
    assert slope(np.zeros(40), expected) == pytest.approx(0.0, abs=0.1)
