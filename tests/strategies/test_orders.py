"""What strategies keep from one history to the next is what a look at all trials would find."""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.strategies import History, TrialView
from autoft.strategies.curve_evidence import Reader
from autoft.strategies.encoding import Encoding
from autoft.strategies.orders import Orders
from autoft.strategies.register import Register
from autoft.strategies.rungs import loss_at
from tests.strategies.worlds import ACCURACY, LOG_LOSS, branching_space, history

STATUSES = ("running", "paused", "pruned", "completed", "diverged", "failed")
RUNGS = (1, 3, 4)
SPACE = branching_space()
ENCODING = Encoding(SPACE)
VALUES = st.lists(st.one_of(st.none(), st.sampled_from([0.1, 0.2, 0.3])), max_size=4).map(tuple)


@st.composite
def histories(draw: Any) -> list[tuple[TrialView, ...]]:
    """Return the trials of histories that follow one another: each changes, adds or drops a few."""
    trials: tuple[TrialView, ...] = ()
    found = []
    for _ in range(draw(st.integers(1, 8))):
        for _ in range(draw(st.integers(0, 3))):
            kind = draw(st.sampled_from(["trial", "trial", "probe", "confirm"]))
            until = draw(st.integers(1, 4))
            trials = (*trials, TrialView(trial=f"t{len(trials)}", kind=kind, assignment={}, until_epoch=until))
        for place in draw(st.sets(st.integers(0, max(0, len(trials) - 1)), max_size=3)) if trials else ():
            view = trials[place].replace(values=draw(VALUES), status=draw(st.sampled_from(STATUSES)))
            trials = (*trials[:place], view, *trials[place + 1 :])
        trials = trials[: len(trials) - draw(st.integers(0, 1))]
        found.append(trials)
    return found


@settings(max_examples=50)
@given(histories(), st.booleans())
def test_kept_orders_are_those_of_all_trials_sorted_anew(steps: list[tuple[TrialView, ...]], turns: bool):
    orders = Orders()
    for number, trials in enumerate(steps):
        now = history(space=SPACE, objective=LOG_LOSS if turns and number % 3 == 2 else ACCURACY).replace(trials=trials)
        for rung in (1, 3):
            losses = [loss_at(now, view, rung) if view.kind == "trial" else None for view in trials]
            expected = sorted((loss, place) for place, loss in enumerate(losses) if loss is not None)
            assert orders.at(now, rung) == expected


@settings(max_examples=50)
@given(histories())
def test_a_register_says_of_the_trials_what_a_look_at_all_of_them_says(steps: list[tuple[TrialView, ...]]):
    register = Register()
    before: History | None = None
    for trials in steps:
        register.follow(trials)
        for now in (
            history(space=SPACE).replace(trials=trials, register=register),
            history(space=SPACE).replace(trials=trials),
        ):
            assert now.running == tuple(view for view in trials if view.is_running)
            assert now.standing == tuple(view for view in trials if view.stands)
            assert now.paused == tuple(view for view in trials if view.status == "paused")
            assert now.probes == tuple(view for view in trials if view.kind == "probe")
            assert now.num_begun == sum(view.kind == "trial" and view.epoch > 0 for view in trials)
            assert now.num_running == sum(view.is_running for view in trials)
            assert now.num_started == sum(view.kind == "trial" for view in trials)
            assert now.num_probes == sum(view.kind == "probe" for view in trials)
            assert now.num_confirming == sum(view.kind == "confirm" for view in trials)
            assert now.num_trained == sum(view.epoch for view in trials)
        if before is not None:
            assert before.running == tuple(view for view in before.trials if view.is_running)
        before = history(space=SPACE).replace(trials=trials, register=register)


def test_a_register_of_other_trials_counts_for_nothing():
    register = Register()
    register.follow((TrialView(trial="t0001", kind="trial", assignment={}, until_epoch=1),))
    assert history(space=SPACE).replace(register=register).num_started == 0


@settings(max_examples=50)
@given(histories())
def test_a_reader_reads_what_one_that_has_kept_nothing_reads(steps: list[tuple[TrialView, ...]]):
    reader = Reader()
    for trials in (*steps, steps[0], steps[-1]):
        now = history(space=SPACE, trials=None).replace(trials=trials)
        some = trials[::2]
        new = Reader()
        assert reader.losses(now, RUNGS).tolist() == [new.standing(now, view, RUNGS).loss for view in trials]
        assert reader.best(now, RUNGS, 3) == new.best(now, RUNGS, 3)
        assert reader.best(now, RUNGS, 3, among=some) == new.best(now, RUNGS, 3, among=some)
        kept, anew = (one.gather(now, RUNGS, ENCODING, None, limit=4) for one in (reader, new))
        assert (kept is None) == (anew is None)
        if kept is not None and anew is not None:
            for name in ("rows", "trials", "epochs", "values", "expected"):
                assert getattr(kept, name).tolist() == getattr(anew, name).tolist()
        costs = [view.epoch_cost for view in trials if view.kind == "trial"]
        assert not costs or reader.usual_cost(now, RUNGS) == np.median(costs)


@settings(max_examples=50)
@given(histories())
def test_the_best_are_those_of_the_least_losses_and_of_equals_the_earlier(steps: list[tuple[TrialView, ...]]):
    for trials in steps:
        now = history(space=SPACE, trials=None).replace(trials=trials)
        losses = sorted((Reader().standing(now, view, RUNGS).loss, place) for place, view in enumerate(trials))
        expected = [place for loss, place in losses if loss < math.inf]
        assert Reader().best(now, RUNGS, 2) == expected[:2]
        names = {view.trial for view in trials[1:]}
        among = [place for place in expected if trials[place].trial in names]
        assert Reader().best(now, RUNGS, 2, among=trials[1:]) == among[:2]
