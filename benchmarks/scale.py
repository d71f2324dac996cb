"""How far one driver goes: loads of simulated workers, doubled until something gives; a large leaderboard; real actors.

    python -m benchmarks.scale --out FILE.json

Some 8 minutes on two cores. Every load, and every reading, is a process of its own:

- `benchmarks.scale_load` runs the real coordinator, record, ledger, live table and strategy, with workers that are
  simulated, at 64, 250, 1,000, 2,000, 4,000 ... trials side by side, for each of the strategies, until it gives.
- A leaderboard is read of a record of 10,000 trials of 50 epochs, that the real writer wrote.
- `benchmarks.scale_actors` starts real actors, as many as `--actors` says.

A load gives when epochs of ten seconds, one after the other in every worker, bring more than the driver can do: it
needs longer for what an epoch brings than from one epoch's end to the next; or when a worker waits for its first trial
longer than a minute.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from autoft.core.configs import EpochResult
from autoft.core.jsonable import Json, digest
from autoft.core.storage import Store
from autoft.record import RecordWriter
from benchmarks.overhead import idle_search
from benchmarks.scale_load import FILL_SECONDS, STRATEGIES, peak_megabytes

LEVELS = (64, 250, 1000)
"""Trials side by side; then each time twice as many, until it gives."""
MOST_SECONDS = 290.0
"""Of loads, after which no further one begins."""
EPOCH_SECONDS = 10.0
"""What an epoch lasts, in the rule that says when a load gives."""
BOARD_TRIALS, BOARD_EPOCHS = 10_000, 50
COLUMNS = (
    *("strategy", "workers", "first job s", "all at work s", "ms a report", "p99", "reports/s", "decisions/s"),
    *("shortest epoch s", "peak MB", "journal B an epoch", "live leaderboard s", "resume s"),
)
PARTS = ("loads", "leaderboard", "object_store", "actors")
REASONS: Mapping[str, str] = {
    "strategy": "each decision looks at what all trials so far came to",
    "record: fsync": "what was reported and decided is made durable before the worker is answered",
    "record: events": "each event is checked, encoded and folded into the driver's own view",
    "record: seal": "the journal is turned into Parquet, and smaller parts are merged",
    "ledger": "the history of all trials is put together for each decision",
    "snapshot": "the line of each event, and the sums over all trials beside it",
    "checkpoints": "with every trial that ends the leading ones are ranked, and the checkpoint folders listed",
    "coordinator": "reports are parsed, configurations completed, jobs written as text",
}
"""Why each part takes longer in a larger search."""


def run_loads(*, seconds: float, levels: Sequence[int], until: float) -> Json:
    """Return, for each strategy, the loads that it was given and what gave at the last one.

    Args:
        seconds: Of reports that are timed.
        levels: The first loads; then each is twice the one before.
        until: When no further load begins; a strategy at which nothing gave by then says so.
    """
    found: Json = {"strategies": {strategy: {"loads": [], "gives": None} for strategy in STRATEGIES}}
    left, workers, rest = list(STRATEGIES), 0, list(levels)
    while left:
        workers = rest.pop(0) if rest else 2 * workers
        for strategy in tuple(left):
            if time.perf_counter() > until:
                return found
            loads = found["strategies"][strategy]["loads"]
            loads.append(run_load(strategy, workers=workers, seconds=seconds))
            found["strategies"][strategy]["gives"] = given = what_gives(loads)
            if given is not None:
                left.remove(strategy)
    return found


def run_load(strategy: str, *, workers: int, seconds: float) -> Json:
    """Return what one load costs, measured in a process of its own."""
    command = ["benchmarks.scale_load", "--strategy", strategy, "--workers", str(workers), "--seconds", str(seconds)]
    found = json.loads(output(command))
    print(json.dumps(found), file=sys.stderr)
    return {**found, "shortest_epoch_seconds": shortest_epoch(found)}


def shortest_epoch(load: Mapping[str, float]) -> float | None:
    """Return the seconds that an epoch has to last, in the mean, so that the driver keeps up with all workers."""
    if "reports_per_second" not in load:
        return None
    return load["workers"] / load["reports_per_second"] / (1 - load["table_share"])


def what_gives(loads: Sequence[Json]) -> Json | None:
    """Return what gives at the last load, where, and why; None where nothing does."""
    last = loads[-1]
    if not last["is_filled"]:
        parts, before = last["fill_parts_ms"], loads[-2]["fill_parts_ms"] if len(loads) > 1 else {}
        what = f"{last['trials']} of {last['workers']} workers had a trial after {FILL_SECONDS:.0f} s"
    elif last["shortest_epoch_seconds"] > EPOCH_SECONDS:
        parts, before = last["parts_ms"], loads[-2]["parts_ms"] if len(loads) > 1 else {}
        what = (
            f"epochs of {EPOCH_SECONDS:g} s bring {last['workers'] / EPOCH_SECONDS:.0f} reports a second, and the "
            f"driver takes {last['reports_per_second']:.0f}"
        )
    else:
        return None
    where = max(parts, key=parts.__getitem__)
    grown = f", {before[where]:.2f} at the load before" if where in before else ""
    return {
        "workers": last["workers"],
        "what": what,
        "where": f"{where}: {parts[where]:.2f} of {sum(parts.values()):.2f} ms{grown}",
        "why": REASONS[where],
        "functions": last.get("functions", []),
    }


def table_of(found: Json) -> str:
    """Return the loads as a table for a person."""
    lines = [" | ".join(COLUMNS)]
    for strategy, runs in found.get("loads", {"strategies": {}})["strategies"].items():
        for one in runs["loads"]:
            report = one.get("report_ms", {})
            cells = [
                one["first_job_seconds"],
                one["fill_seconds"] if one["is_filled"] else None,
                report.get("mean"),
                report.get("p99"),
                *(one.get(name) for name in ("reports_per_second", "decisions_per_second", "shortest_epoch_seconds")),
                one["peak_mb"],
                one["journal_bytes_per_epoch"],
                one.get("leaderboard_seconds"),
                one["resume_seconds"],
            ]
            texts = ["-" if cell is None else f"{cell:,.3g}" if cell < 100 else f"{cell:,.0f}" for cell in cells]
            lines.append(" | ".join([strategy, f"{one['workers']:,}", *texts]))
        lines.append(f"{strategy} gives: {json.dumps(runs['gives'])}")
    lines += [
        f"{name}: {json.dumps(found[name])}" for name in ("leaderboard", "object_store", "actors") if name in found
    ]
    return "\n".join(lines)


def write_board(folder: Path, *, trials: int, epochs: int) -> Json:
    """Write a record of a large search by the real writer, in the order in which a search would, and say the costs."""
    store = Store.open(folder)
    search = idle_search()
    store.write("search.yaml", yaml.safe_dump(search.to_json(), sort_keys=False).encode())
    start = time.perf_counter()
    with RecordWriter(store) as writer:
        for number in range(1, trials + 1):
            trial = f"t{number:04d}"
            config = {"recipe": {"optimizer": {"name": "adamw", "lr": 1e-3}}, "trial": trial}
            assignment = {"optimizer": "adamw", "optimizer[adamw].lr": number / 1e6, "batch_size": 32}
            event = {"event": "trial", "trial": trial, "kind": "trial", "until_epoch": epochs}
            writer.append({**event, "assignment": assignment, "config": config})
            for epoch in range(1, epochs + 1):
                writer.append(
                    {"event": "epoch", "trial": trial, "result": board_epoch(number, epoch, epochs).to_json()}
                )
            writer.flush()
    return {"write_seconds": time.perf_counter() - start, "writer_peak_mb": peak_megabytes()}


def board_epoch(number: int, epoch: int, epochs: int) -> EpochResult:
    """Return an epoch as a trial reports it."""
    accuracy = (number * 7919 % 10_007 / 10_007) * epoch / (epoch + 3)
    metrics = {"train_loss": 1 - accuracy, "val_loss": 1.1 - accuracy, "val_accuracy": accuracy}
    return EpochResult(
        epoch=epoch,
        metrics=metrics | {"val_accuracy_stderr": 0.001, "parameters": 5_000_000, "latency_ms": 3.5},
        seconds=10.0,
        status="completed" if epoch == epochs else "running",
        is_best=True,
        timings={"data": 1.0, "forward_backward": 7.0, "optimizer": 0.5, "evaluate": 1.0, "checkpoint": 0.5},
        learning_rate=1e-3,
        weights_sha256=digest([number, epoch]),
    )


def measure_board(folder: Path, *, trials: int, epochs: int, repeats: int = 3) -> Json:
    """Return what it costs to write a large record and to read its leaderboard, which must leave every file alone."""
    run = folder / "board"
    written = json.loads(output(["benchmarks.scale", "--write", str(run), str(trials), str(epochs)]))
    before = state_of(run)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        text = output(["autoft", "leaderboard", str(run), "--format", "csv"])
        seconds.append(time.perf_counter() - start)
        if text.count("\n") != trials + 1:
            raise RuntimeError("The leaderboard lacks trials.")
    if state_of(run) != before:
        raise RuntimeError("Reading the leaderboard changed the run folder.")
    size = sum(path.stat().st_size for path in (run / "results").iterdir())
    return {
        "trials": trials,
        "epochs": epochs,
        **written,
        "bytes_per_epoch": size / (trials * epochs),
        "leaderboard_seconds": statistics.median(seconds),
        "leaderboard_changed_files": 0,
    }


def state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return each file's number, size and time of change."""
    files = {str(path): path.stat() for path in folder.rglob("*")}
    return {name: (found.st_ino, found.st_size, found.st_mtime_ns) for name, found in files.items()}


