"""`autoft search` and `autoft resume`."""

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from autoft.cli import options, parsing
from autoft.cli import search_options as given
from autoft.cli.live import watching
from autoft.cli.output import emit, on_terminal, say
from autoft.cli.results import print_footnotes, print_leaderboard
from autoft.cli.searchfile import META_KEY
from autoft.cli.submission import Submission
from autoft.core.errors import Interrupted

if TYPE_CHECKING:
    from autoft.api import SearchResult
    from autoft.core.configs import Budget

_TOP = 20
"""Rows of the leaderboard that are shown on a terminal when a search ends."""


def search(
    context: typer.Context,
    data: given.Data,
    *,
    config: given.Config = None,
    task: given.Task = None,
    target: given.Target = None,
    val: given.Val = None,
    test: given.Test = None,
    group: given.Group = None,
    space: given.Space = None,
    set_: given.Set = None,
    metric: given.Metric = None,
    searcher: given.Searcher = None,
    scheduler: given.Scheduler = None,
    learn_from: given.LearnFrom = None,
    seed: given.Seed = 0,
    deterministic: given.Deterministic = False,
    limit: given.Limit = None,
    trials: options.Trials = None,
    epochs: options.Epochs = None,
    epochs_per_pass: given.EpochsPerPass = 1,
    time: options.Time = None,
    concurrent: given.Concurrent = None,
    cpus_per_trial: given.CpusPerTrial = 1,
    gpus_per_trial: given.GpusPerTrial = "auto",
    workers_per_trial: given.WorkersPerTrial = 1,
    gradient_checkpointing: given.GradientCheckpointing = False,
    address: options.Cluster = None,
    out: given.Out,
    min_improvement: given.MinImprovement = None,
    confirm: given.Confirm = 0,
    keep: given.Keep = 3,
    profile: given.Profile = False,
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
    address: options.ClusterAsBefore = None,
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
    board = f"autoft leaderboard {shlex.quote(result.folder)}"
    print_leaderboard(shown, result.within_noise, whole=f"`{board} --format csv`")
    print_footnotes(result)
    if len(shown) < len(rows):
        say(f"{len(rows) - len(shown)} more rows: {board}")
    from autoft.core.storage import joined

    model = joined(result.folder, "best")
    emit(f"\nBest model: {model}")
    if result.search.profile:
        say(f"Profiler trace: {joined(result.folder, 'logs/t0001.trace.json.gz')}")
    say(f"Predict with it: autoft predict {shlex.quote(model)} INPUT...")
