"""`search` and `resume`: everything is checked before anything is made."""

import contextlib
import dataclasses
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoft import backbones
from autoft.api.arguments import check_arguments
from autoft.api.experience import data_name, data_names, learned
from autoft.api.folder import (
    find_dataset,
    place_dataset,
    read_experience,
    read_search,
    remove_run,
    require_empty,
    write_environment,
    write_experience,
    write_quarantine,
    write_search,
)
from autoft.api.result import SearchResult
from autoft.core import catalog
from autoft.core.configs import Budget, DataSpec, Resources, SearchConfig, StrategyConfig
from autoft.core.errors import ConfigError, DataError, DiskFullError, Interrupted, UserError, WorkError, nearest
from autoft.core.metrics import METRICS, check_limits, parse_objective
from autoft.core.paths import local_path
from autoft.core.progress import Listener, Progress
from autoft.core.storage import Store
from autoft.data import Prepared, prepare
from autoft.engine.machine import check_request, scratch_folder
from autoft.engine.search import run_search
from autoft.engine.strategy import config_of, strategy_of
from autoft.record.lock import WriterLock
from autoft.space import SearchSpace, load_space
from autoft.strategies import Strategy
from autoft.strategies.experience import Experience

if TYPE_CHECKING:
    from autoft.engine.plugged import Searcher, TrialScheduler

