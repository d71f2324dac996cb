"""A run is brought home: file by file, each published whole, what is here and unchanged not again."""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from autoft.api.folder import read_search
from autoft.core.configs import SearchConfig
from autoft.core.errors import ConfigError, FormatError, WorkError
from autoft.core.paths import local_path
from autoft.core.storage import Store
from autoft.jobs.fetch_ledger import FetchLedger, StoredFile
from autoft.jobs.server import JobServer
from autoft.jobs.verifying import (
    problems_of_bundle,
    problems_of_checkpoint,
    problems_of_data,
    problems_of_experience,
    problems_of_weights,
    sha256_of,
)
from autoft.record import read_record
from autoft.record.journal import segment_start
from autoft.record.lock import WriterLock

ATTEMPTS = 6
"""How often what a running search changes under the hand is tried."""
PAUSE_SECONDS = 0.2
"""Before the second attempt; each further one waits twice as long."""
THREADS = 8
"""Files that travel at a time."""
_STAGING = ".fetching"
_SEARCH = "search.yaml"

Report = Callable[[int, int], None]
"""Called with the bytes that have travelled and those that will, in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What a fetch brought."""

    folder: str
    num_files: int
    """Of the run."""
    num_new: int
    """That had to travel."""
    new_bytes: int
    has_model: bool
    """Whether the search has written RUN/best."""


class _Moved(Exception):
    """That a running search has changed or removed what was to be read."""


def fetch(
    what: str | Path, out: str | Path, *, server: JobServer | None = None, report: Report | None = None
) -> Fetched:
    """Bring a run home, also while it is searched in, and check every hash there is.

    Args:
        what: A job of `server`; without one, where a run lies.
        out: A new folder, or one that this run was fetched into before.
        server: Of the job's cluster.
        report: Told how far it is.

    Raises:
        ConfigError: If there is no such job, `out` holds something else, or has been searched in since it was fetched.
        FormatError: If it is no run.
        WorkError: If a file is damaged or missing, or storage or disk fail; what has come is kept for the next time.
    """
    run = server.info(str(what)).run if server is not None else str(what)
    source = Store.open(run)
    search = read_search(source, run)
    target = local_path(out)
    ledger = FetchLedger.open(target, source, run)
    target.mkdir(parents=True, exist_ok=True)
    ledger.begin(source)
    lock = WriterLock(Store.open(target).within("results"))
    try:
        return _Fetch(source, run, target, ledger, report).all(search)
    except WorkError:
        raise
    except OSError as error:
        raise WorkError(
            f"Fetching '{run}' broke off: {str(error) or type(error).__name__}. What has come is kept; say it again."
        ) from error
    finally:
        lock.release()


