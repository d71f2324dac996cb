"""One load on a driver: the real coordinator, record, ledger and live table, and workers that are only simulated.

    python -m benchmarks.scale_load --workers 250 --strategy curves [--seconds 10] [--profile]

Workers live on a clock of their own, on which an epoch takes a minute or so; the driver does at once what each of
their epochs brings, and is timed. So a load says how many epochs a second the driver can take, whatever they last.
"""

import argparse
import contextlib
import cProfile
import json
import math
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from pyarrow import fs

from autoft.core.configs import Budget, DataSpec, Resources, SearchConfig, StrategyConfig
from autoft.core.jsonable import Json, finite_or_none
from autoft.core.storage import Store
from autoft.engine.clock import Clock
from autoft.engine.coordinator import Coordinator
from autoft.engine.job import Job, Report
from autoft.engine.keeping import Pruner
from autoft.engine.search import restore_ledger
from autoft.record import RecordWriter
from autoft.space import SearchSpace, load_space
from autoft.strategies import build_strategy
from benchmarks.scale_simulated import NUM_EPOCHS, Counted, Workers
from benchmarks.scale_timed import Stopwatch, TimedLedger, TimedStrategy, TimedWatcher, TimedWriter

SPACE = "image-classification/default"
TRIALS_PER_WORKER = 4
FILL_SECONDS = 60.0
"""After which no more workers are given their first trial."""
WARM_SECONDS = 30.0
PROFILED = 40
"""Reports, after those that are timed, that are looked at by function."""
STRATEGIES = {
    "curves": ("curves", "curves"),
    "tpe+asha": ("tpe", "asha"),
    "random+asha": ("random", "asha"),
    "random+asha-promote": ("random", "asha-promote"),
}
"""Searcher and scheduler; the first are the defaults."""
LEADERBOARD = (
    "import sys; sys.argv = ['autoft', 'leaderboard', {run!r}, '--top', '20', '--format', 'csv']; "
    "from autoft.cli import main; sys.exit(main())"
)


def make_search(strategy: str, workers: int, seconds: float | None = None) -> SearchConfig:
    """Return a search of `TRIALS_PER_WORKER` trials a worker over a shipped space."""
    searcher, scheduler = STRATEGIES[strategy]
    space = load_space(SPACE, None)
    return SearchConfig(
        task=space.task,
        data=DataSpec(source="nothing"),
        fingerprint="0" * 64,
        space=space.to_json(),
        space_name=SPACE,
        metrics=("accuracy",),
        budget=Budget(trials=TRIALS_PER_WORKER * workers, epochs=NUM_EPOCHS, seconds=seconds),
        searcher=StrategyConfig(name=searcher),
        scheduler=StrategyConfig(name=scheduler, options={"grace": 1}),
        resources=Resources(gpus_per_trial=0),
        address=None,
        seed=0,
    )


@dataclass(kw_only=True)
class Driver:
    """A search under way, as `run_search` puts it together, without Ray."""

    store: Store
    search: SearchConfig
    workers: int

    def __post_init__(self) -> None:
        self.watch = Stopwatch()
        self.first_job_at = float("nan")
        self.simulated = Workers(self.store)
        self.writer = TimedWriter(self.store, self.watch)
        self.ledger = TimedLedger(self.search, self.watch)
        space = SearchSpace.from_json(self.search.space)
        clock = Clock(seconds_before=0.0, budget=self.search.budget, monotonic=lambda: self.simulated.now)
        self.strategy = TimedStrategy(build_strategy(self.search.searcher, self.search.scheduler), self.watch)
        self.watcher = TimedWatcher(
            self.watch,
            search=self.search,
            space=space,
            ledger=self.ledger,
            clock=clock,
            record=lambda: self.writer.record,
        )
        self.watcher.has_places(self.workers)
        self.coordinator = Coordinator(
            self.search,
            space=space,
            strategy=self.strategy,
            ledger=self.ledger,
            journal=self.writer,
            clock=clock,
            slots=self.workers,
            on_change=self.watcher.show,
            on_tick=self.watcher.tick,
            on_finished=self._prune,
        )
        self._pruner = Pruner(self.store, self.ledger, keep=self.search.keep)

    def _prune(self) -> None:
        with self.watch.part("checkpoints"):
            self._pruner()

    def hand_out(self, *, until: float) -> bool:
        """Give every free worker a job; return False where the time `until` came first."""
        while time.perf_counter() < until:
            with self.watch.part("coordinator"):
                job = self.coordinator.next_job()
                text = None if job is None else job.to_text()
            if text is None:
                return True
            if math.isnan(self.first_job_at):
                self.first_job_at = time.perf_counter()
            taken = Job.from_text(text)
            self.simulated.begin(taken, taken.epochs_recorded + 1)
        return False

    def warm_up(self) -> None:
        """Take as many reports as there are workers, so that trials stand at rungs, within `WARM_SECONDS`."""
        until = time.perf_counter() + WARM_SECONDS
        for _ in range(self.workers):
            if not self.coordinator.is_over and time.perf_counter() < until:
                self.take_report()

    def take_report(self) -> float:
        """Do all that the next report brings; return the seconds."""
        job, epoch, text = self.simulated.next()
        start = time.perf_counter()
        with self.watch.part("coordinator"):
            report = Report.from_text(text)
            goes_on = self.coordinator.reported(report)
        if goes_on:
            self.simulated.begin(job, epoch + 1)
        self.hand_out(until=float("inf"))
        with self.watch.part("coordinator"):
            self.coordinator.tick()
        return time.perf_counter() - start


