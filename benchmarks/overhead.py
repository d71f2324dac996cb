"""What autoft costs beyond the training: 40 trials that do nothing, against bare Ray Tune with warm workers.

    python -m benchmarks.overhead --out FILE.json

Both sides run in this process, in turn, on one Ray that is started before, with one warm worker a core; the best of
the runs of each side counts. Bare Tune is as fast as it gets: a class Trainable that is reset, `reuse_actors`, no
loggers, random draws. autoft runs all of it: the probe, TPE, every decision and epoch in the durable record,
checkpoints pruned, the final test.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from autoft.core.configs import (
    Budget,
    DataSpec,
    EpochResult,
    ExecutionPolicy,
    Resources,
    SearchConfig,
    StrategyConfig,
    TrialConfig,
)
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.data import RunRows
from autoft.engine.job import Heartbeat, KeepTrace, WorkerSpec
from autoft.engine.search import run_search
from autoft.record import read_record
from autoft.space import Choice, LogUniform, SearchSpace

NUM_TRIALS = 40
NUM_EPOCHS = 3
COMMANDS = {
    "import_autoft": "import autoft",
    "help": "import sys; sys.argv = ['autoft', '--help']; from autoft.cli import main; sys.exit(main())",
    "leaderboard": (
        "import sys; sys.argv = ['autoft', 'leaderboard', {run!r}, '--format', 'csv']; "
        "from autoft.cli import main; sys.exit(main())"
    ),
}
"""What a person waits for at the command line."""


class Idle:
    """A trial that does nothing."""

    def __init__(self, config: TrialConfig) -> None:
        self._config = config
        self._epoch = 0

    def run_epoch(self) -> EpochResult:
        """Report what a trial reports."""
        self._epoch += 1
        return EpochResult(
            epoch=self._epoch,
            metrics={"train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5 + 0.01 * self._epoch},
            seconds=0.0,
            status="completed" if self._epoch == self._config.epochs else "running",
            is_best=True,
            timings={"forward_backward": 0.0, "evaluate": 0.0, "checkpoint": 0.0},
            config=self._config.to_json() if self._epoch == 1 else None,
        )


def open_trial(
    config: TrialConfig,
    *,
    rows: RunRows,
    store: Store,
    epochs_recorded: int,
    warm: dict[str, Any],
    heartbeat: Heartbeat,
    trace: KeepTrace | None,
    policy: ExecutionPolicy,
) -> Idle:
    """Open an idle trial; see `autoft.engine.job.OpenTrial`."""
    return Idle(config)


def finalize(
    config: TrialConfig,
    *,
    trial: str,
    epochs: tuple[EpochResult, ...],
    rows: RunRows,
    store: Store,
    warm: dict[str, Any],
    heartbeat: Heartbeat,
) -> Json:
    """Test nothing; see `autoft.engine.job.Finalize`."""
    return {"test_accuracy": 0.5}


def idle_search() -> SearchConfig:
    """Return a search of `NUM_TRIALS` idle trials, none of them pruned."""
    space = SearchSpace(
        task="text-classification",
        optimizer=Choice(
            [{"name": "adamw", "lr": LogUniform(1e-5, 3e-3)}, {"name": "sgd", "lr": LogUniform(1e-4, 1e-1)}]
        ),
        batch_size=Choice([16, 32, 64]),
    )
    return SearchConfig(
        task=space.task,
        data=DataSpec(source="nothing"),
        fingerprint="0" * 64,
        space=space.to_json(),
        space_name="idle",
        metrics=("accuracy",),
        budget=Budget(trials=NUM_TRIALS, epochs=NUM_EPOCHS),
        searcher=StrategyConfig(name="tpe"),
        scheduler=StrategyConfig(name="none"),
        resources=Resources(gpus_per_trial=0),
        address=None,
        seed=0,
    )


def run_autoft(folder: Path) -> None:
    """Run the idle search through the whole engine.

    Raises:
        RuntimeError: If it did not do what is measured.
    """
    store = Store.open(folder)
    worker = WorkerSpec(open_trial="benchmarks.overhead:open_trial", finalize="benchmarks.overhead:finalize")
    run_search(idle_search(), store=store, worker=worker)
    trials = [row for row in read_record(store).trials if row.kind == "trial"]
    if len(trials) != NUM_TRIALS or any(len(row.epochs) != NUM_EPOCHS for row in trials):
        raise RuntimeError("The search did not train what was to be measured.")


def run_bare(folder: Path) -> None:
    """Run the same through Ray Tune alone.

    Raises:
        RuntimeError: If it did not do what is measured.
    """
    from ray import tune

    class Bare(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.epoch = 0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.epoch = 0
            return True

        def step(self) -> dict[str, Any]:
            self.epoch += 1
            return {"val_accuracy": 0.5 + 0.01 * self.epoch, "done": self.epoch == NUM_EPOCHS}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {}

        def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
            return None

    analysis = tune.run(
        tune.with_resources(Bare, {"cpu": 1}),
        config={"lr": tune.loguniform(1e-5, 3e-3), "batch_size": tune.choice([16, 32, 64])},
        num_samples=NUM_TRIALS,
        reuse_actors=True,
        storage_path=str(folder),
        verbose=0,
    )
    if len(analysis.trials) != NUM_TRIALS or any(t.last_result["training_iteration"] != 3 for t in analysis.trials):
        raise RuntimeError("Ray Tune did not train what was to be measured.")


def seconds_of(work: Callable[[Path], None], folder: Path) -> float:
    """Return the seconds that `work` takes in a new folder."""
    folder.mkdir()
    start = time.perf_counter()
    work(folder)
    return time.perf_counter() - start


def measure(folder: Path, *, repeats: int) -> Json:
    """Measure both sides, in turn, on one Ray; the best of `repeats` each."""
    from autoft.engine import binding  # noqa: F401 - Ray Tune and all of ours is imported before either is timed
    from autoft.engine.cluster import connected

    bare, ours = [], []
    with connected(Resources(), None):
        for index in range(repeats):
            bare.append(seconds_of(run_bare, folder / f"bare-{index}"))
            ours.append(seconds_of(run_autoft, folder / f"autoft-{index}"))
    return {
        "ratio": min(ours) / min(bare),
        "autoft_seconds": min(ours),
        "bare_seconds": min(bare),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "trials": NUM_TRIALS,
        "epochs": NUM_EPOCHS,
        "repeats": repeats,
    }


def measure_startup(run: Path, *, repeats: int = 5) -> Json:
    """Return seconds of what a person waits for, and their ratios to an empty Python; the median of `repeats`."""
    (run / "search.yaml").write_text(yaml.safe_dump(idle_search().to_json(), sort_keys=False))
    empty = _median_seconds("pass", repeats)
    found: Json = {"python": {"seconds": empty, "ratio": 1.0}}
    for name, command in COMMANDS.items():
        seconds = _median_seconds(command.replace("{run!r}", repr(str(run))), repeats)
        found[name] = {"seconds": seconds, "ratio": seconds / empty}
    return found


def _median_seconds(command: str, repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", command], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first one reads files that no one had read


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each side; the best of each counts")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="autoft-overhead-") as name:
        found = measure(Path(name), repeats=options.repeats)
        found["startup"] = measure_startup(Path(name) / "autoft-0")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
