"""A whole search: takes up what the record holds, runs it on Ray Tune, and ends with the winner tested."""

import contextlib
import dataclasses
import math
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autoft.core.configs import Budget, ExecutionPolicy, SearchConfig
from autoft.core.errors import Interrupted, StorageError, WorkError
from autoft.core.jsonable import Json
from autoft.core.progress import SEARCHING, Listener
from autoft.core.seeds import generator
from autoft.core.storage import Store
from autoft.engine.clock import Clock
from autoft.engine.coordinator import NO_PLACE, Coordinator
from autoft.engine.interruption import Interruption, interruptible
from autoft.engine.job import WorkerSpec
from autoft.engine.keeping import Pruner, sweep
from autoft.engine.ledger import Entry, Ledger
from autoft.engine.machine import check_request, scratch_folder
from autoft.engine.session import WorkerSetup
from autoft.engine.strategy import strategy_of
from autoft.engine.triallog import preparation, remove_watches
from autoft.engine.turns import restored
from autoft.engine.watcher import Watcher
from autoft.record import Record, RecordWriter
from autoft.space import SearchSpace
from autoft.strategies import Strategy, TrialView
from autoft.strategies.costs import epoch_cost
from autoft.strategies.experience import Experience

DRAWS = 256
"""From a space, to see how alike they are."""
LOGICAL_SLOTS = 4
"""Trials side by side of a deterministic search that does not say `concurrent`: the same on every machine."""

PROFILED = "t0001"
"""The trial that a search profiles: the first one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a search ended."""

    winner: str
    """Name of the best trial."""
    test: Json
    """Its metrics on the test split."""


def run_search(
    search: SearchConfig,
    *,
    store: Store,
    listener: Listener | None = None,
    worker: WorkerSpec | None = None,
    evidence: Experience | None = None,
    strategy: Strategy | None = None,
    seconds_before: float = 0.0,
) -> Outcome:
    """Run a search, or take one up where its record stands: finished trials are kept, unfinished ones go on first.

    Args:
        search: The whole search.
        store: The run folder, with the rows in it.
        listener: Told after every event.
        worker: What runs in the workers.
        evidence: What earlier searches found: the content of the run's experience.parquet.
        strategy: Decides; None: what the search's names say.
        seconds_before: Seconds that this command has used for its set-up.

    Raises:
        ConfigError: If the machine or the cluster cannot give what is asked for, or another process writes the run.
        WorkError: If no trial can win, the final test failed, or the disk is full; what was reached is kept.
        Interrupted: On Ctrl-C, SIGTERM or SIGHUP; what was reached is kept.
    """
    check_request(search.resources, search.address)
    strategy = strategy or strategy_of(search.searcher, search.scheduler)
    try:
        with contextlib.ExitStack() as stack:
            interruption = stack.enter_context(interruptible())
            folder = stack.enter_context(scratch_folder("autoft-tune-"))
            writer = stack.enter_context(_writer(store))
            sweep(store)
            stack.callback(sweep, store)
            return _run(
                search,
                store=store,
                writer=writer,
                setup=WorkerSetup(
                    spec=worker or WorkerSpec(),
                    store=store,
                    fingerprint=search.fingerprint,
                    hang_seconds=search.resources.hang_seconds,
                    cpus=search.resources.cpus_per_trial,
                    workers=search.resources.workers_per_trial,
                    profiled=PROFILED if search.profile else None,
                    policy=execution_policy(search),
                ),
                listener=listener,
                evidence=evidence,
                strategy=strategy,
                seconds_before=seconds_before,
                folder=folder,
                interruption=interruption,
            )
    except KeyboardInterrupt as error:
        raise Interrupted("The search was interrupted.") from error


