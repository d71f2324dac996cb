"""Each domain: its default, its ends, its shares, its inverse."""

import math
from collections import Counter
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.space import (
    Choice,
    Domain,
    IntLogUniform,
    IntUniform,
    LogNormal,
    LogUniform,
    Normal,
    Uniform,
)

EVEN = [(i + 0.5) / 100_000 for i in range(100_000)]

DOMAINS = [
    Choice([16, 32, 64]),
    Choice([None, True, 1.5, "x"]),
    Uniform(-1.0, 3.0),
    Uniform(0.0, 0.5, step=0.1),
    LogUniform(1e-5, 1e-1),
    LogUniform(0.1, 10.0, step=0.1),
    IntUniform(1, 10),
    IntUniform(96, 160, step=32),
    IntLogUniform(1, 1000),
    IntLogUniform(8, 64, step=8),
    Normal(0.1, 0.05, bounds=(0.0, 1.0)),
    Normal(0.0, 1.0, step=0.25),
    LogNormal(-3.0, 1.0, bounds=(None, 1.0)),
    LogNormal(-3.0, 1.0, bounds=(0.0, 1.0), step=0.1),
]


@pytest.mark.parametrize(
    ("domain", "default"),
    [
        (Choice([32, 16]), 32),
        (Choice([32, 16], prior=16), 16),
        (Choice([1.0, None], prior=None), None),
        (Uniform(0.0, 0.2), 0.1),
        (Uniform(0.0, 0.2, prior=0.05), 0.05),
        (Uniform(0.0, 0.3, step=0.1), 0.1),
        (IntUniform(1, 10), 5),
        (IntUniform(96, 160, step=32), 128),
        (LogUniform(1e-4, 1e-2), 1e-3),
        (IntLogUniform(1, 100), 10),
        (Normal(0.1, 0.05), 0.1),
        (Normal(2.0, 0.5, bounds=(None, 3.0), step=0.5), 2.0),
        (LogNormal(0.0, 1.0), 1.0),
    ],
)
def test_default_is_the_prior_or_the_first_or_the_middle_on_its_scale(domain: Domain, default: object) -> None:
    assert domain.default == pytest.approx(default)
    assert domain.contains(domain.default)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@settings(max_examples=30, deadline=None)
@given(position=st.floats(0.0, 1.0))
def test_every_position_is_a_value_and_every_value_has_its_position(domain: Domain, position: float) -> None:
    value = domain.at(position)
    assert domain.contains(value)
    again = domain.at(domain.position(value))
    assert again == (pytest.approx(value, rel=1e-6, abs=1e-6) if isinstance(value, float) else value)


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_the_default_has_its_position_too(domain: Domain) -> None:
    assert 0.0 <= domain.position(domain.default) <= 1.0


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        (Choice([16, 32, 64]), (16, 32, 64)),
        (IntUniform(1, 10), range(1, 11)),
        (IntUniform(96, 160, step=32), (96, 128, 160)),
        (IntUniform(1, 10, step=4), (1, 5, 9)),
        (Uniform(0.0, 0.5, step=0.1), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)),
    ],
)
def test_every_value_of_a_grid_has_the_same_share_ends_included(domain: Domain, values: range) -> None:
    counts = Counter(map(domain.at, EVEN))
    assert sorted(counts) == list(values)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert domain.num_values == len(values)


def test_a_whole_number_on_a_log_scale_has_its_share_between_the_halves() -> None:
    domain = IntLogUniform(1, 100)
    counts = Counter(map(domain.at, EVEN))
    width = math.log(100.5 / 0.5)
    for value in (1, 2, 10, 100):
        assert counts[value] / len(EVEN) == pytest.approx(math.log((value + 0.5) / (value - 0.5)) / width, abs=2e-5)
    assert (min(counts), max(counts)) == (1, 100)


def test_a_log_range_has_as_much_below_its_geometric_mean_as_above() -> None:
    domain = LogUniform(1e-6, 1e-2)
    assert sum(domain.at(position) < 1e-4 for position in EVEN) == pytest.approx(len(EVEN) / 2, abs=1)


def test_a_normal_distribution_is_cut_off_at_its_bounds_not_heaped_there() -> None:
    domain = Normal(0.0, 1.0, bounds=(0.0, 1.0))
    values = [domain.at(position) for position in EVEN]
    assert all(0.0 <= value <= 1.0 for value in values)
    assert len(set(values)) > len(EVEN) * 0.999
    # The mean of a standard normal between 0 and 1: (pdf(0) - pdf(1)) / (cdf(1) - cdf(0)).
    assert sum(values) / len(values) == pytest.approx(0.459862, abs=1e-5)


def test_each_step_of_a_normal_has_its_share_to_half_a_step_beyond_the_bounds() -> None:
    domain = Normal(0.0, 1.0, bounds=(-0.5, 1.2), step=0.5)
    counts = Counter(domain.at(position) for position in EVEN)
    below = NormalDist().cdf
    whole = below(1.25) - below(-0.75)
    assert domain.num_values == len(counts) == 4
    for value in (-0.5, 0.0, 0.5, 1.0):
        share = (below(value + 0.25) - below(value - 0.25)) / whole
        assert counts[value] / len(EVEN) == pytest.approx(share, abs=2e-5)


@pytest.mark.parametrize("domain", [LogNormal(800.0, 1.0), Normal(1e308, 1e308)])
def test_a_curve_beyond_the_largest_number_is_refused(domain: Domain) -> None:
    (problem,) = domain.problems()
    assert problem.endswith("which reaches beyond the largest number; give it `bounds:`")


def test_a_log_normal_has_the_median_exp_of_its_mean() -> None:
    assert LogNormal(math.log(3e-4), 1.0).at(0.5) == pytest.approx(3e-4)


def test_a_step_gives_the_digits_that_a_person_wrote() -> None:
    assert [Uniform(0.0, 0.3, step=0.1).at(position) for position in (0.0, 0.3, 0.6, 1.0)] == [0.0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize("value", [True, 1.0, "1"])
def test_a_choice_tells_a_number_from_a_truth_and_a_text(value: object) -> None:
    assert Choice([1]).contains(value) is (value == 1.0 and value is not True)


@pytest.mark.parametrize(
    ("domain", "form"),
    [
        (Choice([1, 2], prior=2), {"choice": [1, 2], "prior": 2}),
        (Uniform(0.0, 1.0, step=0.25), {"uniform": [0.0, 1.0], "step": 0.25}),
        (LogUniform(1e-5, 1e-1, prior=1e-3), {"log_uniform": [1e-5, 1e-1], "prior": 1e-3}),
        (IntUniform(1, 3, when={"a": 1}), {"int_uniform": [1, 3], "when": {"a": 1}}),
        (IntLogUniform(1, 3), {"int_log_uniform": [1, 3]}),
        (Normal(0.0, 1.0, bounds=(None, 2.0)), {"normal": [0.0, 1.0], "bounds": [None, 2.0]}),
        (LogNormal(0.0, 1.0), {"log_normal": [0.0, 1.0]}),
    ],
)
def test_json_form(domain: Domain, form: object) -> None:
    assert domain.to_json() == form
