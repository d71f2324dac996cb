"""Test accuracies of the tutorial's loop and of autoft's trial, with several seeds, on the same rows."""

import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from autoft.core.jsonable import Json
from benchmarks.trial_sets import make_task, open_task


def measure_accuracy(
    data: Path, folder: Path, rows: Mapping[str, Mapping[str, int]], *, seeds: int, epochs: int
) -> Json:
    """Return, by kind and loop, the test accuracies of all seeds, their mean and their deviation."""
    found: Json = {"epochs": epochs, "rows": {kind: dict(splits) for kind, splits in rows.items()}}
    loops = {"plain": _plain, "autoft": _autoft}
    if torch.cpu.get_capabilities().get("amx_bf16"):
        loops["autoft, bfloat16"] = _autoft_in_bfloat16
    for kind, splits in rows.items():
        make_task(kind, data, folder / kind, num_rows=splits)
        found[kind] = {
            name: _summary([_apart(loop, kind, folder / kind, epochs, seed) for seed in range(seeds)])
            for name, loop in loops.items()
        }
        print(kind, found[kind], flush=True)
    return found


def _summary(values: list[float]) -> Json:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "deviation": deviation, "values": values}


def _apart(train: Callable[[str, Path, int, int], float], kind: str, folder: Path, epochs: int, seed: int) -> float:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(train, kind, folder, epochs, seed).result()


def _plain(kind: str, folder: Path, epochs: int, seed: int) -> float:
    from benchmarks.trial_sides import SIDES

    side = SIDES["naive", kind](open_task(kind, folder), epochs=epochs, seed=seed)
    for _ in range(epochs):
        side.epoch()
    return float(side.accuracy())


def _autoft(kind: str, folder: Path, epochs: int, seed: int) -> float:
    return _accuracy_in("float32", kind, folder, epochs, seed)


def _autoft_in_bfloat16(kind: str, folder: Path, epochs: int, seed: int) -> float:
    return _accuracy_in("bfloat16", kind, folder, epochs, seed)


def _accuracy_in(dtype: str, kind: str, folder: Path, epochs: int, seed: int) -> float:
    from benchmarks.trial_sides import SIDES

    side = SIDES["autoft", kind](open_task(kind, folder), epochs=epochs, seed=seed, execution={"dtype": dtype})
    for _ in range(epochs):
        side.epoch()
    return float(side.accuracy())
