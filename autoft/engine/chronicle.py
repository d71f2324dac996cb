"""What the engine writes into the record, one method a kind of event."""

import dataclasses
from typing import Protocol

from autoft.core.configs import EpochResult, TrialStatus
from autoft.core.jsonable import Json
from autoft.engine.clock import Clock
from autoft.strategies import Decision, Start, Wait

CLOCK_SECONDS = 10.0
"""A kill forgets no more of the time that was used."""


class Journal(Protocol):
    """Where events go; `autoft.record.RecordWriter` is one."""

    def append(self, event: Json) -> int:
        """Add an event and return its number."""
        ...

    def flush(self) -> None:
        """Make all that was added durable."""
        ...


class Chronicle:
    """Writes events; `flush` makes them durable."""

    def __init__(self, journal: Journal, clock: Clock, *, num_decisions: int) -> None:
        """Go on behind `num_decisions` decisions."""
        self._journal = journal
        self._clock = clock
        self._num_decisions = num_decisions
        self._last_wait = ""
        self._clock_written = clock.seconds_used

    def flush(self) -> None:
        """Make every event so far durable."""
        self._journal.flush()

    def decision(
        self, decision: Decision, *, trial: str | None, logical: float | None, seconds: tuple[float, float] | None
    ) -> None:
        """Write a decision, before it takes effect; of waits that say the same again, the first alone.

        Args:
            decision: What was decided.
            trial: Whom it is about.
            logical: The time on the logical clock, if there is one.
            seconds: Those used and reserved that the strategy saw, where they are limited.
        """
        if isinstance(decision, Wait):
            if decision.reason == self._last_wait:
                return
            self._last_wait = decision.reason
        self._num_decisions += 1
        self._journal.append(
            {
                "event": "decision",
                "number": self._num_decisions,
                "action": decision.action,
                "trial": trial,
                "until_epoch": getattr(decision, "until_epoch", None),
                "reason": decision.reason,
                **({"logical": logical} if logical is not None else {}),
                **({"seconds": list(seconds)} if seconds is not None else {}),
            }
        )

    def trial(self, trial: str, start: Start, config: Json) -> None:
        """Write that a trial starts."""
        self._journal.append(
            {
                "event": "trial",
                "trial": trial,
                "kind": start.kind,
                "assignment": dict(start.assignment),
                "config": config,
                "until_epoch": start.until_epoch,
                **({} if start.confirms is None else {"confirms": start.confirms}),
            }
        )

    def epoch(self, trial: str, result: EpochResult) -> EpochResult:
        """Write an epoch, durably; return it without the configuration, which is an event of its own."""
        if result.config is not None:
            self._journal.append({"event": "config", "trial": trial, "config": result.config})
            result = dataclasses.replace(result, config=None)
        self._journal.append({"event": "epoch", "trial": trial, "result": result.to_json()})
        self.clock()
        self._journal.flush()
        return result

    def status(self, trial: str, status: TrialStatus, reason: str) -> None:
        """Write what a trial is now."""
        self._journal.append({"event": "status", "trial": trial, "status": status, "reason": reason})

    def test(self, trial: str, metrics: Json) -> None:
        """Write the final test, durably."""
        self._journal.append({"event": "test", "trial": trial, "metrics": metrics})
        self.clock()
        self._journal.flush()

    def front(self, front: Json) -> None:
        """Write the trials that no other dominates, and the share that they dominate."""
        self._journal.append({"event": "front", **front})

    def note(self, text: str) -> None:
        """Write a sentence for a person, durably."""
        self._journal.append({"event": "note", "text": text})
        self._journal.flush()

    def places(self, *, slots: int, workers: int) -> None:
        """Write how many trials run side by side from now on: as far as decisions know, and really."""
        self._journal.append({"event": "places", "slots": slots, "workers": workers})

    def clock(self) -> None:
        """Write the seconds used so far."""
        self._clock_written = self._clock.seconds_used
        self._journal.append({"event": "clock", "seconds": self._clock_written})

    def tick(self) -> None:
        """Write them, durably, if they were not written lately."""
        if self._clock.seconds_used - self._clock_written >= CLOCK_SECONDS:
            self.clock()
            self._journal.flush()
