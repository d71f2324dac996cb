"""The confirmation of a search: room in the budget, other seeds for the finalists, and what a cut changes."""

import json
import math
from itertools import dropwhile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.core.configs import Budget, StrategyConfig
from autoft.strategies import Continue, Done, History, Start, TrialView, Wait, build_strategy
from autoft.strategies.finalists import finalists, kept_seconds, kept_trials, searching
from autoft.strategies.simulate import Simulation, simulate
from autoft.strategies.trade_off import TRADE_OFF
from tests.strategies.worlds import LOG_LOSS, accuracy_curve, history, trial


def search(scheduler: str = "asha", **options: Any) -> Simulation:
    strategy = build_strategy(StrategyConfig(name="random"), StrategyConfig(name=scheduler))
    cost = options.pop("cost", lambda view: 1.0)
    return simulate(strategy, history(**options), accuracy_curve, cost=cost)


def starts(simulation: Simulation, kind: str) -> list[Start]:
    return [one for one in simulation.decisions if isinstance(one, Start) and one.kind == kind]


def confirming(simulation: Simulation) -> list[TrialView]:
    return [view for view in simulation.history.trials if view.kind == "confirm"]


def test_finalists_are_the_leading_trials_whose_last_value_is_finite_and_of_equals_the_earlier():
    views = (
        trial(1, [0.5, 0.9, 0.8], status="completed"),
        trial(2, [0.9], status="pruned"),
        trial(3, [0.95, None], status="diverged"),
        trial(4, [0.95], status="failed"),
        trial(5, [0.99, None], status="pruned"),
        trial(6, [0.7], status="probe"),
        trial(7, [0.99], status="completed", confirms="t0001").replace(kind="confirm"),
    )
    begun = history(trials=9).replace(trials=views)
    found = [[view.trial for view in finalists(begun.replace(num_finalists=count))] for count in (2, 9)]
    assert found == [["t0001", "t0002"], ["t0001", "t0002", "t0006"]]
    lowest = finalists(history(objective=LOG_LOSS).replace(trials=views))
    assert [view.trial for view in lowest] == ["t0001", "t0006", "t0002"]


FRONT = ((-0.9, 9.0), (-0.8, 10.0), (-0.7, 2.0), (-0.95, 20.0), (-0.7, 1.0), (None, 0.1), (-0.2, None))


def by_front(num_finalists: int, *points: tuple[float | None, ...]) -> History:
    views = tuple(trial(number, [0.5], status="completed", point=one) for number, one in enumerate(points, 1))
    return history(objective=TRADE_OFF, num_finalists=num_finalists, confirm=2, trials=40).replace(trials=views)


def test_of_several_metrics_the_finalists_are_the_front_as_far_as_checkpoints_are_kept_or_three():
    for most, names in (
        (2, ["t0004", "t0001"]),
        (3, ["t0004", "t0001", "t0005"]),
        (9, ["t0004", "t0001", "t0005"]),
    ):
        assert [view.trial for view in finalists(by_front(most, *FRONT))] == names
    longer = [*FRONT, (-0.1, 0.5), (-0.05, 0.4)]
    assert [view.trial for view in finalists(by_front(9, *longer))] == ["t0004", "t0001", "t0005", "t0008", "t0009"]
    alone = [(-0.9, 9.0), (-0.8, 10.0), (-0.7, 11.0), (-0.85, 12.0)]
    assert [view.trial for view in finalists(by_front(9, *alone))] == ["t0001", "t0004", "t0002"]
    assert finalists(by_front(9)) == []


def test_of_the_trials_are_kept_what_a_front_needs():
    assert kept_trials(by_front(9)) == 6
    assert kept_trials(by_front(9, *FRONT, (-0.1, 0.5), (-0.05, 0.4))) == 10
    assert kept_trials(by_front(4, *FRONT, (-0.1, 0.5), (-0.05, 0.4))) == 8


@pytest.mark.parametrize(("trials", "confirm", "kept"), [(12, 1, 3), (12, 2, 6), (12, 5, 6), (3, 1, 1), (1, 1, 0)])
def test_what_the_confirmation_needs_is_kept_of_the_trials_but_half_at_most(trials, confirm, kept):
    begun = history(trials=trials, confirm=confirm)
    assert kept_trials(begun) == kept
    assert searching(begun).budget.trials == trials - kept


