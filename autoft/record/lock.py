"""That a run on a local disk has one writer at a time; readers need no lock."""

import os
import sys
from pathlib import Path

from autoft.core.errors import ConfigError
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
