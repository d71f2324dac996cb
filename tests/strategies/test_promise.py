"""When the rest of a budget is not worth it."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.core.configs import Budget, StrategyConfig
from autoft.strategies import Done, History, Start, build_strategy
from autoft.strategies.promise import expected_gain, why_no_more
from autoft.strategies.simulate import simulate
from autoft.strategies.trade_off import TRADE_OFF
from tests.strategies.worlds import LOG_LOSS, accuracy_curve, history, trial

VALUES = [0.5, 0.6, 0.7, 0.8, 0.9, 0.4, 0.3, 0.2, 0.1, 0.0]


def ended(values: list[float], **options: Any) -> History:
    views = tuple(trial(number, [value], status="completed") for number, value in enumerate(values, 1))
    return history(**options).replace(trials=views)


def test_the_promise_is_the_mean_excess_of_the_best_three_times_the_growth_of_the_logarithm():
    gain, left = expected_gain(ended(VALUES, trials=20)) or (None, None)
    assert left == 10
    assert gain == pytest.approx((0.8 - 0.6) * math.log(2))


def test_of_fifteen_trials_and_more_a_fifth_counts_as_the_best():
    gain, _ = expected_gain(ended([0.01 * n for n in range(20)], trials=40)) or (None, None)
    assert gain == pytest.approx((0.175 - 0.15) * math.log(2))


def test_less_is_better_is_more_is_better_mirrored():
    one = expected_gain(ended(VALUES, trials=20))
    assert expected_gain(ended([-value for value in VALUES], trials=20, objective=LOG_LOSS)) == one


def test_of_seconds_as_many_trials_are_left_as_they_hold_at_the_pace_so_far():
    begun = ended(VALUES, trials=1000, seconds=150.0, seconds_used=100.0, seconds_reserved=20.0)
    assert (expected_gain(begun) or (0, 0))[1] == 3
    assert (expected_gain(begun.replace(budget=Budget(trials=12, epochs=9, seconds=1e6))) or (0, 0))[1] == 2


def test_fewer_than_ten_trials_say_nothing_and_running_ones_do_not_count():
    assert expected_gain(ended(VALUES[:9], trials=20)) is None
    running = ended(VALUES, trials=20)
    running = running.replace(trials=(*running.trials[:9], running.trials[9].replace(status="running", until_epoch=9)))
    assert expected_gain(running) is None


@given(st.lists(st.floats(0, 1), min_size=10, max_size=40), st.integers(0, 50))
def test_a_promise_is_never_negative_and_nothing_left_promises_nothing(values, more):
    gain, left = expected_gain(ended(values, trials=len(values) + more)) or (None, None)
    assert left == more
    assert gain >= -1e-12
    assert more or gain == 0


def of_front(points: list[tuple[float | None, ...]], **options: Any) -> History:
    views = tuple(trial(number, [0.5], status="completed", point=point) for number, point in enumerate(points, 1))
    return history(objective=TRADE_OFF, **options).replace(trials=views)


STAIRS = [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5), *[(1.0, 1.0)] * 7]


def test_of_several_metrics_the_promise_is_what_a_half_of_the_trials_would_lack_of_the_hypervolume():
    gain, left = expected_gain(of_front(STAIRS, trials=20)) or (None, None)
    assert left == 10
    assert gain == pytest.approx(0.25 * 0.5, abs=0.01)  # only the quarter behind the middle one is dominated
    twice = [(0.5, 0.5), *STAIRS[:-1]]
    assert (expected_gain(of_front(twice, trials=20)) or (0, 0))[0] == pytest.approx(0.25 * 0.25, abs=0.01)


def test_where_one_metric_varies_the_promise_of_several_is_that_of_the_law_for_one():
    gains = []
    for seed in range(100):
        heights = np.random.default_rng(seed).exponential(size=40)
        begun = of_front([(-height, 3.0) for height in heights.tolist()], trials=80, seed=seed)
        gains.append((expected_gain(begun) or (0, 0))[0] * float(np.ptp(heights)))
    assert np.mean(gains) == pytest.approx(math.log(2), rel=0.15)


@pytest.mark.parametrize("lacking", [(None, None), (None, 1.0), (0.9, None)])
def test_of_a_front_of_trials_that_diverged_or_break_a_limit_nothing_is_said(lacking):
    assert expected_gain(of_front([*STAIRS[:3], *[lacking] * 7], trials=20)) is None
    assert expected_gain(of_front([*STAIRS[:4], *[lacking] * 6], trials=20)) is not None


def test_a_front_without_a_second_point_promises_nothing():
    assert expected_gain(of_front([(0.5, 1.0)] * 10, trials=20)) == (0.0, 10)


def test_nothing_new_starts_where_a_front_promises_too_little_and_the_reason_names_the_hypervolume():
    reason = why_no_more(of_front(STAIRS, trials=20, min_improvement=0.2))
    assert reason == "the 10 trials that are left promise 0.12 of hypervolume, less than the 0.2 that is asked for"
    assert why_no_more(of_front(STAIRS, trials=20, min_improvement=0.05)) is None


def test_nothing_new_starts_once_the_promise_is_too_small_and_the_reason_says_so():
    begun = ended(VALUES, trials=20, min_improvement=0.2)
    reason = why_no_more(begun)
    assert reason == "the 10 trials that are left promise 0.14 of accuracy, less than the 0.2 that is asked for"
    assert why_no_more(begun.replace(min_improvement=0.1)) is None
    assert why_no_more(begun.replace(min_improvement=None)) is None


def test_a_search_ends_before_its_budget_where_it_stalls_and_not_where_nobody_asked():
    strategy = build_strategy(StrategyConfig(name="random"), StrategyConfig(name="asha-promote"))
    stalled = simulate(strategy, history(trials=60, min_improvement=0.2), accuracy_curve)
    starts = sum(isinstance(one, Start) and one.kind == "trial" for one in stalled.decisions)
    assert 10 <= starts < 60
    assert isinstance(stalled.decisions[-1], Done)
    assert "less than the 0.2 that is asked for" in stalled.decisions[-1].reason
    assert max(view.epoch for view in stalled.history.trials) == 9
    assert simulate(strategy, history(trials=60), accuracy_curve).history.num_started == 60
