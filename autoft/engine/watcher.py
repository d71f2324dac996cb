"""What a person sees while a search runs: a snapshot after every event, its table made anew twice a second at most.

In a large search the table, and what is summed up over all trials, are made anew less often: they get a share of the
driver's time, and no more.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autoft.core.configs import SearchConfig
from autoft.core.jsonable import Json
from autoft.core.progress import SEARCHING, Best, Listener, Progress
from autoft.engine.clock import Clock
from autoft.engine.forecast import seconds_left
from autoft.engine.ledger import Ledger
from autoft.record import Record
from autoft.record.leaderboard import rows, within_noise
from autoft.space import SearchSpace

TABLE_SECONDS = 0.5
LEADING_ROWS = 10
MOST_SHARE = 0.05
"""Of the time, what the table gets, and what the sums get."""
CHEAP_SECONDS = 0.002
"""Sums that take no longer are made anew with every event."""
LOOK_SECONDS = 2.0
"""Between looks at how far trials are before their first epoch ends."""
LOOKED_AT = 16
"""Of these the trials at whose logs is looked: each is a file, or a request to an object store."""


class Watcher:
    """Hands snapshots to a listener, if there is one."""

    def __init__(
        self,
        listener: Listener | None,
        *,
        search: SearchConfig,
        space: SearchSpace,
        ledger: Ledger,
        clock: Clock,
        record: Callable[[], Record],
        preparation: Callable[[str], str] = lambda trial: "",
    ) -> None:
        """Watch a search.

        Args:
            listener: Gets the snapshots.
            search: What was asked for.
            space: Its space.
            ledger: Its trials.
            clock: Its clock.
            record: Returns its record.
            preparation: Says how far a trial is that has ended no epoch; "" where nothing is known.
        """
        self._listener = listener
        self._search = search
        self._space = space
        self._ledger = ledger
        self._clock = clock
        self._record = record
        self._preparation = preparation
        self._looked_at = float("-inf")
        self._stage = SEARCHING
        self._num_probes = len(space.backbones())
        self._places = 1
        self._rows: tuple[Json, ...] = ()
        self._near: tuple[str, ...] = ()
        self._rows_pace = _Pace(TABLE_SECONDS)
        self._sums: tuple[float | None, Best | None] = (None, None)
        self._sums_pace = _Pace(0.0)
        self._rows_are_old = self._sums_are_old = False
        self._line = ""
        self._said: dict[str, str] = {}

    def stage(self, stage: str) -> None:
        """Say what is being done now."""
        self._stage = stage
        self.show(stage)

    def has_places(self, count: int) -> None:
        """Take how many trials run side by side; it counts with one at least."""
        self._places = max(1, count)

    def show(self, line: str) -> None:
        """Hand over a snapshot with `line` as its latest event."""
        self._line = line
        if self._listener is None:
            return
        rows, (left, best) = self._table(), self._summed_up()
        self._listener(
            Progress(
                stage=self._stage,
                line=line,
                seconds_used=self._clock.seconds_used,
                seconds_left=left,
                budget=self._search.budget,
                trials_started=self._ledger.num_trials,
                trials_running=len(self._ledger.running),
                epochs_done=self._ledger.num_epochs,
                best=best,
                rows=rows,
                within_noise=self._near,
            )
        )

    def tick(self) -> None:
        """Hand over the table that the last event, too soon after the one before, did not bring."""
        if (self._rows_are_old and self._rows_pace.is_due) or (self._sums_are_old and self._sums_pace.is_due):
            self.show(self._line)
        now = time.monotonic()
        if self._listener is not None and now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            self._show_preparations()

    def _show_preparations(self) -> None:
        """Say how far the trials are that have ended no epoch: the first on large data are at it for long."""
        unheard = [entry.view.trial for entry in self._ledger.running if not entry.view.epoch]
        for trial in unheard[:LOOKED_AT]:
            said = self._preparation(trial)
            if said and said != self._said.get(trial):
                self._said[trial] = said
                self.show(f"{trial}: {said[0].lower()}{said[1:].rstrip('.')}")

    def _summed_up(self) -> tuple[float | None, Best | None]:
        """Return the seconds left, about, and the leading trial."""
        self._sums_are_old = not self._sums_pace.is_due
        if not self._sums_are_old:
            with self._sums_pace.counted():
                left = seconds_left(
                    self._ledger.entries,
                    budget=self._search.budget,
                    seconds_used=self._clock.seconds_used,
                    slots=self._places,
                    num_probes=self._num_probes,
                )
                self._sums = (left, self._best())
        return self._sums

    def _best(self) -> Best | None:
        ranking = self._ledger.ranking()
        value = self._ledger.best_value(ranking[0]) if ranking else None
        if value is None:
            return None
        return Best(trial=ranking[0], column=self._ledger.objective.column, value=value)

    def _table(self) -> tuple[Json, ...]:
        self._rows_are_old = not self._rows_pace.is_due
        if not self._rows_are_old:
            with self._rows_pace.counted():
                record = self._record()
                self._near = within_noise(record, self._search)
                ranked = rows(
                    record,
                    self._search,
                    columns_of=self._space.columns,
                    parameter_columns=self._space.column_names,
                )
            running = [row for row in ranked[LEADING_ROWS:] if row["status"] == "running"]
            self._rows = (*ranked[:LEADING_ROWS], *running)
        return self._rows


class _Pace:
    """Says when something is due again that gets no more than `MOST_SHARE` of the time."""

    def __init__(self, least_seconds: float) -> None:
        self._least_seconds = least_seconds
        self._began_at = float("-inf")
        self._seconds = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is."""
        rest = self._seconds / MOST_SHARE if self._seconds > CHEAP_SECONDS else 0.0
        return time.monotonic() - self._began_at >= max(self._least_seconds, rest)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Do it now, and see how long it takes."""
        self._began_at = time.monotonic()
        yield
        self._seconds = time.monotonic() - self._began_at
