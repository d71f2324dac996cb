"""That a run has one writer at a time: a lock on a local disk, claims on an object store; readers need neither."""

import json
import os
import platform
import re
import secrets
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from autoft.core.errors import ConfigError, WorkError
from autoft.core.jsonable import canonical_json
from autoft.core.storage import Store

if sys.platform != "win32":
    import fcntl


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
        handle = os.open(store.path(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # POSIX record locks are not handed to children, so workers that outlive a killed driver hold nothing.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise ConfigError(
                f"Another process is writing the run in {store.path()}; wait until it ends, or stop it."
            ) from error
        self._handle = handle

    def release(self) -> None:
        """Let go of the lock; twice is no error."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


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
