"""Real actors: what so many warm workers of Ray Tune take to start on this machine, and how fast Tune hears them.

    python -m benchmarks.scale_actors --actors 16

They train nothing: the first epoch of each trial waits until all of them are there, and the others take no time.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoft.core.configs import Budget, EpochResult, ExecutionPolicy, Resources, StrategyConfig, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.data import RunRows
from autoft.engine.job import Heartbeat, KeepTrace, WorkerSpec
from autoft.engine.search import run_search
from autoft.record import read_events
from benchmarks.overhead import Idle, idle_search

PATIENCE_SECONDS = 240.0
"""After which a worker waits for the others no more."""
LOOK_SECONDS = 0.05
NUM_EPOCHS = 20
MEETING = "meeting"


class Waiting(Idle):
    """A trial whose first epoch ends when all workers are there."""

    def __init__(self, config: TrialConfig, folder: Path) -> None:
        super().__init__(config)
        self._folder = folder

    def run_epoch(self) -> EpochResult:
        """Say that this worker is there, and wait; after that, report at once."""
        if self._epoch:
            return super().run_epoch()
        (self._folder / f"{time.time_ns()}.{os.getpid()}").touch()
        until = time.monotonic() + PATIENCE_SECONDS
        while not (self._folder / "go").exists() and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        return super().run_epoch()


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
) -> Waiting:
    """Open a waiting trial; see `autoft.engine.job.OpenTrial`. Workers meet beside the run folder."""
    return Waiting(config, Path(store.root).parents[2] / MEETING)


def measure(folder: Path, actors: int) -> Json:
    """Run a search of so many trials side by side; return how long workers took to come, their memory, and the pace."""
    meeting = folder / MEETING
    meeting.mkdir()
    search = replace(
        idle_search(),
        budget=Budget(trials=actors, epochs=NUM_EPOCHS),
        searcher=StrategyConfig(name="random"),
        resources=Resources(gpus_per_trial=0, cpus_per_trial=1 / actors, concurrent=actors, hang_seconds=600.0),
    )
    found: Json = {"actors": actors}
    start = time.time()

    def look() -> None:
        while len(there := sorted(meeting.iterdir())) < actors and time.time() - start < PATIENCE_SECONDS:
            time.sleep(LOOK_SECONDS)
        arrived = [int(path.stem) / 1e9 - start for path in there]
        held = [megabytes(int(path.suffix[1:])) for path in there]
        found.update(
            arrived=len(arrived),
            first_seconds=arrived[0],
            last_seconds=arrived[-1],
            seconds_per_actor=(arrived[-1] - arrived[0]) / max(1, len(arrived) - 1),
            mb_per_actor=sum(held) / len(held),
        )
        found["went_at"] = time.time()
        (meeting / "go").touch()

    looking = threading.Thread(target=look)
    looking.start()
    worker = WorkerSpec(open_trial="benchmarks.scale_actors:open_trial", finalize="benchmarks.overhead:finalize")
    store = Store.open(folder / "run")
    run_search(search, store=store, worker=worker)
    looking.join()
    times = [event["time"] for event in read_events(store) if event["event"] == "epoch"]
    found["reports"] = len(times)
    found["reports_per_second"] = len(times) / (max(times) - found.pop("went_at"))
    return found


def megabytes(process: int) -> float:
    """Return what a process holds: its private memory, and its share of what it shares with others."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, default=16, help="workers side by side")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="autoft-actors-") as name:
        print(json.dumps(measure(Path(name), options.actors)))


if __name__ == "__main__":
    main()
