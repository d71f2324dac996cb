import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.core.errors import FormatError
from autoft.strategies.experience import DataFacts, Experience, PastTrial, flattened, past_search
from autoft.strategies.experience.model import PastSearch
from tests.strategies.experience.pasts import experience, searched


def search_of(*curves: list[float | None], maximize: bool = True, fingerprint: str = "data") -> PastSearch:
    return past_search(
        task="image-classification",
        fingerprint=fingerprint,
        objective="accuracy",
        epochs=3,
        recipes=[{"batch_size": 16 * (number + 1)} for number in range(len(curves))],
        curves=curves,
        maximize=maximize,
    )


def test_losses_are_0_for_the_best_value_of_the_search_and_1_for_the_middle_trials_best():
    search = search_of([0.5, 0.9], [0.5, 0.7], [0.3, 0.1])
    assert [trial.losses for trial in search.trials] == [
        pytest.approx((2.0, 0.0)),
        pytest.approx((2.0, 1.0)),
        pytest.approx((3.0, 4.0)),
    ]
    assert [trial.loss for trial in search.trials] == [0.0, pytest.approx(1.0), 1.0]


def test_less_is_better_where_the_objective_says_so():
    search = search_of([4.0], [2.0], [3.0], maximize=False)
    assert [trial.losses for trial in search.trials] == [(2.0,), (0.0,), (1.0,)]


def test_an_epoch_without_a_finite_value_has_none_and_a_trial_of_such_epochs_counts_as_the_worst():
    search = search_of([float("nan"), None], [1.0], [0.5], [0.0])
    assert search.trials[0].losses == (None, None)
    assert search.trials[0].loss == 1.0


def test_a_search_whose_trials_were_equally_good_taught_nothing():
    assert search_of([0.5], [0.5], [0.5]).trials == ()
    assert search_of([0.5]).trials == ()
    assert search_of().trials == ()
    assert Experience.of([search_of([0.5], [0.5])]).searches == ()


def test_a_trial_that_reported_no_epoch_is_left_out():
    assert len(search_of([], [0.5], [0.6], [0.7]).trials) == 3


@given(st.permutations([1, 2, 3]), st.permutations([1, 2, 3]))
def test_experience_does_not_depend_on_the_order_of_its_searches_and_holds_each_once(first, second):
    one, other = (Experience.of(searched(seed, trials=5) for seed in seeds) for seeds in (first, second))
    assert one == other
    assert one.merged(other) == one
    assert one.num_trials == 15


def test_the_name_of_a_search_is_that_of_its_content():
    assert search_of([0.1], [0.2], [0.3]).name == search_of([0.1], [0.2], [0.3]).name
    assert search_of([0.1], [0.2], [0.3]).name != search_of([0.1], [0.25], [0.3]).name
    assert search_of([0.1], [0.2], [0.3], fingerprint="other").name != search_of([0.1], [0.2], [0.3]).name


def test_for_a_search_only_those_of_its_task_are_kept():
    here = searched(1, trials=5)
    there = dataclasses.replace(searched(2, trials=5), task="text-classification")
    facts = DataFacts(rows=7)
    assert Experience.of([here, there]).for_search("image-classification", facts) == Experience.of([here], target=facts)


def test_without_leaves_out_the_searches_on_one_data_set():
    assert experience(1, 2).without("1") == experience(2)


def test_json_gives_an_equal_experience_back():
    whole = Experience.of([searched(1, trials=5)], target=DataFacts(rows=3, probes={"timm:resnet18": 0.5}))
    assert Experience.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_json_with_an_unknown_key_is_refused():
    values = experience(1).to_json()
    values["searches"][0]["trials"][0]["colour"] = "red"
    with pytest.raises(FormatError, match="Unknown key 'colour' in the experience"):
        Experience.from_json(values)


def test_a_recipe_is_flattened_to_its_scalars():
    nested = {"optimizer": {"name": "sam", "base": {"name": "sgd", "lr": 0.1}}, "batch_size": 16, "clip_norm": None}
    assert flattened(nested) == {
        "optimizer.name": "sam",
        "optimizer.base.name": "sgd",
        "optimizer.base.lr": 0.1,
        "batch_size": 16,
        "clip_norm": None,
    }
    assert flattened({"targets": ["query"]}) == {}


def test_a_cut_trial_counts_with_the_best_that_it_had_reached():
    trial = PastTrial(recipe={}, losses=(0.75, None, 0.25, 0.5))
    assert trial.loss == 0.25
    assert [trial.loss_by(epoch) for epoch in range(6)] == [1.0, 0.75, 0.75, 0.25, 0.25, 0.25]
