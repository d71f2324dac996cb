"""The parts of a driver, each of which adds up the seconds that it takes."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from autoft.core.configs import SearchConfig
from autoft.core.jsonable import Json
from autoft.core.progress import Progress
from autoft.core.storage import Store
from autoft.engine.ledger import Ledger
from autoft.engine.watcher import Watcher
from autoft.record import RecordWriter
from autoft.strategies import Decision, History, Strategy


class Stopwatch:
    """Adds up seconds by what they go to; what is done within something else counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._part: str | None = None
        self._since = 0.0

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block as `name`."""
        outer = self._part
        self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    def milliseconds(self, count: int, before: Mapping[str, float] | None = None) -> Json:
        """Return what each part took of every one of `count`, since it had taken `before`."""
        earlier = before or {}
        return {name: 1000 * (spent - earlier.get(name, 0.0)) / count for name, spent in sorted(self.seconds.items())}

    def _switch(self, name: str | None) -> None:
        now = time.perf_counter()
        if self._part is not None:
            self.seconds[self._part] = self.seconds.get(self._part, 0.0) + now - self._since
        self._part, self._since = name, now


class TimedWriter(RecordWriter):
    """A record whose work is timed."""

    def __init__(self, store: Store, watch: Stopwatch) -> None:
        self._watch = watch
        self.num_flushes = self.num_bytes = 0
        super().__init__(store)

    def append(self, event: Any) -> int:
        """Take an event."""
        with self._watch.part("record: events"):
            return super().append(event)

    def flush(self) -> None:
        """Make events durable."""
        self.num_flushes += bool(self._pending)
        with self._watch.part("record: fsync"):
            super().flush()

    def seal(self) -> None:
        """Turn the journal into Parquet files."""
        with self._watch.part("record: seal"):
            super().seal()

    def _write_frames(self, frames: bytes) -> None:
        self.num_bytes += len(frames)
        super()._write_frames(frames)


class TimedLedger(Ledger):
    """A ledger whose histories are timed."""

    def __init__(self, search: SearchConfig, watch: Stopwatch) -> None:
        super().__init__(search)
        self._watch = watch

    def history(self, *arguments: Any, **named: Any) -> History:
        """Return what a strategy decides on."""
        with self._watch.part("ledger"):
            return super().history(*arguments, **named)


@dataclass
class TimedStrategy:
    """A strategy whose decisions are timed."""

    strategy: Strategy
    watch: Stopwatch
    seconds: list[float] = field(default_factory=list)

    def next(self, history: History) -> Decision:
        """Return the next decision."""
        start = time.perf_counter()
        with self.watch.part("strategy"):
            decision = self.strategy.next(history)
        self.seconds.append(time.perf_counter() - start)
        return decision


class TimedWatcher(Watcher):
    """A live table that is timed."""

    def __init__(self, watch: Stopwatch, **named: Any) -> None:
        super().__init__(self._listen, **named)
        self._watch = watch
        self.tables: list[float] = []
        self.first_row_at = float("nan")

    def show(self, line: str) -> None:
        """Hand over a snapshot."""
        with self._watch.part("snapshot"):
            super().show(line)

    def _table(self) -> tuple[Json, ...]:
        start = time.perf_counter()
        with self._watch.part("table"):
            rows = super()._table()
        if not self._rows_are_old:
            self.tables.append(time.perf_counter() - start)
        return rows

    def _listen(self, progress: Progress) -> None:
        if progress.rows and math.isnan(self.first_row_at):
            self.first_row_at = time.perf_counter()