def _run(
    search: SearchConfig,
    *,
    store: Store,
    writer: RecordWriter,
    setup: WorkerSetup,
    listener: Listener | None,
    evidence: Experience | None,
    strategy: Strategy,
    seconds_before: float,
    folder: Path,
    interruption: Interruption,
) -> Outcome:
    record = writer.record
    clock = Clock(seconds_before=record.seconds_used + seconds_before, budget=search.budget)
    space = SearchSpace.from_record(search.space)
    ledger = restore_ledger(record, search, evidence=evidence)
    watcher = Watcher(
        listener,
        search=search,
        space=space,
        ledger=ledger,
        clock=clock,
        record=lambda: writer.record,
        preparation=lambda trial: preparation(store, trial),
    )
    from autoft.engine.binding import run_tune
    from autoft.engine.cluster import connected
    from autoft.engine.nodes import first_request, held

    watcher.stage("starting the workers")
    with connected(search.resources, search.address, starting=interruption.at_once):
        workers = held(search.resources)
        slots = logical_slots(search) if search.deterministic else max(1, workers)
        watcher.has_places(min(slots, workers))
        _append_start(writer, clock, slots, search.budget)
        if (asked := search.resources.concurrent) is not None and asked > workers > 0:
            note = f"concurrent asks for {asked} trials side by side, and the machine holds {workers}."
            writer.append({"event": "note", "text": note})
            watcher.show(note)
        watcher.stage(SEARCHING)
        if not workers:
            watcher.show(NO_PLACE)
        coordinator = Coordinator(
            search,
            space=space,
            strategy=strategy,
            ledger=ledger,
            journal=writer,
            clock=clock,
            slots=slots,
            workers=workers,
            turns=restored(record, {entry.view.trial: entry for entry in ledger.entries})
            if search.deterministic
            else None,
            num_decisions=len(record.decisions),
            tested=(record.test or {}).get("trial"),
            on_change=watcher.show,
            on_places=watcher.has_places,
            on_tick=watcher.tick,
            on_finished=Pruner(store, ledger, keep=search.keep),
        )
        remove_watches(store)
        try:
            setup = dataclasses.replace(setup, gpus=first_request(search.resources).gpus)
            run_tune(coordinator, setup, search.resources, folder=folder, interruption=interruption)
        finally:
            _append_end(writer, clock)
            if store.is_local:
                remove_watches(store)
    writer.seal()
    winner = ledger.ranking()[0]
    return Outcome(winner=winner, test=coordinator.test or dict((writer.record.test or {}).get("metrics", {})))


def execution_policy(search: SearchConfig) -> ExecutionPolicy:
    """Return how far workers may choose by what they measure: not at all where the seed alone is to decide.

    The budget is taken to be spread over the networks of the space as draws from it are.
    """
    share = alike(SearchSpace.from_record(search.space))
    trials, seconds = search.budget.trials, search.budget.seconds
    return ExecutionPolicy(
        measures=not search.deterministic,
        trainings=math.inf if trials is None else max(1.0, trials * share),
        seconds=None if seconds is None else seconds * share,
        gradient_checkpointing=search.resources.gradient_checkpointing,
    )


def alike(space: SearchSpace) -> float:
    """Return how likely two draws are to train the same weights of one backbone at one size of inputs."""
    rng = generator(0, "execution", "draws")
    kinds: Counter[str] = Counter()
    for _ in range(DRAWS):
        recipe = space.recipe(space.sample(rng))
        backbone = recipe["backbone"]
        sizes = [backbone.get(name) for name in ("name", "input_size", "max_length")]
        kinds[str([*sizes, recipe["finetune"]["mode"]])] += 1
    return sum((count / DRAWS) ** 2 for count in kinds.values())


def logical_slots(search: SearchConfig) -> int:
    """Return the trials side by side of a deterministic search: those asked for, whatever the machine holds."""
    return search.resources.concurrent or LOGICAL_SLOTS


def restore_ledger(record: Record, search: SearchConfig, *, evidence: Experience | None = None) -> Ledger:
    """Return the trials of a record."""
    ledger = Ledger(search, evidence=evidence)
    last_action = {decision.trial: decision.action for decision in record.decisions}
    for row in record.trials:
        view = TrialView(
            trial=row.trial,
            kind=row.kind,
            assignment=row.assignment,
            until_epoch=row.until_epoch or 1,
            status=row.status,
            epoch_cost=epoch_cost(row.config.recipe),
            confirms=row.confirms,
        )
        waits = row.status == "paused" and last_action.get(row.trial) == "pause"
        ledger.add(Entry(view=view, config=row.config.to_json(), reason=row.reason, waits_for_promotion=waits))
        for result in row.epochs:
            ledger.add_epoch(row.trial, result)
    return ledger


@contextlib.contextmanager
def _writer(store: Store) -> Iterator[RecordWriter]:
    """Open the record; a disk that refuses is an error of work, whose text names the folder."""
    try:
        writer = RecordWriter(store)
    except StorageError:
        raise
    except OSError as error:
        raise WorkError(f"The record in {store.path()} cannot be written: {error}.") from error
    try:
        yield writer
    finally:
        with contextlib.suppress(OSError):
            writer.close()  # what could be written is; that the disk refuses was said when it first did


def _append_start(writer: RecordWriter, clock: Clock, slots: int, budget: Budget) -> None:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    writer.append(
        {
            "event": "search",
            "started_at": started,
            "host": socket.gethostname(),
            "slots": slots,
            "budget": dataclasses.asdict(budget),
        }
    )
    writer.append({"event": "clock", "seconds": clock.seconds_used})
    writer.flush()


def _append_end(writer: RecordWriter, clock: Clock) -> None:
    with contextlib.suppress(OSError):
        writer.append({"event": "clock", "seconds": clock.seconds_used})
        writer.append({"event": "end"})
        writer.flush()
