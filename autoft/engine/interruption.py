"""What Ctrl-C, and a request to end (SIGTERM, SIGHUP), do while a search runs: nothing is cut in the middle."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_SECONDS = 5.0
"""Signals within so long of the first are the same wish, told again; a later one ends at once."""


class Interruption:
    """Whether somebody wants the search to end; those who can end it cleanly ask for it."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._asked_at: float | None = None
        self._ends_at_once = False

    @property
    def is_requested(self) -> bool:
        """Whether a signal came."""
        return self._asked_at is not None

    def check(self) -> None:
        """Go on, or end where a signal came.

        Raises:
            KeyboardInterrupt: If one did.
        """
        if self.is_requested:
            raise KeyboardInterrupt

    def watch(self) -> None:
        """Take the signals.

        Outside of the main thread, which alone may take signals, it does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # such as SIGHUP under nohup
                signal.signal(number, self._take)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal raise KeyboardInterrupt where it comes: for a block that is slow and can be cut.

        Afterwards the signals are taken again, whoever took them in the block.
        """
        self.check()
        self._ends_at_once = True
        try:
            yield
        finally:
            self._ends_at_once = False
            self.watch()

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._asked_at is None:
            self._asked_at = self._now()
            if self._ends_at_once:
                raise KeyboardInterrupt
        elif self._now() - self._asked_at > PATIENCE_SECONDS:
            raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Take signals until the block ends, and put back the handlers that were there."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    former = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGUSR1)}  # Tune takes SIGUSR1
    interruption.watch()
    try:
        yield interruption
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
