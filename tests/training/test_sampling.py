import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.core import catalog
from autoft.core.errors import ConfigError
from autoft.training.sampling import build_sampling, rounded

SKEWED = np.repeat([0, 1, 2], [81, 16, 3])


def sampled(targets, seed=0, **config):
    return build_sampling(config)(np.asarray(targets), np.random.default_rng(seed))


def counts_of(targets, **config):
    return np.bincount(targets[sampled(targets, **config)], minlength=3).tolist()


def test_unknown_sampling_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'balanced'"):
        build_sampling({"name": "balance"})


def test_shuffle_is_every_row_once():
    assert sampled(SKEWED, name="shuffle").tolist() == list(range(100))


def test_power_one_makes_classes_alike():
    assert counts_of(np.repeat([0, 1, 2], [81, 6, 3]), name="balanced", power=1.0) == [30, 30, 30]


def test_power_one_half_is_by_the_square_root():
    # Roots of 81, 16, and 4: 9, 4 and 2 of 15 parts.
    targets = np.repeat([0, 1, 2], [81, 16, 4])
    drawn = np.array([counts_of(targets, seed=seed, name="balanced", power=0.5) for seed in range(400)])
    assert {tuple(row) for row in drawn} <= {(61, 27, 13), (60, 27, 14), (61, 26, 14), (60, 28, 13), (61, 27, 13)}
    assert drawn.mean(axis=0).tolist() == pytest.approx([101 * 9 / 15, 101 * 4 / 15, 101 * 2 / 15], abs=0.08)


def test_the_default_is_to_make_classes_alike():
    assert catalog.entry("sampling", "balanced").argument("power").default == 1.0


def test_the_smaller_the_power_the_nearer_to_the_rows():
    frequent = [counts_of(SKEWED, name="balanced", power=power)[0] for power in (0.01, 0.3, 0.6, 1.0)]
    assert frequent == sorted(frequent, reverse=True)
    assert frequent[0] >= 80


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.floats(0, 1, exclude_min=True),
    st.integers(0, 99),
)
def test_as_many_rows_as_there_are_and_none_once_more_than_another_of_its_class(targets, power, seed):
    rows = sampled(targets, seed, name="balanced", power=power)
    assert len(rows) == len(targets)
    times = np.bincount(rows, minlength=len(targets))
    for label in set(targets):
        of_class = times[np.asarray(targets) == label]
        assert of_class.max() - of_class.min() <= 1


def test_rows_of_a_class_are_drawn_evenly():
    times = sum(np.bincount(sampled(SKEWED, seed, name="balanced", power=1.0), minlength=100) for seed in range(600))
    # A third of 100 rows over 81, and over 3.
    assert times[:81] / 600 == pytest.approx(np.full(81, 100 / 3 / 81), abs=0.1)
    assert times[97:] / 600 == pytest.approx(np.full(3, 100 / 9), abs=0.1)


def test_the_generator_alone_decides():
    first = sampled(SKEWED, 1, name="balanced", power=0.5)
    np.random.seed(0)
    assert (first == sampled(SKEWED, 1, name="balanced", power=0.5)).all()
    assert (first != sampled(SKEWED, 2, name="balanced", power=0.5)).any()


def test_labels_without_rows_and_no_rows_at_all_are_no_trouble():
    assert sorted(sampled([0, 0, 5, 5], name="balanced", power=1.0).tolist()) == [0, 1, 2, 3]
    assert sampled(np.arange(0), name="balanced", power=1.0).tolist() == []


@given(st.lists(st.integers(1, 500), min_size=1, max_size=9), st.integers(0, 99))
def test_rounding_keeps_the_sum_and_moves_no_number_by_one(parts, seed):
    numbers = 77 * np.array(parts) / sum(parts)
    whole = rounded(numbers, np.random.default_rng(seed))
    assert whole.sum() == 77
    assert (np.abs(whole - numbers) < 1).all()