def test_of_the_seconds_are_kept_what_the_finalists_took_a_quarter_more_and_an_epoch_but_half_at_most():
    views = tuple(trial(n, [0.1 * n] * 2, status="completed", cost_seconds=10.0 * n) for n in (1, 2, 3, 4))
    begun = history(seconds=500.0, seconds_reserved=100.0, confirm=1, slots=2).replace(trials=views)
    assert kept_seconds(begun) == 20 + 1.25 * (40 + 30 + 20) / 2
    assert kept_seconds(begun.replace(slots=9)) == 20 + 1.25 * 40
    assert kept_seconds(begun.replace(confirm=9)) == 200.0
    assert searching(begun).seconds_reserved == 100.0 + 20 + 1.25 * 45


def test_once_all_is_confirmed_what_another_finalist_would_need_is_kept_of_the_seconds():
    views = tuple(trial(n, [0.1 * n] * 2, status="completed", cost_seconds=10.0 * n) for n in (1, 2, 3))
    again = tuple(
        trial(0, [0.5] * 2, status="completed", confirms=f"t000{n}", cost_seconds=10.0 * n).replace(
            kind="confirm", trial=f"t000{n}-s{number}"
        )
        for number in (2, 3)
        for n in (3, 2, 1)
    )
    begun = history(seconds=500.0, confirm=2, slots=1)
    assert kept_seconds(begun.replace(trials=(*views, *again))) == 15 + 2 * 1.25 * 30
    assert kept_seconds(begun.replace(trials=(*views, *again[:-1]))) == 15 + 1.25 * 10


def test_seconds_that_were_not_seen_follow_from_the_predicted_costs():
    views = (trial(1, [0.5] * 3, epoch_cost=2.0), trial(2, [0.4] * 4, epoch_cost=1.0))
    begun = history(seconds=500.0, seconds_used=100.0, confirm=1, num_finalists=1, slots=2).replace(trials=views)
    assert kept_seconds(begun) == pytest.approx(1.25 * 200 * 6 / 10)


def test_when_the_search_is_over_each_finalist_trains_as_long_again_with_every_other_seed_the_best_first():
    done = search(trials=12, confirm=2, num_finalists=2, slots=1)
    assert len(starts(done, "trial")) == 8
    first, second = (view.trial for view in finalists(done.history))
    assert [view.trial for view in confirming(done)] == [f"{first}-s2", f"{second}-s2", f"{first}-s3", f"{second}-s3"]
    for view in confirming(done):
        repeated = done.history.view(view.confirms)
        assert (view.assignment, view.epoch, view.status) == (repeated.assignment, repeated.epoch, "completed")
    kinds = [one.kind for one in done.decisions if isinstance(one, Start)]
    assert kinds == ["probe"] * 2 + ["trial"] * 8 + ["confirm"] * 4
    assert done.decisions[-1].reason.endswith("4 of 4 trainings with other seeds are done")


def test_a_probe_has_no_other_seed():
    def curve(view: TrialView) -> list[float | None]:
        return [0.9] if view.kind == "probe" else [0.8] * 9

    strategy = build_strategy(StrategyConfig(name="random"), StrategyConfig(name="none"))
    done = simulate(strategy, history(trials=8, confirm=2, num_finalists=3), curve)
    assert [view.trial for view in finalists(done.history)] == ["p01", "p02", "t0001"]
    assert [view.trial for view in confirming(done)] == ["t0001-s2", "t0001-s3"]
    assert "2 of 2 trainings" in done.decisions[-1].reason


def test_a_budget_that_is_spent_cuts_the_confirmation_short_and_says_so():
    done = search(trials=5, confirm=3, num_finalists=2, slots=1)
    assert len(starts(done, "trial")) == 3
    assert len(confirming(done)) == 2
    end = done.decisions[-1]
    assert isinstance(end, Done)
    assert "2 of 6 trainings with other seeds are done, and all 5 trials of the budget were started" in end.reason


def test_the_confirmation_keeps_within_the_seconds():
    done = search(trials=None, seconds=60.0, confirm=1, num_finalists=2, slots=2, scheduler="none")
    assert done.history.seconds_used == 56.0
    assert [(view.status, view.epoch) for view in confirming(done)] == [("completed", 9)] * 2
    assert done.decisions[-1].reason == "the time is up; 2 of 2 trainings with other seeds are done"


