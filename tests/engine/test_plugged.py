"""Ray's own searchers and schedulers plugged in: each decision is a function of the history."""

import json
import random
from typing import Any, ClassVar

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, PopulationBasedTraining
from ray.tune.search.hyperopt import HyperOptSearch

from autoft.core.configs import StrategyConfig
from autoft.core.errors import ConfigError
from autoft.engine.plugged import RaySearcher
from autoft.engine.strategy import config_of, strategy_of
from autoft.strategies import History, Start, Stop, Wait
from autoft.strategies.simulate import Simulation, simulate
from tests.strategies.worlds import LOG_LOSS, accuracy_curve, history, trial

HYPEROPT = StrategyConfig(name="ray:HyperOptSearch", options={"n_initial_points": 4})
ASHA = StrategyConfig(name="ray:AsyncHyperBandScheduler", options={"grace_period": 2, "reduction_factor": 3})
RANDOM, NONE = StrategyConfig(name="random"), StrategyConfig(name="none")


def run(searcher: StrategyConfig, scheduler: StrategyConfig, **options: Any) -> Simulation:
    return simulate(strategy_of(searcher, scheduler), history(**{"trials": 12, **options}), accuracy_curve)


@pytest.fixture(scope="module")
def done() -> Simulation:
    return run(HYPEROPT, ASHA)


def test_a_searcher_and_a_scheduler_of_ray_take_their_decisions_from_the_history(done: Simulation) -> None:
    assert done.history.num_started == 12
    starts = [one for one in done.decisions if isinstance(one, Start) and one.kind == "trial"]
    assert {one.reason for one in starts[1:]} == {"a suggestion of Ray's HyperOptSearch"}
    assignments = [view.assignment for view in done.history.trials if view.kind == "trial"]
    for number, assignment in enumerate(assignments):
        done.history.space.validate(assignment)
        assert assignment not in assignments[:number]
    stops = {one.reason for one in done.decisions if isinstance(one, Stop)}
    assert "Ray's AsyncHyperBandScheduler says of epoch 2 that it stops" in stops
    assert "it has trained all 9 epochs" in stops


def test_a_search_by_rays_classes_cut_anywhere_goes_on_as_if_nothing_had_been() -> None:
    whole = run(HYPEROPT, ASHA, slots=1, trials=7)
    for number in range(2, len(whole.steps), 7):
        before = History.from_json(json.loads(json.dumps(whole.steps[number][0].to_json())))
        rest = simulate(strategy_of(HYPEROPT, ASHA), before, accuracy_curve)
        decided = [d for d in whole.decisions[number:] if not isinstance(d, Wait)]
        assert [d for d in rest.decisions if not isinstance(d, Wait)] == decided


def test_a_searcher_that_makes_its_generators_late_decides_the_same_twice_and_says_nothing(caplog) -> None:
    pytest.importorskip("optuna", reason="it comes with the benchmarks")
    optuna = StrategyConfig(name="ray:OptunaSearch")
    one, again = (run(optuna, NONE, trials=14, epochs=1) for _ in range(2))
    assert one.decisions == again.decisions
    assert {view.assignment["batch_size"] for view in one.history.trials if view.kind == "trial"} == {16, 32, 64}
    assert caplog.text == ""


def test_the_seed_decides_what_a_searcher_draws_and_the_global_generators_are_left_as_they_were() -> None:
    strategy = strategy_of(HYPEROPT, NONE)
    begun = history(trials=3).replace(
        trials=(
            *(trial(0, [0.5], status="probe").replace(kind="probe", trial=name) for name in ("p01", "p02")),
            trial(1, [0.5] * 9, status="completed", assignment=history().space.default()),
        )
    )
    np.random.seed(7)
    random.seed(7)
    expected = np.random.RandomState(7).random(), random.Random(7).random()
    one, again, other = (strategy.next(begun.replace(seed=seed)) for seed in (0, 0, 1))
    assert (np.random.random(), random.random()) == expected
    assert isinstance(one, Start)
    assert isinstance(other, Start)
    assert one == again
    assert one.assignment != other.assignment


def judged(scheduler: StrategyConfig, *curves: list[float | None], **options: Any) -> list[str]:
    """Return what becomes of each trial, which all stand at the end of their curves."""
    views = tuple(trial(number, curve) for number, curve in enumerate(curves, 1))
    begun = history(slots=len(curves), **options).replace(trials=views)
    rule: Any = strategy_of(RANDOM, scheduler)
    return [rule.scheduler.judge(begun, view).action for view in views]


def test_rays_asha_stops_who_is_not_among_the_best_whichever_way_is_better() -> None:
    curves: list[list[float | None]] = [[0.5, 0.9], [0.4, 0.1], [0.3, 0.2], [0.2, 0.3]]
    assert judged(ASHA, *curves) == ["continue", "stop", "stop", "stop"]
    # Ray's cutoff is a quantile of the others: -0.23 for 0.1 and 0.2, -0.17 for 0.3.
    assert judged(ASHA, *curves, objective=LOG_LOSS) == ["stop", "continue", "continue", "stop"]


