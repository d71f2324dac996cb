"""`search` and `resume`: everything is checked before anything is made."""

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoft import backbones
from autoft.api.arguments import check_arguments
from autoft.api.data_request import data_spec, refuse_within, split_overrides, with_options
from autoft.api.experience import data_name, data_names, learned
from autoft.api.folder import (
    check_dataset,
    place_dataset,
    place_weights,
    read_experience,
    read_search,
    remove_run,
    require_empty,
    write_environment,
    write_experience,
    write_quarantine,
    write_search,
)
from autoft.api.request import (
    check_checkpointing,
    check_numbers,
    check_share,
    default_space,
    grown,
    is_of_ray,
    metrics_of,
    probes_sample,
    resumed_strategy,
    strategies_of,
    whole_budget,
    within_limits,
)
from autoft.api.result import SearchResult
from autoft.core import catalog
from autoft.core.configs import Budget, Resources, SearchConfig, StrategyConfig
from autoft.core.errors import ConfigError, DiskFullError, Interrupted, StorageError, UserError, WorkError
from autoft.core.metrics import check_limits
from autoft.core.progress import Listener, Progress
from autoft.core.storage import Store
from autoft.data import Prepared, prepare
from autoft.engine.machine import check_request, scratch_folder
from autoft.engine.search import run_search
from autoft.record.lock import WriterLock
from autoft.space import SearchSpace, load_space
from autoft.strategies.experience import Experience

if TYPE_CHECKING:
    from autoft.engine.plugged import Searcher, TrialScheduler