class _Fetch:
    """One fetch."""

    def __init__(self, source: Store, run: str, target: Path, ledger: FetchLedger, report: Report | None) -> None:
        self._source = source
        self._run = run
        self._target = target
        self._ledger = ledger
        self._report = report
        self._num_new = 0
        self._new_bytes = 0
        self._done = self._total = 0
        self._lock = threading.Lock()

    def all(self, search: SearchConfig) -> Fetched:
        """Bring everything, search.yaml last, so that a folder with one is whole."""
        self._refuse_searched()
        listing = self._listing()
        self._total = sum(file.bytes for file in listing)
        plain = [file for file in listing if _section(file.name) not in ("results", "checkpoints", "best")]
        plain = [file for file in plain if file.name != _SEARCH]
        self._remove_vanished(listing)
        self._bring_settled(plain)
        problems = [*problems_of_data(self._target, search), *problems_of_experience(self._target, search)]
        problems += problems_of_weights(self._target)
        for trial in sorted({file.name.split("/")[1] for file in listing if _section(file.name) == "checkpoints"}):
            problems += self._checkpoint(trial)
        problems += self._bundle()
        self._record()
        self._bring_settled([file for file in self._listing() if file.name == _SEARCH])
        if problems:
            raise WorkError(f"The run '{self._run}' is not whole as it lies there: {' '.join(problems)}")
        return Fetched(
            folder=str(self._target),
            num_files=len(self._ledger.files),
            num_new=self._num_new,
            new_bytes=self._new_bytes,
            has_model=(self._target / "best" / "config.yaml").is_file(),
        )

    def _refuse_searched(self) -> None:
        """Refuse a folder whose run was searched in since it was fetched: a fetch would undo that.

        Raises:
            ConfigError: If it was.
        """
        folder = self._target / "results"
        names = [f"results/{path.name}" for path in folder.iterdir() if not path.name.startswith(".")]
        for name in names:
            known = self._ledger.files.get(name)
            if known is None or sha256_of(self._target / name) != known.sha256:
                raise ConfigError(
                    f"The run in '{self._target}' has been searched in since it was fetched, and a fetch would undo "
                    "that; give a new folder."
                )

    def _listing(self, section: str = "") -> list[StoredFile]:
        """Return the files of the run, or of a folder of it, by name.

        Raises:
            FormatError: If a name leads out of the run.
        """
        found = []
        for name, info in self._source.walk(section).items():
            if any(part.startswith(".") and part != ".." for part in name.split("/")):
                continue
            self._refuse_foreign(name)
            found.append(StoredFile(name=name, bytes=int(info.size), changed=int(info.mtime_ns or 0)))
        return found

    def _refuse_foreign(self, name: str) -> None:
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise FormatError(f"'{self._run}' is no run of autoft's: the name {name!r} in it leads out of it.")
        if self._source.is_local:
            place = Path(self._source.path())
            for part in parts:
                place = place / part
                if place.is_symlink():
                    raise FormatError(f"'{self._run}' is no run of autoft's: '{name}' in it is a link.")

    def _bring_settled(self, files: Iterable[StoredFile]) -> None:
        """Bring files that a running search may replace, each as it is at one moment; those that vanish are let go."""
        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(self._settled, file) for file in files]:
                done.result()

    def _settled(self, file: StoredFile) -> None:
        for pause in _pauses():
            try:
                self._bring(file)
                return
            except (FileNotFoundError, _Moved):
                time.sleep(pause)
                again = [other for other in self._listing(file.name.rpartition("/")[0]) if other.name == file.name]
                if not again:
                    return
                file = again[0]
        raise WorkError(f"'{file.name}' of '{self._run}' changes faster than it can be read; fetch again later.")

    def _bring(self, file: StoredFile, *, into: Path | None = None) -> None:
        """Bring a file, unless it is here and unchanged.

        A journal that has grown is brought as it was listed: what is written there goes behind what is there.

        Raises:
            FileNotFoundError: If it has vanished.
            _Moved: If it has another size by now.
        """
        if into is None and self._is_here(file):
            self._tell(file.bytes)
            return
        place = (into or self._target) / file.name
        self._make_folder(place.parent)
        partial = place.with_name(f".{place.name}.part")
        try:
            self._source.download(file.name, partial)
            size = partial.stat().st_size
            if size > file.bytes and segment_start(place.name) is not None:
                os.truncate(partial, file.bytes)
                size = file.bytes
            if size != file.bytes:
                raise _Moved(file.name)
            sha256 = sha256_of(partial)
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
        with self._lock:
            if into is None:
                self._ledger.add(StoredFile(name=file.name, bytes=size, changed=file.changed, sha256=sha256))
            self._num_new += 1
            self._new_bytes += size
        self._tell(size)

    def _is_here(self, file: StoredFile) -> bool:
        known, place = self._ledger.files.get(file.name), self._target / file.name
        return (
            known is not None
            and (known.bytes, known.changed) == (file.bytes, file.changed)
            and place.is_file()
            and place.stat().st_size == file.bytes
            and sha256_of(place) == known.sha256
        )

    def _make_folder(self, folder: Path) -> None:
        """Make a folder within the target, whose parents are no links that lead out of it."""
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.resolve().is_relative_to(self._target.resolve()):
            raise ConfigError(f"'{folder}' leads out of the folder to fetch into; give a new one.")

    def _tell(self, num_bytes: int) -> None:
        with self._lock:
            self._done += num_bytes
            if self._report is not None:
                self._report(min(self._done, self._total), self._total)

    def _checkpoint(self, trial: str) -> list[str]:
        """Bring the checkpoints of a trial, which a running search replaces; return what stays wrong with them."""
        name = f"checkpoints/{trial}"
        before: list[StoredFile] | None = None
        problems: list[str] = []
        for pause in _pauses():
            listing = self._listing(name)
            with contextlib.suppress(FileNotFoundError, _Moved):
                for file in listing:
                    self._bring(file)
                for old in [known for known in self._ledger.files if known.startswith(f"{name}/")]:
                    if old not in {file.name for file in listing}:
                        self._remove(old)
                problems = list(problems_of_checkpoint(self._target / name, name))
                if not problems or listing == before:
                    return problems
                before = listing
            time.sleep(pause)
        # It changes all the time: the search goes on from an earlier state where this one is not whole.
        return []

    def _bundle(self) -> list[str]:
        """Bring the model once it is whole: its config.yaml is written last."""
        listing = self._listing("best")
        if "best/config.yaml" not in {file.name for file in listing}:
            return []
        self._bring_settled(sorted(listing, key=lambda file: file.name.endswith("config.yaml")))
        return list(problems_of_bundle(self._target / "best"))

    def _record(self) -> None:
        """Bring the record as it is at one moment.

        Raises:
            FormatError: If it is damaged.
        """
        staging = self._target / _STAGING
        _clear(staging)
        files: list[StoredFile] = []
        for pause in _pauses():
            try:
                before, files = files, self._listing("results")
                self._stage_record(staging, files, before)
                read_record(Store.open(staging))
                break
            except (FileNotFoundError, _Moved):
                error = None
            except FormatError as damaged:
                error = damaged
                _clear(staging)
            time.sleep(pause)
        else:
            raise WorkError(f"The record of '{self._run}' cannot be read whole: {error or 'it changes all the time'}.")
        # In this order every moment between is one that a writer may be killed in: tables, what lists them, journal.
        for file in sorted(files, key=lambda file: (_rank(file.name), file.name)):
            if not self._is_here(file):
                staged = staging / file.name
                self._make_folder((self._target / file.name).parent)
                sha256 = sha256_of(staged)
                staged.replace(self._target / file.name)
                self._ledger.add(StoredFile(name=file.name, bytes=file.bytes, changed=file.changed, sha256=sha256))
        for old in [name for name in self._ledger.files if _section(name) == "results"]:
            if old not in {file.name for file in files}:
                self._remove(old)
        _clear(staging)

    def _stage_record(self, staging: Path, files: Sequence[StoredFile], before: Sequence[StoredFile]) -> None:
        """Bring the record's files into a folder of their own; those that are here already by a link.

        Args:
            staging: The folder; what it holds of the files and has not changed stays.
            files: Of the record.
            before: As they were listed the last time.

        Raises:
            FileNotFoundError: If one has vanished.
            _Moved: If one has another size by now.
            FormatError: If there is none.
        """
        if not files:
            raise FormatError(f"'{self._run}' has no record")
        for file in before:
            if file not in files:
                (staging / file.name).unlink(missing_ok=True)
        for file in files:
            if not (staging / file.name).exists() and self._is_here(file):
                (staging / file.name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(self._target / file.name, staging / file.name)
                except OSError:  # a disk without hard links
                    shutil.copyfile(self._target / file.name, staging / file.name)
        # The oldest first: a journal whose beginning is here reads as one whose end is still to come.
        with ThreadPoolExecutor(THREADS) as pool:
            missing = [file for file in files if not (staging / file.name).exists()]
            for done in [pool.submit(self._bring, file, into=staging) for file in missing]:
                done.result()

    def _remove_vanished(self, listing: Iterable[StoredFile]) -> None:
        """Remove what was fetched before and is there no more, such as checkpoints of pruned trials."""
        there = {file.name for file in listing}
        for name in [name for name in self._ledger.files if name not in there and _section(name) != "results"]:
            self._remove(name)

    def _remove(self, name: str) -> None:
        (self._target / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are in it
            (self._target / name).parent.rmdir()
        self._ledger.remove(name)


def _section(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def _rank(name: str) -> int:
    """Return 0 for the tables of a record, 1 for what lists them, 2 for its journal."""
    return 0 if name.endswith(".parquet") else 1 if name.endswith(".json") else 2


def _pauses() -> Iterator[float]:
    return (PAUSE_SECONDS * 2**attempt for attempt in range(ATTEMPTS))


def _clear(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
