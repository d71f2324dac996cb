"""`autoft search` and `autoft resume`."""

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli import options, parsing
from autoft.cli.live import watching
from autoft.cli.output import emit, on_terminal, say
from autoft.cli.results import print_footnotes, print_leaderboard
from autoft.cli.searchfile import META_KEY, apply_file
from autoft.cli.submission import Submission
from autoft.core.errors import Interrupted

if TYPE_CHECKING:
    from autoft.api import SearchResult
    from autoft.core.configs import Budget

_TOP = 20
"""Rows of the leaderboard that are shown on a terminal when a search ends."""


def search(
    context: typer.Context,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder of class folders, or a CSV, TSV, JSONL or Parquet table.")
    ],
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML file with any of these, DATA too, by their names in snake_case (cpus_per_trial: 2), and "
            "set: as a map. What is on the line wins.",
            is_eager=True,
            callback=apply_file,
            show_default="none",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="`autoft list tasks` shows all.",
            show_default="seen from the data",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            help="Column to predict, for tables.",
            show_default="none",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    val: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Validation data of your own.",
            show_default="20 % of DATA",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Test data of your own.",
            show_default="20 % of DATA",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            help="Column whose values must not be split between training, validation and test.",
            show_default="none",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="SPACE",
            help="A shipped space (`autoft list spaces`) or a YAML file.",
            show_default="TASK/default",
            rich_help_panel=options.STRATEGY,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Fix or narrow a parameter of the space: optimizer.lr=1e-4, batch_size={choice: [16, 32]}; or set "
            "an option of the data: data.drop_rare=true. May be repeated.",
            show_default="none",
            rich_help_panel=options.STRATEGY,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC",
            help="What ranks the trials; -NAME minimises. Repeated: trials that no other dominates in all of them "
            "lead, the best by the first before the others. `autoft list metrics`.",
            show_default="the task's",
            rich_help_panel=options.STRATEGY,
        ),
    ] = None,
    searcher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to start: `autoft list searchers`; ray:CLASS takes one of ray.tune.search.",
            show_default="curves",
            rich_help_panel=options.STRATEGY,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which trials go on: `autoft list schedulers`; ray:CLASS takes one of ray.tune.schedulers.",
            show_default="curves",
            rich_help_panel=options.STRATEGY,
        ),
    ] = None,
    learn_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="Earlier searches to learn from: a run, a folder of runs, a file of `autoft experience build`, or "
            "'shipped': the few that come with autoft. May "
            "be repeated.",
            show_default="none",
            rich_help_panel=options.STRATEGY,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            parser=parsing.whole_number,
            metavar="N",
            help="Of the split, the draws and every trial.",
            rich_help_panel=options.STRATEGY,
        ),
    ] = 0,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Take every decision by the seed alone, on any number of workers; --concurrent 1 does so anyway. "
            "A --time budget still goes by the clock.",
            rich_help_panel=options.STRATEGY,
        ),
    ] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="The most of a cost that the winner may have: parameters=10M, latency_ms=5, peak_memory_mb=500. "
            "May be repeated.",
            show_default="none",
            rich_help_panel=options.STRATEGY,
        ),
    ] = None,
    trials: options.Trials = None,
    epochs: options.Epochs = None,
    epochs_per_pass: options.EpochsPerPass = 1,
    time: options.Time = None,
    concurrent: Annotated[
        int | None,
        typer.Option(
            parser=parsing.count,
            metavar="N",
            help="Trials side by side; 1 makes the search itself repeatable.",
            show_default="as many as fit",
            rich_help_panel=options.RESOURCES,
        ),
    ] = None,
    cpus_per_trial: Annotated[
        float,
        typer.Option(
            parser=parsing.positive,
            metavar="X",
            help="Cores, and threads, of one trial, or of each of its workers.",
            rich_help_panel=options.RESOURCES,
        ),
    ] = 1,
    gpus_per_trial: Annotated[
        str,
        typer.Option(
            parser=parsing.gpus,
            metavar="X",
            help="GPUs of one trial, such as 0, 0.5 or 1; auto: what there is.",
            rich_help_panel=options.RESOURCES,
        ),
    ] = "auto",
    workers_per_trial: Annotated[
        int,
        typer.Option(
            parser=parsing.count,
            metavar="N",
            help="Processes that train one trial together, each with a share of every batch's rows; also on several "
            "machines of a cluster.",
            rich_help_panel=options.RESOURCES,
        ),
    ] = 1,
    gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--gradient-checkpointing",
            help="Compute activations again in the backward pass, not keep them: less memory for about a third more "
            "time.",
            rich_help_panel=options.RESOURCES,
        ),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ray cluster that this machine is part of; auto: the one that runs here.",
            show_default="a local one",
            rich_help_panel=options.RESOURCES,
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            metavar="RUN",
            help="New folder for all that the search makes: a path, or s3://, gs:// ...",
            rich_help_panel=options.OUTPUT,
        ),
    ],
    min_improvement: Annotated[
        float | None,
        typer.Option(
            parser=parsing.positive,
            metavar="X",
            help="End before the budget is used, once the rest of it promises less of the metric than X: 0.002.",
            show_default="use the budget",
            rich_help_panel=options.BUDGET,
        ),
    ] = None,
    confirm: Annotated[
        int,
        typer.Option(
            parser=parsing.whole_number,
            metavar="N",
            help="Train the three leading trials N times again, with other seeds, and rank them by the mean. It "
            "counts in --trials and --time: at most half of each is kept for it.",
            rich_help_panel=options.STRATEGY,
        ),
    ] = 0,
    keep: Annotated[
        int,
        typer.Option(
            parser=parsing.count,
            metavar="N",
            help="Leading trials whose checkpoints stay on disk; one of the first three of these wins.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = 3,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Write a profiler's trace of the first trial's first epoch, without its first updates, to "
            "RUN/logs/t0001.trace.json.gz; chrome://tracing and Perfetto show it.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
) -> None:
    """Search backbone, fine-tuning, augmentation, optimizer and schedule together.

    Shows a live table while it runs, then the leaderboard and where the best model lies.
    """
    overrides = {**context.meta.get(META_KEY, {}), **parsing.settings(set_ or ())}
    from autoft import api
    from autoft.core.configs import Resources

    request = api.SearchRequest(
        data=data,
        task=task,
        target=target,
        val=val,
        test=test,
        group=group,
        space=space,
        overrides=overrides or None,
        metric=metric or None,
        budget=_budget(trials, epochs, time, epochs_per_pass),
        searcher=searcher,
        scheduler=scheduler,
        resources=Resources(
            cpus_per_trial=cpus_per_trial,
            gpus_per_trial=gpus_per_trial,  # type: ignore[arg-type]  # `parsing.gpus` made it "auto" or a number
            workers_per_trial=workers_per_trial,
            concurrent=concurrent,
            gradient_checkpointing=gradient_checkpointing,
        ),
        address=address,
        out=out,
        seed=seed,
        learn_from=learn_from or (),
        deterministic=deterministic,
        limits=parsing.limits(limit or ()),
        min_improvement=min_improvement,
        confirm=confirm,
        keep=keep,
        profile=profile,
    )
    submission = context.find_object(Submission)
    if submission is not None:
        submission.search(request, config)
        return
    with resumable(out), watching() as listener:
        result = api.search_for(request, listener=listener)
    print_result(result)


def resume(
    context: typer.Context,
    run: options.Run,
    *,
    trials: options.TrialsInAll = None,
    epochs: options.EpochsInAll = None,
    time: options.TimeInAll = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ray cluster that this machine is part of; auto: the one that runs here; local: none, this machine "
            "searches alone.",
            show_default="as before",
            rich_help_panel=options.RESOURCES,
        ),
    ] = None,
) -> None:
    """Go on with a search where it stopped, or was killed; with more budget, if given."""
    from autoft import api

    budget = _budget(trials, epochs, time)
    submission = context.find_object(Submission)
    if submission is not None:
        submission.resume(run, budget, address)
        return
    with resumable(run), watching() as listener:
        result = api.resume(run, budget=budget, address=address, listener=listener)
    print_result(result)


