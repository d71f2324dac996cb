import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.strategies.experience import DataFacts
from autoft.strategies.experience.similarity import LEAST, agreement, similarity, weights

NUMBERS = st.none() | st.floats(1, 1e6)
FACTS = st.builds(
    DataFacts,
    rows=st.none() | st.integers(1, 10**6),
    classes=st.none() | st.integers(2, 1000),
    imbalance=NUMBERS,
    input_size=NUMBERS,
    text_length=NUMBERS,
    probes=st.dictionaries(st.sampled_from(["a", "b"]), st.floats(0, 1)),
)


@given(FACTS, FACTS)
def test_likeness_is_1_for_equal_facts_mutual_and_never_nothing(one, other):
    assert similarity(one, one) == 1.0
    assert similarity(one, other) == similarity(other, one)
    assert LEAST <= similarity(one, other) <= 1.0


def test_where_nothing_can_be_compared_data_are_taken_for_alike():
    assert similarity(DataFacts(), DataFacts(rows=5)) == 1.0


def test_four_doublings_take_half_of_what_the_facts_can_take():
    assert similarity(DataFacts(rows=100), DataFacts(rows=1600)) == pytest.approx(LEAST + (1 - LEAST) / 2)


def test_probes_that_reached_something_else_tell_data_apart():
    near, far = DataFacts(probes={"a": 0.5}), DataFacts(probes={"a": 0.9})
    assert similarity(DataFacts(probes={"a": 0.55}), near) > similarity(DataFacts(probes={"a": 0.55}), far)


def test_agreement_is_the_share_of_pairs_in_the_same_order():
    losses = np.array([[0.1, 0.9, 0.5], [0.2, 0.8, 0.5], [0.3, 0.7, 0.5]])
    assert agreement(losses, [0, 1, 2]).tolist() == [1.0, 0.0, 0.5]
    assert agreement(losses, [1, 0, 2]).tolist() == pytest.approx([2 / 3, 1 / 3, 0.5])
    assert agreement(losses, [2]).tolist() == [0.5, 0.5, 0.5]


def test_before_the_first_trial_the_weights_are_the_likeness_of_the_data():
    assert weights(np.array([1.0, 0.25, 0.75]), np.zeros((0, 3)), []).tolist() == [0.5, 0.125, 0.375]


@given(st.integers(2, 200))
def test_a_search_that_ranks_the_trials_right_gains_weight_with_each_trial(count):
    right = np.arange(count + 1, dtype=float)
    losses = np.stack([right, -right], axis=1)
    before, after = (weights(np.array([0.5, 1.0]), losses, range(number)) for number in (count, count + 1))
    assert before.sum() == pytest.approx(1.0)
    assert after[0] > before[0] > 0.5


def test_of_many_trials_a_sample_over_their_order_is_compared():
    right = np.arange(5000, dtype=float)
    assert agreement(np.stack([right, -right], axis=1), range(5000)).tolist() == [1.0, 0.0]
