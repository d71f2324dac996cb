"""The result of a search, finished or running."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from autoft.api.folder import read_experience, read_search
from autoft.core.configs import SearchConfig, TrialConfig
from autoft.core.errors import ConfigError, WorkError, nearest
from autoft.core.jsonable import Json
from autoft.core.metrics import Objective, parse_objective
from autoft.core.storage import Store, joined
from autoft.record import Record, is_left, leaderboard, read_record
from autoft.space import SearchSpace

if TYPE_CHECKING:
    import pandas as pd

    from autoft.artifact import Model
    from autoft.engine.replay import Replay


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """The leading trial."""

    id: str
    configuration: TrialConfig
    metrics: Json
    """By column name: of its best epoch, and the test's once it is tested."""


class SearchResult:
    """A run folder, read; `refresh` reads it again while the search runs."""

    def __init__(self, run: str | Path) -> None:
        self.folder = str(run)
        self._store = Store.open(run)
        self.search: SearchConfig = read_search(self._store, run)
        self.refresh()

    def refresh(self) -> None:
        """Read what the search has recorded since; trials that were under way when it ended are `paused`."""
        is_over = is_left(self._store)  # before the record is read: what is recorded until the end counts
        record = read_record(self._store)
        self.silence = record.silence(time.time()) if is_over is None else None
        """Seconds for which nothing was recorded, where they alone tell that nobody searches any more."""
        is_over = is_over or record.has_ended or self.silence is not None
        self.record: Record = record.at_rest() if is_over else record

    @cached_property
    def space(self) -> SearchSpace:
        """The space that was searched."""
        return SearchSpace.from_record(self.search.space)

    @property
    def objective(self) -> Objective:
        """What ranks the trials."""
        return parse_objective(self.search.metrics[0])

    def rows(self, *, top: int | None = None, sort: str | None = None) -> list[Json]:
        """Return the leaderboard's rows, best first, by the columns' names.

        Raises:
            ConfigError: If `sort` is no column.
        """
        return leaderboard.rows(
            self.record,
            self.search,
            columns_of=self.space.columns,
            parameter_columns=self.space.column_names,
            top=top,
            sort=sort,
        )

    def leaderboard(self) -> "pd.DataFrame":
        """Return one row a trial, best first."""
        import pandas as pd

        rows = self.rows()
        columns = list(rows[0]) if rows else leaderboard.column_names(self.search, self.space.column_names)
        return pd.DataFrame(rows, columns=columns)

    @property
    def within_noise(self) -> tuple[str, ...]:
        """The trials that validation cannot tell from the best, the best among them; none where it is alone."""
        return leaderboard.within_noise(self.record, self.search)

    @property
    def best(self) -> Best:
        """The leading trial: id, configuration, metrics.

        Raises:
            WorkError: If no trial has a result yet.
        """
        winner = leaderboard.winner(self.record, self.search)
        if winner is None:
            raise WorkError(f"No trial of '{self.folder}' has a result yet.")
        return self.trial(winner)

    def trial(self, trial: str) -> Best:
        """Return one trial: id, configuration, metrics of its best epoch.

        Raises:
            ConfigError: If there is no such trial.
        """
        row = self.record.by_name.get(trial)
        if row is None:
            raise ConfigError(f"There is no trial '{trial}' in '{self.folder}'.{nearest(trial, self.record.by_name)}")
        metrics: Json = {}
        for result in row.epochs:
            if result.is_best or not metrics:
                metrics = dict(result.metrics)
        test = self.record.test
        if test is not None and test["trial"] == trial:
            metrics |= test["metrics"]
        return Best(id=trial, configuration=row.config, metrics=metrics)

    def reported(self, trial: str) -> Json:
        """Return what a trial reported: `trial`, its best `epoch`, `weights_sha256`, and all `epochs`."""
        row = self.record.by_name[trial]
        best = next((result for result in reversed(row.epochs) if result.is_best), None)
        return {
            "trial": trial,
            "epoch": best.epoch if best else None,
            "weights_sha256": best.weights_sha256 if best else None,
            "epochs": [result.reported() for result in row.epochs],
        }

    @cached_property
    def model(self) -> "Model":
        """The winner, loaded from RUN/best.

        Raises:
            WorkError: If the search has not written it yet.
        """
        if not self._store.exists("best/config.yaml"):
            raise WorkError(f"'{self.folder}' has no model yet: it is written when the search ends.")
        return load(joined(self.folder, "best"))

    def __repr__(self) -> str:
        return f"SearchResult({self.folder!r}, {len(self.record.trials)} trials)"


def open_run(run: str | Path) -> SearchResult:
    """Return the result of a finished or running search.

    Raises:
        FormatError: If the folder is no run, or of a newer format.
    """
    return SearchResult(run)


def replay(run: str | Path) -> "Replay":
    """Return whether every decision of a search is taken again, from its record alone, as it was recorded.

    Raises:
        FormatError: If the folder is no run, or of a newer format.
    """
    from autoft.engine.replay import replay

    store = Store.open(run)
    search = read_search(store, run)
    return replay(search, store, evidence=read_experience(store, search))


def load(bundle: str | Path, *, device: str | None = None) -> "Model":
    """Return the model of a bundle; nothing in it is executed or unpickled.

    Raises:
        FormatError: If it is none, is damaged, or is of a newer format.
    """
    from autoft.artifact import Model

    return Model.load(bundle, device=device)
