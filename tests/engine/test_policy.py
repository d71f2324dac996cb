"""How far workers may choose by what they measure, handed down from the search."""

import dataclasses
import math
from collections.abc import Callable

from autoft.core.configs import ExecutionPolicy, SearchConfig
from autoft.engine.search import execution_policy


def test_the_budget_is_spread_over_the_backbones(make_search: Callable[..., SearchConfig]) -> None:
    search = make_search(trials=12, seconds=600)
    two = {
        "choice": [{"name": "hf:sentence-transformers/all-MiniLM-L6-v2"}, {"name": "hf:google-bert/bert-base-uncased"}]
    }
    assert execution_policy(search) == ExecutionPolicy(measures=True, trainings=12, seconds=600)
    spread = dataclasses.replace(search, space={**search.space, "backbone": two})
    assert execution_policy(spread) == ExecutionPolicy(measures=True, trainings=6, seconds=300)
    assert execution_policy(make_search(trials=None, seconds=60)).trainings == math.inf


def test_where_the_seed_alone_decides_nothing_is_measured(make_search: Callable[..., SearchConfig]) -> None:
    assert not execution_policy(make_search(deterministic=True)).measures


def test_gradient_checkpointing_is_the_persons_choice(make_search: Callable[..., SearchConfig]) -> None:
    search = make_search()
    resources = dataclasses.replace(search.resources, gradient_checkpointing=True)
    assert execution_policy(dataclasses.replace(search, resources=resources)).gradient_checkpointing
    assert not execution_policy(search).gradient_checkpointing
