"""What trials ask for: arithmetic on planted measurements; no GPU is needed, or used."""

from typing import Any

import pytest

from autoft.core.configs import Resources
from autoft.core.jsonable import merged
from autoft.engine.places import Node, Request
from autoft.engine.requests import GPU_MB, PROCESS_BYTES, Requests, typical

GPU = [Node(name="a", cpus=16, gpus=1, memory=64e9)]
BARE = [Node(name="b", cpus=4, memory=64e9)]
RECIPE = {
    "backbone": {"name": "timm:resnet18", "input_size": 224, "drop_path": 0.1},
    "finetune": {"mode": "full", "layer_decay": 0.7},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "batch_size": 32,
}


def config(**changes: Any) -> dict[str, Any]:
    return {"recipe": merged(RECIPE, changes)}


def measured(peak: float, gpu: float | None = 40_000.0) -> dict[str, Any]:
    return {"peak_memory_mb": peak} if gpu is None else {"peak_memory_mb": peak, GPU_MB: gpu}


@pytest.fixture
def requests() -> Requests:
    found = Requests(Resources())
    found.learn(config(), measured(3000.0))
    return found


def test_the_first_of_a_kind_has_a_gpu_for_itself_and_the_next_a_share() -> None:
    requests = Requests(Resources())
    assert requests.of(config(), GPU) == Request(cpus=1, gpus=1)
    requests.learn(config(), measured(3000.0))
    assert requests.of(config(), GPU) == Request(cpus=1, gpus=0.125)
    requests.learn(config(), measured(9000.0))
    assert requests.of(config(), GPU) == Request(cpus=1, gpus=0.3333)


@pytest.mark.parametrize(
    ("changes", "gpus"),
    [
        ({"optimizer": {"lr": 1e-5}, "finetune": {"layer_decay": 0.9}, "backbone": {"drop_path": 0.0}}, 0.125),
        ({"batch_size": 16}, 0.125),
        ({"backbone": {"input_size": 192}}, 0.125),
        ({"batch_size": 64}, 1.0),
        ({"backbone": {"input_size": 256}}, 1.0),
        ({"backbone": {"name": "timm:resnet50"}}, 1.0),
        ({"finetune": {"mode": "head"}}, 1.0),
        ({"optimizer": {"name": "sgd"}}, 1.0),
        ({"averaging": {"name": "ema"}}, 1.0),
    ],
)
def test_alike_is_what_takes_no_more_memory(requests: Requests, changes: dict[str, Any], gpus: float) -> None:
    assert requests.of(config(**changes), GPU).gpus == gpus


def test_the_smallest_gpu_that_was_seen_decides(requests: Requests) -> None:
    requests.learn(config(batch_size=8), measured(1000.0, 12_000.0))
    assert requests.of(config(), GPU).gpus == 0.5


def test_what_was_measured_without_a_gpu_says_nothing_of_one() -> None:
    requests = Requests(Resources())
    requests.learn(config(), measured(3000.0, None))
    assert requests.of(config(), GPU).gpus == 1.0


def test_a_number_of_gpus_that_was_asked_for_is_taken() -> None:
    requests = Requests(Resources(gpus_per_trial=0.5))
    requests.learn(config(), measured(3000.0))
    assert requests.of(config(), GPU).gpus == 0.5


def test_a_trial_goes_on_on_the_kind_of_device_that_it_began_on(requests: Requests) -> None:
    assert requests.of(config() | {"execution": {"device": "cpu"}}, GPU).gpus == 0.0
    assert requests.of(config() | {"execution": {"device": "cuda"}}, BARE).gpus == 0.125


def test_gpus_that_went_are_waited_for() -> None:
    requests = Requests(Resources())
    assert requests.base(BARE).gpus == 0.0
    assert requests.base(GPU).gpus == 1.0
    assert requests.base(BARE).gpus == 1.0


def test_memory_is_asked_for_only_where_a_nodes_cores_hold_more_trials_than_its_memory() -> None:
    requests = Requests(Resources())
    assert requests.of(config(), [Node(name="a", cpus=4, memory=16e9)]).memory == 0.0
    requests.learn(config(), measured(5000.0, None))
    assert requests.of(config(), [Node(name="a", cpus=2, memory=16e9)]).memory == 0.0
    assert requests.of(config(), [Node(name="a", cpus=4, memory=16e9)]).memory == 8e9
    two = [Node(name="a", cpus=4, memory=4e9), Node(name="b", cpus=4, memory=16e9)]
    assert requests.of(config(), two).memory == 8e9
    assert requests.of(config(), [Node(name="a", cpus=4, memory=4e9)]).memory == 4e9


def test_the_catalog_tells_what_a_large_network_needs_at_least_before_it_was_measured() -> None:
    requests = Requests(Resources())
    large = config(backbone={"name": "timm:vit_large_patch16_224"})
    node = [Node(name="a", cpus=8, memory=16e9)]
    needed = PROCESS_BYTES + 16 * 303_301_632
    assert 16e9 // needed == 2
    assert requests.of(large, node).memory == 8e9
    assert requests.of(config(), node).memory == 0.0


def test_the_typical_request_is_that_of_which_as_many_are_larger_as_smaller() -> None:
    one, half, third = (Request(cpus=1, gpus=gpus) for gpus in (1, 0.5, 0.3333))
    assert typical([]) is None
    assert typical([one, third]) is third
    assert typical([one, third, half]) is half