def test_seconds_that_do_not_do_cut_the_confirmation_short_within_an_epoch_and_it_says_so():
    def cost(view: TrialView) -> float:
        return 10.0 if view.kind == "confirm" else 2.0

    done = search(trials=None, seconds=60.0, confirm=1, num_finalists=4, slots=1, epochs=5, cost=cost, scheduler="none")
    assert 60.0 - 10.0 < done.history.seconds_used <= 60.0
    assert [(view.status, view.epoch) for view in confirming(done)] == [("paused", 3)]
    assert done.decisions[-1].reason == (
        "the search is over; 0 of 2 trainings with other seeds are done, and the time left is too short for another"
    )


def test_more_seconds_go_on_with_a_confirmation_that_was_cut_short_before_the_search():
    def cost(view: TrialView) -> float:
        return 10.0 if view.kind == "confirm" else 2.0

    options = {"trials": None, "seconds": 60.0, "confirm": 1, "num_finalists": 4, "slots": 1, "epochs": 5}
    cut = search(cost=cost, scheduler="none", **options).history
    strategy = build_strategy(StrategyConfig(name="random"), StrategyConfig(name="none"))
    more = simulate(strategy, cut.replace(budget=Budget(epochs=5, seconds=90.0)), accuracy_curve, cost=cost)
    assert [view.trial for view in cut.trials if view.kind == "confirm"] == ["t0002-s2"]
    first = more.decisions[0]
    assert isinstance(first, Start)
    assert first.confirms == "t0001"


def resumed(before: History, curve: Any = accuracy_curve, scheduler: str = "none", **budget: Any) -> Simulation:
    strategy = build_strategy(StrategyConfig(name="random"), StrategyConfig(name=scheduler))
    return simulate(strategy, before.replace(budget=Budget(epochs=before.num_epochs, **budget)), curve)


def by_number(values: dict[str, float]) -> Any:
    """Return flat curves of these values by trial, those that confirm as the trial that they repeat, others at 0.1."""
    return lambda view: [values.get(view.confirms or view.trial, 0.1)] * 9


def kinds(simulation: Simulation) -> list[str]:
    return [one.kind for one in simulation.decisions if isinstance(one, Start)]


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_new_finalist_of_a_search_that_goes_on_with_more_trials_is_confirmed(slots):
    curve = by_number({"t0003": 0.87, "t0005": 0.88, "t0007": 0.89, "t0015": 0.95})
    strategy = build_strategy(StrategyConfig(name="random"), StrategyConfig(name="none"))
    first = simulate(strategy, history(trials=20, confirm=2, slots=slots), curve)
    assert kinds(first) == ["probe"] * 2 + ["trial"] * 14 + ["confirm"] * 6
    more = resumed(first.history, curve, trials=30)
    # Four whatever comes; then two more, since the third finalist alone has changed, and two are due.
    assert kinds(more) == ["trial"] * 6 + ["confirm"] * 2
    assert [view.confirms for view in confirming(more)[6:]] == ["t0015"] * 2


def test_the_trials_that_no_confirmation_needs_are_searched_but_for_one_that_could_not_be_confirmed():
    curve = by_number({"t0003": 0.87, "t0005": 0.88, "t0007": 0.89})
    strategy = build_strategy(StrategyConfig(name="random"), StrategyConfig(name="none"))
    first = simulate(strategy, history(trials=20, confirm=2, slots=1), curve)
    more = resumed(first.history, curve, trials=30)
    assert kinds(more) == ["trial"] * 8
    assert more.decisions[-1].reason.endswith("6 of 6 trainings with other seeds are done")


def test_a_confirmation_of_before_leaves_as_many_trials_to_the_search_as_the_new_finalists_allow():
    begun = history(trials=20, confirm=2, num_finalists=2)
    own = tuple(trial(n, [0.1 * n], status="completed") for n in range(1, 9))
    again = tuple(
        trial(0, [0.5], status="completed", confirms=of).replace(kind="confirm", trial=f"{of}-s{n}")
        for n in (2, 3)
        for of in ("t0008", "t0007")
    )

    def kept(number: int, *more: TrialView) -> int:
        return kept_trials(begun.replace(trials=(*own, *again, *more), budget=Budget(epochs=9, trials=number)))

    assert [kept(number) for number in (12, 13, 14, 15, 16, 17, 20)] == [4, 5, 6, 6, 7, 8, 8]
    assert [kept(15, trial(9, values, status="completed")) for values in ([0.1], [0.9], [0.99])] == [6, 6, 6]
    assert [kept(18, trial(9, values, status="completed")) for values in ([0.1], [0.9], [0.99])] == [8, 8, 8]
    assert [kept(18, trial(9, [], until=9))] == [8]