def measure(folder: Path, strategy: str, *, workers: int, seconds: float, limited: bool = False) -> Json:
    """Return what a load costs the driver.

    Args:
        folder: A new run folder.
        strategy: Of `STRATEGIES`.
        workers: Trials side by side.
        seconds: After so many, once every worker has a trial, the search is broken off.
        limited: Whether the search has a budget of seconds, so that every epoch brings a decision.
    """
    search = make_search(strategy, workers, seconds=1e9 if limited else None)
    store = Store.open(folder)
    store.write("search.yaml", yaml.safe_dump(search.to_json(), sort_keys=False).encode())
    megabytes_before = peak_megabytes()
    start = time.perf_counter()
    driver = Driver(store=store, search=search, workers=workers)
    driver.watcher.stage("searching")
    is_filled = driver.hand_out(until=start + FILL_SECONDS)
    fill_seconds = time.perf_counter() - start
    fill_parts = driver.watch.milliseconds(max(1, len(driver.ledger.entries)))
    if is_filled:
        driver.warm_up()
    found: Json = {
        "strategy": strategy,
        "limited": limited,
        "workers": workers,
        "first_job_seconds": driver.first_job_at - start,
        "first_row_seconds": finite_or_none(driver.watcher.first_row_at - start),
        "is_filled": is_filled,
        "fill_seconds": fill_seconds,
        "fill_parts_ms": fill_parts,
        **(measure_reports(driver, folder, until=time.perf_counter() + seconds) if is_filled else {}),
        "trials": len(driver.ledger.entries),
        "epochs": sum(len(entry.epochs) for entry in driver.ledger.entries),
        "table_ms": 1000 * float(np.mean(driver.watcher.tables)),
        "start_mb": megabytes_before,
        "peak_mb": peak_megabytes(),
    }
    return found | measure_record(driver, folder)


def count_requests(folder: Path, strategy: str, *, workers: int) -> Json:
    """Return how many requests to an object store each report of a whole search takes, by their kind."""
    counted = Counted()
    store = Store(fs.PyFileSystem(counted), str(folder), is_local=False)
    driver = Driver(store=store, search=make_search(strategy, workers), workers=workers)
    driver.simulated.store = Store.open(folder)
    driver.hand_out(until=float("inf"))
    reports = 0
    while not driver.coordinator.is_over:
        driver.take_report()
        reports += 1
    driver.writer.close()
    return {"workers": workers, "reports": reports, **{k: n / reports for k, n in sorted(counted.requests.items())}}


