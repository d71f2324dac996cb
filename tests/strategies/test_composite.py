import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.core.configs import Budget, StrategyConfig
from autoft.core.errors import ConfigError
from autoft.space import SearchSpace
from autoft.strategies import Composite, Continue, Done, Start, Stop, Wait, build_strategy
from autoft.strategies.advance import decided
from autoft.strategies.asha import Asha, AshaPromote
from autoft.strategies.curves import Curves
from autoft.strategies.random import Random
from autoft.strategies.rungs import RunToEnd
from autoft.strategies.simulate import simulate
from autoft.strategies.tpe import TPE
from tests.strategies.worlds import branching_space, history, trial

RANDOM_ASHA = Composite(searcher=Random(), scheduler=Asha(grace=1))
PROBES = tuple(trial(n, [0.5], status="probe").replace(trial=f"p{n:02d}", kind="probe") for n in (1, 2))
"""Those of `branching_space`, ended."""


def test_a_trial_that_stands_is_decided_on_before_anything_starts():
    now = history(slots=4).replace(trials=(trial(1, [0.5]),))
    assert RANDOM_ASHA.next(now) == Continue(
        trial="t0001", until_epoch=3, reason="rank 1 of 1 at rung 1 (accuracy 0.5): among the best 1, it goes on"
    )


def test_of_several_that_stand_the_one_started_first_is_decided_on_first():
    now = history(slots=4).replace(trials=(trial(1, [0.5], until=3), trial(2, [0.1]), trial(3, [0.9])))
    assert RANDOM_ASHA.next(now).trial == "t0002"


def test_a_trial_with_all_its_epochs_is_stopped_as_trained():
    now = history(epochs=3).replace(trials=(trial(1, [0.5, 0.6, 0.7]),))
    assert RANDOM_ASHA.next(now) == Stop(trial="t0001", reason="it has trained all 3 epochs")


def test_a_probe_ends_after_its_epoch():
    probe = trial(1, [0.5]).replace(trial="p01", kind="probe")
    assert RANDOM_ASHA.next(history().replace(trials=(probe,))) == Stop(trial="p01", reason="a probe has one epoch")


def test_the_first_start_is_the_probe_of_the_first_backbone():
    space = branching_space()
    assert RANDOM_ASHA.next(history(space=space)) == Start(
        assignment={"backbone": "timm:resnet18"},
        kind="probe",
        until_epoch=1,
        reason="the frozen probe of timm:resnet18: every backbone is probed first",
        recipe={"backbone": space.backbones()[0], "finetune": {"mode": "probe"}},
        epoch_cost=1.814,
    )


def test_a_probe_keeps_the_statistics_that_training_is_to_take_from_batches():
    space = SearchSpace(task="image-classification", backbone={"name": "timm:resnet18", "batch_norm": "batch"})
    start = RANDOM_ASHA.next(history(space=space))
    assert isinstance(start, Start)
    assert start.recipe["backbone"] == space.backbones()[0] | {"batch_norm": "pretrained"}


def test_a_trial_is_granted_the_epochs_up_to_the_first_rung():
    now = history(epochs=27).replace(trials=PROBES)
    assert [
        Composite(searcher=Random(), scheduler=scheduler).next(now).until_epoch
        for scheduler in (Asha(grace=1), Asha(), RunToEnd())
    ] == [1, 3, 27]


def test_full_slots_mean_waiting():
    now = history(slots=1).replace(trials=(trial(1, [], until=1),))
    assert RANDOM_ASHA.next(now) == Wait(reason="all 1 slots are taken")


def test_a_spent_trial_budget_means_waiting_and_then_done():
    now = history(trials=1).replace(trials=(*PROBES, trial(1, [], until=1)))
    reason = "all 1 trials of the budget were started"
    assert RANDOM_ASHA.next(now) == Wait(reason=f"{reason}; 1 still in flight")
    over = now.replace(trials=(*PROBES, trial(1, [0.5], status="failed")))
    assert RANDOM_ASHA.next(over) == Done(reason=reason)


def test_time_that_is_up_stops_all_that_stand_and_starts_nothing():
    now = history(seconds=100.0, seconds_reserved=20.0, slots=4, seconds_used=79.9)
    assert isinstance(RANDOM_ASHA.next(now), Start)
    late = now.replace(seconds_used=80.0)
    assert RANDOM_ASHA.next(late) == Done(reason="the time is up")
    flying = late.replace(trials=(trial(1, [], until=1), trial(2, [0.5])))
    assert RANDOM_ASHA.next(flying) == Stop(trial="t0002", reason="the time is up")
    assert RANDOM_ASHA.next(flying.replace(trials=flying.trials[:1])) == Wait(
        reason="the time is up; 1 still in flight"
    )


