"""A job while it runs: its state, what its run has recorded, what it prints; and its end."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from autoft.api.folder import read_search
from autoft.core.configs import SearchConfig
from autoft.core.errors import FormatError, UserError, WorkError
from autoft.core.jsonable import Json
from autoft.core.progress import SEARCHING, Listener, Progress
from autoft.core.storage import Store
from autoft.engine.clock import Clock
from autoft.engine.search import restore_ledger
from autoft.engine.triallog import log_name
from autoft.engine.watcher import Watcher
from autoft.jobs.server import JobInfo, JobServer
from autoft.jobs.submitting import STOP_SECONDS
from autoft.record import Record, RecordReader, follow, is_left
from autoft.space import SearchSpace

POLL_SECONDS = 2.0
"""Between two looks at a job."""
WAIT_SECONDS = STOP_SECONDS + 30.0
"""How long a job that was asked to end is waited for."""
_BEGUN = re.compile(rf"^\[[\d:]+[^\]]*\] {SEARCHING}$", re.MULTILINE)
"""The line with which `autoft search` and `resume` say that they have reached that stage."""
_RECONNECTS = 5
"""How often in a row a log may break off without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """A job, and how far its search is."""

    info: JobInfo
    progress: Progress | None
    """Of the search; None where its run cannot be read from here, or is not laid yet."""
    note: str
    """Why the run cannot be read."""

    def to_json(self) -> Json:
        """Return the JSON form: the job, and the search as far as it can be read."""
        info, progress = self.info, self.progress
        shown: Json = {
            "job": info.job,
            "state": info.state,
            "message": info.message,
            "run": info.run,
            "started": info.started,
            "ended": info.ended,
        }
        if progress is None:
            return {**shown, "search": None, "note": self.note}
        best = progress.best
        search: Json = {
            "trials": progress.trials_started,
            "trials_in_all": progress.budget.trials,
            "running": progress.trials_running,
            "epochs": progress.epochs_done,
            "best": None if best is None else {"trial": best.trial, best.column: best.value},
            "seconds_used": progress.seconds_used,
            "seconds_left": progress.seconds_left,
            "leaderboard": list(progress.rows),
        }
        return {**shown, "search": search, "note": self.note}


class RunWatch:
    """Follows what a run records; each look reads only what is new."""

    def __init__(self, run: str) -> None:
        """Follow the run in the folder `run`, which need not be there yet."""
        self._run = run
        self._store: Store | None = None
        self._search: SearchConfig | None = None
        self._space: SearchSpace | None = None
        self._reader: RecordReader | None = None

    def look(self, stage: str, *, ended: float | None = None) -> Progress:
        """Return how far the search is.

        Args:
            stage: What is being done now.
            ended: When the job that searched ended, in seconds since 1970; None: it has not.

        Raises:
            UserError: If the run is not there, or cannot be read from here.
            OSError: If the storage refuses.
        """
        if self._store is None or self._search is None or self._space is None or self._reader is None:
            self._store = Store.open(self._run)
            self._search = read_search(self._store, self._run)
            self._space = SearchSpace.from_record(self._search.space)
            self._reader = follow(self._store)
        is_over = is_left(self._store)  # before the record is read: what is recorded until the end counts
        record = self._reader.refresh()
        if is_over or record.has_ended or _ended_with(record, ended):
            record = record.at_rest()
        return snapshot(self._search, self._space, record, stage=stage)


def _ended_with(record: Record, ended: float | None) -> bool:
    """Return whether the last search of a record ended with a job that ended then: no other has gone on with it."""
    return ended is not None and all(search["time"] <= ended for search in record.searches[-1:])


def snapshot(search: SearchConfig, space: SearchSpace, record: Record, *, stage: str) -> Progress:
    """Return how far a search is by its record."""
    told: list[Progress] = []
    watcher = Watcher(
        told.append,
        search=search,
        space=space,
        ledger=restore_ledger(record, search),
        clock=Clock(seconds_before=record.seconds_used, budget=search.budget),
        record=lambda: record,
    )
    if record.searches:
        watcher.has_places(int(record.searches[-1]["slots"]))
    watcher.stage(stage)
    return told[-1]


def status(job: str, server: JobServer, *, watch: RunWatch | None = None) -> JobStatus:
    """Return a job's state and how far its search is.

    Raises:
        ConfigError: If there is no such job.
        WorkError: If the server does not answer.
    """
    return seen(server.info(job), watch=watch)


