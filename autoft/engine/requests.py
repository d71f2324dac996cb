"""What a trial asks of its node: more where it is large, and a share of a GPU where its like are known to fit."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from autoft.core.catalog import entry
from autoft.core.configs import Resources
from autoft.core.gpus import share_for
from autoft.core.jsonable import Json, canonical_json
from autoft.engine.places import Node, Request, base_request

SECTIONS = ("backbone", "finetune", "head", "regularization", "resizing", "optimizer", "averaging")
"""Of a recipe, what decides how much memory its training takes, apart from sizes; rates do not."""
SIZES = ("input_size", "max_length")
"""Settings of a backbone by which its training takes more memory, the larger they are; so does the batch's."""
GPU_MB = "device_memory_mb"
"""The metric that says how many MiB the GPU has on which a trial was measured."""
MARGIN = 1.2
"""Times the measured peak of a process without a GPU."""
PROCESS_BYTES = 1 << 30
"""Of a worker that trains nothing: the libraries."""
BYTES_LEARNING, BYTES_FROZEN = 16, 4
"""For each parameter: the weight, and where it learns its gradient and what an optimizer keeps of it."""


class Requests:
    """What trials ask for, from what was measured of those before them."""

    def __init__(self, resources: Resources) -> None:
        """Know nothing yet."""
        self._resources = resources
        self._peaks: dict[str, dict[tuple[float, ...], float]] = {}
        self._gpu_mb = math.inf
        self._has_gpus = False

    def learn(self, config: Json, metrics: Json) -> None:
        """Take what an epoch was measured to take."""
        peak = metrics.get("peak_memory_mb")
        if peak is None:
            return
        on_gpu = metrics.get(GPU_MB) is not None
        if on_gpu:
            self._gpu_mb = min(self._gpu_mb, metrics[GPU_MB])
        peaks = self._peaks.setdefault(_kind(config, on_gpu=on_gpu), {})
        peaks[_sizes(config)] = max(peak, peaks.get(_sizes(config), 0.0))

    def of(self, config: Json, nodes: Sequence[Node]) -> Request:
        """Return what a trial asks for: whole GPUs, and all memory it may need, where none like it was measured."""
        base = self.base(nodes)
        if base.workers > 1:
            return base  # its workers may have a node each, and what they take was measured of the first alone
        device = config.get("execution", {}).get("device")
        if self._resources.gpus_per_trial == "auto" and device is not None:
            base = Request(cpus=base.cpus, gpus=1.0 if device == "cuda" else 0.0)
        if not base.gpus:
            return Request(cpus=base.cpus, memory=_memory(self._bytes(config), base, nodes))
        peak = self._peak(config, on_gpu=True)
        if self._resources.gpus_per_trial != "auto" or peak is None:
            return base
        return Request(cpus=base.cpus, gpus=share_for(peak, self._gpu_mb))

    def base(self, nodes: Sequence[Node]) -> Request:
        """Return what a trial of which nothing is known asks for; one on GPUs, once there are any, waits for them."""
        base = base_request(self._resources, nodes)
        self._has_gpus = self._has_gpus or base.gpus > 0
        if self._resources.gpus_per_trial == "auto" and self._has_gpus:
            return replace(base, gpus=1.0)
        return base

    def _peak(self, config: Json, *, on_gpu: bool) -> float | None:
        """Return the least peak, in MiB, of trials that took no less than this one will; None where there are none."""
        sizes = _sizes(config)
        known = self._peaks.get(_kind(config, on_gpu=on_gpu), {})
        above = [
            peak for other, peak in known.items() if all(own <= size for own, size in zip(sizes, other, strict=True))
        ]
        return min(above, default=None)

    def _bytes(self, config: Json) -> float:
        """Return the memory that a process without a GPU will take, as measured, or at least as the catalog says."""
        peak = self._peak(config, on_gpu=False)
        if peak is not None:
            return peak * MARGIN * 2**20
        recipe = config["recipe"]
        parameters = entry("backbone", recipe["backbone"]["name"]).facts.get("parameters", 0)
        learns = recipe["finetune"]["mode"] not in ("probe", "head")
        return float(PROCESS_BYTES + parameters * (BYTES_LEARNING if learns else BYTES_FROZEN))


def typical(requests: Iterable[Request]) -> Request | None:
    """Return what trials ask for of which as many ask for more as for less; None where there are none."""
    known = sorted(requests, key=lambda request: (request.gpus, request.memory))
    return known[(len(known) - 1) // 2] if known else None


def _memory(needed: float, base: Request, nodes: Sequence[Node]) -> float:
    """Return the bytes of a node's memory to ask for: none where as many as its cores hold fit side by side.

    Else it is the smallest share, 1 over a whole number, of the smallest node that holds it: few different requests,
    so that workers can go on from one trial to the next.
    """
    able = [node for node in nodes if base.times_in(node) and math.isfinite(node.memory)]
    if all(needed * base.times_in(node) <= node.memory for node in able):
        return 0.0
    holds = [node.memory for node in able if node.memory >= needed]
    memory = min(holds, default=max(node.memory for node in able))
    return float(memory // max(1, math.floor(memory / needed)))


def _kind(config: Json, *, on_gpu: bool) -> str:
    recipe = config["recipe"]
    kept = {name: dict(_settings(recipe.get(name))) for name in SECTIONS}
    return canonical_json([on_gpu, kept])


def _settings(section: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is not a rate of a recipe's section, and no size."""
    for name, value in section.items() if isinstance(section, dict) else ():
        if name not in SIZES and not isinstance(value, float):
            yield name, value


def _sizes(config: Json) -> tuple[float, ...]:
    recipe = config["recipe"]
    return (recipe.get("batch_size") or 0, *(recipe["backbone"].get(name) or 0 for name in SIZES))
