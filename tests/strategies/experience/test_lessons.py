import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.core.errors import ConfigError
from autoft.space import SearchSpace, Uniform
from autoft.strategies.experience import DataFacts, Experience, PastSearch, past_search
from autoft.strategies.experience.lessons import Lessons, key_of, lessons_of
from tests.strategies.experience.pasts import experience, searched
from tests.strategies.worlds import branching_space, loss_of

SPACE = branching_space()
LINE = SearchSpace(
    task="image-classification",
    backbone="timm:resnet18",
    finetune="head",
    head={"name": "linear", "dropout": Uniform(0.0, 0.5)},
)


def on_the_line(best: float, *, fingerprint: str, facts: DataFacts | None = None, rows: int = 60):
    """Return a search of dropout alone whose best value is at `best`."""
    values = np.linspace(0.0, 0.5, rows).tolist()
    return past_search(
        task="image-classification",
        fingerprint=fingerprint,
        objective="accuracy",
        epochs=1,
        recipes=[{"head.dropout": value} for value in values],
        curves=[[1 - abs(value - best)] for value in values],
        maximize=True,
        facts=facts,
    )


def slow_and_quick() -> PastSearch:
    """Return a search in which little dropout is soon good and gets no better, and much is best, at the end alone."""
    values = np.linspace(0.0, 0.5, 60)
    first, last = (np.interp(values, [0.0, 0.25, 0.5], ends) for ends in ([0.75, 0.4, 0.3], [0.75, 0.5, 1.0]))
    return past_search(
        task="image-classification",
        fingerprint="slow",
        objective="accuracy",
        epochs=16,
        recipes=[{"head.dropout": value} for value in values.tolist()],
        curves=np.linspace(first, last, 16, axis=1).tolist(),
        maximize=True,
    )


def dropouts(lessons: Lessons, size: int) -> list[float]:
    return [assignment["head[linear].dropout"] for assignment in lessons.portfolio(size)]


def test_the_first_of_the_portfolio_is_good_on_all_data_sets_and_the_next_where_it_was_not():
    lessons = Lessons(LINE, Experience.of([on_the_line(0.05, fingerprint="a"), on_the_line(0.45, fingerprint="b")]))
    first, second = sorted(dropouts(lessons, 2))
    assert first == pytest.approx(0.05, abs=0.06)
    assert second == pytest.approx(0.45, abs=0.06)


def test_data_that_are_alike_come_first_in_the_portfolio():
    near, far = DataFacts(rows=100, classes=2), DataFacts(rows=10**7, classes=1000)
    searches = [on_the_line(0.05, fingerprint="a", facts=near), on_the_line(0.45, fingerprint="b", facts=far)]
    assert dropouts(Lessons(LINE, Experience.of(searches, target=near)), 1)[0] < 0.15
    assert dropouts(Lessons(LINE, Experience.of(searches, target=far)), 1)[0] > 0.35


def test_what_is_learned_ranks_configurations_as_they_are():
    lessons = Lessons(SPACE, experience(1, 2, 3))
    drawn = [SPACE.sample(np.random.default_rng(seed)) for seed in range(200, 260)]
    ranks = [np.argsort(np.argsort(values)) for values in (lessons.losses(drawn).mean(1), list(map(loss_of, drawn)))]
    assert np.corrcoef(*ranks)[0, 1] > 0.6


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 100), st.integers(1, 20))
def test_a_portfolio_holds_different_assignments_of_the_space(seed, size):
    portfolio = Lessons(SPACE, experience(seed)).portfolio(size)
    assert len(portfolio) == size
    for number, assignment in enumerate(portfolio):
        SPACE.validate(assignment)
        assert assignment not in portfolio[:number]


def test_what_learns_slowly_is_expected_to_come_late():
    lessons = Lessons(LINE, Experience.of([slow_and_quick()]))
    label = LINE.parameters[0].label
    quick, slow = lessons.curves([{label: 0.02}, {label: 0.48}])[:, 0]
    assert (quick[:3] < slow[:3]).all()
    assert slow[-1] < quick[-1] - 0.3
    assert lessons.losses([{label: 0.48}])[0, 0] == slow[-1]


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 100))
def test_no_configuration_is_expected_to_be_worse_after_more_training(seed):
    drawn = [SPACE.sample(np.random.default_rng([seed, number])) for number in range(20)]
    assert (np.diff(Lessons(SPACE, experience(seed)).curves(drawn)) <= 1e-12).all()


def test_equal_experience_teaches_the_same():
    first, second = (Lessons(SPACE, experience(1, 2)) for _ in range(2))
    assert first.portfolio(8) == second.portfolio(8)
    drawn = [SPACE.sample(np.random.default_rng(0))]
    assert first.losses(drawn).tolist() == second.losses(drawn).tolist()


def test_what_was_asked_about_before_is_told_the_same_and_another_of_equal_values_too(monkeypatch):
    monkeypatch.setattr("autoft.strategies.experience.lessons.KEPT", 3)
    lessons = Lessons(SPACE, experience(1, 2))
    drawn = [SPACE.sample(np.random.default_rng(seed)) for seed in range(4)]
    found = [lessons.losses(drawn[:2]), lessons.losses(drawn[2:]), lessons.losses([dict(one) for one in drawn])]
    assert np.concatenate(found[:2]).tolist() == found[2].tolist()
    assert lessons.losses([]).shape == (0, 2)


def test_the_same_space_and_experience_are_worked_out_once():
    past = experience(1)
    assert lessons_of(SPACE, past) is lessons_of(SPACE, past) is not lessons_of(SPACE, experience(1))


def test_true_and_1_are_two_things():
    assert key_of({"a": True}) != key_of({"a": 1})
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


def test_searches_of_which_no_trial_is_in_the_space_have_no_say():
    elsewhere = dataclasses.replace(
        searched(7, trials=5),
        name="elsewhere",
        trials=tuple(
            dataclasses.replace(trial, recipe={**trial.recipe, "backbone.name": "timm:vit_base_patch16_224"})
            for trial in searched(7, trials=5).trials
        ),
    )
    lessons = Lessons(SPACE, Experience.of([*experience(1).searches, elsewhere]))
    assert (lessons.num_searches, lessons.num_trials) == (1, 40)
    with pytest.raises(
        ConfigError, match="None of the 5 trials that the search is to learn from is in the space 'custom'"
    ):
        Lessons(SPACE, Experience.of([elsewhere])).require()


def test_of_a_long_search_the_better_third_of_what_is_used_are_its_best(monkeypatch):
    monkeypatch.setattr("autoft.strategies.experience.lessons.MAX_ROWS", 30)
    search = on_the_line(0.25, fingerprint="a", rows=101)
    lessons = Lessons(LINE, Experience.of([search]))
    assert lessons.num_trials == 30
    used = sorted(one["head[linear].dropout"] for one in lessons._learned.assignments)
    best = sorted(search.trials, key=lambda trial: trial.loss)[:10]
    assert {trial.recipe["head.dropout"] for trial in best} <= set(used)
