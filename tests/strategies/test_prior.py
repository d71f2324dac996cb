import dataclasses
import math

import numpy as np
import pytest

from autoft.strategies import Start, TrialView
from autoft.strategies.asha import AshaPromote
from autoft.strategies.composite import Composite
from autoft.strategies.curve_evidence import Reader
from autoft.strategies.curves import Curves
from autoft.strategies.experience import DataFacts, Experience
from autoft.strategies.experience.lessons import PROGRESS
from autoft.strategies.prior import PORTFOLIO, Prior, from_portfolio, target_of
from autoft.strategies.random import Random
from autoft.strategies.simulate import simulate
from autoft.strategies.tpe import TPE
from tests.strategies.experience.pasts import experience
from tests.strategies.worlds import LOG_LOSS, accuracy_curve, branching_space, history, loss_of, trial

SPACE = branching_space()
RUNGS = (3, 9)
PAST = experience(1, 2, 3)
WRONG = experience(1, 2, 3, worst_first=True)


def random_trials(count: int, seed: int = 5) -> tuple[TrialView, ...]:
    rng = np.random.default_rng(seed)
    made = [trial(number, [], assignment=SPACE.sample(rng)) for number in range(1, count + 1)]
    return tuple(view.replace(values=tuple(accuracy_curve(view)[:9]), status="completed") for view in made)


def prior(*trials: TrialView, past: Experience = PAST) -> Prior:
    now = history(space=SPACE, evidence=past).replace(trials=trials)
    found = Prior.of(now, own=Reader().best_first(now, RUNGS))
    assert found is not None
    return found


def losses(suggestions: list[dict[str, object]]) -> list[float]:
    return [loss_of(one) for one in suggestions]


def test_the_portfolio_is_tried_first_and_what_was_tried_is_passed_over():
    here = history(space=SPACE, evidence=PAST)
    portfolio = prior().lessons.portfolio(PORTFOLIO)
    second = here.replace(trials=(trial(1, [0.5], assignment=portfolio[1]),))
    first = here.replace(trials=(trial(1, [0.5], assignment=portfolio[0]),))
    found = [from_portfolio(one) for one in (here, second, first)]
    assert [one and one.assignment for one in found] == [portfolio[0], portfolio[0], portfolio[1]]
    assert found[2] is not None
    assert found[2].reason == "number 2 of a portfolio from 3 earlier searches"
    every = here.replace(trials=tuple(trial(n, [0.5], assignment=one) for n, one in enumerate(portfolio, start=1)))
    assert from_portfolio(every) is None


def test_without_experience_there_is_neither_portfolio_nor_prior():
    assert from_portfolio(history(space=SPACE)) is None
    assert Prior.of(history(space=SPACE), own=()) is None


def test_a_searcher_that_knows_of_no_experience_gets_the_portfolio():
    strategy = Composite(searcher=Random(), scheduler=AshaPromote())
    done = simulate(strategy, history(trials=12, evidence=PAST), accuracy_curve)
    starts = [one for one in done.decisions if isinstance(one, Start) and one.kind == "trial"]
    portfolio = [start.reason.partition(" from ")[0] for start in starts[1:5]]
    assert portfolio == [f"number {number} of a portfolio" for number in range(1, 5)]
    assert starts[5].reason == "a random draw"


def test_what_is_expected_is_on_the_scale_of_draws_and_tells_good_from_bad():
    found = prior()
    rng = np.random.default_rng(0)
    drawn = [SPACE.sample(rng) for _ in range(400)]
    expected = found.expected(drawn).after(1.0)
    assert expected.mean() == pytest.approx(0.0, abs=0.15)
    assert expected.std() == pytest.approx(1.0, abs=0.1)
    assert np.corrcoef(expected, losses(drawn))[0, 1] < -0.6


