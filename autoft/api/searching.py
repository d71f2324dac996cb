"""`search` and `resume`: everything is checked before anything is made."""

import dataclasses
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoft import backbones
from autoft.api.arguments import check_arguments
from autoft.api.folder import check_dataset, read_experience, read_search, remove_run, write_search
from autoft.api.laying import Laid, SearchRequest, lay
from autoft.api.request import grown, metrics_of, resumed_strategy
from autoft.api.result import SearchResult
from autoft.core.configs import Budget, Resources, SearchConfig, StrategyConfig
from autoft.core.errors import DiskFullError, Interrupted, StorageError, UserError
from autoft.core.progress import Listener
from autoft.core.storage import Store
from autoft.engine.machine import check_request
from autoft.engine.search import run_search
from autoft.record.lock import WriterLock
from autoft.space import SearchSpace

if TYPE_CHECKING:
    from autoft.engine.plugged import Searcher, TrialScheduler

LOCAL = "local"
"""The address of a resume that goes on with a Ray of this machine's own, wherever the search ran before."""
SUBMITTED_WITH = "AUTOFT_SUBMITTED_WITH"
"""In the environment of a job: the options of `autoft submit` for the line that resumes it."""


def search(
    data: Any,
    *,
    task: str | None = None,
    target: str | None = None,
    val: Any = None,
    test: Any = None,
    group: str | None = None,
    space: "str | Path | SearchSpace | None" = None,
    overrides: Mapping[str, Any] | None = None,
    metric: str | Sequence[str] | None = None,
    budget: Budget | None = None,
    searcher: "str | StrategyConfig | Searcher | None" = None,
    scheduler: "str | StrategyConfig | TrialScheduler | None" = None,
    resources: Resources | None = None,
    address: str | None = None,
    out: str | Path,
    seed: int = 0,
    deterministic: bool = False,
    learn_from: str | Path | Sequence[str | Path] = (),
    limits: Mapping[str, float] | None = None,
    min_improvement: float | None = None,
    confirm: int = 0,
    keep: int = 3,
    profile: bool = False,
    listener: Listener | None = None,
) -> SearchResult:
    """Search for the best backbone and recipe for the data, and return the result.

    Args:
        data: A folder of class folders, a table's path (CSV, TSV, JSONL, Parquet), a Hugging Face dataset's folder,
            or a DataFrame, pyarrow Table or Hugging Face dataset in memory.
        task: "image-classification" or "text-classification"; None: seen from the data.
        target: The column to predict, for tables.
        val: The person's own validation data, in any form of `data`; None: 20 % are cut from the data.
        test: The person's own test data, likewise.
        group: A column whose values must not be split over train, validation and test.
        space: A shipped space's name, a YAML file or a `SearchSpace`; None: the task's default.
        overrides: {"optimizer.lr": 1e-3, ...}: narrows the space; keys with `data.` set how the data are read.
        metric: What ranks the trials, "accuracy" if None; "-log_loss" and the like say that less is better. A sequence:
            trials that no other dominates in all of these lead, among them the best by the first. Where all are costs,
            "-latency_ms" alone among them, "accuracy" is put before them.
        budget: How much may be used; what it leaves open is the space's default.
        searcher: What to try next: a name of `autoft list searchers`, or a `StrategyConfig` with options. None:
            "curves". "ray:HyperOptSearch" and the like, or an object, plug in what ray.tune.search has.
        scheduler: Who goes on: a name of `autoft list schedulers`, or a `StrategyConfig` with options. None: "curves".
            "ray:AsyncHyperBandScheduler" and the like, or an object, plug in what of ray.tune.schedulers only stops.
        resources: What a trial gets, and how many run side by side.
        address: None: Ray on this machine; "auto" or "host:port": a cluster that this machine is part of.
        out: The run folder, a new or empty one: a local path or what pyarrow.fs opens (s3://, gs://, ...).
        seed: Decides the split, every draw and every trial's seed.
        deterministic: Whether results count in the order of a logical clock, so that the seed alone takes every
            decision, on any number of workers. Side by side run `resources.concurrent` trials, 4 if it is None. What is
            measured still decides where it must: a budget of seconds, a metric or limit of latency or memory.
        learn_from: Earlier searches: run folders, folders of them, files that `autoft experience build` made, and
            "shipped" for the few that come with autoft. What they found is copied into the run folder.
        limits: The most of a cost that the winner may have: {"parameters": 10e6, "latency_ms": 5}. Backbones with more
            parameters are left out; a trial that is measured to break a limit ends at once and has no rank.
        min_improvement: Ends the search before its budget is used, once the rest of it promises less of the metric than
            this, by the values so far; of several metrics, less of the hypervolume, the share of the space between
            worst and best that the front dominates. None: it goes on, whatever it promises.
        confirm: Times that each finalist is trained again, with other seeds, when the search is over; the mean ranks
            them then. These trainings count in the budget, of which at most half is kept for them. Finalists are the
            three leading trials, or, of several metrics, the front as far as `keep` reaches.
        keep: Checkpoints of so many leading trials are kept; one of the first three of these wins, of a front any.
        profile: Whether a profiler's trace of updates of the first trial's first epoch is written to
            logs/t0001.trace.json.gz of the run folder, which chrome://tracing and Perfetto show.
        listener: Called with a `Progress` after every event.

    Raises:
        UserError: If what was given cannot work; nothing is made then.
        WorkError: If the work failed: all trials did, or the disk is full; what was reached is kept.
        Interrupted: If Ctrl-C ended it; `resume` goes on.
    """
    request = SearchRequest(
        data=data,
        out=out,
        task=task,
        target=target,
        val=val,
        test=test,
        group=group,
        space=space,
        overrides=overrides,
        metric=metric,
        budget=budget,
        searcher=searcher,
        scheduler=scheduler,
        resources=resources,
        address=address,
        seed=seed,
        deterministic=deterministic,
        learn_from=learn_from,
        limits=limits,
        min_improvement=min_improvement,
        confirm=confirm,
        keep=keep,
        profile=profile,
    )
    return search_for(request, listener=listener)