REPORT_SECONDS = 2.0
"""Between two lines about the rows that are read."""


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
            trials that no other dominates in all of these lead, among them the best by the first.
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
            this, by the values so far; None: it goes on, whatever it promises.
        confirm: Times that each finalist is trained again, with other seeds, when the search is over; the mean ranks
            them then. These trainings count in the budget, of which at most half is kept for them.
        keep: Checkpoints of so many leading trials are kept; one of the first three of these wins.
        profile: Whether a profiler's trace of updates of the first trial's first epoch is written to
            logs/t0001.trace.json.gz of the run folder, which chrome://tracing and Perfetto show.
        listener: Called with a `Progress` after every event.

    Raises:
        UserError: If what was given cannot work; nothing is made then.
        WorkError: If the work failed: all trials did, or the disk is full; what was reached is kept.
        Interrupted: If Ctrl-C ended it; `resume` goes on.
    """
    start = time.monotonic()
    check_arguments(
        task=task,
        target=target,
        group=group,
        space=space,
        overrides=overrides,
        metric=metric,
        budget=budget,
        searcher=None if is_of_ray(searcher) else searcher,
        scheduler=None if is_of_ray(scheduler) else scheduler,
        resources=resources,
        address=address,
        out=out,
        limits=limits,
        seed=seed,
        learn_from=learn_from,
        min_improvement=min_improvement,
        confirm=confirm,
        keep=keep,
    )
    store = Store.open(out)
    require_empty(store, out)
    metrics = metrics_of(metric)
    kept_limits = check_limits(limits or {})
    budget = budget or Budget()
    resources = resources or Resources()
    sources = [learn_from] if isinstance(learn_from, str | Path) else list(learn_from)
    strategies, strategy = strategies_of(searcher, scheduler)
    check_numbers(seed=seed, keep=keep, confirm=confirm, min_improvement=min_improvement, metrics=metrics)
    for source in (data, val, test):
        refuse_within(store, out, source)
    if task is not None:
        catalog.entry("task", task, where="task")
    given_space = None if space is None else load_space(space, task)
    data_overrides, space_overrides = split_overrides(overrides or {})
    check_request(resources, address)
    spec = data_spec(data, val, test, task=task or (given_space and given_space.task), target=target, group=group)
    spec = with_options(spec, {"seed": seed, **data_overrides})
    _say(listener, "reading the data", start)
    with scratch_folder("autoft-data-") as scratch:
        prepared = prepare(data, spec, out=scratch, val=val, test=test, progress=_counting(listener, start))
        check_share(budget, prepared.num_rows["train"])
        chosen = given_space or load_space(default_space(prepared.task), prepared.task)
        if chosen.task != prepared.task:
            raise ConfigError(f"The space '{chosen.name}' is for {chosen.task}, and the data are for {prepared.task}.")
        chosen = chosen.narrowed(space_overrides) if space_overrides else chosen
        check_checkpointing(resources, chosen)
        chosen, left_out = within_limits(chosen, kept_limits)
        for backbone in chosen.backbones():
            backbones.locate(backbone)
        experience = learned(sources, task=prepared.task, space=chosen, dataset=prepared.path)
        config = SearchConfig(
            task=prepared.task,
            data=prepared.spec,
            fingerprint=prepared.fingerprint,
            space=chosen.to_json(),
            space_name=chosen.name,
            metrics=metrics,
            budget=whole_budget(budget, chosen.budget),
            searcher=strategies[0],
            scheduler=strategies[1],
            resources=resources,
            address=address,
            seed=seed,
            min_improvement=min_improvement,
            confirm=confirm,
            keep=keep,
            profile=profile,
            deterministic=deterministic or resources.concurrent == 1,
            limits=kept_limits,
        )
        probing = probes_sample(prepared.num_rows["train"])
        for line in (*prepared.describe(), *prepared.warnings, *left_out, *probing, *_learning(experience, config)):
            _say(listener, "reading the data", start, line, lasting=True)
        config = _lay_run(store, config, prepared, experience)
    try:
        with _resumable(out):
            run_search(
                config,
                store=store,
                listener=listener,
                evidence=read_experience(store, config),
                strategy=strategy,
                seconds_before=time.monotonic() - start,
            )
    except UserError:
        if not SearchResult(out).record.trials:
            remove_run(store)
        raise
    return SearchResult(out)


def resume(
    run: str | Path,
    budget: Budget | None = None,
    *,
    searcher: "Searcher | None" = None,
    scheduler: "TrialScheduler | None" = None,
    listener: Listener | None = None,
) -> SearchResult:
    """Go on with a search where it stopped or was killed, and return the result.

    Args:
        run: The run folder.
        budget: New totals, over the whole search; what is None stays as it was.
        searcher: An object of Ray's equal to the one that the search was given, if it was; a name needs no repeating.
        scheduler: Likewise.
        listener: Called with a `Progress` after every event.

    Raises:
        FormatError: If the folder is no run, or of a newer format.
        ConfigError: If a new total is below the old one, an object is missing or not asked for, or another process is
            searching there.
    """
    start = time.monotonic()
    check_arguments(budget=budget)
    store = Store.open(run)
    config = read_search(store, run)
    metrics_of(config.metrics)
    strategy = resumed_strategy(config, {"searcher": searcher, "scheduler": scheduler})
    asked = config if budget is None else grown(config, budget)
    check_request(asked.resources, asked.address)
    check_dataset(store, asked.fingerprint)
    evidence = read_experience(store, asked)
    if asked != config:
        lock = WriterLock(store.within("results"))
        try:
            write_search(store, asked)
        finally:
            lock.release()
    with _resumable(run):
        run_search(
            asked,
            store=store,
            listener=listener,
            evidence=evidence,
            strategy=strategy,
            seconds_before=time.monotonic() - start,
        )
    return SearchResult(run)


@contextmanager
def _resumable(run: str | Path) -> Iterator[None]:
    """Say the line that resumes where the search is interrupted, or the disk is full."""
    line = f"autoft resume {shlex.quote(str(run))}"
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted(f"Interrupted; all that was reached is kept. Go on with: {line}") from error
    except StorageError as error:
        raise StorageError(f"{error} Go on with: {line}") from error
    except DiskFullError as error:
        raise DiskFullError(f"{error} Make room, then go on with: {line}") from error


def _lay_run(store: Store, config: SearchConfig, prepared: Prepared, experience: Experience | None) -> SearchConfig:
    """Make the run folder and return the search with the hash of what it learns from.

    `search.yaml` comes last, so that a folder with one is whole.

    Raises:
        WorkError: If the disk refuses; nothing is left then. A store that fails keeps what it has got.
    """
    try:
        place_dataset(store, prepared.path, prepared.fingerprint)
        if not store.is_local:
            place_weights(store, SearchSpace.from_json(config.space))
        write_quarantine(store, [(row.row, row.reason) for row in prepared.quarantine])
        write_environment(store)
        if experience is not None:
            config = dataclasses.replace(config, experience=write_experience(store, experience))
        write_search(store, config)
    except StorageError:
        raise  # what was uploaded stays: the same command goes on with what lacks
    except OSError as error:
        with contextlib.suppress(OSError):
            remove_run(store)
        raise WorkError(f"The output folder '{store.path()}' cannot be written: {error.strerror or error}.") from error
    return config


def _learning(experience: Experience | None, config: SearchConfig) -> Iterator[str]:
    """Yield the lines that say what the search learns from, and whether some of it is of the very data."""
    if experience is None:
        return
    searches = len(experience.searches)
    noun = "search" if searches == 1 else "searches"
    names = data_names(experience)
    on = f" on {', '.join(names)}" if names else ""
    yield f"learning from {searches} earlier {noun} with {experience.num_trials:,} trials{on}"
    name = data_name(config.data.source)
    own = [
        search
        for search in experience.searches
        if search.fingerprint == config.fingerprint or (name is not None and search.facts.name == name)
    ]
    if own:
        noun = "search" if len(own) == 1 else "searches"
        yield (
            f"{len(own)} earlier {noun} that it learns from may have been on these very data"
            + (
                f"; `autoft experience build RUN... --without {own[0].facts.name}` leaves such out"
                if own[0].facts.name
                else ""
            )
        )


def _counting(
    listener: Listener | None, start: float, *, every: float = REPORT_SECONDS
) -> Callable[[int, int], None] | None:
    """Return what tells the listener of the rows that are read, once in `every` seconds: small data need no word."""
    if listener is None:
        return None
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            _say(listener, "reading the data", start, f"{done:,} of {total:,} rows are read")

    return report


def _say(listener: Listener | None, stage: str, start: float, line: str = "", *, lasting: bool = False) -> None:
    if listener is not None:
        listener(Progress(stage=stage, line=line, lasting=lasting, seconds_used=time.monotonic() - start))