@pytest.mark.parametrize("seconds", [120.0, 180.0, 240.0])
def test_more_seconds_are_searched_before_the_new_finalists_are_confirmed(seconds):
    first = search(trials=None, seconds=60.0, confirm=1, num_finalists=2, slots=1, scheduler="none", epochs=4)
    better = by_number({f"t{n:04d}": 0.99 + n / 10_000 for n in range(100)})
    more = resumed(first.history, better, seconds=seconds)
    before, _ = next(step for step in more.steps if isinstance(step[1], Start) and step[1].kind == "confirm")
    assert before.num_started > first.history.num_started + 2
    assert before.seconds_used + kept_seconds(before) + 1 >= seconds
    assert more.history.seconds_used <= seconds


@given(
    budgets=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    confirm=st.integers(1, 3),
    count=st.integers(1, 4),
    slots=st.integers(1, 4),
    world=st.tuples(st.sampled_from(["asha", "asha-promote", "none"]), st.sampled_from([0.0, 0.5])),
)
@settings(max_examples=60, deadline=None)
def test_a_confirmation_keeps_the_budget_and_the_slots_whatever_they_are(budgets, confirm, count, slots, world):
    scheduler, probed = world

    def curve(view: TrialView) -> list[float | None]:
        return [probed] if view.kind == "probe" else accuracy_curve(view)

    done: Any = None
    before, trials = history(confirm=confirm, num_finalists=count, slots=slots, epochs=6), 0
    for more in budgets:
        trials += more
        made, started = before.num_confirming, before.num_started
        done = resumed(before, curve, scheduler, trials=trials)
        before = done.history
        unused = trials - before.num_started - before.num_confirming
        names = [view.trial for view in before.trials]
        leading = [view.trial for view in finalists(before) if view.kind == "trial"]
        due = sum(f"{name}-s{number}" not in names for name in leading for number in range(2, confirm + 2))
        assert len(set(names)) == len(names)
        assert max(len(one.running) for one, _ in done.steps) <= slots
        assert kinds(done) == sorted(kinds(done), key=["probe", "trial", "confirm"].index)
        assert {view.confirms for view in confirming(done)[made:]} <= set(leading)
        # What is due is cut short by the budget alone; then the search has taken no more than its half.
        assert 0 <= unused <= (0 if due else confirm)
        assert not due or before.num_started in (started, math.ceil((trials - made) / 2))


@given(
    budgets=st.lists(st.integers(10, 60), min_size=1, max_size=2),
    confirm=st.integers(1, 2),
    count=st.integers(1, 3),
    slots=st.integers(1, 3),
    scheduler=st.sampled_from(["asha", "asha-promote", "none"]),
)
@settings(max_examples=40, deadline=None)
def test_in_limited_time_nothing_of_the_search_goes_on_once_its_confirmation_has_begun(
    budgets, confirm, count, slots, scheduler
):
    before, seconds = history(trials=None, seconds=1.0, confirm=confirm, num_finalists=count, slots=slots, epochs=4), 0
    for more in budgets:
        seconds += more
        done = resumed(before, scheduler=scheduler, trials=None, seconds=float(seconds))
        views = {view.trial: view for view in done.history.trials}
        acts = [
            one.kind if isinstance(one, Start) else views[one.trial].kind
            for one in done.decisions
            if isinstance(one, Start | Continue)
        ]
        # A confirmation that the time before cut short goes first.
        acts = list(dropwhile(lambda kind: kind == "confirm", acts))
        assert acts == sorted(acts, key=lambda kind: kind == "confirm")
        assert done.history.seconds_used <= seconds + 1
        before = done.history


@pytest.mark.parametrize("more", [{"trials": 14}, {"trials": None, "seconds": 90.0}])
def test_a_confirmation_cut_anywhere_goes_on_as_if_nothing_had_been(more):
    first = search(trials=8, confirm=1, slots=1)
    for whole in (first, resumed(first.history, scheduler="asha", **more)):
        for number in range(len(whole.steps)):
            before = History.from_json(json.loads(json.dumps(whole.steps[number][0].to_json())))
            strategy = build_strategy(StrategyConfig(name="random"), StrategyConfig(name="asha"))
            rest = simulate(strategy, before, accuracy_curve)
            decided = [d for d in whole.decisions[number:] if not isinstance(d, Wait)]
            assert [d for d in rest.decisions if not isinstance(d, Wait)] == decided