SEEDS = 2**32
"""Seeds are below it, as numpy's and scikit-learn's are."""
_OPTION_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "input": ((str,), "the name of a column"),
    "drop_rare": ((bool,), "true or false"),
    "seed": ((int,), f"a whole number from 0 to {SEEDS - 1}"),
    "val_fraction": ((float, int), "a number between 0 and 1"),
    "test_fraction": ((float, int), "a number between 0 and 1"),
}
REPORT_SECONDS = 2.0
"""Between two lines about the rows that are read."""
USUAL = ("curves", "curves")
"""Searcher and scheduler where the person names none."""
DEFAULT_BUDGET = Budget(trials=32, epochs=12)
"""Where neither the person nor the space says how much."""


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
        searcher=None if _is_of_ray(searcher) else searcher,
        scheduler=None if _is_of_ray(scheduler) else scheduler,
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
    metrics = _metrics(metric)
    kept_limits = check_limits(limits or {})
    budget = budget or Budget()
    resources = resources or Resources()
    sources = [learn_from] if isinstance(learn_from, str | Path) else list(learn_from)
    strategies, strategy = _strategies(searcher, scheduler)
    if keep < 1:
        raise ConfigError(f"keep must be at least 1, not {keep}: the winner's checkpoint is needed.")
    _check_confirm(confirm, metrics)
    _check_min_improvement(min_improvement, metrics)
    if not 0 <= seed < SEEDS:
        raise ConfigError(f"seed must be a whole number from 0 to {SEEDS - 1}, not {seed!r}.")
    for source in (data, val, test):
        _refuse_within(store, out, source)
    if task is not None:
        catalog.entry("task", task, where="task")
    given_space = None if space is None else load_space(space, task)
    data_overrides, space_overrides = _split_overrides(overrides or {})
    check_request(resources, address)
    spec = _data_spec(data, val, test, task=task or (given_space and given_space.task), target=target, group=group)
    spec = _with_options(spec, {"seed": seed, **data_overrides})
    _say(listener, "reading the data", start)
    with scratch_folder("autoft-data-") as scratch:
        prepared = prepare(data, spec, out=scratch, val=val, test=test, progress=_counting(listener, start))
        chosen = given_space or load_space(_default_space(prepared.task), prepared.task)
        if chosen.task != prepared.task:
            raise ConfigError(f"The space '{chosen.name}' is for {chosen.task}, and the data are for {prepared.task}.")
        chosen = chosen.narrowed(space_overrides) if space_overrides else chosen
        chosen, left_out = _within_limits(chosen, kept_limits)
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
            budget=_whole_budget(budget, chosen.budget),
            searcher=strategies[0],
            scheduler=strategies[1],
            resources=resources,
            address=address,
            seed=seed,
            min_improvement=min_improvement,
            confirm=confirm,
            keep=keep,
            deterministic=deterministic or resources.concurrent == 1,
            limits=kept_limits,
        )
        for line in (*prepared.describe(), *prepared.warnings, *left_out, *_learning(experience, config)):
            _say(listener, "reading the data", start, line, lasting=True)
        path, config = _lay_run(store, config, prepared, experience)
    try:
        with _resumable(out):
            run_search(
                config,
                store=store,
                dataset_path=str(path),
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
    _metrics(config.metrics)
    strategy = _resumed_strategy(config, {"searcher": searcher, "scheduler": scheduler})
    grown = config if budget is None else _grown(config, budget)
    check_request(grown.resources, grown.address)
    path = find_dataset(store, grown.fingerprint)
    evidence = read_experience(store, grown)
    if grown != config:
        lock = WriterLock(store.within("results"))
        try:
            write_search(store, grown)
        finally:
            lock.release()
    with _resumable(run):
        run_search(
            grown,
            store=store,
            dataset_path=str(path),
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
    except DiskFullError as error:
        raise DiskFullError(f"{error} Make room, then go on with: {line}") from error


def _lay_run(
    store: Store, config: SearchConfig, prepared: Prepared, experience: Experience | None
) -> tuple[Path, SearchConfig]:
    """Make the run folder and return where the rows lie, and the search with the hash of what it learns from.

    `search.yaml` comes last, so that a folder with one is whole.

    Raises:
        WorkError: If the disk refuses; nothing is left then.
    """
    try:
        path = place_dataset(store, prepared.path, prepared.fingerprint)
        write_quarantine(store, [(row.row, row.reason) for row in prepared.quarantine])
        write_environment(store)
        if experience is not None:
            config = dataclasses.replace(config, experience=write_experience(store, experience))
        write_search(store, config)
    except OSError as error:
        with contextlib.suppress(OSError):
            remove_run(store)
        raise WorkError(f"The output folder '{store.path()}' cannot be written: {error.strerror or error}.") from error
    return path, config


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


def _refuse_within(store: Store, out: str | Path, source: Any) -> None:
    """Refuse a run folder inside a folder of data: the next reader would take it for a class."""
    if not isinstance(source, str | Path) or "://" in str(source) or not store.is_local:
        return
    folder, run = Path(os.path.realpath(local_path(source))), Path(os.path.realpath(store.path()))
    if folder.is_dir() and run.is_relative_to(folder):
        raise ConfigError(f"The output folder '{out}' lies in the data folder '{source}'; give one outside of it.")


def _metrics(metric: str | Sequence[str] | None) -> tuple[str, ...]:
    given = ["accuracy"] if metric is None else [metric] if isinstance(metric, str) else list(metric)
    if not given:
        raise ConfigError("metric is empty; leave it out for accuracy.")
    for name in given:
        parse_objective(name)
    if METRICS[given[0].removeprefix("-")].is_cost:
        raise ConfigError(f"The first metric ranks the trials and must tell how good they are, not '{given[0]}'.")
    return tuple(dict.fromkeys(given))


def _check_confirm(confirm: int, metrics: Sequence[str]) -> None:
    if confirm < 0:
        raise ConfigError(f"confirm must be at least 0, not {confirm}.")
    if confirm and len(metrics) > 1:
        raise ConfigError(f"confirm ranks by the mean of one metric, and {', '.join(metrics)} are several; give one.")


def _check_min_improvement(value: float | None, metrics: Sequence[str]) -> None:
    if value is None:
        return
    if not 0 < value < math.inf:
        raise ConfigError(f"min_improvement must be a number above 0, not {value}.")
    if len(metrics) > 1:
        raise ConfigError(f"min_improvement is of one metric, and {', '.join(metrics)} are several; give one.")


def _within_limits(space: SearchSpace, limits: Mapping[str, float]) -> tuple[SearchSpace, list[str]]:
    """Return the space without the backbones that surely break the limit on parameters, and a line that names these.

    Raises:
        ConfigError: If none is left.
    """
    limit = limits.get("parameters", math.inf)
    sizes = {name: _num_parameters(name) for name in (backbone["name"] for backbone in space.backbones())}
    over = {name: size for name, size in sizes.items() if size > limit}
    if not over:
        return space, []
    if len(over) == len(sizes):
        smallest = min(over, key=over.__getitem__)
        raise ConfigError(
            f"Every backbone of the space '{space.name}' has more than {limit:,.0f} parameters; the smallest is "
            f"{smallest} with {over[smallest]:,}."
        )
    left = [name for name in sizes if name not in over]
    line = f"Left out, since they have more than {limit:,.0f} parameters: {', '.join(over)}."
    return space.narrowed({"backbone.name": {"choice": left}}), [line]


def _num_parameters(backbone: str) -> int:
    """Return the published parameters of a backbone, 0 where they are not known."""
    return int(catalog.entry("backbone", backbone).facts.get("parameters", 0))


def _strategies(searcher: Any, scheduler: Any) -> tuple[tuple[StrategyConfig, StrategyConfig], Strategy]:
    """Return both as configs, and the strategy that they make."""
    one, other = searcher or USUAL[0], scheduler or USUAL[1]
    found = config_of("searcher", one), config_of("scheduler", other)
    return found, strategy_of(*found, objects={"searcher": one, "scheduler": other})


def _resumed_strategy(config: SearchConfig, objects: Mapping[str, Any]) -> Strategy:
    for kind, known in (("searcher", config.searcher), ("scheduler", config.scheduler)):
        given = objects[kind]
        if given is not None and config_of(kind, given) != known:
            raise ConfigError(
                f"The {kind} of this search is {known.name}, and a resume cannot change it; leave it out."
            )
    return strategy_of(config.searcher, config.scheduler, objects=objects)


def _is_of_ray(given: Any) -> bool:
    return any(cls.__module__.startswith("ray.") for cls in type(given).__mro__)


def _split_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    data = {key.removeprefix("data."): value for key, value in overrides.items() if key.startswith("data.")}
    return data, {key: value for key, value in overrides.items() if not key.startswith("data.")}


def _data_spec(data: Any, val: Any, test: Any, **given: Any) -> DataSpec:
    def path(value: Any, name: str) -> str | None:
        if value is None or not isinstance(value, str | Path):
            return None
        text = str(value)
        if not text:
            raise DataError(f"The path of the {name} is empty.")
        return text if "://" in text else str(local_path(text))

    return DataSpec(source=path(data, "data"), val=path(val, "val data"), test=path(test, "test data"), **given)


def _with_options(spec: DataSpec, options: Mapping[str, Any]) -> DataSpec:
    allowed = ("input", "val_fraction", "test_fraction", "drop_rare", "seed")
    for name in options:
        if name not in allowed:
            raise ConfigError(
                f"Unknown option 'data.{name}'.{nearest(name, allowed)} Allowed: "
                f"{', '.join(f'data.{option}' for option in allowed)}."
            )
    for name, (allowed_types, wanted) in _OPTION_TYPES.items():
        if name not in options:
            continue
        value = options[name]
        if type(value) not in allowed_types or (name == "seed" and not 0 <= value < SEEDS):
            raise ConfigError(f"data.{name} must be {wanted}, not {value!r}.")
    return dataclasses.replace(spec, **options)


def _default_space(task: str) -> str:
    return str(catalog.entry("task", task).facts["space"])


def _whole_budget(given: Budget, space: Budget | None) -> Budget:
    """Fill what is open from the space."""
    base = space or Budget()
    epochs = given.epochs or base.epochs or DEFAULT_BUDGET.epochs
    trials = given.trials or base.trials or DEFAULT_BUDGET.trials
    return Budget(trials=trials, epochs=epochs, seconds=given.seconds)


def _grown(config: SearchConfig, budget: Budget) -> SearchConfig:
    changes = {}
    for name in ("trials", "epochs", "seconds"):
        new, old = getattr(budget, name), getattr(config.budget, name)
        if new is None:
            continue
        if old is not None and new < old:
            raise ConfigError(
                f"The search has a budget of {old:g} {name}; a resume can raise it, not lower it to {new:g}."
            )
        changes[name] = new
    return dataclasses.replace(config, budget=dataclasses.replace(config.budget, **changes))


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