def seen(info: JobInfo, *, watch: RunWatch | None = None) -> JobStatus:
    """Return how far the search of a job is that is as `info` says; asks the run alone."""
    try:
        progress = (watch or RunWatch(info.run)).look(info.state, ended=info.ended if info.has_ended else None)
    except (UserError, OSError) as error:
        return JobStatus(info=info, progress=None, note=f"The run cannot be read from here: {error}")
    return JobStatus(info=info, progress=progress, note="")


def has_begun(found: JobStatus, server: JobServer) -> bool:
    """Return whether the search of a job had begun, as far as its run or else its log tells: then it is kept."""
    if found.progress is not None:
        return True
    try:
        return _BEGUN.search(server.log(found.info.job)) is not None
    except WorkError:  # a job that was never started has no log
        return False


def wait(job: str, server: JobServer, *, listener: Listener, watch: RunWatch | None = None) -> JobInfo:
    """Follow a job until it ends, and return it.

    Args:
        job: Which.
        server: Of its cluster.
        listener: Told how far the search is, after every look.
        watch: Of its run.

    Raises:
        ConfigError: If there is no such job.
        WorkError: If the server does not answer.
    """
    watch = watch or RunWatch(server.info(job).run)
    while True:
        began = time.monotonic()
        found = status(job, server, watch=watch)
        if found.progress is not None:
            listener(found.progress)
        else:
            listener(Progress(stage=found.info.state))
        if found.info.has_ended:
            return found.info
        # A large record takes long to read: most of the time is left to others.
        time.sleep(max(POLL_SECONDS, 3 * (time.monotonic() - began)))


def stop(job: str, server: JobServer, *, wait_seconds: float = WAIT_SECONDS) -> JobInfo:
    """End a job, which saves its state, and return it once it has ended; one that had is no error.

    Raises:
        ConfigError: If there is no such job.
        WorkError: If it has not ended in time.
    """
    info = server.info(job)
    if not info.has_ended:
        server.stop(job)
    end = time.monotonic() + wait_seconds
    while not info.has_ended:
        if time.monotonic() > end:
            raise WorkError(
                f"The job {job} was asked to end and has not ended within {wait_seconds:.0f} s; `autoft status {job} "
                f"--address {server.url}` says when it has."
            )
        time.sleep(0.5)
        info = server.info(job)
    return info


def trial_log(run: str, trial: str, *, offset: int = 0) -> bytes:
    """Return what a trial has printed, from a byte on; nothing where its log is not there yet.

    Raises:
        ConfigError: If the run cannot be opened.
    """
    store, name = Store.open(run), log_name(trial)
    size = store.size(name) or 0
    return store.read(name, offset=offset) if size > offset else b""


def follow_log(job: str, server: JobServer, write: Callable[[str], Any]) -> JobInfo:
    """Write what a job has printed and what it prints until it ends, and return the job.

    Raises:
        ConfigError: If there is no such job.
        WorkError: If the server does not answer any more.
    """
    info = server.info(job)
    shown = broken = 0
    while True:
        before = shown
        shown += asyncio.run(_tail(job, server, write, skip=shown))
        info = server.info(job)
        if info.has_ended:
            rest = server.log(job)[shown:]
            if rest:
                write(rest)
            return info
        broken = 0 if shown > before else broken + 1
        if broken > _RECONNECTS:
            raise WorkError(f"The log of {job} breaks off again and again; the job is {info.state}.")
        time.sleep(POLL_SECONDS)


async def _tail(job: str, server: JobServer, write: Callable[[str], Any], *, skip: int) -> int:
    """Write a log from its character `skip` on, until it or the connection ends; return how many were written."""
    import aiohttp

    seen = 0
    try:
        async for text in server.follow_log(job):
            new = text[max(0, skip - seen) :]
            seen += len(text)
            if new:
                write(new)
    except (aiohttp.ClientError, RuntimeError):  # the connection; the caller looks after the job and connects again
        pass
    return max(0, seen - skip)


def follow_trial_log(job: str, server: JobServer, trial: str) -> Iterator[str]:
    """Yield what a trial has printed, and what it prints until the job ends."""
    info = server.info(job)
    offset = 0
    while True:
        new = trial_log(info.run, trial, offset=offset)
        offset += len(new)
        if new:
            yield new.decode(errors="replace")
        elif info.has_ended:
            return
        else:
            time.sleep(POLL_SECONDS)
        info = server.info(job)


def check_trial(run: str, trial: str) -> None:
    """Refuse a trial that a run has no log of.

    Raises:
        FormatError: Naming it.
    """
    if Store.open(run).size(log_name(trial)) is None:
        raise FormatError(
            f"There is no log of '{trial}' in '{run}' yet; a trial's log is there once it has paused or ended."
        )