class Noting(AsyncHyperBandScheduler):  # type: ignore[misc]  # Ray has no types
    """Ray's own, which notes the bracket of each trial, and a draw, whenever it is told a result."""

    noted: ClassVar[list[tuple[dict[str, int], float]]] = []

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> Any:
        places = {id(bracket): place for place, bracket in enumerate(self._brackets)}
        self.noted.append(({one: places[id(bracket)] for one, bracket in self._trial_info.items()}, np.random.random()))
        return super().on_trial_result(tune_controller, trial, result)


def test_a_trial_stays_in_the_bracket_that_it_was_drawn_into_and_each_decision_has_draws_of_its_own() -> None:
    Noting.noted.clear()
    objects = {"scheduler": Noting(grace_period=1, reduction_factor=2, max_t=100, brackets=3)}
    scheduler = config_of("scheduler", objects["scheduler"])
    done = simulate(strategy_of(RANDOM, scheduler, objects=objects), history(trials=12), accuracy_curve)
    last, _ = Noting.noted[-1]
    assert set(last) == {view.trial for view in done.history.trials if view.kind == "trial"}
    assert all(brackets.items() <= last.items() for brackets, _ in Noting.noted)
    assert set(last.values()) == {0, 1, 2}
    assert len({draw for _, draw in Noting.noted}) == len(Noting.noted)


def test_what_is_not_finite_is_the_worst_to_rays_schedulers() -> None:
    assert judged(ASHA, [0.5, 0.1], [0.4, 0.2], [0.4, None]) == ["stop", "continue", "stop"]


def test_a_scheduler_whose_time_is_seconds_counts_epochs_where_no_seconds_were_seen() -> None:
    median = StrategyConfig(name="ray:MedianStoppingRule", options={"grace_period": 2, "min_samples_required": 2})
    assert judged(median, [0.5] * 3, [0.6] * 3, [0.1] * 3) == ["continue", "continue", "stop"]
    assert judged(median, [0.5], [0.6], [0.1]) == ["continue"] * 3


def test_an_object_decides_as_the_same_by_name() -> None:
    objects = {"searcher": HyperOptSearch(n_initial_points=4), "scheduler": MedianStoppingRule(grace_period=2)}
    found = [config_of(kind, given) for kind, given in objects.items()]
    assert [one.name for one in found] == ["ray-object:HyperOptSearch", "ray-object:MedianStoppingRule"]
    by_name = StrategyConfig(name="ray:MedianStoppingRule", options={"grace_period": 2})
    one = simulate(strategy_of(*found, objects=objects), history(trials=6), accuracy_curve)
    assert one.decisions == run(HYPEROPT, by_name, trials=6).decisions


def test_an_object_that_is_not_given_again_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"no file can hold: go on with autoft.resume\(RUN, searcher=...\)"):
        strategy_of(StrategyConfig(name="ray-object:HyperOptSearch"), NONE)


@pytest.mark.parametrize(
    ("searcher", "scheduler", "said"),
    [
        ("ray:HyperBandSearch", NONE, "Ray has no searcher 'HyperBandSearch' that can be plugged in."),
        (RANDOM, "ray:AsyncHyperBandSheduler", "Did you mean 'AsyncHyperBandScheduler'?"),
        (RANDOM, "ray:HyperBandScheduler", "Ray's HyperBandScheduler pauses, copies or resizes trials"),
        (RANDOM, "ray:TrialScheduler", "Ray has no scheduler 'TrialScheduler'."),
        (RANDOM, StrategyConfig(name="ray:AsyncHyperBandScheduler", options={"grace": 2}), "has no option 'grace'."),
        (RANDOM, StrategyConfig(name="ray:AsyncHyperBandScheduler", options={"grace_period": 0}), "cannot be used so"),
        ("ray:BayesOptSearch", NONE, "cannot be used so: "),
    ],
)
def test_what_cannot_be_plugged_in_is_refused_in_one_sentence(searcher: Any, scheduler: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        strategy_of(config_of("searcher", searcher), config_of("scheduler", scheduler))
    assert said in str(error.value)


def test_objects_that_pause_or_have_a_space_of_their_own_or_are_none_of_rays_are_refused() -> None:
    from hyperopt import hp

    for kind, given, said in (
        ("scheduler", PopulationBasedTraining(time_attr="epoch", hyperparam_mutations={"a": [1]}), "pauses, copies"),
        ("searcher", HyperOptSearch({"a": hp.uniform("a", 0, 1)}, metric="x", mode="max"), "has a space of its own"),
        ("searcher", AsyncHyperBandScheduler(), "must be a name, an autoft.StrategyConfig or a Searcher of Ray"),
    ):
        with pytest.raises(ConfigError, match=said):
            config_of(kind, given)


def test_a_searcher_that_forgets_what_it_is_told_is_refused() -> None:
    class Forgetful(HyperOptSearch):  # type: ignore[misc]  # Ray has no types
        def suggest(self, trial_id: str) -> Any:
            super().suggest(trial_id)
            return {"p000": 0.123}

    begun = history().replace(trials=(trial(1, [0.5], status="completed", assignment=history().space.default()),))
    with pytest.raises(Exception, match="does not take the trials that it is told of"):
        RaySearcher(prototype=Forgetful()).suggest(begun, rungs=(9,))
