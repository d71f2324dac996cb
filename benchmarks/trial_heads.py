"""Many heads on one frozen backbone: by one warm worker of autoft, and one by one without any cache."""

import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
DECAYS = (0.0, 1e-4, 1e-3, 1e-2)
SMOOTHINGS = (0.0, 0.05, 0.1, 0.2)


def cached_seconds(folder: Path, *, heads: int, epochs: int) -> dict[str, float]:
    """Return the seconds of so many trials in one worker, from the raw rows and packaged weights on."""
    return _apart(_train_cached, folder, heads, epochs)


def serial_seconds(folder: Path, *, heads: int, epochs: int) -> dict[str, float]:
    """Return the seconds of so many runs that keep nothing from one another."""
    return _apart(_train_serial, folder, heads, epochs)


def _apart(train: object, folder: Path, heads: int, epochs: int) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory(prefix="autoft-speed-") as cache,
        ProcessPoolExecutor(1, get_context("spawn"), initializer=_set_up, initargs=(cache,)) as pool,
    ):
        found: dict[str, float] = pool.submit(train, folder, heads, epochs).result()  # type: ignore[arg-type]
        return found


def _set_up(folder: str) -> None:
    """Let nothing that an earlier process kept on this machine be found, and one thread compute."""
    os.environ |= {"AUTOFT_CACHE": folder, "OMP_NUM_THREADS": "1"}


def _train_cached(folder: Path, heads: int, epochs: int) -> dict[str, float]:
    import torch

    from autoft.core.storage import Store
    from autoft.training.warm import WarmCache
    from autoft.training.worker import open_trial
    from benchmarks.trial_sets import open_task

    torch.set_num_threads(1)
    task = open_task("text", folder)
    settings = itertools.islice(itertools.cycle(itertools.product(RATES, DECAYS, SMOOTHINGS)), heads)
    with tempfile.TemporaryDirectory(prefix="autoft-speed-") as out, _timed() as seconds:
        warm = WarmCache()
        for number, (rate, decay, smoothing) in enumerate(settings):
            config = task.config(
                epochs=epochs,
                seed=number,
                finetune={"mode": "head"},
                optimizer={"name": "adamw", "lr": rate, "weight_decay": decay},
                loss={"name": "cross_entropy", "label_smoothing": smoothing},
            )
            trial = open_trial(config, task.dataset, store=Store.open(Path(out) / str(number)), warm=warm)
            for _ in range(epochs):
                trial.run_epoch()
    return seconds


def _train_serial(folder: Path, heads: int, epochs: int) -> dict[str, float]:
    import torch

    from benchmarks.trial_sets import open_task
    from benchmarks.trial_sides import ExpertText

    torch.set_num_threads(1)
    task = open_task("text", folder)
    has_bfloat16 = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    with _timed() as seconds:
        for _ in range(heads):
            side = ExpertText(task, epochs=epochs, bfloat16=has_bfloat16, frozen=True)
            for _ in range(epochs):
                side.epoch()
    return seconds


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """Give a dictionary that holds the seconds of the block when it is over."""
    found: dict[str, float] = {}
    cpu, wall = time.process_time(), time.perf_counter()
    yield found
    found |= {"cpu": round(time.process_time() - cpu, 2), "wall": round(time.perf_counter() - wall, 2)}
