"""What searching the whole recipe is worth: the default space against its learning rate alone, at equal trials.

    python -m benchmarks.recipe --out FILE.json [--seeds 3] [--task image|text]

On 600 textile pictures at 128 px (EfficientNet-Lite0) and 1,000 movie snippets (MiniLM), whose weights and data come
in packages: 10 trials of at most 4 epochs, hyperopt's TPE and ASHA (so that what is compared is the spaces, with the
plainest of searches), the same seeds, splits and probes. The other side of the comparison is the space's default recipe
with the learning rate's own range. Both winners are tested once, on the same test split. Takes about half an hour on
two cores; every search that is done is written down, and the next call goes on.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import autoft
from autoft.core.jsonable import Json
from autoft.data import packaged
from autoft.space import load_space

Task = Literal["image", "text"]
SPACES = {"image": "image-classification/default", "text": "text-classification/default"}
BACKBONES: dict[str, Json] = {
    "image": {"backbone.name": "timm:tf_efficientnet_lite0", "backbone.input_size": 128},
    "text": {"backbone.name": "hf:sentence-transformers/all-MiniLM-L6-v2", "backbone.max_length": 64},
}
SIDES = ("whole recipe", "learning rate alone")
BUDGET = autoft.Budget(trials=10, epochs=4)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One search of the comparison."""

    task: Task
    side: str
    seed: int


def whole(task: Task) -> autoft.SearchSpace:
    """Return the default space of a task with the one backbone whose weights are at hand."""
    return load_space(SPACES[task]).narrowed(BACKBONES[task])


def rate_alone(task: Task) -> autoft.SearchSpace:
    """Return the default recipe of `whole`, its learning rate alone to be searched."""
    space = whole(task)
    recipe = space.recipe(space.default())
    name = recipe["optimizer"]["name"]
    rate = next(one for one in space.parameters if one.path == "optimizer.lr" and f"[{name}]" in one.label)
    recipe["optimizer"]["lr"] = rate.domain.to_json()
    return autoft.SearchSpace.from_json({"task": space.task, **recipe}, name=f"{space.name}, learning rate alone")


def run(case: Case, data: Path) -> Json:
    """Return how one search ended."""
    space = whole(case.task) if case.side == SIDES[0] else rate_alone(case.task)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = autoft.search(
            data,
            target="label",
            space=space,
            budget=BUDGET,
            searcher="tpe-hyperopt",
            scheduler="asha",
            seed=case.seed,
            out=f"{folder}/run",
        )
        rows = result.rows()
    best = next(row for row in rows if row["rank"] == 1)
    probe = next(row for row in rows if row["status"] == "probe")
    return {
        "task": case.task,
        "side": case.side,
        "seed": case.seed,
        "num_parameters": len(space.parameters),
        "winner": best["trial"],
        "val": best["val_accuracy"],
        "test": best["test_accuracy"],
        "probe_val": probe["val_accuracy"],
        "epochs": sum(row["epochs"] or 0 for row in rows),
        "seconds": round(time.monotonic() - start, 1),
    }


def table(results: Sequence[Json]) -> Iterator[str]:
    """Yield the lines of a Markdown table: each search, then the means."""
    yield "| task | searched | seed | validation | test | epochs | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for one in results:
        yield (
            f"| {one['task']} | {one['side']} ({one['num_parameters']}) | {one['seed']} | {one['val']:.3f} "
            f"| {one['test']:.3f} | {one['epochs']} | {one['seconds']:.0f} |"
        )
    for task in dict.fromkeys(one["task"] for one in results):
        for side in SIDES:
            own = [one for one in results if (one["task"], one["side"]) == (task, side)]
            if own:
                means = [statistics.mean(one[key] for one in own) for key in ("val", "test", "epochs", "seconds")]
                figures = f"| {means[0]:.3f} | {means[1]:.3f} | {means[2]:.0f} | {means[3]:.0f} |"
                yield f"| {task} | {side} | mean of {len(own)} {figures}"


def main() -> None:
    """Run the searches that FILE.json does not hold yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file; kept and added to.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--task", choices=("image", "text"), help="One task alone.")
    arguments = parser.parse_args()
    results: list[Json] = json.loads(arguments.out.read_text())["searches"] if arguments.out.exists() else []
    done = {(one["task"], one["side"], one["seed"]) for one in results}
    with tempfile.TemporaryDirectory() as folder:
        data = {
            "image": packaged.textile_table(Path(folder) / "textile.csv", per_class=200),
            "text": packaged.movie_review_table(Path(folder) / "movie-reviews.csv", num_rows=1000),
        }
        tasks: tuple[Task, ...] = ("image", "text") if arguments.task is None else (arguments.task,)
        for case in (
            Case(task=task, side=side, seed=n) for n in range(arguments.seeds) for task in tasks for side in SIDES
        ):
            if (case.task, case.side, case.seed) not in done:
                results.append(run(case, data[case.task]))
                arguments.out.write_text(json.dumps({"searches": results}, indent=2) + "\n")
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
