import pytest

from autoft.core.errors import WorkError
from autoft.strategies import Composite, Continue, Done, Pause, Start, Stop, Wait
from autoft.strategies.advance import decided, reported
from autoft.strategies.random import Random
from autoft.strategies.rungs import RunToEnd
from autoft.strategies.simulate import simulate
from tests.strategies.worlds import accuracy_curve, history, trial


def start(kind="trial", until=3):
    return Start(assignment={}, kind=kind, until_epoch=until, reason="a reason in words", recipe={})


def test_starts_are_named_in_order_by_kind():
    now = history(slots=9)
    for kind in ("probe", "trial", "probe", "trial"):
        now = decided(now, start(kind))
    assert [view.trial for view in now.trials] == ["p01", "t0001", "p02", "t0002"]


def test_results_append_to_the_trial_and_leave_the_old_history_as_it_was():
    before = decided(history(), start())
    after = reported(before, "t0001", 0.5, seconds=2.0)
    assert before.trials[0].values == ()
    assert (after.trials[0].values, after.trials[0].cost_seconds, after.trials[0].stands) == ((0.5,), 2.0, False)
    ended = reported(after, "t0001", None, seconds=1.0, status="diverged")
    assert (ended.trials[0].values, ended.trials[0].status, ended.running) == ((0.5, None), "diverged", ())


@pytest.mark.parametrize(("epochs", "status"), [(2, "pruned"), (9, "completed")])
def test_a_stopped_trial_is_pruned_unless_it_has_all_epochs(epochs, status):
    now = history().replace(trials=(trial(1, [0.5] * epochs),))
    assert decided(now, Stop(trial="t0001", reason="-")).trials[0].status == status


def test_a_paused_trial_holds_no_slot_and_takes_one_again_when_it_goes_on():
    now = decided(history(slots=1).replace(trials=(trial(1, [0.5]),)), Pause(trial="t0001", reason="-"))
    assert (now.running, [view.trial for view in now.paused]) == ((), ["t0001"])
    again = decided(now, Continue(trial="t0001", until_epoch=3, reason="-"))
    assert ([view.until_epoch for view in again.running], again.paused) == ([3], ())


def test_a_paused_trial_that_is_stopped_is_pruned():
    now = history().replace(trials=(trial(1, [0.5], status="paused"),))
    assert decided(now, Stop(trial="t0001", reason="-")).trials[0].status == "pruned"


def test_a_stopped_probe_is_a_probe():
    now = history().replace(trials=(trial(1, [0.5]).replace(trial="p01", kind="probe"),))
    assert decided(now, Stop(trial="p01", reason="-")).trials[0].status == "probe"


def test_waiting_and_being_done_change_nothing():
    now = history().replace(trials=(trial(1, [0.5]),))
    assert decided(now, Wait(reason="-")) is now
    assert decided(now, Done(reason="-")) is now


@pytest.mark.parametrize(
    "decision",
    [
        start(),
        Continue(trial="t0001", until_epoch=3, reason="-"),
        Continue(trial="t0002", until_epoch=10, reason="-"),
        Continue(trial="t0002", until_epoch=2, reason="-"),
        Stop(trial="t0001", reason="-"),
        Stop(trial="t0009", reason="-"),
        Pause(trial="t0001", reason="-"),
        Pause(trial="t0003", reason="-"),
        Continue(trial="t0003", until_epoch=9, reason="-"),
    ],
    ids=["slots", "flies", "beyond", "behind", "stop flies", "unknown", "pause flies", "paused", "no slot"],
)
def test_a_decision_that_cannot_be_is_refused(decision):
    paused = trial(3, [0.5], status="paused")
    now = history(slots=2).replace(trials=(trial(1, [0.5], until=3), trial(2, [0.5, 0.6]), paused))
    with pytest.raises(WorkError):
        decided(now, decision)


def test_an_epoch_that_nobody_allowed_is_refused():
    now = history().replace(trials=(trial(1, [0.5]),))
    with pytest.raises(WorkError, match="t0001"):
        reported(now, "t0001", 0.5, seconds=1.0)


def test_a_simulated_search_draws_each_epoch_once():
    search = simulate(Composite(searcher=Random(), scheduler=RunToEnd()), history(trials=3, epochs=4), accuracy_curve)
    assert search.num_epochs == sum(view.epoch for view in search.history.trials)
    assert search.history.seconds_used == 9.0


def test_a_strategy_that_waits_for_nothing_or_never_ends_is_found_out():
    class Sleepy:
        def next(self, history):
            return Wait(reason="it sleeps")

    with pytest.raises(WorkError, match="nothing runs"):
        simulate(Sleepy(), history(), accuracy_curve)
    with pytest.raises(WorkError, match="not done"):
        simulate(Composite(searcher=Random(), scheduler=RunToEnd()), history(), accuracy_curve, max_steps=5)
