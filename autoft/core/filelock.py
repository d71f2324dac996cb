"""A lock between the processes of one machine: a file, which the system frees when its holder ends."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

Beat = Callable[[], None]
"""Called to say that work goes on."""

SILENT_SECONDS = 300.0
"""A holder that gives no sign of life for so long is not waited for."""

_POLL_SECONDS = 0.1


@contextlib.contextmanager
def file_lock(path: Path, *, waits: bool = True, heartbeat: Beat = lambda: None) -> Iterator[Beat | None]:
    """Hold the lock of a file, which is removed in the end; threads of one process are not kept from each other.

    Gives what its holder is to call to be known alive, or None where another process holds it and is not waited for.

    Args:
        path: The file; its folder is made if it is not there.
        waits: Whether to wait until the lock is free.
        heartbeat: Called while it is waited for, and by every sign of life.

    Raises:
        TimeoutError: If its holder gives no sign of life.
        OSError: If there can be no lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _taken(path, waits=waits, heartbeat=heartbeat)
    if handle is None:
        yield None
        return
    try:
        yield _sign_of_life(path, heartbeat)
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(handle)


def _taken(path: Path, *, waits: bool, heartbeat: Beat) -> int | None:
    """Return the handle of a lock, once no other process holds it."""
    seen, seen_at = 0, time.monotonic()
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            is_taken, changed = _try(handle, path), os.fstat(handle).st_mtime_ns
        except BaseException:
            os.close(handle)
            raise
        if is_taken:
            return handle
        os.close(handle)
        if not waits:
            return None
        if changed != seen:
            seen, seen_at = changed, time.monotonic()
        if time.monotonic() - seen_at > SILENT_SECONDS:
            raise TimeoutError(f"the process that prepares them is silent for {SILENT_SECONDS:.0f} s")
        heartbeat()
        time.sleep(_POLL_SECONDS)


def _try(handle: int, path: Path) -> bool:
    """Return whether the lock is ours: that of the file that still has the name, which its last holder removed."""
    if sys.platform == "win32":
        return True
    try:
        # POSIX record locks are not handed to children, so workers that outlive a killed driver hold nothing.
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _sign_of_life(path: Path, heartbeat: Beat) -> Beat:
    """Return a heartbeat that also touches the lock, once a second at most."""
    touched_at = float("-inf")

    def beat() -> None:
        nonlocal touched_at
        heartbeat()
        if time.monotonic() - touched_at > 1:
            touched_at = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(path)

    return beat
