"""What a driver has around it, simulated: workers on a clock of their own, and an object store that counts."""

import heapq
import itertools
from collections import Counter
from typing import Any

import numpy as np
from pyarrow import fs

from autoft.core.configs import EpochResult
from autoft.core.jsonable import digest
from autoft.core.rewriter import Rewriter
from autoft.core.seeds import generator
from autoft.core.storage import Store
from autoft.engine.job import Job, Report

NUM_EPOCHS = 27
"""At most; rungs begin at the first, so that a third of the reports end a trial and start another."""
EPOCH_SECONDS = 10.0
"""What an epoch takes a worker, in the median."""


class Workers:
    """Trials under way on a simulated clock: each epoch's length and value are drawn by the trial's name."""

    def __init__(self, store: Store) -> None:
        self.now = 0.0
        self.store = store
        """Of the checkpoints."""
        self._flights: list[tuple[float, int, Job, int]] = []
        self._order = itertools.count()
        self._draws: dict[str, tuple[float, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def begin(self, job: Job, epoch: int) -> None:
        """Begin an epoch of a job."""
        seconds = self._drawn(job.trial)[0] if job.kind == "trial" else 1.0
        if epoch == job.epochs_recorded + 1 and job.kind == "trial":
            for name in ("best.safetensors", "last.safetensors"):
                Rewriter(self.store, f"checkpoints/{job.trial}/{name}").write(b"{}")
        heapq.heappush(self._flights, (self.now + seconds, next(self._order), job, epoch))

    def next(self) -> tuple[Job, int, str]:
        """Move to the epoch that ends next; return its job, its number and the report's text."""
        self.now, _, job, epoch = heapq.heappop(self._flights)
        if job.kind == "final":
            return job, epoch, Report(kind="final", trial=job.trial, result={"test_accuracy": 0.5}).to_text()
        seconds, values = self._drawn(job.trial)
        last = 1 if job.trial.startswith("p") else job.config["epochs"]
        filled = job.config | {
            "weights": {"source": "packaged:weights", "sha256": digest(job.config["recipe"]["backbone"])},
            "versions": {"python": "3.11.2", "torch": "2.9.0", "timm": "1.0.22", "autoft": "0.1.0"},
            "execution": {"device": "cpu", "threads": 1, "dtype": "float32", "micro_batch": 32, "eval_batch": 64},
        }
        result = EpochResult(
            epoch=epoch,
            metrics={
                "train_loss": 1.0 - values[epoch - 1],
                "val_loss": 1.1 - values[epoch - 1],
                "val_accuracy": values[epoch - 1],
                "val_accuracy_stderr": 0.02,
                "parameters": 5_000_000 + 1000 * len(job.trial),
                "latency_ms": 3.5 + seconds / 100,
                "peak_memory_mb": 800.0 + seconds,
            },
            seconds=seconds,
            status="completed" if epoch == last else "running",
            reason="its last epoch" if epoch == last else "",
            is_best=True,
            timings={
                "data": 1.0,
                "forward_backward": seconds - 5,
                "optimizer": 1.0,
                "evaluate": 2.0,
                "checkpoint": 1.0,
            },
            learning_rate=1e-3 / epoch,
            weights_sha256=digest([job.trial, epoch]),
            config=filled if epoch == job.epochs_recorded + 1 else None,
        )
        return job, epoch, Report(kind="epoch", trial=job.trial, result=result.to_json()).to_text()

    def _drawn(self, trial: str) -> tuple[float, np.ndarray]:
        if trial not in self._draws:
            rng = generator(0, "scale", trial)
            height, pace = rng.beta(4, 2), rng.uniform(1, 6)
            values = height * (1 - np.exp(-np.arange(1, NUM_EPOCHS + 1) / pace)) + 0.01 * rng.standard_normal(
                NUM_EPOCHS
            )
            self._draws[trial] = (EPOCH_SECONDS * float(np.exp(0.5 * rng.standard_normal())), values.round(4).tolist())
        return self._draws[trial]


class Counted(fs.FileSystemHandler):
    """The local disk as an object store, whose requests are counted."""

    def __init__(self) -> None:
        self.real = fs.LocalFileSystem()
        self.requests: Counter[str] = Counter()

    def get_type_name(self) -> str:
        """Return a name for it."""
        return "counted"

    def normalize_path(self, path: str) -> str:
        """Return the path."""
        return path

    def get_file_info(self, paths: str | list[str]) -> Any:
        """Ask for files' sizes."""
        self.requests["head"] += len(paths) if isinstance(paths, list) else 1
        return self.real.get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> Any:
        """List a folder."""
        self.requests["list"] += 1
        return self.real.get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        """Make a folder; an object store has none."""
        self.real.create_dir(path, recursive=recursive)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        """Write a file."""
        self.requests["put"] += 1
        return self.real.open_output_stream(path)

    def open_input_file(self, path: str) -> Any:
        """Read a file."""
        self.requests["get"] += 1
        return self.real.open_input_file(path)

    def delete_file(self, path: str) -> None:
        """Remove a file."""
        self.requests["delete"] += 1
        self.real.delete_file(path)

    def delete_dir(self, path: str) -> None:
        """Remove a folder and all in it."""
        self.requests["delete"] += 1
        self.real.delete_dir(path)

    def open_input_stream(self, path: str) -> Any:
        """Refuse: a record does not ask for it."""
        raise NotImplementedError(path)

    def open_append_stream(self, path: str, metadata: dict[str, str]) -> Any:
        """Refuse, as an object store does."""
        raise NotImplementedError(path)

    def copy_file(self, src: str, dest: str) -> None:
        """Refuse: a record does not ask for it."""
        raise NotImplementedError(src)

    def move(self, src: str, dest: str) -> None:
        """Refuse: a record does not ask for it."""
        raise NotImplementedError(src)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Refuse: a record does not ask for it."""
        raise NotImplementedError(path)

    def delete_root_dir_contents(self) -> None:
        """Refuse: a record does not ask for it."""
        raise NotImplementedError
