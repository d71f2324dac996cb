"""What a person sees while a search runs: a snapshot after every event, its table made anew twice a second at most."""

import time
from collections.abc import Callable

from autoft.core.configs import SearchConfig
from autoft.core.jsonable import Json
from autoft.core.progress import Best, Listener, Progress
from autoft.engine.clock import Clock
from autoft.engine.forecast import seconds_left
from autoft.engine.ledger import Ledger
from autoft.record import Record
from autoft.record.leaderboard import rows, within_noise
from autoft.space import SearchSpace

TABLE_SECONDS = 0.5
LEADING_ROWS = 10


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
    ) -> None:
        """Watch a search whose record `record` returns."""
        self._listener = listener
        self._search = search
        self._space = space
        self._ledger = ledger
        self._clock = clock
        self._record = record
        self._stage = "searching"
        self._num_probes = len(space.backbones())
        self.slots = 1
        """Trials that run side by side, once that is known."""
        self._rows: tuple[Json, ...] = ()
        self._near: tuple[str, ...] = ()
        self._rows_at = float("-inf")
        self._rows_are_old = False
        self._line = ""

    def stage(self, stage: str) -> None:
        """Say what is being done now."""
        self._stage = stage
        self.show(stage)

    def show(self, line: str) -> None:
        """Hand over a snapshot with `line` as its latest event."""
        self._line = line
        if self._listener is None:
            return
        views = self._ledger.views
        self._listener(
            Progress(
                stage=self._stage,
                line=line,
                seconds_used=self._clock.seconds_used,
                seconds_left=seconds_left(
                    self._ledger.entries,
                    budget=self._search.budget,
                    seconds_used=self._clock.seconds_used,
                    slots=self.slots,
                    num_probes=self._num_probes,
                ),
                budget=self._search.budget,
                trials_started=sum(view.kind != "probe" for view in views),
                trials_running=sum(view.is_running for view in views),
                epochs_done=sum(view.epoch for view in views),
                best=self._best(),
                rows=self._table(),
                within_noise=self._near,
            )
        )

    def tick(self) -> None:
        """Hand over the table that the last event, too soon after the one before, did not bring."""
        if self._rows_are_old and time.monotonic() - self._rows_at > TABLE_SECONDS:
            self.show(self._line)

    def _best(self) -> Best | None:
        ranking = self._ledger.ranking()
        value = self._ledger.best_value(ranking[0]) if ranking else None
        if value is None:
            return None
        return Best(trial=ranking[0], column=self._ledger.objective.column, value=value)

    def _table(self) -> tuple[Json, ...]:
        now = time.monotonic()
        self._rows_are_old = now - self._rows_at <= TABLE_SECONDS
        if not self._rows_are_old:
            self._rows_at = now
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