def measure_reports(driver: Driver, folder: Path, *, until: float) -> Json:
    """Take reports until the search is over or the time `until` comes; meanwhile a process reads the leaderboard."""
    before, num_flushes = dict(driver.watch.seconds), driver.writer.num_flushes
    num_decisions = len(driver.strategy.seconds)
    half = (time.perf_counter() + until) / 2
    seconds: list[float] = []
    reader: subprocess.Popen[bytes] | None = None
    reader_start = reader_seconds = 0.0
    while not driver.coordinator.is_over and time.perf_counter() < until:
        seconds.append(driver.take_report())
        if reader is None and time.perf_counter() > half:
            reader_start = time.perf_counter()
            command = [sys.executable, "-c", LEADERBOARD.replace("{run!r}", repr(str(folder)))]
            reader = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        if reader is not None and not reader_seconds and reader.poll() is not None:
            reader_seconds = time.perf_counter() - reader_start
    if reader is not None and reader.wait():
        raise RuntimeError("The leaderboard could not be read while the search ran.")
    parts = driver.watch.milliseconds(len(seconds), before)
    table = parts.pop("table", 0.0)
    mean = sum(parts.values())
    decisions = driver.strategy.seconds[num_decisions:]
    return {
        "reports": len(seconds),
        "reports_per_second": 1000 / mean,
        "report_ms": spread(seconds),
        "parts_ms": parts,
        "table_share": table / (table + mean),
        "decisions": len(decisions),
        "decisions_per_second": 1000 / mean * len(decisions) / len(seconds),
        "decision_ms": spread(decisions),
        "flushes_per_report": (driver.writer.num_flushes - num_flushes) / len(seconds),
        "leaderboard_seconds": reader_seconds or None,
        "functions": hottest(driver),
    }


def hottest(driver: Driver, *, count: int = 5) -> list[str]:
    """Return the functions in which the driver spends most of its time, with their share."""
    profile = cProfile.Profile()
    with profile:
        for _ in range(PROFILED):
            if not driver.coordinator.is_over:
                driver.take_report()
    stats = pstats.Stats(profile)
    own = {key: found[2] for key, found in stats.stats.items()}  # type: ignore[attr-defined]
    whole = sum(own.values())
    leading = sorted(own, key=own.__getitem__, reverse=True)[:count]
    return [f"{Path(file).name}:{name} {100 * own[file, line, name] / whole:.0f} %" for file, line, name in leading]


def measure_record(driver: Driver, folder: Path) -> Json:
    """Seal and close the record, and take the search up again, as a resume does."""
    epochs = sum(len(entry.epochs) for entry in driver.ledger.entries)
    start = time.perf_counter()
    driver.writer.close()
    writer = RecordWriter(driver.store)
    ledger = restore_ledger(writer.record, driver.search)
    resume_seconds = time.perf_counter() - start
    if [entry.view for entry in ledger.entries] != [entry.view for entry in driver.ledger.entries]:
        raise RuntimeError("The record does not give back the search that was.")
    writer.seal()
    writer.close()
    sealed = sum(path.stat().st_size for path in (folder / "results").iterdir())
    return {
        "resume_seconds": resume_seconds,
        "journal_bytes_per_epoch": driver.writer.num_bytes / max(1, epochs),
        "sealed_bytes_per_epoch": sealed / max(1, epochs),
    }


def spread(seconds: Sequence[float]) -> Json:
    """Return mean, 99th percentile and maximum in milliseconds."""
    taken = 1000 * np.array(seconds or [np.nan])
    return {"mean": float(taken.mean()), "p99": float(np.quantile(taken, 0.99)), "max": float(taken.max())}


def peak_megabytes() -> float:
    """Return the most that this process held at any time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategy", choices=list(STRATEGIES), default="curves")
    parser.add_argument("--limited", action="store_true", help="with a budget of seconds: every epoch is decided on")
    parser.add_argument("--workers", type=int, default=64, help="trials side by side")
    parser.add_argument("--seconds", type=float, default=10.0, help="of reports that are timed")
    parser.add_argument("--requests", action="store_true", help="only count the requests to an object store")
    parser.add_argument("--profile", type=int, metavar="ROWS", help="say on stderr which functions took the time")
    options = parser.parse_args(arguments)
    profile = cProfile.Profile() if options.profile else contextlib.nullcontext()
    with tempfile.TemporaryDirectory(prefix="autoft-scale-") as name, profile:
        if options.requests:
            print(json.dumps(count_requests(Path(name) / "run", options.strategy, workers=options.workers)))
            return
        found = measure(
            Path(name) / "run",
            options.strategy,
            workers=options.workers,
            seconds=options.seconds,
            limited=options.limited,
        )
    if isinstance(profile, cProfile.Profile):
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(options.profile)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
