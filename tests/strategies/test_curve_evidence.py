import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.strategies.curve_evidence import Reader, scaled, thinned
from autoft.strategies.encoding import Encoding
from autoft.strategies.rungs import loss_at
from tests.strategies.worlds import LOG_LOSS, branching_space, history, trial

RUNGS = (1, 3, 9)
SPACE = branching_space()


def gathered(*views, limit=100, **more):
    now = history(space=SPACE, **more).replace(trials=views)
    return Reader().gather(now, RUNGS, Encoding(SPACE), None, limit=limit)


def test_the_last_two_rungs_of_each_trial_count_by_the_best_up_to_them():
    seen = gathered(trial(1, [0.9, 0.2, 0.3, *[0.4] * 6]), trial(2, [0.1]), trial(3, [], until=1))
    assert seen.trials.tolist() == [0, 0, 1]
    assert seen.epochs.tolist() == [3, 9, 1]
    assert seen.values[0] == seen.values[1] > seen.values[2]


def test_more_is_better_whatever_the_metric():
    views = [trial(1, [0.5]), trial(2, [0.7]), trial(3, [0.6])]
    assert np.argsort(gathered(*views).values).tolist() == [0, 2, 1]
    assert np.argsort(gathered(*views, objective=LOG_LOSS).values).tolist() == [1, 2, 0]


def test_a_trial_that_diverged_counts_as_the_worst_at_the_rung_that_it_did_not_reach():
    seen = gathered(trial(1, [0.9, None], status="diverged"), trial(2, [0.1] * 3), trial(3, [0.2] * 3))
    assert seen.epochs[:2].tolist() == [1, 3]
    assert seen.values[1] == seen.values.min() < seen.values[2]


def test_failed_trials_and_probes_are_no_evidence():
    probe = trial(1, [0.9]).replace(trial="p01", kind="probe", status="probe")
    assert gathered(probe, trial(1, [0.5], status="failed"), trial(2, [0.5]), trial(3, [0.6])).trials.tolist() == [2, 3]


CURVES = st.lists(st.one_of(st.none(), st.sampled_from([0.2, 0.4, 0.6])), max_size=9)
STATUSES = st.sampled_from(["running", "paused", "completed", "pruned", "diverged", "failed"])


@given(st.lists(st.tuples(CURVES, STATUSES), max_size=8))
def test_it_orders_trials_by_their_highest_rung_and_their_best_there_whatever_became_of_them(drawn):
    views = [trial(number, values, until=9, status=status) for number, (values, status) in enumerate(drawn, start=1)]
    now = history(space=SPACE).replace(trials=tuple(views))
    expected = []
    for view in views:
        at_rungs = [loss for rung in RUNGS if (loss := loss_at(now, view, rung)) is not None]
        if at_rungs and view.status != "failed":
            is_lost = math.inf in at_rungs
            expected.append((is_lost, *((0, 0) if is_lost else (-len(at_rungs), at_rungs[-1])), view.trial))
    assert [view.trial for view in Reader().best_first(now, RUNGS)] == [one[-1] for one in sorted(expected)]


@pytest.mark.parametrize("views", [(), (trial(1, [0.5]), trial(2, [0.5])), (trial(1, [None]), trial(2, [None]))])
def test_nothing_is_learned_where_all_are_alike(views):
    assert gathered(*views) is None


def test_of_too_many_the_best_stay_and_some_of_all_others():
    assert thinned(np.arange(100.0)[::-1], 10).tolist() == [0, 24, 47, 71, 94, 95, 96, 97, 98, 99]
    assert thinned(np.arange(5.0), 10).tolist() == [0, 1, 2, 3, 4]


def test_the_scale_has_mean_0_and_variance_1_and_keeps_the_order_whatever_the_outliers():
    values = np.array([0.1, 0.5, 0.4, -1e9, -math.inf, 0.6])
    found = scaled(values)
    assert found.mean() == pytest.approx(0.0, abs=1e-12)
    assert found.std() == pytest.approx(1.0)
    assert np.argsort(found).tolist() == np.argsort(values).tolist()
    assert scaled(1000 * values + 7) == pytest.approx(found)


def test_what_is_below_the_median_by_more_than_the_best_is_above_is_told_apart_by_rank_alone():
    near, far = scaled(np.array([0.0, 0.5, 0.6, 0.7, 0.8])), scaled(np.array([-9.0, 0.5, 0.6, 0.7, 0.8]))
    assert near == pytest.approx(far)
