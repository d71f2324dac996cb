import pytest

from autoft.core.configs import Resources
from autoft.engine.places import Node, Request, base_request, num_places

ONE = Request(cpus=1)
SHARED = Request(cpus=1, gpus=0.25)


def node(cpus: float, gpus: float = 0, memory: float = float("inf"), *, leaves: bool = False) -> Node:
    return Node(name=f"{cpus}-{gpus}", cpus=cpus, gpus=gpus, memory=memory, leaves=leaves)


@pytest.mark.parametrize(
    ("nodes", "asked", "places"),
    [
        ([], ONE, 0),
        ([node(0)], ONE, 0),
        ([node(3), node(2)], Request(cpus=2), 2),
        ([node(1), node(1)], Request(cpus=2), 0),
        ([node(8), node(4, leaves=True)], ONE, 8),
        ([node(8, 2)], Request(cpus=1, gpus=1), 2),
        ([node(8, 1), node(8)], Request(cpus=1, gpus=1), 1),
        ([node(16, 1)], Request(cpus=1, gpus=0.3333), 3),
        ([node(2, 1)], Request(cpus=1, gpus=0.125), 2),
        ([node(8, memory=10)], Request(cpus=1, memory=4), 2),
        ([node(1)], Request(cpus=0.1), 10),
    ],
)
def test_nodes_hold_as_many_as_each_of_them_has_room_for(nodes: list[Node], asked: Request, places: int) -> None:
    assert num_places(nodes, asked=asked) == places
    assert num_places(nodes, asked=asked, running=[asked] * 3) == places


def test_beside_trials_that_ask_for_other_shares_there_is_room_for_what_they_leave() -> None:
    whole = Request(cpus=1, gpus=1)
    two = [node(16, 1), node(16, 1)]
    assert num_places(two, asked=SHARED, running=[whole]) == 5
    assert num_places(two, asked=SHARED, running=[whole, SHARED, SHARED]) == 5
    assert num_places(two, asked=whole, running=[SHARED]) == 2
    assert num_places(two, asked=SHARED, running=[whole, whole, whole]) == 3
    assert num_places([node(3, 1)], asked=SHARED, running=[Request(cpus=1, gpus=0.5)]) == 3


def test_a_trial_asks_for_a_gpu_where_there_are_any() -> None:
    resources = Resources(cpus_per_trial=2)
    assert base_request(resources, [node(8)]) == Request(cpus=2)
    assert base_request(resources, [node(8), node(8, 1)]) == Request(cpus=2, gpus=1)
    assert base_request(Resources(gpus_per_trial=0), [node(8, 1)]) == Request(cpus=1)
    assert base_request(Resources(gpus_per_trial=0.5), [node(8)]) == Request(cpus=1, gpus=0.5)


def test_a_trial_of_several_workers_takes_room_on_any_nodes() -> None:
    pair = Request(cpus=1, workers=2)
    assert num_places([node(1), node(1), node(3)], asked=pair) == 2
    assert num_places([node(1)], asked=pair) == 0
    assert num_places([node(4), node(4)], asked=pair, running=[ONE, pair]) == 4
    assert base_request(Resources(workers_per_trial=2), []) == pair
