import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.core.errors import ConfigError
from autoft.strategies import Start, TrialView
from autoft.strategies.asha import AshaPromote
from autoft.strategies.composite import Composite
from autoft.strategies.experience import DataFacts, Experience
from autoft.strategies.random import Random
from autoft.strategies.simulate import simulate
from autoft.strategies.transfer import Transfer, neighbour, target_of
from tests.strategies.experience.pasts import experience
from tests.strategies.worlds import LOG_LOSS, accuracy_curve, branching_space, history, loss_of, trial

SPACE = branching_space()
RUNGS = (3, 9)
PAST = experience(1, 2, 3)


def random_trials(count: int, seed: int = 5) -> tuple[TrialView, ...]:
    rng = np.random.default_rng(seed)
    made = [trial(number, [], assignment=SPACE.sample(rng)) for number in range(1, count + 1)]
    return tuple(view.replace(values=tuple(accuracy_curve(view)[:9]), status="completed") for view in made)


def suggested(trials: tuple[TrialView, ...], past: Experience = PAST, **options: int) -> dict[str, object]:
    here = history(space=SPACE, evidence=past, trials=None)
    return dict(Transfer(**options).suggest(here.replace(trials=trials), rungs=RUNGS).assignment)


def test_the_portfolio_is_tried_first_and_what_was_tried_is_passed_over():
    searcher = Transfer(portfolio=3)
    here = history(space=SPACE, evidence=PAST)
    portfolio = searcher.lessons(SPACE, PAST).portfolio(3)
    assert searcher.suggest(here, rungs=RUNGS).assignment == portfolio[0]
    second = here.replace(trials=(trial(1, [0.5], assignment=portfolio[1]),))
    assert searcher.suggest(second, rungs=RUNGS).assignment == portfolio[0]
    first = here.replace(trials=(trial(1, [0.5], assignment=portfolio[0]),))
    assert searcher.suggest(first, rungs=RUNGS).assignment == portfolio[1]
    assert searcher.suggest(first, rungs=RUNGS).reason == "number 2 of a portfolio from 3 earlier searches"


def test_before_any_result_the_best_of_the_lessons_is_suggested():
    first = suggested((), portfolio=0)
    assert loss_of(first) < np.median([loss_of(dict(view.assignment)) for view in random_trials(40)])


def test_without_experience_it_says_how_to_give_some():
    with pytest.raises(ConfigError, match="needs experience; give it with --learn-from RUN"):
        Transfer().suggest(history(space=SPACE), rungs=RUNGS)


def test_any_other_searcher_gets_the_portfolio_too():
    done = simulate(
        Composite(searcher=Random(), scheduler=AshaPromote()), history(trials=12, evidence=PAST), accuracy_curve
    )
    starts = [one for one in done.decisions if isinstance(one, Start) and one.kind == "trial"]
    portfolio = [start.reason.partition(" from ")[0] for start in starts[1:5]]
    assert portfolio == [f"number {number} of a portfolio" for number in range(1, 5)]
    assert starts[5].reason == "a random draw"


def test_right_experience_finds_at_once_what_random_draws_do_not_find():
    def best(past: Experience | None) -> float:
        searcher = Random() if past is None else Transfer()
        done = simulate(
            Composite(searcher=searcher, scheduler=AshaPromote()),
            history(trials=10, evidence=past, seed=3),
            accuracy_curve,
        )
        return min(loss_of(dict(view.assignment)) for view in done.history.trials if view.kind == "trial")

    assert best(PAST) < 0.3 < best(None)


def test_wrong_experience_is_overcome_by_own_trials():
    wrong = experience(1, 2, 3, worst_first=True)
    trials = random_trials(60)
    losses = [loss_of(dict(view.assignment)) for view in trials]
    assert loss_of(suggested((), wrong, portfolio=0)) > np.median(losses)
    assert loss_of(suggested(trials, wrong, portfolio=0)) < np.quantile(losses, 0.2)


def test_the_searches_that_rank_the_own_trials_right_are_believed():
    both = Experience.of([*experience(1).searches, *experience(2, worst_first=True).searches])
    searcher = Transfer()
    lessons = searcher.lessons(SPACE, both)
    trials = sorted(random_trials(20), key=lambda view: loss_of(dict(view.assignment)))
    weights = lessons.weights(lessons.losses(view.assignment for view in trials), range(20))
    right = [search.fingerprint for search in both.searches].index("1")
    assert weights[right] > 0.6


def test_trials_in_flight_keep_the_next_away():
    trials = random_trials(20)
    first = suggested(trials, portfolio=0)
    second = suggested((*trials, trial(21, [], until=3, assignment=first)), portfolio=0)
    assert first != second


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_neighbour_is_an_assignment_of_the_space(seed):
    rng = np.random.default_rng(seed)
    SPACE.validate(neighbour(SPACE, SPACE.sample(rng), rng))


def test_a_failed_trial_teaches_nothing_and_a_diverged_one_is_worst():
    trials = random_trials(12)
    failed = trials[0].replace(status="failed")
    lessons = [suggested((*trials[1:], failed), portfolio=0), suggested(trials[1:], portfolio=0)]
    assert lessons[0] == lessons[1] or failed.assignment == lessons[1]


def test_the_probes_that_have_ended_tell_what_the_data_are_like():
    probes = (
        TrialView(trial="p01", kind="probe", assignment={}, until_epoch=1, values=(0.75,), status="probe"),
        TrialView(trial="p02", kind="probe", assignment={}, until_epoch=1),
    )
    past = dataclasses.replace(PAST, target=DataFacts(rows=50))
    here = history(space=SPACE, evidence=past, trials=12).replace(trials=probes)
    assert target_of(here) == DataFacts(rows=50, probes={"timm:resnet18": 0.75})
    assert target_of(here.replace(objective=LOG_LOSS)) == DataFacts(rows=50)


def test_no_portfolio_is_asked_for_with_a_number_below_0():
    with pytest.raises(ConfigError, match="portfolio must be at least 0, not -1"):
        Transfer(portfolio=-1)
