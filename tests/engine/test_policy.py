"""How far workers may choose by what they measure, handed down from the search."""

import dataclasses
import math
from collections.abc import Callable

import pytest

from autoft.core.configs import ExecutionPolicy, SearchConfig
from autoft.engine.search import alike, execution_policy
from autoft.space import Choice, SearchSpace


def test_the_budget_is_spread_over_what_draws_train(make_search: Callable[..., SearchConfig]) -> None:
    search = make_search(trials=12, seconds=600)
    names = ("hf:sentence-transformers/all-MiniLM-L6-v2", "hf:google-bert/bert-base-uncased")
    recipe = {"backbone": {"name": names[0]}, "finetune": {"mode": "full"}}
    one = SearchSpace(task="text-classification", **recipe)
    found = execution_policy(dataclasses.replace(search, space=one.to_json()))
    assert found == ExecutionPolicy(measures=True, trainings=12, seconds=600)
    two = SearchSpace(task="text-classification", **{**recipe, "backbone": Choice([{"name": name} for name in names])})
    assert alike(two) == pytest.approx(0.5, abs=0.02)
    three = SearchSpace(task="text-classification", **{**recipe, "finetune": Choice(["full", "head", "norm_bias"])})
    assert alike(three) == pytest.approx(1 / 3, abs=0.02)
    spread = execution_policy(dataclasses.replace(search, space=two.to_json()))
    assert spread.trainings == pytest.approx(6, abs=0.3)
    assert spread.seconds == pytest.approx(300, abs=15)
    assert execution_policy(make_search(trials=None, seconds=60)).trainings == math.inf


def test_where_the_seed_alone_decides_nothing_is_measured(make_search: Callable[..., SearchConfig]) -> None:
    assert not execution_policy(make_search(deterministic=True)).measures


def test_gradient_checkpointing_is_the_persons_choice(make_search: Callable[..., SearchConfig]) -> None:
    search = make_search()
    resources = dataclasses.replace(search.resources, gradient_checkpointing=True)
    assert execution_policy(dataclasses.replace(search, resources=resources)).gradient_checkpointing
    assert not execution_policy(search).gradient_checkpointing