def test_between_rungs_a_trial_goes_on_by_single_epochs_under_a_seconds_budget():
    now = history(seconds=100.0).replace(trials=(trial(1, [0.1, 0.2]),))
    assert RANDOM_ASHA.next(now) == Continue(trial="t0001", until_epoch=3, reason="on its way to rung 3")


def test_an_epoch_that_would_not_end_in_time_is_not_begun():
    limits = {"seconds": 100.0, "seconds_reserved": 20.0, "slots": 1}
    standing = (*PROBES, trial(1, [0.1, 0.2], cost_seconds=20.0, epoch_cost=0.01))
    exactly = history(**limits, seconds_used=70.0).replace(trials=standing)
    assert RANDOM_ASHA.next(exactly) == Continue(trial="t0001", until_epoch=3, reason="on its way to rung 3")
    late = exactly.replace(seconds_used=70.1)
    reason = "the time left is too short for another epoch"
    assert RANDOM_ASHA.next(late) == Stop(trial="t0001", reason=reason)
    stopped = decided(late, RANDOM_ASHA.next(late))
    assert stopped.view("t0001").status == "paused"
    assert RANDOM_ASHA.next(stopped) == Done(reason=reason)


def test_a_paused_trial_that_lacks_the_time_for_an_epoch_is_passed_over_for_one_that_has_it():
    pausing = Composite(searcher=Random(), scheduler=AshaPromote(grace=1, reduction_factor=2))
    slow = trial(1, [0.9], status="paused").replace(cost_seconds=30.0, epoch_cost=3.0)
    fast = trial(2, [0.8], status="paused").replace(cost_seconds=5.0)
    worse = [trial(n, [0.1], status="paused").replace(cost_seconds=5.0) for n in (3, 4)]
    now = history(slots=1, seconds=100.0, seconds_used=60.0).replace(trials=(slow, fast, *worse))
    assert [pausing.next(now.replace(seconds_used=used)).trial for used in (60.0, 80.0)] == ["t0001", "t0002"]


@given(
    st.floats(0.1, 1), st.floats(40, 200), st.integers(1, 3), st.sampled_from([Asha(grace=1), AshaPromote(), Curves()])
)
def test_a_search_by_time_ends_in_time_where_epochs_take_what_those_before_let_expect(cost, limit, slots, scheduler):
    strategy = Composite(searcher=Random(), scheduler=scheduler)
    begun = history(trials=None, seconds=limit, seconds_reserved=10.0, slots=slots)
    done = simulate(strategy, begun, lambda view: [0.5] * 9, cost=lambda view: cost * view.epoch_cost)
    assert limit - 10.0 - 12 * cost < done.history.seconds_used < limit - 10.0 + 1e-6  # no epoch costs above 11


def test_names_and_options_of_the_catalog_build_the_strategy():
    built = build_strategy(
        StrategyConfig(name="tpe", options={"startup": 5}), StrategyConfig(name="asha", options={"grace": 2})
    )
    assert built == Composite(searcher=TPE(startup=5), scheduler=Asha(grace=2))
    plain = build_strategy(StrategyConfig(name="random"), StrategyConfig(name="none"))
    assert plain == Composite(searcher=Random(), scheduler=RunToEnd())


@pytest.mark.parametrize(
    ("searcher", "scheduler", "message"),
    [
        (StrategyConfig(name="tpo"), StrategyConfig(name="asha"), "Unknown searcher 'tpo'. Did you mean 'tpe'"),
        (StrategyConfig(name="tpe"), StrategyConfig(name="ash"), "Unknown scheduler 'ash'. Did you mean 'asha'"),
        (
            StrategyConfig(name="tpe"),
            StrategyConfig(name="asha", options={"grce": 1}),
            "The scheduler asha has no option 'grce'. Did you mean 'grace'? Allowed: grace, reduction_factor.",
        ),
        (
            StrategyConfig(name="random", options={"x": 1}),
            StrategyConfig(name="none"),
            "The searcher random has no option 'x'. It has no options.",
        ),
        (
            StrategyConfig(name="tpe"),
            StrategyConfig(name="asha", options={"reduction_factor": 1}),
            "scheduler asha: option reduction_factor must be a number above 1, not 1.",
        ),
    ],
)
def test_unknown_names_and_options_are_refused_with_the_nearest(searcher, scheduler, message):
    with pytest.raises(ConfigError) as caught:
        build_strategy(searcher, scheduler)
    assert message in str(caught.value)


def test_a_history_without_epochs_or_slots_is_refused():
    with pytest.raises(ConfigError, match="epochs"):
        history().replace(budget=Budget(trials=3))
    with pytest.raises(ConfigError, match="slots"):
        history(slots=0)