def test_what_is_expected_follows_how_far_the_training_is():
    found = prior()
    drawn = [SPACE.sample(np.random.default_rng(seed)) for seed in range(8)]
    everywhere = found.lessons.everywhere @ found.weights
    curves = (everywhere.mean() - np.einsum("nsr,s->nr", found.lessons.curves(drawn), found.weights)) / everywhere.std()
    for place, share in enumerate(PROGRESS):
        assert found.expected(drawn).after(share) == pytest.approx(curves[:, place])
    halfway = found.expected(drawn).after(np.full(8, math.sqrt(PROGRESS[1] * PROGRESS[2])))
    assert halfway == pytest.approx((curves[:, 1] + curves[:, 2]) / 2)
    assert found.expected(drawn).after(PROGRESS[0] / 2) == pytest.approx(curves[:, 0])
    each = found.expected(drawn).after(np.array([PROGRESS[0], *[1.0] * 7]))
    assert each.tolist() == pytest.approx([curves[0, 0], *curves[1:, -1]])


def test_what_is_promising_is_better_than_nearly_all_draws():
    rng = np.random.default_rng(0)
    promising = prior().promising(20, rng)
    assert np.median(losses(promising)) < np.quantile(losses([SPACE.sample(rng) for _ in range(200)]), 0.2)


def test_the_searches_that_rank_the_own_trials_right_are_believed():
    both = Experience.of([*experience(1).searches, *experience(2, worst_first=True).searches])
    right = [search.fingerprint for search in both.searches].index("1")
    assert prior(past=both).weights[right] == pytest.approx(0.5)
    assert prior(*random_trials(20), past=both).weights[right] > 0.6


@pytest.mark.parametrize("strategy", [Curves, TPE])
def test_right_experience_finds_at_once_what_draws_do_not_find(strategy):
    def best(past: Experience | None) -> float:
        searcher = Random() if past is None else strategy()
        scheduler = searcher if isinstance(searcher, Curves) else AshaPromote()
        done = simulate(
            Composite(searcher=searcher, scheduler=scheduler), history(trials=10, evidence=past, seed=3), accuracy_curve
        )
        return min(loss_of(dict(view.assignment)) for view in done.history.trials if view.kind == "trial")

    assert best(PAST) < 0.3 < best(None)


@pytest.mark.parametrize("strategy", [Curves, TPE])
def test_wrong_experience_is_overcome_by_own_trials(strategy):
    trials = random_trials(60)
    here = history(space=SPACE, evidence=WRONG, trials=None).replace(trials=trials)
    assert loss_of(strategy().suggest(here, rungs=RUNGS).assignment) < np.quantile(
        losses([dict(view.assignment) for view in trials]), 0.2
    )


def test_before_its_model_tpe_tries_what_is_promising_and_says_so():
    here = history(space=SPACE, evidence=PAST).replace(trials=random_trials(3))
    suggestion = TPE().suggest(here, rungs=RUNGS)
    assert suggestion.reason == "among the best by earlier searches"
    assert loss_of(suggestion.assignment) < np.median(losses([dict(view.assignment) for view in random_trials(40)]))


def test_the_probes_that_have_ended_tell_what_the_data_are_like():
    probes = (
        TrialView(trial="p01", kind="probe", assignment={}, until_epoch=1, values=(0.75,), status="probe"),
        TrialView(trial="p02", kind="probe", assignment={"backbone": "timm:resnet34"}, until_epoch=1),
    )
    past = dataclasses.replace(PAST, target=DataFacts(rows=50))
    here = history(space=SPACE, evidence=past, trials=12).replace(trials=probes)
    assert target_of(here) == DataFacts(rows=50, probes={"timm:resnet18": 0.75})
    assert target_of(here.replace(objective=LOG_LOSS)) == DataFacts(rows=50)


def test_a_short_search_that_learns_does_not_wait_for_more_trials_than_it_may_start():
    strategy = Composite(searcher=(curves := Curves()), scheduler=curves)
    done = simulate(strategy, history(trials=4, slots=1, evidence=PAST), accuracy_curve)
    waiting = [one.trial for one in done.decisions if "waits for those it is compared with" in one.reason]
    assert waiting == ["t0001"]
