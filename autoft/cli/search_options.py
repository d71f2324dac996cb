"""The options of `autoft search` alone, with their help."""

from pathlib import Path
from typing import Annotated, Any

import typer

from autoft.cli import parsing
from autoft.cli.options import BUDGET, DATA, OUTPUT, RESOURCES, STRATEGY, flag, valued
from autoft.cli.searchfile import apply_file


def _own_data(kind: str) -> Any:
    return valued("DATA", f"{kind} data of your own.", DATA, "20 % of DATA")


Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A folder of class folders, or a CSV, TSV, JSONL or Parquet table.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="YAML file with any of these, DATA too, by their names in snake_case (cpus_per_trial: 2), and "
        "set: as a map. What is on the line wins.",
        is_eager=True,
        callback=apply_file,
        show_default="none",
    ),
]

Task = Annotated[str | None, valued("TASK", "`autoft list tasks` shows all.", DATA, "seen from the data")]
Target = Annotated[str | None, valued("COL", "Column to predict, for tables.", DATA, "none")]
Val = Annotated[str | None, _own_data("Validation")]
Test = Annotated[str | None, _own_data("Test")]
Group = Annotated[
    str | None,
    valued("COL", "Column whose values must not be split between training, validation and test.", DATA, "none"),
]

Space = Annotated[
    str | None,
    valued("SPACE", "A shipped space (`autoft list spaces`) or a YAML file.", STRATEGY, "TASK/default"),
]
Set = Annotated[
    list[str] | None,
    valued(
        "PATH=VALUE",
        "Fix or narrow a parameter of the space: optimizer.lr=1e-4, batch_size={choice: [16, 32]}; or set "
        "an option of the data: data.drop_rare=true. May be repeated.",
        STRATEGY,
        "none",
        name="--set",
    ),
]
Metric = Annotated[
    list[str] | None,
    valued(
        "METRIC",
        "What ranks the trials; -NAME minimises. Repeated: trials that no other dominates in all of them "
        "lead, the best by the first before the others. Before costs alone, such as -latency_ms, comes the task's "
        "own. `autoft list metrics`.",
        STRATEGY,
        "the task's",
    ),
]
Searcher = Annotated[
    str | None,
    valued(
        "NAME", "What to start: `autoft list searchers`; ray:CLASS takes one of ray.tune.search.", STRATEGY, "curves"
    ),
]
Scheduler = Annotated[
    str | None,
    valued(
        "NAME",
        "Which trials go on: `autoft list schedulers`; ray:CLASS takes one of ray.tune.schedulers.",
        STRATEGY,
        "curves",
    ),
]
LearnFrom = Annotated[
    list[str] | None,
    valued(
        "RUN",
        "Earlier searches to learn from: a run, a folder of runs, a file of `autoft experience build`, or "
        "'shipped': the few that come with autoft. May be repeated.",
        STRATEGY,
        "none",
    ),
]
Seed = Annotated[int, valued("N", "Of the split, the draws and every trial.", STRATEGY, parser=parsing.whole_number)]
Deterministic = Annotated[
    bool,
    flag(
        "Take every decision by the seed alone, on any number of workers; --concurrent 1 does so anyway. "
        "A --time budget still goes by the clock.",
        STRATEGY,
        "--deterministic",
    ),
]
Limit = Annotated[
    list[str] | None,
    valued(
        "NAME=VALUE",
        "The most of a cost that the winner may have: parameters=10M, latency_ms=5, peak_memory_mb=500. "
        "May be repeated.",
        STRATEGY,
        "none",
    ),
]
Confirm = Annotated[
    int,
    valued(
        "N",
        "Train the three leading trials, or of several metrics the front as far as --keep reaches, N times again, "
        "with other seeds, and rank them by the mean. It counts in --trials and --time: at most half of each is "
        "kept for it.",
        STRATEGY,
        parser=parsing.whole_number,
    ),
]

EpochsPerPass = Annotated[
    int,
    valued(
        "N",
        "Epochs in which a trial goes over the training rows once: with 4 an epoch is a quarter of the data, so "
        "that trials are compared, and given up, sooner.",
        BUDGET,
        parser=parsing.count,
    ),
]
MinImprovement = Annotated[
    float | None,
    valued(
        "X",
        "End before the budget is used, once the rest of it promises less of the metric than X: 0.002. Of several "
        "metrics X is of the hypervolume, a share.",
        BUDGET,
        "use the budget",
        parser=parsing.positive,
    ),
]

Concurrent = Annotated[
    int | None,
    valued(
        "N",
        "Trials side by side; 1 makes the search itself repeatable.",
        RESOURCES,
        "as many as fit",
        parser=parsing.count,
    ),
]
CpusPerTrial = Annotated[
    float,
    valued("X", "Cores, and threads, of one trial, or of each of its workers.", RESOURCES, parser=parsing.positive),
]
GpusPerTrial = Annotated[
    str, valued("X", "GPUs of one trial, such as 0, 0.5 or 1; auto: what there is.", RESOURCES, parser=parsing.gpus)
]
WorkersPerTrial = Annotated[
    int,
    valued(
        "N",
        "Processes that train one trial together, each with a share of every batch's rows; also on several "
        "machines of a cluster.",
        RESOURCES,
        parser=parsing.count,
    ),
]
GradientCheckpointing = Annotated[
    bool,
    flag(
        "Compute activations again in the backward pass, not keep them: less memory for about a third more time.",
        RESOURCES,
        "--gradient-checkpointing",
    ),
]

Out = Annotated[str, valued("RUN", "New folder for all that the search makes: a path, or s3://, gs:// ...", OUTPUT)]
Keep = Annotated[
    int,
    valued(
        "N",
        "Leading trials whose checkpoints stay on disk; one of the first three of these wins, of a front any.",
        OUTPUT,
        parser=parsing.count,
    ),
]
Profile = Annotated[
    bool,
    flag(
        "Write a profiler's trace of the first trial's first epoch, without its first updates, to "
        "RUN/logs/t0001.trace.json.gz; chrome://tracing and Perfetto show it.",
        OUTPUT,
        "--profile",
    ),
]
