"""Loops side by side, each in a process of its own, epoch after epoch in turn."""

import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from autoft.core.jsonable import Json

_side: Any = None
"""Of a child process: its loop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """A loop to be measured."""

    name: str
    """Of `trial_sides.SIDES`."""
    kind: str
    """"text" or "image"."""
    folder: Path
    """What `trial_sets.make_task` wrote."""
    settings: Json = field(default_factory=dict)


class Child:
    """A loop in a process of its own, with one thread; ends with its block."""

    def __init__(self, spec: Spec) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin, initargs=(spec,))

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def epoch(self) -> Json:
        """Train one epoch; return its rows per second of the processor (`cpu`) and of the clock (`wall`)."""
        return self._pool.submit(_epoch).result()

    def execution(self) -> Json:
        """Return how a trial computes."""
        return self._pool.submit(_execution).result()


def _begin(spec: Spec) -> None:
    global _side  # noqa: PLW0603 - a process of its own holds one loop
    import torch
    import transformers

    from benchmarks.trial_sets import open_task
    from benchmarks.trial_sides import SIDES

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    _side = SIDES[spec.name, spec.kind](open_task(spec.kind, spec.folder), **spec.settings)


def _epoch() -> Json:
    cpu, wall = time.process_time(), time.perf_counter()
    rows = _side.epoch()
    whole = (time.process_time() - cpu, time.perf_counter() - wall)
    cpu, wall = getattr(_side, "spent", whole)
    return {"cpu": rows / cpu, "wall": rows / wall}


def _execution() -> Json:
    found: Json = _side.execution
    return found


def interleaved(specs: Mapping[str, Spec], *, rounds: int) -> dict[str, list[Json]]:
    """Return what each loop reached in each round; an epoch of each before the first does not count."""
    found: dict[str, list[Json]] = {name: [] for name in specs}
    with ExitStack() as stack:
        children = {name: stack.enter_context(Child(spec)) for name, spec in specs.items()}
        for one in range(rounds + 1):
            for name, child in children.items():
                reached = child.epoch()
                if one:
                    found[name].append(reached)
    return found


def ratio(found: Mapping[str, Sequence[Json]], ours: str, other: str, clock: str = "cpu") -> float:
    """Return how many times as fast `ours` is: the median of the rounds' ratios."""
    pairs = zip(found[ours], found[other], strict=True)
    ratios: list[float] = [mine[clock] / theirs[clock] for mine, theirs in pairs]
    return round(statistics.median(ratios), 3)
