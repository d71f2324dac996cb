"""A trial's log: all that its worker prints, at the level of file descriptors, and the watch that ends a hang.

The watch is `faulthandler`'s own thread: it needs no GIL, so it also ends a trial that hangs inside C code. What it
writes goes to a file of its own, `TRIAL.hang`, empty unless a hang ended the worker: that is how the driver knows a
hang, which is not tried again, from a lost worker, which is. Where the run lies in a store, a thread of Python's sends
that file and the log there first. One that gets no turn, since C code holds the GIL, sends nothing: such a hang is then
taken for a lost worker.
"""

import contextlib
import faulthandler
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO

from autoft.core.progress import PREPARING
from autoft.core.storage import Store
from autoft.engine.machine import new_scratch_folder

FOLDER = "logs"
_LINE_BYTES = 200
TELL_SECONDS = 60.0
"""How long a store may take to be told of a hang, before the process ends all the same."""


def log_name(trial: str) -> str:
    """Return the name of a trial's log within the run folder."""
    return f"{FOLDER}/{trial}.txt"


def trace_name(trial: str) -> str:
    """Return the name of a trial's profiler trace within the run folder."""
    return f"{FOLDER}/{trial}.trace.json.gz"


def hang_name(trial: str) -> str:
    """Return the name of the file that a hang leaves within the run folder."""
    return f"{FOLDER}/{trial}.hang"


def take_hang(store: Store, trial: str) -> bool:
    """Return whether a hang ended the trial's worker; moves what it left to the end of the trial's log."""
    trace = _content(store, hang_name(trial))
    if trace or store.is_local:
        store.delete(hang_name(trial))
    if not trace:
        return False
    store.write(
        log_name(trial),
        _content(store, log_name(trial)) + b"\nNo batch was finished in time; the threads were at:\n" + trace,
    )
    return True


def _content(store: Store, name: str) -> bytes:
    try:
        return store.read(name)
    except FileNotFoundError:
        return b""


def preparation(store: Store, trial: str) -> str:
    """Return the last line of a trial's log, if it says how far its data are prepared; else, or elsewhere, ""."""
    name = log_name(trial)
    size = store.size(name) if store.is_local else None
    if not size:
        return ""
    end = store.read(name, offset=max(0, size - _LINE_BYTES)).decode(errors="replace")
    line = end.rstrip("\n").rpartition("\n")[2]
    return line if line.startswith(PREPARING) else ""


def remove_watches(store: Store) -> None:
    """Remove the watches of workers that were ended from outside, or that nobody asked after."""
    for name in store.list(FOLDER):
        if name.endswith(".hang"):
            store.delete(f"{FOLDER}/{name}")


class TrialLog:
    """The log of one trial in one worker."""

    def __init__(self, store: Store, trial: str) -> None:
        """Open the log, to be added to.

        Args:
            store: The run folder; on an object store the log is written on this machine and uploaded by `close`.
            trial: Name of the trial.
        """
        self._store = store
        self._trial = trial
        folder = Path(store.path(FOLDER)) if store.is_local else new_scratch_folder("autoft-log-")
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{trial}.txt"
        if not store.is_local:
            self._path.write_bytes(_content(store, log_name(trial)))
        self._file = self._path.open("ab", buffering=0)
        self._hang_path = folder / f"{trial}.hang"
        self._hang_file: IO[str] | None = self._hang_path.open("w")
        self.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, {platform.node()}, process {os.getpid()}\n")

    def write(self, text: str) -> None:
        """Add text; what a full disk refuses is lost, the trial's own writing will say so."""
        with contextlib.suppress(OSError):
            self._file.write(text.encode(errors="replace"))

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        """Send to the log what autoft logs, and all that the process writes to standard output and error, in C too."""
        _flush()
        kept = [os.dup(1), os.dup(2)]
        try:
            os.dup2(self._file.fileno(), 1)
            os.dup2(self._file.fileno(), 2)
            # Whoever has put an object of its own in the place of sys.stdout is redirected, too.
            with (
                self._path.open("a", buffering=1, errors="replace") as stream,
                contextlib.redirect_stdout(stream),
                contextlib.redirect_stderr(stream),
                _logging(stream),
            ):
                yield
        finally:
            _flush()
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)

    def watch(self, hang_seconds: float) -> "Watch":
        """Return the watch that ends this process if it hears nothing for `hang_seconds`."""
        if self._hang_file is None:
            raise ValueError("The log is closed.")
        return Watch(self._hang_file, hang_seconds, tell=None if self._store.is_local else self._tell)

    def _tell(self) -> None:
        """Send the log, and then what the watch wrote, to the store; one that fails learns nothing."""
        with contextlib.suppress(OSError):
            self._store.write(log_name(self._trial), self._path.read_bytes())
            self._store.write(hang_name(self._trial), self._hang_path.read_bytes())

    def close(self) -> None:
        """Close the files; upload the log where the run folder is not local."""
        if self._hang_file is None:
            return
        self._hang_file.close()
        self._hang_file = None
        self._hang_path.unlink(missing_ok=True)
        self._file.close()
        if not self._store.is_local:
            with contextlib.suppress(OSError):  # the trial's own writing will say so
                self._store.write(log_name(self._trial), self._path.read_bytes())
            self._path.unlink()
            self._path.parent.rmdir()


class Watch:
    """Ends the process, with a trace of all threads, when `heartbeat` is not called in time."""

    def __init__(self, file: IO[str], hang_seconds: float, *, tell: Callable[[], None] | None = None) -> None:
        """Watch the trial of this process.

        Args:
            file: Gets the trace.
            hang_seconds: What is in time.
            tell: Called by a thread, once the trace is there, before the process ends; None: there is nobody to tell.
        """
        self._file = file
        self._seconds = hang_seconds
        self._patience = min(1.0, hang_seconds / 10)
        self._armed_at = 0.0
        self._tell = tell
        self._is_over = threading.Event()

    def heartbeat(self) -> None:
        """Say that work goes on; cheap, since the alarm is set again once a second at most."""
        now = time.monotonic()
        if now - self._armed_at > self._patience:
            self._armed_at = now
            seconds = self._seconds + (TELL_SECONDS if self._tell is not None else 0.0)
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._file)

    def __enter__(self) -> "Watch":
        self._armed_at = 0.0
        self.heartbeat()
        if self._tell is not None:
            threading.Thread(target=self._look, args=(self._tell,), name="watch", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        faulthandler.cancel_dump_traceback_later()

    def _look(self, tell: Callable[[], None]) -> None:
        """Wait for the hang, tell of it and end the process, as `faulthandler` does a little later."""
        while not self._is_over.wait(self._armed_at + self._seconds - time.monotonic()):
            if time.monotonic() - self._armed_at >= self._seconds:
                faulthandler.dump_traceback(self._file)
                tell()
                os._exit(1)


@contextlib.contextmanager
def _logging(stream: IO[str]) -> Iterator[None]:
    """Write what this package logs, progress included, to `stream`."""
    logger, handler = logging.getLogger("autoft"), logging.StreamHandler(stream)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
