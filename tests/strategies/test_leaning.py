from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.space import Choice, LogUniform, SearchSpace, Uniform, load_space
from autoft.strategies.candidates import spread
from autoft.strategies.encoding import Encoding
from autoft.strategies.leaning import WEIGHTS, WIDTH, decoder, sampler, weight_of
from tests.strategies.worlds import branching_space, history, trial


def space_with_priors() -> SearchSpace:
    return SearchSpace(
        task="image-classification",
        backbone={"name": "timm:resnet18"},
        optimizer={"name": "adamw", "lr": LogUniform(1e-6, 1e-2, prior=1e-3), "weight_decay": Uniform(0.0, 0.1)},
        batch_size=Choice([16, 32, 64, 128]),
    )


def drawn(space: SearchSpace, weight: float, count: int = 4000) -> list[dict[str, Any]]:
    sample, rng = sampler(history(space=space), Encoding(space), weight), np.random.default_rng(0)
    return [dict(sample(rng)) for _ in range(count)]


def test_a_draw_takes_by_its_weight_what_is_around_the_default() -> None:
    found = drawn(space_with_priors(), 0.6)
    # Of four even values each has .4 / 4, and the default .6 besides.
    assert np.mean([one["batch_size"] == 16 for one in found]) == pytest.approx(0.7, abs=0.02)
    # Within a standard deviation of the default, at three quarters of the range, are .717 of the bell, which ends at
    # the range's end, and .3 of the even draws.
    near = np.abs(np.log10([one["optimizer[adamw].lr"] for one in found]) + 3) < 4 * WIDTH
    assert np.mean(near) == pytest.approx(0.6 * 0.717 + 0.4 * 0.3, abs=0.02)


def test_a_draw_of_weight_0_is_even() -> None:
    assert np.mean([one["batch_size"] == 16 for one in drawn(space_with_priors(), 0.0)]) == pytest.approx(
        0.25, abs=0.02
    )


def test_in_a_space_without_priors_nothing_leans() -> None:
    space, rng = branching_space(), np.random.default_rng(0)
    space = space.narrowed({"backbone.name": "timm:resnet18"})
    assert drawn(space, 0.9, 20) == [dict(space.sample(rng)) for _ in range(20)]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.99))
def test_leaning_keeps_the_order_of_positions_and_reaches_both_ends(one: float, other: float, weight: float) -> None:
    space = space_with_priors()
    decode = decoder(history(space=space), Encoding(space), weight)
    low, high = (decode(np.full(3, at)) for at in sorted((one, other)))
    assert all(low[label] <= high[label] for label in low)
    assert decode(np.zeros(3)) == {"optimizer[adamw].lr": 1e-6, "optimizer[adamw].weight_decay": 0.0, "batch_size": 16}
    assert decode(np.ones(3)) == {"optimizer[adamw].lr": 1e-2, "optimizer[adamw].weight_decay": 0.1, "batch_size": 128}


def test_the_first_starts_lean_most_and_every_fourth_is_even() -> None:
    space = load_space("text-classification/quick")
    encoding, default = Encoding(space), space.default()
    apart: dict[float, list[float]] = {weight: [] for weight in WEIGHTS}
    for number in range(1, 65):
        before = tuple(trial(place, [0.5], assignment=default) for place in range(number))
        start = spread(history(space=space).replace(trials=before), encoding, 65)
        apart[weight_of(number)].append(float(np.abs(encoding.positions(start) - encoding.positions(default)).mean()))
    means = [float(np.mean(apart[weight])) for weight in WEIGHTS]
    assert means == sorted(means)
    assert means[0] < 0.5 * means[3]
