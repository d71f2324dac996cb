from autoft.strategies import Composite, Continue, Done, Promotion, Start, Stop
from autoft.strategies.asha import AshaPromote
from autoft.strategies.random import Random
from autoft.strategies.simulate import simulate
from tests.strategies.worlds import accuracy_curve, history, trial

PROMOTE = AshaPromote(grace=1, reduction_factor=3)


def at_rung(values, *, status="paused"):
    return tuple(trial(number, [value], status=status) for number, value in enumerate(values, start=1))


def test_the_first_two_at_a_rung_are_paused_and_the_third_goes_on_if_it_is_the_best():
    seen = at_rung([0.5, 0.6])
    for value, action in ((0.7, "continue"), (0.4, "pause")):
        now = history().replace(trials=(*seen, standing := trial(3, [value])))
        assert PROMOTE.judge(now, standing).action == action
    first = history().replace(trials=(standing := trial(1, [0.9]),))
    verdict = PROMOTE.judge(first, standing)
    assert verdict.action == "pause"
    assert verdict.reason == "rank 1 of 1 at rung 1 (accuracy 0.9): not among the best 0, it is paused"


def test_a_trial_without_a_finite_value_is_stopped_and_not_paused():
    now = history().replace(trials=(view := trial(1, [None]),))
    assert PROMOTE.judge(now, view).action == "stop"


def test_of_six_paused_the_best_two_are_promoted_best_first():
    now = history(slots=9).replace(trials=at_rung([0.1, 0.6, 0.2, 0.5, 0.3, 0.4]))
    first = PROMOTE.promote(now, is_last_call=False)
    assert first == Promotion(trial="t0002", reason="rank 1 of 6 at rung 1: now among the best 2, it goes on")
    gone = tuple(
        view.replace(status="running", until_epoch=3) if view.trial == "t0002" else view for view in now.trials
    )
    assert PROMOTE.promote(now.replace(trials=gone), is_last_call=False).trial == "t0004"
    gone = tuple(view.replace(status="running") if view.trial in ("t0002", "t0004") else view for view in now.trials)
    assert PROMOTE.promote(now.replace(trials=gone), is_last_call=False) is None


def test_the_highest_rung_is_promoted_from_first():
    low = at_rung([0.9, 0.8, 0.7])
    high = tuple(trial(number, [0.1, 0.2, 0.3 + number / 100], status="paused") for number in (4, 5, 6))
    now = history().replace(trials=(*low, *high))
    assert PROMOTE.promote(now, is_last_call=False).trial == "t0006"


def test_two_paused_wait_while_new_trials_may_start_and_the_better_goes_on_at_the_last_call():
    now = history().replace(trials=at_rung([0.5, 0.6]))
    assert PROMOTE.promote(now, is_last_call=False) is None
    assert PROMOTE.promote(now, is_last_call=True).trial == "t0002"


def test_a_search_ends_with_a_trial_of_full_length_and_none_paused():
    search = simulate(Composite(searcher=Random(), scheduler=PROMOTE), history(trials=5, epochs=9), accuracy_curve)
    statuses = [view.status for view in search.history.trials if view.kind == "trial"]
    assert "completed" in statuses
    assert "paused" not in statuses
    stops = [decision.reason for decision in search.decisions if isinstance(decision, Stop)]
    assert "all 5 trials of the budget were started, and none that is paused is to go on" in stops


def test_when_the_time_is_up_what_is_paused_stays_paused_and_more_seconds_let_it_go_on():
    strategy = Composite(searcher=Random(), scheduler=PROMOTE)
    probes = tuple(trial(n, [0.5], status="probe").replace(trial=f"p{n:02d}", kind="probe") for n in (1, 2))
    late = history(seconds=10.0, seconds_used=11.0, trials=3).replace(trials=(*probes, *at_rung([0.5, 0.6, 0.4])))
    assert strategy.next(late) == Done(reason="the time is up")
    more = late.replace(budget=history(seconds=99.0, trials=3).budget)
    assert strategy.next(more) == Continue(
        trial="t0002", until_epoch=2, reason="rank 1 of 3 at rung 1: now among the best 1, it goes on"
    )


def test_the_default_recipe_is_trained_to_its_end_when_no_new_trial_will_start():
    def curve(view):
        return [0.5] if view.kind == "probe" else [0.1 if view.trial == "t0001" else 0.6] * 9

    search = simulate(Composite(searcher=Random(), scheduler=PROMOTE), history(trials=4, epochs=9), curve)
    assert search.history.view("t0001").status == "completed"
    reasons = [d.reason for d in search.decisions if isinstance(d, Continue) and d.trial == "t0001"]
    assert reasons[-1] == "the space's default recipe is trained to its end"


def test_the_time_left_goes_to_the_best_paused_trial_once_it_is_what_that_needs():
    strategy = Composite(searcher=Random(), scheduler=PROMOTE)
    probes = tuple(trial(n, [0.5], status="probe").replace(trial=f"p{n:02d}", kind="probe") for n in (1, 2))
    paused = tuple(view.replace(cost_seconds=2.0) for view in at_rung([0.5, 0.6]))
    now = history(seconds=100.0, seconds_used=79.9, trials=None).replace(trials=(*probes, *paused))
    assert isinstance(strategy.next(now), Start)  # 8 epochs of 2 s are lacking: 20 s with a quarter more
    assert strategy.next(now.replace(seconds_used=80.0)) == Continue(
        trial="t0002", until_epoch=2, reason="rank 1 of 2 at rung 1: now among the best 1, it goes on"
    )
