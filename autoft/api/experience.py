"""Experience: made of run folders, and found for a search that is to learn from earlier ones."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from autoft.api.folder import EXPERIENCE, read_search
from autoft.core.configs import SearchConfig
from autoft.core.errors import ConfigError, DataError, FormatError, WorkError, nearest, one_of
from autoft.core.metrics import parse_objective
from autoft.core.storage import Store, joined
from autoft.data import RunRows, describe, open_dataset
from autoft.record import Record, read_record
from autoft.space import SearchSpace, shipped_folder
from autoft.strategies.costs import epoch_cost
from autoft.strategies.experience import (
    DataFacts,
    Experience,
    PastSearch,
    flattened,
    from_bytes,
    past_search,
    to_bytes,
)
from autoft.strategies.experience.lessons import Lessons

SHIPPED = "shipped"
"""Stands for the experience that comes with autoft."""
PROBE_METRIC = "val_accuracy"


def build_experience(
    runs: Sequence[str | Path], *, out: str | Path, without: Sequence[str] = (), about: str = ""
) -> Experience:
    """Make an experience file of searches, and return what it holds.

    Args:
        runs: Run folders, folders of them, or experience files, whose searches are taken over; "shipped" stands for
            those that come with autoft.
        out: The file, which ends in .parquet; one that is there is replaced.
        without: Names of data sets whose searches are left out.
        about: A sentence that the file keeps in its metadata: where the searches come from.

    Raises:
        ConfigError: If there is nothing to learn from, a name in `without` is of none of the data sets, or `out` cannot
            be such a file.
        FormatError: If something given is damaged or of a newer format.
        WorkError: If the file cannot be written.
    """
    if not str(out).endswith(".parquet"):
        raise ConfigError(f"An experience file ends in .parquet, and '{out}' does not.")
    if not runs:
        raise ConfigError("Give at least one run to make an experience file of.")
    found = Experience.of(search for run in runs for search in _found(run).searches)
    names = data_names(found)
    for name in without:
        if name not in names:
            known = f"Allowed: {one_of(names)}." if names else "None of them has a name."
            raise ConfigError(f"No search was on data called '{name}'.{nearest(name, names)} {known}")
    found = found.without_named(without)
    if not found.searches:
        raise ConfigError(
            f"There is nothing to learn from in {_names(runs)}: no search has two trials that differ in their values."
        )
    try:
        store, name = _place(str(out))
        store.write(name, to_bytes(found, about=about))
    except OSError as error:
        raise WorkError(f"The file '{out}' cannot be written: {error.strerror or error}.") from error
    return found


def learned(sources: Sequence[str | Path], *, task: str, space: SearchSpace, dataset: str | Path) -> Experience | None:
    """Return what a search learns from; None where `sources` is empty.

    Args:
        sources: Run folders, folders of them, experience files, or "shipped".
        task: Searches of others are left out.
        space: Its own.
        dataset: The prepared rows that it searches on.

    Raises:
        ConfigError: If a source holds nothing, or none of it is of the task or in the space.
        FormatError: If a source is damaged or of a newer format.
    """
    if not sources:
        return None
    found = Experience.of(search for source in sources for search in _found(source, task=task).searches)
    kept = found.for_search(task, facts_of(dataset))
    if not kept.searches:
        others = ", ".join(sorted({search.task for search in found.searches})) or "none that taught something"
        raise ConfigError(f"There is no search of {task} to learn from in {_names(sources)}, but {others}.")
    Lessons(space, kept).require()
    return kept


def data_names(experience: Experience) -> list[str]:
    """Return what the data sets of the searches are called, each once."""
    return sorted({search.facts.name for search in experience.searches if search.facts.name is not None})


def data_name(source: str | None) -> str | None:
    """Return what data from a path are called: the last part of it, without an ending."""
    return None if source is None else PurePosixPath(source.rstrip("/")).stem or None


def facts_of(dataset: str | Path) -> DataFacts:
    """Return the facts of prepared rows; none where they are no longer there."""
    try:
        opened = open_dataset(dataset)
    except DataError:
        return DataFacts()
    return DataFacts(**describe(opened))


def past_search_of(run: str | Path) -> PastSearch:
    """Return what the search in a run folder found so far.

    Raises:
        FormatError: If the folder is no run, or it is damaged or of a newer format.
    """
    store = Store.open(run)
    config = read_search(store, run)
    known = RunRows(store, config.fingerprint).describe() if config.fingerprint.isalnum() else None
    return _past_search(config, read_record(store), DataFacts(**(known or {})))


def _past_search(config: SearchConfig, record: Record, facts: DataFacts) -> PastSearch:
    objective = parse_objective(config.metrics[0])
    rows = [row for row in record.trials if row.kind == "trial" and row.status != "failed" and row.epochs]
    probes = {
        str(row.config.recipe["backbone"]["name"]): value
        for row in record.trials
        if row.kind == "probe" and row.epochs and (value := row.epochs[0].metrics.get(PROBE_METRIC)) is not None
    }
    return past_search(
        task=config.task,
        fingerprint=config.fingerprint,
        objective=objective.metric if objective.maximize else f"-{objective.metric}",
        epochs=int(config.budget.epochs or 1),
        recipes=[flattened(row.config.recipe) for row in rows],
        curves=[[epoch.metrics.get(objective.column) for epoch in row.epochs] for row in rows],
        maximize=objective.maximize,
        facts=dataclasses.replace(facts, name=data_name(config.data.source), probes=probes),
        epoch_costs=[epoch_cost(row.config.recipe) for row in rows],
        seconds=[sum(epoch.seconds for epoch in row.epochs) for row in rows],
    )


def _found(source: str | Path, *, task: str | None = None) -> Experience:
    """Return the searches of a run, of the runs in a folder, or of a file."""
    text = str(source)
    if text == SHIPPED:
        return shipped_experience(task)
    if text.endswith(".parquet"):
        return _read_file(text)
    store = Store.open(source)
    if store.exists("search.yaml"):
        return Experience.of([past_search_of(source)])
    names = store.list()
    runs = [joined(text, name) for name in names if store.exists(f"{name}/search.yaml")]
    files = [joined(text, name) for name in names if name.endswith(".parquet")]
    if not runs and not files:
        raise ConfigError(f"'{source}' is no run, holds none, and is no experience file (*.parquet).")
    found = [past_search_of(run) for run in runs]
    return Experience.of([*found, *(search for file in files for search in _read_file(file).searches)])


def _read_file(file: str) -> Experience:
    store, name = _place(file)
    try:
        content = store.read(name)
    except (FileNotFoundError, IsADirectoryError):
        raise FormatError(f"There is no experience file '{file}'.") from None
    except OSError as error:
        raise FormatError(f"The experience file '{file}' cannot be read: {error}.") from error
    return from_bytes(content, where=file)


def shipped_experience(task: str | None = None) -> Experience:
    """Return the experience that ships: of one task, or of all.

    Raises:
        ConfigError: If none ships.
    """
    root = shipped_folder()
    files = [folder.joinpath(EXPERIENCE) for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    found = [from_bytes(file.read_bytes(), where=str(file)) for file in files if file.is_file()]
    searches = [search for one in found for search in one.searches if task in (None, search.task)]
    if not searches:
        raise ConfigError(f"No experience ships{f' for {task}' if task else ''}; give runs of your own.")
    return Experience.of(searches)


def _place(file: str) -> tuple[Store, str]:
    """Return the folder of a file, and its name there."""
    folder, slash, name = file.rpartition("/")
    return Store.open(folder or slash or "."), name


def _names(sources: Iterable[str | Path]) -> str:
    return ", ".join(f"'{source}'" for source in sources)