def search_for(request: SearchRequest, *, listener: Listener | None = None) -> SearchResult:
    """Search for what is asked for, and return the result; raises what `search` does."""
    start = time.monotonic()
    laid = lay(request, listener=listener)
    try:
        _run(laid, request.out, start=start, listener=listener)
    except UserError:
        if not laid.store.list("results") or not SearchResult(request.out).record.trials:
            remove_run(laid.store)
        raise
    return SearchResult(request.out)


def _run(laid: Laid, run: str | Path, *, start: float, listener: Listener | None) -> None:
    """Search in a run that is laid."""
    with _resumable(run):
        run_search(
            laid.config,
            store=laid.store,
            listener=listener,
            evidence=read_experience(laid.store, laid.config),
            strategy=laid.strategy,
            seconds_before=time.monotonic() - start,
        )


def resume(
    run: str | Path,
    budget: Budget | None = None,
    *,
    address: str | None = None,
    searcher: "Searcher | None" = None,
    scheduler: "TrialScheduler | None" = None,
    listener: Listener | None = None,
) -> SearchResult:
    """Go on with a search where it stopped or was killed, and return the result.

    Args:
        run: The run folder.
        budget: New totals, over the whole search; what is None stays as it was.
        address: "local": Ray on this machine; "auto" or "host:port": a cluster that this machine is part of. None: as
            before.
        searcher: An object of Ray's equal to the one that the search was given, if it was; a name needs no repeating.
        scheduler: Likewise.
        listener: Called with a `Progress` after every event.

    Raises:
        FormatError: If the folder is no run, or of a newer format.
        ConfigError: If a new total is below the old one, an object is missing or not asked for, or another process is
            searching there.
        WeightsError: If a folder that names a backbone is not as it was when the search began.
    """
    start = time.monotonic()
    check_arguments(budget=budget, address=address)
    store = Store.open(run)
    config = read_search(store, run)
    metrics_of(config.metrics)
    strategy = resumed_strategy(config, {"searcher": searcher, "scheduler": scheduler})
    asked = changed(config, budget=budget, address=address)
    check_request(asked.resources, asked.address)
    check_dataset(store, asked.fingerprint)
    backbones.require_folders(store)
    rewrite(store, config, asked)
    laid = Laid(config=asked, store=store, strategy=strategy)
    _run(laid, run, start=start, listener=listener)
    return SearchResult(run)


def changed(config: SearchConfig, *, budget: Budget | None, address: str | None) -> SearchConfig:
    """Return a search with what a resume changes.

    Raises:
        ConfigError: If a new total is below the old one.
    """
    asked = config if budget is None else grown(config, budget)
    if address is None:
        return asked
    return dataclasses.replace(asked, address=None if address == LOCAL else address)


def rewrite(store: Store, before: SearchConfig, asked: SearchConfig) -> None:
    """Write the search of a run anew, if it is another than before.

    Raises:
        ConfigError: If another process is searching there.
    """
    if asked == before:
        return
    lock = WriterLock(store.within("results"))
    try:
        write_search(store, asked)
    finally:
        lock.release()


def resuming(run: str | Path) -> str:
    """Return the line that goes on with a run: in a job, from where the job was submitted."""
    given = os.environ.get(SUBMITTED_WITH)
    submit = f"submit {given} -- " if given else ""
    return f"autoft {submit}resume {shlex.quote(str(run))}"


@contextmanager
def _resumable(run: str | Path) -> Iterator[None]:
    """Say the line that resumes where the search is interrupted, the disk is full, or the storage fails."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted(f"Interrupted; all that was reached is kept. Go on with: {resuming(run)}") from error
    except StorageError as error:
        raise StorageError(f"{error} Go on with: {resuming(run)}") from error
    except DiskFullError as error:
        raise DiskFullError(f"{error} Make room, then go on with: {resuming(run)}") from error
