"""In which order the answers of workers count: as they arrive, or by a logical clock that no machine can change.

On the logical clock an epoch ends when its predicted cost has passed since it began. An answer that arrives before its
turn is kept until every epoch that logically ends earlier has been answered; so the order of all that is learned, and
with it every decision, depends on the seed and not on how many workers there are or how fast they are.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Protocol

from autoft.engine.job import Report
from autoft.engine.ledger import Entry
from autoft.record import Record


class Turns(Protocol):
    """Answers on their way from the workers to the record."""

    @property
    def now(self) -> float | None:
        """The logical time, or None where there is none."""
        ...

    def begin(self, entry: Entry) -> None:
        """Take that the next epoch of a trial begins now."""
        ...

    def drop(self, trial: str) -> None:
        """Forget a trial that left its slot."""
        ...

    def hear(self, report: Report) -> None:
        """Take an answer."""
        ...

    def num_heard(self, trial: str) -> int:
        """Return how many answers of a trial wait for their turn."""
        ...

    @property
    def holds_back(self) -> bool:
        """Whether an answer waits for its turn."""
        ...

    def next(self) -> Report | None:
        """Return the answer whose turn it is, and move on; None where it has not arrived."""
        ...

    def urgency(self, trial: str) -> float:
        """Return when a trial's epoch in flight logically ends; of trials that need a worker the least is first."""
        ...


class ArrivalTurns:
    """Answers count as they arrive."""

    def __init__(self) -> None:
        self._heard: deque[Report] = deque()

    @property
    def now(self) -> float | None:
        """Return None: there is no clock."""
        return None

    def begin(self, entry: Entry) -> None:
        """Do nothing: there is no clock."""

    def drop(self, trial: str) -> None:
        """Forget what it said."""
        self._heard = deque(report for report in self._heard if report.trial != trial)

    def hear(self, report: Report) -> None:
        """Take an answer."""
        self._heard.append(report)

    def num_heard(self, trial: str) -> int:
        """Return how many answers of a trial wait for their turn."""
        return sum(report.trial == trial for report in self._heard)

    @property
    def holds_back(self) -> bool:
        """Return False: what is heard counts at once."""
        return False

    def next(self) -> Report | None:
        """Return the answer that came first."""
        return self._heard.popleft() if self._heard else None

    def urgency(self, trial: str) -> float:
        """Return 0: what was queued first goes first."""
        return 0.0


class LogicalTurns:
    """Answers count in the order of a logical clock; of epochs that end together, the earlier trial's is first."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._ends: dict[str, tuple[float, int]] = {}
        self._heard: dict[str, deque[Report]] = {}
        self._numbers: dict[str, int] = {}

    @property
    def now(self) -> float | None:
        """The logical time: when the last epoch that counted ended."""
        return self._now

    def begin(self, entry: Entry) -> None:
        """Take that the next epoch of a trial begins now."""
        self.begin_at(entry, self._now)

    def begin_at(self, entry: Entry, begin: float) -> None:
        """Take that the next epoch of a trial began at `begin`."""
        number = self._numbers.setdefault(entry.view.trial, len(self._numbers))
        self._ends[entry.view.trial] = (begin + entry.view.epoch_cost, number)

    def know(self, trial: str) -> None:
        """Number a trial, in the order in which trials were started."""
        self._numbers.setdefault(trial, len(self._numbers))

    def drop(self, trial: str) -> None:
        """Forget a trial that left its slot."""
        self._ends.pop(trial, None)
        self._heard.pop(trial, None)

    def hear(self, report: Report) -> None:
        """Take an answer."""
        self._heard.setdefault(report.trial, deque()).append(report)

    def num_heard(self, trial: str) -> int:
        """Return how many answers of a trial wait for their turn."""
        return len(self._heard.get(trial, ()))

    @property
    def holds_back(self) -> bool:
        """Whether an answer waits for its turn."""
        return any(self._heard.values())

    def next(self) -> Report | None:
        """Return the answer of the epoch that logically ends first, if it is there, and move the clock to that end."""
        if not self._ends:
            return None
        trial = min(self._ends, key=self._ends.__getitem__)
        if not self._heard.get(trial):
            return None
        self._now, _ = self._ends.pop(trial)
        return self._heard[trial].popleft()

    def urgency(self, trial: str) -> float:
        """Return when the trial's epoch in flight logically ends."""
        return self._ends.get(trial, (self._now, 0))[0]


def restored(record: Record, entries: Mapping[str, Entry]) -> LogicalTurns:
    """Return the logical clock where a record stands.

    Each trial's epochs follow one another from the moment of the decision that let it go on; the clock stands at the
    last decision or the last epoch's end, whichever is later. Taken up are the trials that ran, and those that were
    paused without waiting for a promotion.
    """
    grants: dict[str, list[tuple[int, float]]] = {}
    now = 0.0
    for decision in record.decisions:
        if decision.logical is None:
            continue
        now = max(now, decision.logical)
        if decision.action in ("start", "continue") and decision.trial is not None:
            grants.setdefault(decision.trial, []).append((decision.until_epoch or 1, decision.logical))
    begins: list[tuple[Entry, float]] = []
    for trial, entry in entries.items():
        times = list(_begins(grants.get(trial, []), entry.view.epoch_cost))
        if entry.view.epoch:
            now = max(now, times[entry.view.epoch - 1] + entry.view.epoch_cost)
        is_taken_up = entry.view.is_running or (entry.view.status == "paused" and not entry.waits_for_promotion)
        if is_taken_up and entry.view.epoch < entry.view.until_epoch:
            begins.append((entry, times[entry.view.epoch]))
    turns = LogicalTurns(now)
    for trial in entries:
        turns.know(trial)
    for entry, begin in begins:
        turns.begin_at(entry, begin)
    return turns


def _begins(grants: list[tuple[int, float]], cost: float) -> Iterator[float]:
    """Yield when each granted epoch began, from the first on."""
    epoch = 0
    for until, begin in grants:
        at = begin
        while epoch < until:
            yield at
            epoch, at = epoch + 1, at + cost
