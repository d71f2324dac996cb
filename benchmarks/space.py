"""How fast a space works: configurations a second, and the seconds to check a large one.

    python -m benchmarks.space --out FILE.json

A configuration is drawn, validated, made a whole recipe and serialised, from the shipped space with most parameters, on
one core. The space that is checked has 200 parameters, conditions and forbidden combinations; it is read from its file
as `autoft space check` does, the tables of facts included when it is read first (`check_seconds`), and again
(`recheck_seconds`).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json, canonical_json
from autoft.core.seeds import generator
from autoft.space import SearchSpace, load_space, shipped_spaces

NUM_PARAMETERS = 200
NUM_SAMPLES = 5000


def largest_shipped() -> SearchSpace:
    """Return the shipped space with most parameters."""
    return max(map(load_space, shipped_spaces()), key=lambda space: len(space.parameters))


def samples_per_second(space: SearchSpace, *, repeats: int) -> float:
    """Return configurations a second of processor time, the median of `repeats`."""
    rates = []
    for repeat in range(repeats):
        rng = generator(repeat, "benchmark")
        start = time.process_time()
        for _ in range(NUM_SAMPLES):
            assignment = space.sample(rng)
            space.validate(assignment)
            canonical_json(space.recipe(assignment))
        rates.append(NUM_SAMPLES / (time.process_time() - start))
    return statistics.median(rates)


def large_space(num_parameters: int = NUM_PARAMETERS) -> Json:
    """Return the form of a space with so many parameters: many optimizers and backbones, each with its settings."""
    optimizers = [
        {
            "name": "adamw",
            "as": f"adamw_{index}",
            "lr": {"log_uniform": [1e-5, 1e-2], "prior": 1e-3},
            "weight_decay": {"uniform": [0.0, 0.1], "when": {"finetune.mode": "full"}},
            "beta1": {"uniform": [0.8, 0.95]},
        }
        for index in range(num_parameters // 4)
    ]
    num_left = num_parameters - 3 * len(optimizers) - 5
    backbones = [
        {"name": "timm:resnet18", "as": f"resnet_{index}", "drop_path": {"uniform": [0.0, 0.2]}}
        for index in range(num_left)
    ]
    return {
        "task": "image-classification",
        "backbone": {"choice": backbones},
        "finetune": {"choice": [{"mode": "full", "layer_decay": {"uniform": [0.5, 1.0]}}, {"mode": "head"}]},
        "optimizer": {"choice": optimizers},
        "batch_size": {"choice": [16, 32, 64], "probabilities": [0.5, 0.25, 0.25]},
        "forbid": [{"batch_size": 64, "optimizer.lr": {"above": 5e-3}}],
    }


def check_seconds(path: Path, *, repeats: int) -> tuple[float, float]:
    """Return the seconds of the first check of a file in this process, and the median of those after it."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        load_space(path)
        seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:])


def mistakes_seconds(form: Json, path: Path) -> tuple[int, float]:
    """Return how many mistakes one pass finds where every branch of the space has one, and its seconds."""
    for branch in form["optimizer"]["choice"]:
        branch["beta1"] = {"uniform": [0.95, 0.8]}
    path.write_text(yaml.safe_dump(form))
    start = time.perf_counter()
    try:
        load_space(path)
    except SpaceError as error:
        return len(error.problems), time.perf_counter() - start
    return 0, time.perf_counter() - start


def measure(folder: Path, *, repeats: int) -> Json:
    """Return the measurements."""
    form = large_space()
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(form))
    first, again = check_seconds(path, repeats=repeats)
    num_checked = len(load_space(path).parameters)
    num_mistakes, seconds = mistakes_seconds(form, folder / "wrong.yaml")
    shipped = largest_shipped()
    return {
        "samples_per_second": samples_per_second(shipped, repeats=repeats),
        "check_seconds": first,
        "recheck_seconds": again,
        "checked_parameters": num_checked,
        "mistakes_in_one_pass": num_mistakes,
        "mistakes_seconds": seconds,
        "sampled_space": shipped.name,
        "sampled_parameters": len(shipped.parameters),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each; the median counts")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="autoft-space-") as name:
        found = measure(Path(name), repeats=options.repeats)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
