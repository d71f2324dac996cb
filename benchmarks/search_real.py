"""Real searches at equal time: autoft's default against Ray's ASHA with HyperOpt, as people combine them.

    python -m benchmarks.search_real --data DIR --out FILE.json [--seeds 3] [--seconds 240]

On a few hundred rows each of textile pictures, emoji and movie snippets, over the default space with the backbone whose
weights come in a package. Both sides search the same space, split and lengths with the same trial code, in a process of
their own, two trials side by side on warm workers; each has so many seconds from its first step, the reading of the
data and Ray's start included. The peer tests its winner beyond its time, autoft within it. Both winners are the best of
the validation split, and are tested once. The time to reach the peer is the seconds after which autoft's best on the
validation split first was no worse than the peer's last. Every search that is done is written down, and the next call
goes on; all of it takes 75 minutes on two cores that do nothing else.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autoft.core.configs import Budget, DataSpec, Resources, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.space import SearchSpace, load_space
from benchmarks.build_experience import SMALLEST
from benchmarks.experience_sets import METRIC, SETS, DataSet

SIDES = ("autoft", "Ray ASHA + HyperOpt")
NUM_ROWS = 600
"""Of each set; 360 of them to train on."""
EPOCHS = 6
"""The most of one trial."""
SPACES: Mapping[str, tuple[str, Json]] = {
    "textile": ("image-classification/default", {"backbone.name": "timm:tf_efficientnet_lite0"}),
    "emoji": ("image-classification/default", {"backbone.name": "timm:tf_efficientnet_lite0"}),
    "movie": ("text-classification/default", {"backbone.name": "hf:sentence-transformers/all-MiniLM-L6-v2"}),
}


def space_of(name: str) -> SearchSpace:
    """Return the space that a set is searched in."""
    shipped, narrowed = SPACES[name]
    space = load_space(shipped)
    return space.narrowed(narrowed | SMALLEST[space.task])


def table_of(one: DataSet, folder: Path) -> Path:
    """Write the rows of a set, as many of each class, and return the table."""
    by_label: dict[str, list[str]] = {}
    for content, label in sorted(set(one.rows(folder))):
        by_label.setdefault(label, []).append(content)
    path = folder / one.name / "search-real.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image" if one.task.startswith("image") else "text", "label"))
        for label, contents in sorted(by_label.items()):
            step = max(1, len(contents) * len(by_label) // NUM_ROWS)
            writer.writerows((content, label) for content in contents[::step][: NUM_ROWS // len(by_label)])
    return path


def run_autoft(name: str, data: Path, *, seed: int, seconds: float, folder: Path) -> Json:
    """Search by autoft's default, and return how it ended."""
    import autoft

    began = time.time()
    result = autoft.search(
        data,
        target="label",
        space=space_of(name),
        budget=Budget(seconds=seconds, epochs=EPOCHS),
        resources=Resources(cpus_per_trial=1, concurrent=2),
        seed=seed,
        out=folder / "run",
    )
    took = time.time() - began
    columns = [table.whole().select(["time", METRIC]).to_pydict() for table in result.record.epoch_tables]
    trace = sorted((at - began, value) for one in columns for at, value in zip(one["time"], one[METRIC], strict=True))
    best = next(row for row in result.rows() if row["rank"] == 1)
    return {
        "test": best["test_accuracy"],
        "val": best[METRIC],
        "trials": sum(row["status"] != "probe" for row in result.rows()),
        "epochs": len(trace),
        "seconds": round(took, 1),
        "trace": _risen(trace),
    }


def run_peer(name: str, data: Path, *, seed: int, seconds: float, folder: Path) -> Json:
    """Search by Ray's ASHA and HyperOpt with their usual settings, and return how it ended."""
    began = time.time()
    import ray
    from ray import tune
    from ray.tune.schedulers import AsyncHyperBandScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.hyperopt import HyperOptSearch

    from autoft.data import prepare
    from autoft.engine import trials
    from autoft.strategies.hyperopt_graph import expression
    from benchmarks.ray_peer import Setting, Watcher, trainable

    space = space_of(name)
    prepared = prepare(data, DataSpec(source=str(data), target="label", seed=seed), out=folder / "data")
    setting = Setting(
        space=space.to_json(),
        run=str(folder),
        fingerprint=prepared.fingerprint,
        store=str(folder / "peer"),
        epochs=EPOCHS,
        seed=seed,
        began=began,
    )
    seen = Watcher()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    search = HyperOptSearch(space=expression(space.parameters), metric=METRIC, mode="max", random_state_seed=seed)
    tune.run(
        tune.with_resources(trainable(setting), {"cpu": 1}),
        search_alg=ConcurrencyLimiter(search, max_concurrent=2),
        scheduler=AsyncHyperBandScheduler(
            time_attr="epoch", metric=METRIC, mode="max", max_t=EPOCHS, grace_period=1, reduction_factor=3
        ),
        num_samples=-1,
        time_budget_s=seconds - (time.time() - began),
        reuse_actors=True,
        raise_on_failed_trial=False,
        storage_path=str(folder / "tune"),
        callbacks=[seen],
        verbose=0,
    )
    took = time.time() - began
    in_time = [(at, value, trial) for at, value, trial in seen.reports if at <= seconds]
    if not in_time:
        raise RuntimeError(f"On {name} no trial of the peer ended an epoch within {seconds:.0f} s.")
    _, val, winner = max(in_time, key=lambda report: report[1])
    config = TrialConfig.from_json(seen.configs[winner], where=winner)
    report = trials.test_trial(config, trial=winner, rows=setting.rows, store=Store.open(setting.store))
    ray.shutdown()
    return {
        "test": report["metrics"]["accuracy"]["value"],
        "val": val,
        "trials": len({trial for _, _, trial in in_time}),
        "epochs": len(in_time),
        "seconds": round(took, 1),
        "trace": _risen([(at, value) for at, value, _ in in_time]),
    }


