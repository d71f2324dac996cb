"""Where the seconds of an epoch go."""

import time

import torch

IN_EPOCH = ("data", "forward_backward", "optimizer", "evaluate", "checkpoint")
"""The parts of an epoch; together they are its seconds."""
WAIT = "wait"
"""Beside them: the seconds before the epoch, since the trial's last one ended or its worker began to open it."""


class Stopwatch:
    """Gives every moment since it was made to one part.

    A GPU works on its own: a mark within the updates is an event among its work, so that nobody waits for it, and the
    events are read when the updates are over. What a GPU idles for, until the next batch is there, is `data`.
    """

    def __init__(self, device: torch.device, *, waited: float = 0.0) -> None:
        """Begin to measure an epoch on `device`, after `waited` seconds."""
        self._waited = waited
        self._seconds = dict.fromkeys(IN_EPOCH, 0.0)
        self._events: list[tuple[str, torch.cuda.Event]] | None = [] if device.type == "cuda" else None
        self._last = time.perf_counter()
        self.mark("data")

    @property
    def timings(self) -> dict[str, float]:
        """The seconds so far of each part, and those before."""
        return {**self._seconds, WAIT: self._waited}

    @property
    def seconds(self) -> float:
        """The seconds so far, which are those of all parts of the epoch."""
        return sum(self._seconds.values())

    def lap(self, part: str) -> None:
        """Give what went since the last lap to `part`; a GPU must have done its work."""
        now = time.perf_counter()
        self._seconds[part] += now - self._last
        self._last = now

    def mark(self, part: str) -> None:
        """Give what went since the last mark to `part`; costs a microsecond, and no wait."""
        if self._events is None:
            self.lap(part)
        else:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._events.append((part, event))

    def settle(self) -> None:
        """End the marks; a GPU must have done its work."""
        if not self._events:
            return
        before = self.seconds
        (_, former), *events = self._events
        for part, event in events:
            self._seconds[part] += former.elapsed_time(event) / 1000
            former = event
        on_device = self.seconds - before
        self._events.clear()
        self.lap("data")
        self._seconds["data"] -= on_device