def _budget(trials: int | None, epochs: int | None, seconds: float | None, epochs_per_pass: int = 1) -> "Budget | None":
    from autoft.core.configs import Budget

    budget = Budget(trials=trials, epochs=epochs, seconds=seconds, epochs_per_pass=epochs_per_pass)
    return None if budget == Budget() else budget


@contextmanager
def resumable(run: str) -> Iterator[None]:
    """Turn Ctrl-C, and a request to end, within the block into an `Interrupted` with the line to go on with."""
    taken = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as error:
        from autoft.core.storage import Store

        if Store.open(run).exists("search.yaml"):
            from autoft.api.searching import resuming

            raise Interrupted(f"Interrupted; all that was reached is kept. Go on with: {resuming(run)}") from error
        raise Interrupted("Interrupted before the search began; nothing is kept.") from error
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def print_result(result: "SearchResult") -> None:
    """Print the leaderboard and where the model lies."""
    rows = result.rows()
    shown = rows[:_TOP] if on_terminal() else rows
    print_leaderboard(shown, result.within_noise)
    print_footnotes(result)
    if len(shown) < len(rows):
        say(f"{len(rows) - len(shown)} more rows: autoft leaderboard {result.folder}")
    from autoft.core.storage import joined

    model = joined(result.folder, "best")
    emit(f"\nBest model: {model}")
    if result.search.profile:
        say(f"Profiler trace: {joined(result.folder, 'logs/t0001.trace.json.gz')}")
    say(f"Predict with it: autoft predict {shlex.quote(model)} INPUT...")
