"""That a run has one writer at a time: a lock on a local disk, claims on an object store; readers need neither.

Whoever wants to know whether there is a writer asks the system about the lock, and takes none.
"""

import json
import os
import platform
import re
import secrets
import struct
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from autoft.core.errors import ConfigError, WorkError
from autoft.core.jsonable import canonical_json
from autoft.core.storage import Store

if sys.platform != "win32":
    import fcntl

_NAME = ".lock"
_own: set[tuple[int, int, int]] = set()
"""Locks that this process holds: its number, which a child of it does not share, and the file's device and inode."""
_own_lock = threading.Lock()
"""Held while the file of a lock is opened or closed: closing it anywhere in a process frees that process's lock."""


class WriterLock:
    """Held by the process that writes a record; the system frees it when that process ends, however it ends."""

    def __init__(self, store: Store) -> None:
        """Take the lock of the record in the folder `store`; on an object store there is none to take.

        Raises:
            ConfigError: If another process holds it.
        """
        self._handle: int | None = None
        if not store.is_local or sys.platform == "win32":
            return
        Path(store.path()).mkdir(parents=True, exist_ok=True)
        with _own_lock:
            handle = os.open(store.path(_NAME), os.O_RDWR | os.O_CREAT, 0o666)
            try:
                # POSIX record locks are not handed to children, so workers that outlive a killed driver hold nothing.
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(handle)
                raise ConfigError(
                    f"Another process is writing the run in {store.path()}; wait until it ends, or stop it."
                ) from error
            _own.add(_key(os.fstat(handle)))
        self._handle = handle

    def sign(self) -> None:
        """Write into the lock which machine's processes can be asked about it."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, canonical_json({"host": platform.node(), "process": os.getpid()}).encode(), 0)

    def release(self) -> None:
        """Let go of the lock; twice is no error."""
        if self._handle is not None:
            with _own_lock:
                _own.discard(_key(os.fstat(self._handle)))
                os.close(self._handle)
            self._handle = None


def is_left(store: Store) -> bool | None:
    """Return whether nobody searches in the run in the folder `store`, where that is certain; locks and writes nothing.

    It is certain where the last writer was on this machine: it holds its lock, or does not any more. On an object
    store, where there is none, and from another machine, which not every shared disk tells of locks, it is not: None.
    """
    if not store.is_local or not sys.platform.startswith(("linux", "darwin")):
        return None
    path = Path(store.within("results").path(_NAME))
    with _own_lock:
        try:
            if _key(path.stat()) in _own:
                return False
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            return None
        try:
            return not _is_held(handle) if _signed_here(os.read(handle, 4096)) else None
        except OSError:
            return None
        finally:
            os.close(handle)


def _key(status: os.stat_result) -> tuple[int, int, int]:
    return os.getpid(), status.st_dev, status.st_ino


def _signed_here(content: bytes) -> bool:
    try:
        who = json.loads(content)
    except ValueError:
        return False
    return isinstance(who, dict) and who.get("host") == platform.node()


def _is_held(handle: int) -> bool:
    """Return whether another process holds the lock of the open file `handle`, in the form of the C struct flock."""
    if sys.platform == "win32":
        return True
    if sys.platform == "darwin":
        form, kind = struct.Struct("@qqihh"), 3
        asked = form.pack(0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
    else:
        form, kind = struct.Struct("@hhqqi4x"), 0
        asked = form.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    found: int = form.unpack(fcntl.fcntl(handle, fcntl.F_GETLK, asked))[kind]
    return found != fcntl.F_UNLCK


_CLAIM = re.compile(r"writer-(\d{6})-[0-9a-f]{8}\.json")


class Claim:
    """What tells writers of a record on an object store from each other: the newest one goes on, an older one stops.

    An object store has no locks, and a writer that is believed dead may be alive. So each writer names itself before it
    reads the record, and looks for a newer one after each write, before it calls that write done: what it has called
    done, the newer one has read. It writes over nothing of another's, and removes nothing once there is a newer one.
    """

    def __init__(self, store: Store) -> None:
        """Become the newest writer of the record in the folder `store`."""
        self._store = store
        self.number = 1 + max((_number(name) for name in store.sizes()), default=0)
        """Of this writer; those before it have smaller ones."""
        self.name = f"writer-{self.number:06d}-{secrets.token_hex(4)}.json"
        since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        who = {"host": platform.node(), "process": os.getpid(), "since": since}
        store.write(self.name, canonical_json(who).encode())

    def require_newest(self, names: Iterable[str]) -> None:
        """Refuse to go on where a newer writer is among the names in the folder.

        Raises:
            WorkError: Saying who it is.
        """
        newest = max((name for name in names if _CLAIM.fullmatch(name)), default=self.name)
        if newest > self.name:
            raise WorkError(
                f"Another process{self._who(newest)} is writing the run in {self._store.path()}; this one stops."
            )

    def is_older(self, name: str) -> bool:
        """Return whether a file is the claim of a writer before this one."""
        return _CLAIM.fullmatch(name) is not None and name < self.name

    def _who(self, name: str) -> str:
        try:
            who = json.loads(self._store.read(name))
            return f" ({who['process']} on {who['host']}, since {who['since']})"
        except (OSError, ValueError, LookupError):  # it has gone, too
            return ""


def _number(name: str) -> int:
    match = _CLAIM.fullmatch(name)
    return int(match.group(1)) if match else 0
