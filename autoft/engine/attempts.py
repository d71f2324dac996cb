"""How often a job is tried again whose worker was lost."""

from dataclasses import dataclass

MAX_LOSSES = 2
"""How often it is tried again when its worker was lost on a node that goes on."""
MAX_NODES = 5
"""How many nodes it may lose one after another, with no epoch in between; one more, and it may be what ends them."""


@dataclass(kw_only=True, slots=True)
class Attempts:
    """What befell the workers of one trial, or of the final test."""

    losses: int = 0
    """Workers lost in this run, on nodes that went on."""
    nodes: int = 0
    """Workers lost with their nodes since the last epoch: no fault of the trial's, as far as is known."""

    def lose(self, *, with_node: bool) -> None:
        """Take that a worker was lost, alone or with its node."""
        if with_node:
            self.nodes += 1
        else:
            self.losses += 1

    def get_on(self) -> None:
        """Take that an epoch was done."""
        self.nodes = 0

    @property
    def failure(self) -> str | None:
        """In words, why there is no other attempt; None where there is one."""
        if self.losses > MAX_LOSSES:
            return f"its worker was lost {self.losses} times"
        if self.nodes > MAX_NODES:
            return f"its node was lost {self.nodes} times with no epoch in between"
        return None
