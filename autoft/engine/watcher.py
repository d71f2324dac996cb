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
LOOK_SECONDS = 2.0
"""Between looks at how far trials are before their first epoch ends."""


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
        self._stage = "searching"
        self._num_probes = len(space.backbones())
        self.slots = 1
        """Trials that run side by side, once that is known."""
        self._rows: tuple[Json, ...] = ()
        self._near: tuple[str, ...] = ()
        self._rows_at = float("-inf")
        self._rows_are_old = False
        self._line = ""
        self._said: dict[str, str] = {}

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
        now = time.monotonic()
        if self._listener is not None and now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            self._show_preparations()

    def _show_preparations(self) -> None:
        """Say how far the trials are that have ended no epoch: the first on large data are at it for long."""
        for view in self._ledger.views:
            said = self._preparation(view.trial) if view.is_running and not view.epoch else ""
            if said and said != self._said.get(view.trial):
                self._said[view.trial] = said
                self.show(f"{view.trial}: {said[0].lower()}{said[1:].rstrip('.')}")

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
