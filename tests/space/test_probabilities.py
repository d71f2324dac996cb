"""`probabilities:` on choices: what is drawn, what is not touched, what is refused."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from autoft.core.errors import SpaceError
from autoft.space import Choice, SearchSpace
from autoft.space.yaml_text import parse_yaml

SHARES = [0.5, 0.3, 0.15, 0.05]
SIZES = [8, 16, 32, 64]
DRAWS = 4000


def image(**sections: Any) -> SearchSpace:
    return SearchSpace(task="image-classification", **sections)


def test_draws_follow_them_for_values_and_for_branches() -> None:
    branches = Choice(["adamw", "sgd", "lion"], probabilities=[0.7, 0.2, 0.1])
    space = image(batch_size=Choice(SIZES, probabilities=SHARES), optimizer=branches)
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(DRAWS)]
    for label, values, shares in (("batch_size", SIZES, SHARES), ("optimizer", branches.values, [0.7, 0.2, 0.1])):
        counts = Counter(one[label] for one in drawn)
        assert chisquare([counts[value] for value in values], np.array(shares) * DRAWS).pvalue > 1e-3


def test_the_default_is_not_theirs() -> None:
    assert image(batch_size=Choice([8, 16], probabilities=[0.1, 0.9])).default() == {"batch_size": 8}
    assert image(batch_size=Choice([8, 16], probabilities=[0.9, 0.1], prior=16)).default() == {"batch_size": 16}


def test_a_position_gives_its_value_back() -> None:
    choice = Choice(SIZES, probabilities=SHARES)
    assert [choice.at(choice.position(value)) for value in SIZES] == SIZES
    assert [choice.at(0.0), choice.at(0.499), choice.at(0.5), choice.at(1.0)] == [8, 8, 16, 64]


def test_a_round_trip_keeps_them() -> None:
    space = image(
        batch_size=Choice(SIZES, probabilities=SHARES, when={"finetune.mode": "full"}),
        finetune=Choice(["full", "head"], probabilities=(0.25, 0.75)),
    )
    form = space.to_json()
    assert form["batch_size"] == {"choice": SIZES, "probabilities": SHARES, "when": {"finetune.mode": "full"}}
    assert form["finetune"]["probabilities"] == [0.25, 0.75]
    assert SearchSpace.from_json(form) == space
    again = SearchSpace.from_node(parse_yaml(space.to_yaml(), file="a.yaml"), name="a.yaml")
    assert again.to_yaml() == space.to_yaml()


def test_the_branches_that_are_picked_keep_their_proportions() -> None:
    space = image(optimizer=Choice(["adamw", "sgd", "lion"], probabilities=[0.5, 0.25, 0.25]))
    narrow = space.narrowed({"optimizer.name": Choice(["sgd", "adamw"])})
    assert narrow.to_json()["optimizer"]["probabilities"] == pytest.approx([1 / 3, 2 / 3])
    assert space.narrowed({"optimizer.name": "sgd"}).to_json()["optimizer"] == {"name": "sgd"}


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        ([0.5, 0.6], "has probabilities [0.5, 0.6], which add up to 1.1; they must add up to 1."),
        ([1.0], "has 1 probabilities for 2 values; write one for each, in their order."),
        ([0.0, 1.0], "must have a list of numbers above 0 as probabilities, not [0.0, 1.0]. Leave out"),
        ([0.5, "half"], "must have a list of numbers above 0 as probabilities, not [0.5, 'half']. Leave out"),
        ([], "must have a list of numbers above 0 as probabilities, not []. Leave out"),
    ],
)
def test_a_mistake(shares: list[Any], problem: str) -> None:
    for section, form in (("batch_size", [8, 16]), ("optimizer", ["adamw", "sgd"])):
        with pytest.raises(SpaceError) as caught:
            SearchSpace.from_json({"task": "image-classification", section: {"choice": form, "probabilities": shares}})
        (found,) = caught.value.problems
        assert found.startswith(f"{section} {problem}")


def test_three_thirds_may_be_rounded() -> None:
    choice = Choice([1, 2, 3], probabilities=[0.333, 0.333, 0.333])
    assert not list(choice.problems())
    assert sum(choice.shares) == pytest.approx(1.0)