def output(arguments: Sequence[str]) -> str:
    """Return what a module of ours writes to stdout, as `python -m` runs it."""
    module = ["-c", COMMAND] if arguments[0] == "autoft" else ["-m", arguments[0]]
    return subprocess.run(
        [sys.executable, *module, *arguments[1:]], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


COMMAND = "import sys; from autoft.cli import main; sys.exit(main())"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--out", type=Path, help="JSON file to write")
    kind.add_argument("--write", nargs=3, metavar=("RUN", "TRIALS", "EPOCHS"), help="only write a large record")
    parser.add_argument("--seconds", type=float, default=5.0, help="of reports that are timed, in each load")
    parser.add_argument("--most-seconds", type=float, default=MOST_SECONDS, help="after which no load begins")
    parser.add_argument("--levels", type=int, nargs="+", default=list(LEVELS), help="the first loads, in workers")
    parser.add_argument("--board", type=int, default=BOARD_TRIALS, help="trials of the large record")
    parser.add_argument("--actors", type=int, default=16, help="real actors")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured; the rest stays as FILE has it"
    )
    options = parser.parse_args(arguments)
    if options.write:
        run, trials, epochs = options.write
        print(json.dumps(write_board(Path(run), trials=int(trials), epochs=int(epochs))))
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found: Json = json.loads(options.out.read_text()) if options.out.exists() and options.parts != PARTS else {}
    found |= {"cores": len(os.sched_getaffinity(0)), "processor": platform.processor() or platform.machine()}
    for part in options.parts:
        start = time.perf_counter()
        values = measure_part(part, options)
        found[part] = {"seconds": round(time.perf_counter() - start), **values}
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(table_of(found))


def measure_part(part: str, options: argparse.Namespace) -> Json:
    """Return one part of the measurement."""
    if part == "loads":
        return run_loads(
            seconds=options.seconds, levels=options.levels, until=time.perf_counter() + options.most_seconds
        )
    if part == "leaderboard":
        with tempfile.TemporaryDirectory(prefix="autoft-scale-") as name:
            return measure_board(Path(name), trials=options.board, epochs=BOARD_EPOCHS)
    arguments = {
        "object_store": ("benchmarks.scale_load", "--requests", "--strategy", "random+asha", "--workers", "64"),
        "actors": ("benchmarks.scale_actors", "--actors", str(options.actors)),
    }
    found: Json = json.loads(output(arguments[part]))
    return found


if __name__ == "__main__":
    main()
