"""How many trials a cluster's nodes hold side by side: arithmetic on what Ray says of the nodes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoft.core.configs import Resources

ROUNDING = 1e-6
"""What divisions may be off by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A machine of the cluster."""

    name: str
    """Ray's number for it."""
    cpus: float
    gpus: float = 0.0
    memory: float = math.inf
    """Bytes that Ray sets aside for those who ask."""
    leaves: bool = False
    """Whether it is about to go: Ray puts nothing new there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a trial asks for; of several workers each asks this of a node of its own choice."""

    cpus: float
    gpus: float = 0.0
    memory: float = 0.0
    """Bytes; 0: it does not ask."""
    workers: int = 1

    def times_in(self, node: Node) -> int:
        """Return how many workers of this a node holds at once."""
        asked = ((self.cpus, node.cpus), (self.gpus, node.gpus), (self.memory, node.memory))
        return math.floor(min(have / want for want, have in asked if want) + ROUNDING)


def base_request(resources: Resources, nodes: Sequence[Node]) -> Request:
    """Return what a trial of which nothing is known asks for; "auto" is a whole GPU where there are any."""
    gpus = resources.gpus_per_trial
    if gpus == "auto":
        gpus = 1.0 if any(node.gpus >= 1 for node in nodes) else 0.0
    return Request(cpus=resources.cpus_per_trial, gpus=gpus, workers=resources.workers_per_trial)


def num_places(nodes: Sequence[Node], *, asked: Request, running: Sequence[Request] = ()) -> int:
    """Return how many trials the nodes hold side by side, those that run included; none on nodes that are to go.

    Where all ask the same that is exact. Else it is what runs and, of what that leaves of all nodes together, how often
    one more is held: Ray knows where there is room, and a trial for which there is none yet waits.

    Args:
        nodes: Of the cluster.
        asked: By a trial that would start now.
        running: By each trial that runs.
    """
    staying = [node for node in nodes if not node.leaves and asked.times_in(node)]
    if all(request == asked for request in running):
        return num_workers(staying, asked=asked) // asked.workers
    free: list[float] = []
    for kind in ("cpus", "gpus", "memory"):
        want = getattr(asked, kind)
        if want:
            have = sum(getattr(node, kind) for node in staying)
            taken = sum(request.workers * getattr(request, kind) for request in running)
            free.append((have - taken) / (asked.workers * want))
    return len(running) + max(0, math.floor(min(free) + ROUNDING))


def num_workers(nodes: Sequence[Node], *, asked: Request) -> int:
    """Return how many workers, of any trials, the nodes hold side by side."""
    return sum(asked.times_in(node) for node in nodes if not node.leaves)
