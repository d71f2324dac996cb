"""What a search asks of a cluster's autoscaler: places for the trials that it would run if there were room."""

from ray.exceptions import GetTimeoutError, RpcError
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from autoft.engine.places import Request

MOST = 64
"""Places that are asked for at once, beyond those there are."""


class Demand:
    """Placement groups that wait for room, one a place: an autoscaler adds nodes for what waits.

    Ray forgets them with the process that made them, however it ends, so that nothing goes on being paid for; and one
    that gets room gives it up at the next look, for a trial to take.
    """

    def __init__(self) -> None:
        """Ask for nothing yet."""
        self._waiting: list[PlacementGroup] = []

    def want(self, count: int, request: Request) -> None:
        """Let `count` groups wait, or `MOST`; those that got room, and those too many, end."""
        try:
            states = placement_group_table() if self._waiting else {}
        except (RpcError, GetTimeoutError):
            return
        waiting: list[PlacementGroup] = []
        for group in self._waiting:
            waits = states.get(group.id.hex(), {}).get("state") == "PENDING"
            if waits and len(waiting) < count:
                waiting.append(group)
            else:
                remove_placement_group(group)
        bundle = {"CPU": request.cpus, "GPU": request.gpus, "memory": request.memory}
        asked = {name: value for name, value in bundle.items() if value}
        while len(waiting) < min(count, MOST):
            waiting.append(placement_group([asked] * request.workers))
        self._waiting = waiting