def _risen(trace: Sequence[tuple[float, float | None]]) -> list[list[float]]:
    """Return when the best rose, and to what."""
    risen: list[list[float]] = []
    for at, value in sorted(trace):
        if value is not None and (not risen or value > risen[-1][1]):
            risen.append([round(at, 1), value])
    return risen


def reached(trace: Sequence[Sequence[float]], value: float) -> float | None:
    """Return the seconds after which a trace was no less than `value`; None: never."""
    return next((at for at, best in trace if best >= value), None)


def table(results: Sequence[Json]) -> Iterator[str]:
    """Yield the lines of a Markdown table: each pair of searches, then the means."""
    yield "| data | seed | test: autoft | test: peer | validation: autoft | peer | seconds to the peer's | trials |"
    yield "|---|---|---|---|---|---|---|---|"
    by_case = {(one["data"], one["seed"], one["side"]): one for one in results}
    pairs = [
        (ours, by_case[name, seed, SIDES[1]])
        for (name, seed, side), ours in by_case.items()
        if side == SIDES[0] and (name, seed, SIDES[1]) in by_case
    ]
    for ours, peer in pairs:
        at = reached(ours["trace"], peer["val"])
        yield (
            f"| {ours['data']} | {ours['seed']} | {ours['test']:.3f} | {peer['test']:.3f} | {ours['val']:.3f} "
            f"| {peer['val']:.3f} | {'never' if at is None else f'{at:.0f}'} | {ours['trials']}, {peer['trials']} |"
        )
    for name in dict.fromkeys(ours["data"] for ours, _ in pairs):
        own = [pair for pair in pairs if pair[0]["data"] == name]
        means = [statistics.mean(pair[side][key] for pair in own) for key in ("test", "val") for side in (0, 1)]
        yield f"| {name} | mean of {len(own)} | " + " | ".join(f"{mean:.3f}" for mean in means) + " | | |"


def main() -> None:
    """Run the searches that FILE.json does not hold yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder of packages and tables.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; kept and added to.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--only", nargs=3, metavar=("SET", "SIDE", "SEED"), help="One search; its JSON is printed.")
    arguments = parser.parse_args()
    if arguments.only is not None:
        name, side, seed = arguments.only
        run = run_autoft if side == SIDES[0] else run_peer
        with tempfile.TemporaryDirectory(prefix="autoft-real-") as folder:
            data = arguments.data / name / "search-real.csv"
            found = run(name, data, seed=int(seed), seconds=arguments.seconds, folder=Path(folder))
        print(json.dumps(found))
        return
    sets = [one for one in SETS if one.name in SPACES]
    for one in sets:
        table_of(one, arguments.data.resolve())
    results: list[Json] = json.loads(arguments.out.read_text())["searches"] if arguments.out.exists() else []
    done = {(one["data"], one["side"], one["seed"]) for one in results}
    for seed in range(arguments.seeds):
        for name, side in ((one.name, side) for one in sets for side in SIDES):
            if (name, side, seed) not in done:
                command = [sys.executable, "-m", "benchmarks.search_real", "--data", str(arguments.data.resolve())]
                command += ["--out", str(arguments.out), "--seconds", str(arguments.seconds)]
                printed = subprocess.run(
                    [*command, "--only", name, side, str(seed)], check=True, stdout=subprocess.PIPE
                )
                found = json.loads(printed.stdout.splitlines()[-1])
                results.append({"data": name, "side": side, "seed": seed} | found)
                arguments.out.write_text(json.dumps({"searches": results}, indent=1) + "\n")
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
