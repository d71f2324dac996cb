"""A search is checked, and its run laid: all that is done before anything runs, here or on a cluster."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoft import backbones
from autoft.api.arguments import check_arguments
from autoft.api.data_request import data_spec, fetched_sources, refuse_within, split_overrides, with_options
from autoft.api.experience import data_name, data_names, learned
from autoft.api.folder import (
    place_dataset,
    place_weights,
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
    is_of_ray,
    metrics_of,
    probes_sample,
    put_first,
    strategies_of,
    whole_budget,
    within_limits,
)
from autoft.core import catalog
from autoft.core.configs import Budget, Resources, SearchConfig, StrategyConfig
from autoft.core.errors import ConfigError, StorageError, WorkError
from autoft.core.metrics import check_limits
from autoft.core.progress import Listener, Progress
from autoft.core.storage import Store
from autoft.data import Prepared, prepare
from autoft.data.remote import is_address
from autoft.engine.machine import check_request, scratch_folder
from autoft.record import RecordWriter
from autoft.space import SearchSpace, load_space
from autoft.strategies import Strategy
from autoft.strategies.experience import Experience

if TYPE_CHECKING:
    from autoft.engine.plugged import Searcher, TrialScheduler

REPORT_SECONDS = 2.0
"""Between two lines about the rows that are read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    """What a search is asked for: the arguments of `autoft.search`, which says what each of them means."""

    data: Any
    out: str | Path
    task: str | None = None
    target: str | None = None
    val: Any = None
    test: Any = None
    group: str | None = None
    space: "str | Path | SearchSpace | None" = None
    overrides: Mapping[str, Any] | None = None
    metric: str | Sequence[str] | None = None
    budget: Budget | None = None
    searcher: "str | StrategyConfig | Searcher | None" = None
    scheduler: "str | StrategyConfig | TrialScheduler | None" = None
    resources: Resources | None = None
    address: str | None = None
    seed: int = 0
    deterministic: bool = False
    learn_from: str | Path | Sequence[str | Path] = ()
    limits: Mapping[str, float] | None = None
    min_improvement: float | None = None
    confirm: int = 0
    keep: int = 3
    profile: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Laid:
    """A run that waits to be searched."""

    config: SearchConfig
    store: Store
    """The run folder."""
    strategy: Strategy
    """What decides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Checked:
    """What needs no data to be checked."""

    store: Store
    metrics: tuple[str, ...]
    limits: Mapping[str, float]
    budget: Budget
    resources: Resources
    sources: list[str | Path]
    configs: tuple[StrategyConfig, StrategyConfig]
    strategy: Strategy
    space: SearchSpace | None
    data_overrides: Mapping[str, Any]
    space_overrides: Mapping[str, Any]


def lay(request: SearchRequest, *, listener: Listener | None = None, elsewhere: bool = False) -> Laid:
    """Check a search, read its data, and lay its run: rows, what it learns from, and `search.yaml` last.

    Args:
        request: What is asked for.
        listener: Called with a `Progress` for each line about the data.
        elsewhere: Whether the search will run on a cluster that this machine is no part of: then `address` is that
            cluster's, and cores and GPUs of this machine do not count.

    Raises:
        UserError: If what was given cannot work; nothing is made then.
        WorkError: If the disk or storage refuses; nothing is left then.
    """
    start = time.monotonic()
    checked = _check(request, elsewhere=elsewhere)
    say(listener, "reading the data", start)
    with scratch_folder("autoft-data-") as scratch:
        prepared = _read(request, checked, scratch, counting(listener, start))
        chosen, left_out = _space(checked, prepared)
        experience = learned(checked.sources, task=prepared.task, space=chosen, dataset=prepared.path)
        config = _config(request, checked, prepared, chosen)
        probing = probes_sample(prepared.num_rows["train"])
        first = put_first(request.metric, config.metrics)
        said = (*prepared.describe(), *prepared.warnings, *first, *left_out, *probing, *_learning(experience, config))
        for line in said:
            say(listener, "reading the data", start, line, lasting=True)
        config = _lay_run(
            checked.store,
            config,
            prepared,
            experience,
            # What was fetched for this is gone when the search runs, and another machine does not see it.
            packed=elsewhere or any(map(is_address, (request.data, request.val, request.test))),
            elsewhere=elsewhere,
            progress=counting(listener, start, what="stored"),
        )
    return Laid(config=config, store=checked.store, strategy=checked.strategy)


def _check(request: SearchRequest, *, elsewhere: bool) -> _Checked:
    """Refuse what can be seen to be wrong without the data.

    Raises:
        UserError: Naming it.
    """
    searcher, scheduler = request.searcher, request.scheduler
    check_arguments(
        task=request.task,
        target=request.target,
        group=request.group,
        space=request.space,
        overrides=request.overrides,
        metric=request.metric,
        budget=request.budget,
        searcher=None if is_of_ray(searcher) else searcher,
        scheduler=None if is_of_ray(scheduler) else scheduler,
        resources=request.resources,
        address=request.address,
        out=request.out,
        limits=request.limits,
        seed=request.seed,
        learn_from=request.learn_from,
        min_improvement=request.min_improvement,
        confirm=request.confirm,
        keep=request.keep,
    )
    store = Store.open(request.out)
    require_empty(store, request.out)
    metrics = metrics_of(request.metric)
    limits = check_limits(request.limits or {})
    resources = request.resources or Resources()
    learn_from = request.learn_from
    configs, strategy = strategies_of(searcher, scheduler)
    check_numbers(
        seed=request.seed,
        keep=request.keep,
        confirm=request.confirm,
        min_improvement=request.min_improvement,
        metrics=metrics,
    )
    for source in (request.data, request.val, request.test):
        refuse_within(store, request.out, source)
    if request.task is not None:
        catalog.entry("task", request.task, where="task")
    space = None if request.space is None else load_space(request.space, request.task)
    data_overrides, space_overrides = split_overrides(request.overrides or {})
    if not elsewhere:
        check_request(resources, request.address)
    return _Checked(
        store=store,
        metrics=metrics,
        limits=limits,
        budget=request.budget or Budget(),
        resources=resources,
        sources=[learn_from] if isinstance(learn_from, str | Path) else list(learn_from),
        configs=configs,
        strategy=strategy,
        space=space,
        data_overrides=data_overrides,
        space_overrides=space_overrides,
    )


def _read(
    request: SearchRequest, checked: _Checked, scratch: Path, progress: Callable[[int, int], None] | None
) -> Prepared:
    """Read the data into a dataset in `scratch`; those at an address are fetched into it first."""
    data, val, test = request.data, request.val, request.test
    task = request.task or (checked.space and checked.space.task)
    spec = data_spec(data, val, test, task=task, target=request.target, group=request.group)
    spec = with_options(spec, {"seed": request.seed, **checked.data_overrides})
    here = fetched_sources(scratch, data=data, val=val, test=test)
    prepared = prepare(here["data"], spec, out=scratch, val=here["val"], test=here["test"], progress=progress)
    check_share(checked.budget, prepared.num_rows["train"])
    return prepared


def _space(checked: _Checked, prepared: Prepared) -> tuple[SearchSpace, list[str]]:
    """Return the space, narrowed, and a line about the backbones that limits leave out.

    Raises:
        UserError: If it is for another task, cannot be narrowed so, or the weights of a backbone cannot be had.
    """
    chosen = checked.space or load_space(default_space(prepared.task), prepared.task)
    if chosen.task != prepared.task:
        raise ConfigError(f"The space '{chosen.name}' is for {chosen.task}, and the data are for {prepared.task}.")
    chosen = chosen.narrowed(checked.space_overrides) if checked.space_overrides else chosen
    check_checkpointing(checked.resources, chosen)
    chosen, left_out = within_limits(chosen, checked.limits)
    for backbone in chosen.backbones():
        backbones.locate(backbone)
    return chosen, left_out


def _config(request: SearchRequest, checked: _Checked, prepared: Prepared, space: SearchSpace) -> SearchConfig:
    return SearchConfig(
        task=prepared.task,
        data=prepared.spec,
        fingerprint=prepared.fingerprint,
        space=space.to_json(),
        space_name=space.name,
        metrics=checked.metrics,
        budget=whole_budget(checked.budget, space.budget),
        searcher=checked.configs[0],
        scheduler=checked.configs[1],
        resources=checked.resources,
        address=request.address,
        seed=request.seed,
        min_improvement=None if request.min_improvement is None else float(request.min_improvement),
        confirm=request.confirm,
        keep=request.keep,
        profile=request.profile,
        deterministic=request.deterministic or checked.resources.concurrent == 1,
        limits=dict(checked.limits),
    )


def _lay_run(
    store: Store,
    config: SearchConfig,
    prepared: Prepared,
    experience: Experience | None,
    *,
    packed: bool,
    elsewhere: bool,
    progress: Callable[[int, int], None] | None,
) -> SearchConfig:
    """Make the run folder and return the search with the hash of what it learns from.

    `search.yaml` comes last, so that a folder with one is whole; for a search elsewhere an empty record follows, which
    readers find until the search begins.

    Raises:
        WorkError: If the disk refuses; nothing is left then. A store that fails keeps what it has got.
    """
    try:
        place_dataset(store, prepared.path, prepared.fingerprint, contents=packed, progress=progress)
        place_weights(store, SearchSpace.from_record(config.space), travels=elsewhere or not store.is_local)
        write_quarantine(store, [(row.row, row.reason) for row in prepared.quarantine])
        write_environment(store)
        if experience is not None:
            config = dataclasses.replace(config, experience=write_experience(store, experience))
        write_search(store, config)
        if elsewhere:
            RecordWriter(store).close()
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


def counting(
    listener: Listener | None, start: float, *, what: str = "read", every: float = REPORT_SECONDS
) -> Callable[[int, int], None] | None:
    """Return what tells the listener of the rows that are read or stored, once in `every` seconds, if it takes long."""
    if listener is None:
        return None
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            say(listener, "reading the data", start, f"{done:,} of {total:,} rows are {what}")

    return report


def say(listener: Listener | None, stage: str, start: float, line: str = "", *, lasting: bool = False) -> None:
    """Tell the listener, if there is one, a line of a stage that began at `start`."""
    if listener is not None:
        listener(Progress(stage=stage, line=line, lasting=lasting, seconds_used=time.monotonic() - start))
