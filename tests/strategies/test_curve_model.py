import numpy as np
import pytest
from scipy.optimize import check_grad

from autoft.strategies.curve_model import CurveModel, Hyperparameters, Observations, _Likelihood, learn, matern

GROUPS = np.array([0, 1, 1, 2])


def observations(count: int = 24, *, seed: int = 0) -> Observations:
    """Values that depend on the first column alone, each trial at two epochs."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.random((count // 2, len(GROUPS))), 2, axis=0)
    values = np.sin(4 * rows[:, 0]) + 0.05 * rng.standard_normal(count)
    return Observations(
        rows=rows,
        trials=np.repeat(np.arange(count // 2), 2),
        epochs=np.tile([3, 6], count // 2),
        values=(values - values.mean()) / values.std(),
    )


def test_the_gradient_of_the_likelihood_is_that_of_its_value():
    likelihood = _Likelihood(observations(), GROUPS)
    at = likelihood.start + np.random.default_rng(1).standard_normal(len(likelihood.start)) / 3
    assert (
        check_grad(lambda x: likelihood(x)[0], lambda x: likelihood(x)[1], at) < 1e-4 * np.abs(likelihood(at)[1]).max()
    )


def test_a_parameter_that_matters_gets_a_shorter_length_than_those_that_do_not():
    lengths = learn(observations(60), GROUPS, num_steps=30).lengths
    assert lengths[0] < 0.7 * min(lengths[1:])


def test_a_value_that_was_seen_is_predicted_and_is_surer_than_one_far_away():
    seen = observations()
    model = CurveModel(
        seen, GROUPS, Hyperparameters(lengths=np.full(3, 0.3), configuration=1.0, trial=0.1, memory=10.0)
    )
    means, deviations = model.predict(seen.rows[:4], seen.epochs[:4], seen.trials[:4])
    assert means == pytest.approx(seen.values[:4], abs=0.1)
    _, far = model.predict(np.full((1, 4), 9.0), np.array([3]), np.array([-1]))
    assert deviations.max() < 0.25 < far[0]


def test_a_trial_above_others_of_its_configuration_stays_above_them():
    rows = np.full((3, 4), 0.5)
    seen = Observations(rows=rows, trials=np.arange(3), epochs=np.full(3, 3), values=np.array([1.0, -0.5, -0.5]))
    model = CurveModel(
        seen, GROUPS, Hyperparameters(lengths=np.full(3, 1.0), configuration=1.0, trial=1.0, memory=10.0)
    )
    means, _ = model.predict(rows[:2], np.full(2, 27), np.array([0, -1]))
    assert means[0] > 0.7
    assert means[1] < 0.2


def test_a_trial_is_less_sure_the_farther_ahead_it_is_predicted():
    seen = observations()
    model = CurveModel(
        seen, GROUPS, Hyperparameters(lengths=np.full(3, 1.0), configuration=1.0, trial=1.0, memory=10.0)
    )
    _, deviations = model.predict(seen.rows[[0] * 3], np.array([6, 12, 48]), np.zeros(3, dtype=int))
    assert deviations[0] < deviations[1] < deviations[2]


def test_the_correlation_is_one_at_no_distance_and_falls():
    assert matern(np.array([0.0, 1.0, 4.0])) == pytest.approx([1.0, 0.5240, 0.1387], abs=1e-4)
