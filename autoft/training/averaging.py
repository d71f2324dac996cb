"""Averages of the weights over the updates, which are validated and kept in place of the last weights."""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from autoft.core import catalog

_COUNT = "num_averaged"


class Average:
    """A running average of a network's weights.

    Averaged are the parameters that learn and the buffers of floating point, the statistics of batch norms among
    them; other buffers (counters, indices) are the network's last. What is frozen is shared with the network.

    Args:
        network: Whose weights; every parameter that will ever learn has `requires_grad`.
        weight: The share of the new weights in the average, by how many have been averaged with them.
        steps: The updates, counted from 0, after which the weights are averaged; None: all.
        fresh_statistics: Whether the statistics of batch norms want to be computed anew before the average is used.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        weight: Callable[[int], float],
        steps: Collection[int] | None = None,
        fresh_statistics: bool = False,
    ) -> None:
        self.num_averaged = 0
        self.fresh_statistics = fresh_statistics
        self._weight = weight
        self._steps = steps
        frozen = [parameter for parameter in network.parameters() if not parameter.requires_grad]
        # deepcopy takes what its memo knows as copied: frozen weights need no second place in memory.
        self._average = copy.deepcopy(network, {id(parameter): parameter for parameter in frozen})
        shared = {id(parameter) for parameter in frozen}
        self._names = [name for name, tensor in _tensors(self._average).items() if id(tensor) not in shared]

    @property
    def module(self) -> nn.Module | None:
        """The averaged network; None before there is one."""
        return self._average if self.num_averaged else None

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after an update, counted from 0."""
        if self._steps is not None and step not in self._steps:
            return
        self.num_averaged += 1
        mix: Callable[[list[Tensor], list[Tensor], int], None]
        mix = get_ema_multi_avg_fn(1 - self._weight(self.num_averaged))  # type: ignore[no-untyped-call]
        mine, theirs = _tensors(self._average), _tensors(network)
        smooth = [name for name in self._names if mine[name].is_floating_point()]
        # torch's own average over buffers would multiply indices by 0.999 and cut off the fraction.
        for name in set(self._names).difference(smooth):
            mine[name].copy_(theirs[name])
        mix([mine[name].detach() for name in smooth], [theirs[name].detach() for name in smooth], 0)

    def state(self) -> dict[str, Tensor]:
        """Return the average by name ("module.head.weight"), and the number of weights in it."""
        tensors = _tensors(self._average) if self.num_averaged else {}
        state = {f"module.{name}": tensors[name].detach() for name in self._names if tensors}
        return {_COUNT: torch.tensor(self.num_averaged), **state}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        self.num_averaged = int(state[_COUNT].item())
        if self.num_averaged:
            tensors = _tensors(self._average)
            for name in self._names:
                tensors[name].copy_(state[f"module.{name}"])


def build_averaging(config: Mapping[str, Any], network: nn.Module, num_steps: int) -> Average | None:
    """Return the average of a recipe's section `averaging`, or None.

    Args:
        config: `name` and all settings of that entry of the catalog.
        network: The network that learns.
        num_steps: Updates of the whole trial, as planned.

    Raises:
        ConfigError: If there is no such average.
    """
    builder = catalog.entry("averaging", config["name"], where="averaging.name").load()
    average: Average | None = builder(config, network, num_steps)
    return average


def none(config: Mapping[str, Any], network: nn.Module, num_steps: int) -> None:
    """Average nothing."""


def ema(config: Mapping[str, Any], network: nn.Module, num_steps: int) -> Average:
    """Return an average in which the weights of k updates ago count `decay ** k`, after every update.

    The counts of those that are there add up to 1 from the first update on, as in Adam: without that correction a
    short trial with a long memory would keep little but the weights it began with, an untrained head among them.

    Reference: Polyak & Juditsky 1992; Kingma & Ba, arXiv:1412.6980, 3 (correction) and 7.2 (average of weights).
    """
    decay = config["decay"]
    return Average(network, weight=lambda num_averaged: (1 - decay) / (1 - decay**num_averaged))


def swa(config: Mapping[str, Any], network: nn.Module, num_steps: int) -> Average:
    """Return the plain mean of `num_snapshots` weights at equal distances after `start_fraction` of the updates.

    The last snapshot is after the last update. The statistics of batch norms that learn are computed anew before each
    validation, by a pass over the training rows: the mean of the snapshots' own is not that of the mean weights.

    Reference: Izmailov et al., arXiv:1803.05407, algorithm 1.
    """
    start = min(int(config["start_fraction"] * num_steps), num_steps - 1)
    rest = num_steps - start
    count = min(config["num_snapshots"], rest)
    steps = frozenset(start + place * rest // count - 1 for place in range(1, count + 1))
    return Average(network, weight=lambda num_averaged: 1 / num_averaged, steps=steps, fresh_statistics=True)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, also such buffers as a checkpoint leaves out."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
