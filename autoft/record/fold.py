"""From events to what they mean: a fold that takes them one by one, or as the columns of a sealed part."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoft.core.configs import EpochResult, TrialKind, TrialStatus
from autoft.core.errors import FormatError
from autoft.core.jsonable import Json
from autoft.record.columns import valid
from autoft.record.events import to_text
from autoft.record.model import EpochRows, Record, TrialRow
from autoft.record.sealed import SealedTable
from autoft.record.tables import rows_to_events

_STATUS_OF_END: Mapping[str, TrialStatus] = {
    "completed": "completed",
    "early_stopped": "completed",
    "diverged": "diverged",
}
"""What the last epoch of a trial makes of the trial, until a status event says otherwise."""


@dataclass(slots=True)
class _Trial:
    name: str
    kind: TrialKind
    started: float
    confirms: str | None = None
    status: TrialStatus = "running"
    status_seq: int = 0
    reason: str = ""
    until_epoch: int | None = None
    assignment: str | Json = "{}"
    config: str | Json = "{}"
    curve: list[EpochResult | EpochRows] = field(default_factory=list)
    last_epoch_seq: int = 0
    row: TrialRow | None = None
    """What `record` last made of it, while nothing has changed."""

    def set_status(self, status: TrialStatus, reason: str, seq: int) -> None:
        if seq >= self.status_seq:
            self.status, self.reason, self.status_seq = status, reason, seq

    def to_row(self) -> TrialRow:
        if self.row is None:
            self.row = TrialRow(
                trial=self.name,
                kind=self.kind,
                status=self.status,
                reason=self.reason,
                until_epoch=self.until_epoch,
                started=self.started,
                confirms=self.confirms,
                sources=(self.assignment, self.config),
                curve=tuple(self.curve),
            )
        return self.row


class Fold:
    """Gathers events, in their order, into a `Record`."""

    def __init__(self) -> None:
        self._trials: dict[str, _Trial] = {}
        self._searches: list[Json] = []
        self._notes: list[str] = []
        self._seconds_used = 0.0
        self._has_ended = False
        self._test: Json | None = None
        self._test_seq = 0
        self._last_seq = 0
        self._last_time = 0.0
        self._decisions: list[SealedTable | Json] = []
        self._epoch_tables: list[SealedTable] = []
        self._recent_epochs: list[tuple[str, EpochResult]] = []

    def knows(self, trial: str) -> bool:
        """Return whether a trial of that name has started."""
        return trial in self._trials

    def record(self) -> Record:
        """Return what the events so far say."""
        return Record(
            trials=tuple(trial.to_row() for trial in self._trials.values()),
            searches=tuple(self._searches),
            notes=tuple(self._notes),
            seconds_used=self._seconds_used,
            has_ended=self._has_ended,
            test=self._test if self._is_test_of_today else None,
            last_seq=self._last_seq,
            last_time=self._last_time,
            decision_sources=tuple(self._decisions),
            epoch_tables=tuple(self._epoch_tables),
            recent_epochs=tuple(self._recent_epochs),
        )

    @property
    def _is_test_of_today(self) -> bool:
        """Whether the trial that was tested has learned no more since: else the test was of other weights."""
        tested = None if self._test is None else self._trials.get(self._test["trial"])
        return tested is None or tested.last_epoch_seq < self._test_seq

    def add(self, event: Json) -> None:
        """Take the next event.

        Raises:
            FormatError: If it tells of a trial that never started.
        """
        match event["event"]:
            case "trial" | "config" | "status":
                self._add_trial_event(event)
            case "epoch":
                self._add_epoch(event)
            case "decision":
                self._decisions.append(event)
                if event["action"] == "continue" and event["trial"] in self._trials:
                    self._changed(event["trial"]).until_epoch = event["until_epoch"]
            case "search":
                self._searches.append({key: value for key, value in event.items() if key not in ("event", "seq")})
                self._has_ended = False
            case "end":
                self._has_ended = True
            case "test":
                self._test = {"trial": event["trial"], "metrics": event["metrics"]}
                self._test_seq = event["seq"]
            case "note":
                self._notes.append(event["text"])
            case "clock":
                self._seconds_used = event["seconds"]
        self._last_seq, self._last_time = event["seq"], event["time"]

    def add_part(self, tables: Mapping[str, SealedTable], *, last_seq: int) -> None:
        """Take the events of a sealed part, whose last is `last_seq`; epochs and decisions stay columns.

        Raises:
            FormatError: If they tell of a trial that never started.
        """
        if "trials" in tables:
            for event in rows_to_raw(tables["trials"]):
                self._add_trial_event(event)
        if "decisions" in tables:
            self._add_decisions(tables["decisions"])
        if "epochs" in tables:
            self._add_epochs(tables["epochs"])
        if "events" in tables:
            self._add_others(tables["events"])
        self._last_seq = last_seq

    def seal(self, tables: Mapping[str, SealedTable]) -> None:
        """Hold what was added one by one, which `tables` hold as well, as columns and JSON text: these are smaller."""
        self._recent_epochs.clear()
        for trial in self._trials.values():
            if not (isinstance(trial.assignment, str) and isinstance(trial.config, str)):
                trial.assignment, trial.config = _text(trial.assignment), _text(trial.config)
                trial.row = None
        if "epochs" in tables:
            self._epoch_tables.append(tables["epochs"])
            for name, rows in _rows_of_trials(tables["epochs"]):
                trial = self._changed(name)
                trial.curve = [part for part in trial.curve if isinstance(part, EpochRows)]
                trial.curve.append(EpochRows(tables["epochs"], rows))
        if "decisions" in tables:
            self._decisions = [part for part in self._decisions if isinstance(part, SealedTable)]
            self._decisions.append(tables["decisions"])

    def _changed(self, name: str) -> _Trial:
        if name not in self._trials:
            raise FormatError(f"The record is damaged: it tells of trial '{name}', which never started.")
        trial = self._trials[name]
        trial.row = None
        return trial

    def _add_trial_event(self, event: Json) -> None:
        name = event["trial"]
        if event["event"] == "trial" and name not in self._trials:
            confirms = event.get("confirms")
            self._trials[name] = _Trial(name=name, kind=event["kind"], started=event["time"], confirms=confirms)
        trial = self._changed(name)
        match event["event"]:
            case "trial":
                trial.assignment, trial.config = event["assignment"], event["config"]
                trial.until_epoch = event["until_epoch"]
                trial.set_status("running", "", event["seq"])
            case "config":
                trial.config = event["config"]
            case "status":
                trial.set_status(event["status"], event["reason"], event["seq"])

    def _add_epoch(self, event: Json) -> None:
        result = EpochResult.from_json(event["result"], where="the record")
        self._recent_epochs.append((event["trial"], result))
        trial = self._changed(event["trial"])
        trial.curve.append(result)
        trial.last_epoch_seq = event["seq"]
        self._add_last_epoch(trial, result.status, result.reason, event["seq"])
        if result.config is not None:
            trial.config = result.config

    def _add_last_epoch(self, trial: _Trial, status: str, reason: str, seq: int) -> None:
        if status in _STATUS_OF_END:
            trial.set_status(_STATUS_OF_END[status], reason, seq)

    def _add_decisions(self, table: SealedTable) -> None:
        self._decisions.append(table)
        for row in _rows_where(table, "action", "continue", ["trial", "until_epoch"]):
            if row["trial"] in self._trials:
                self._changed(row["trial"]).until_epoch = row["until_epoch"]

    def _add_others(self, table: SealedTable) -> None:
        kind, kinds = table.codes("event")
        clock = kind == (kinds.index("clock") if "clock" in kinds else -1)
        for event in rows_to_events("events", table.take(np.flatnonzero(~clock))):
            self.add(event)
        if table.num_rows:
            self._last_time = table.column("time")[table.num_rows - 1].as_py()
        if clock.any():
            self._seconds_used = table.column("seconds")[int(np.flatnonzero(clock)[-1])].as_py()

    def _add_epochs(self, table: SealedTable) -> None:
        """Hand each trial its rows, and what its last row and its configuration say of it."""
        self._epoch_tables.append(table)
        found = _rows_of_trials(table)
        lasts = table.take(np.array([rows[-1] for _, rows in found]), ["seq", "status", "reason"]).to_pylist()
        for last, (name, rows) in zip(lasts, found, strict=True):
            trial = self._changed(name)
            trial.curve.append(EpochRows(table, rows))
            trial.last_epoch_seq = last["seq"]
            self._add_last_epoch(trial, last["status"], last["reason"], last["seq"])
        filled = np.flatnonzero(valid(table.column("config")))
        for row in table.take(filled, ["trial", "config"]).to_pylist():
            self._trials[row["trial"]].config = row["config"]


def _rows_of_trials(table: SealedTable) -> list[tuple[str, NDArray[np.int64]]]:
    """Return each trial of an epochs table with its rows, in order."""
    trial_codes, names = table.codes("trial")
    order = np.argsort(trial_codes, kind="stable")
    ends = np.cumsum(np.bincount(trial_codes)).tolist()
    return [(name, order[start:end]) for name, start, end in zip(names, [0, *ends], ends, strict=False)]


def _text(value: str | Json) -> str:
    return value if isinstance(value, str) else to_text(value)


def _rows_where(table: SealedTable, column: str, value: str, columns: list[str]) -> list[Json]:
    """Return some columns of the rows whose `column` is `value`."""
    found, values = table.codes(column)
    rows = np.flatnonzero(found == (values.index(value) if value in values else -1))
    chosen: list[Json] = table.take(rows, columns).to_pylist()
    return chosen


def rows_to_raw(table: SealedTable) -> list[Json]:
    """Return the rows of a trials table, in order, with their JSON still as text, but for what has no column."""
    rows: list[Json] = table.whole().to_pylist()
    return [row | json.loads(extra) if (extra := row.pop("extra")) else row for row in rows]
