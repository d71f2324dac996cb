"""What every pair of a searcher and a scheduler of the catalog keeps; a new entry inherits all of it."""

import json
from itertools import pairwise
from typing import Any

import pytest

from autoft.core import catalog
from autoft.core.configs import StrategyConfig
from autoft.strategies import Continue, Done, History, Start, Strategy, Wait, build_strategy
from autoft.strategies.prior import PORTFOLIO
from autoft.strategies.simulate import Simulation, simulate
from tests.strategies.experience.pasts import experience
from tests.strategies.worlds import accuracy_curve, history

LEARNING = "earlier searches"
"""With a third member a pair learns from them."""
# Each searcher with a scheduler that pauses, each scheduler with draws, the defaults together, and those that learn.
PAIRS: list[tuple[str, ...]] = [
    ("curves", "curves"),
    *((searcher.name, "asha-promote") for searcher in catalog.entries("searcher")),
    *(("random", scheduler.name) for scheduler in catalog.entries("scheduler") if scheduler.name != "asha-promote"),
    ("curves", "curves", LEARNING),
    ("tpe", "asha-promote", LEARNING),
]
PAST = experience(1, 2)


@pytest.fixture(params=PAIRS, ids="+".join, scope="module")
def pair(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


def build(pair: tuple[str, ...]) -> Strategy:
    return build_strategy(StrategyConfig(name=pair[0]), StrategyConfig(name=pair[1]))


def begun(pair: tuple[str, ...], **options: Any) -> History:
    return history(evidence=PAST if LEARNING in pair else None, **options)


@pytest.fixture(scope="module")
def done(pair: tuple[str, ...]) -> Simulation:
    return simulate(build(pair), begun(pair, trials=14), accuracy_curve)


def test_the_same_history_gives_the_same_decision_again_and_after_a_json_round_trip(pair, done):
    same, fresh = build(pair), build(pair)
    for before, decision in done.steps[::3]:
        assert same.next(before) == decision
        again = History.from_json(json.loads(json.dumps(before.to_json())))
        assert fresh.next(again) == decision


def test_every_trial_of_the_budget_is_started_and_no_more(done):
    assert done.history.num_started == 14
    assert done.history.num_probes == 2


def test_no_more_run_side_by_side_than_there_are_slots(done):
    assert max(len(before.running) for before, _ in done.steps) == 2


def test_no_trial_is_sent_beyond_the_budgets_epochs(done):
    assert max(view.epoch for view in done.history.trials) == 9
    assert all(d.until_epoch <= 9 for d in done.decisions if isinstance(d, Start | Continue))


def test_it_ends_with_done_and_nothing_running(done):
    assert isinstance(done.decisions[-1], Done)
    assert not done.history.running
    assert not any(isinstance(decision, Done) for decision in done.decisions[:-1])


def test_the_probes_come_first_and_then_the_default(done):
    starts = [decision for decision in done.decisions if isinstance(decision, Start)]
    assert [start.kind for start in starts[:4]] == ["probe", "probe", "trial", "trial"]
    assert starts[0].recipe["backbone"]["name"] == "timm:resnet18"
    assert starts[1].recipe == {"backbone": done.history.space.backbones()[1], "finetune": {"mode": "probe"}}
    assert starts[2].assignment == done.history.space.default()
    assert starts[2].recipe == done.history.space.recipe(done.history.space.default())


def test_every_suggestion_is_an_assignment_of_the_space_and_new(done):
    assignments = [view.assignment for view in done.history.trials if view.kind == "trial"]
    for number, assignment in enumerate(assignments):
        done.history.space.validate(assignment)
        assert assignment not in assignments[:number]


def test_every_decision_is_json_and_says_why_in_words(done):
    for decision in done.decisions:
        form = json.loads(json.dumps(decision.to_json()))
        assert form["action"] == decision.action
        assert len(form["reason"].split()) >= 3


def test_the_seed_alone_changes_the_draws(pair, done):
    def draws(simulation: Simulation) -> list[object]:
        return [start.assignment for start in simulation.decisions if isinstance(start, Start)]

    again = simulate(build(pair), begun(pair, trials=14), accuracy_curve)
    other = simulate(build(pair), begun(pair, trials=14, seed=1), accuracy_curve)
    assert again.decisions == done.decisions
    shared = 3 + (PORTFOLIO if LEARNING in pair else 0)
    assert draws(other)[:shared] == draws(done)[:shared]
    differing = [one != another for one, another in zip(draws(other)[shared:], draws(done)[shared:], strict=True)]
    assert any(differing) if LEARNING in pair else all(differing)


def test_a_search_cut_anywhere_goes_on_as_if_nothing_had_been(pair):
    whole = simulate(build(pair), begun(pair, trials=10, slots=1), accuracy_curve)
    for number in (1, 5, len(whole.steps) // 2, len(whole.steps) - 2):
        before = History.from_json(json.loads(json.dumps(whole.steps[number][0].to_json())))
        rest = simulate(build(pair), before, accuracy_curve)
        decided = [d for d in whole.decisions[number:] if not isinstance(d, Wait)]
        assert [d for d in rest.decisions if not isinstance(d, Wait)] == decided


def test_the_seconds_are_kept_within_the_longest_epoch_in_flight(pair):
    start = begun(pair, trials=None, seconds=60.0, seconds_reserved=10.0, slots=3)
    search = simulate(build(pair), start, accuracy_curve, cost=lambda view: 1.0 + len(view.trial) % 2 + view.epoch % 3)
    longest = 4.0
    assert 50.0 - longest < search.history.seconds_used < 50.0 + longest
    late = [d for h, d in search.steps if h.time_is_up]
    assert not any(isinstance(decision, Start | Continue) for decision in late)
    assert "the time" in search.decisions[-1].reason


def test_with_a_seconds_budget_every_decision_grants_one_epoch(pair):
    search = simulate(build(pair), begun(pair, trials=6, seconds=1e6), accuracy_curve)
    granted: dict[str, list[int]] = {}
    for decision in search.decisions:
        if isinstance(decision, Continue):
            granted.setdefault(decision.trial, [1]).append(decision.until_epoch)
    assert granted
    assert all(b == a + 1 for epochs in granted.values() for a, b in pairwise(epochs))
