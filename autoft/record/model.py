"""What a record says, as immutable values: the trials with their curves, the decisions, the budget used."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoft.core.configs import EpochResult, TrialConfig, TrialKind, TrialStatus
from autoft.core.jsonable import Json
from autoft.record.sealed import SealedTable
from autoft.record.tables import row_to_result, rows_to_events

SILENCE_SECONDS = 120.0
"""A search writes the time that it has used every ten seconds: one that writes nothing for so long is none any more."""

Action = Literal["start", "continue", "pause", "stop", "wait", "done"]


@dataclass(frozen=True, slots=True)
class EpochRows:
    """Epochs of one trial that still lie as columns: rows of an epochs table."""

    table: SealedTable
    indices: NDArray[np.int64]

    def results(self) -> list[EpochResult]:
        """Return them as objects."""
        rows = self.table.take(self.indices).to_pylist()
        return [EpochResult.from_json(row_to_result(row), where="the record") for row in rows]

    def metrics(self) -> list[tuple[int, Json]]:
        """Return each one's number, and those of its metrics that have no column of their own."""
        rows = self.table.take(self.indices, ["epoch", "metrics"]).to_pylist()
        return [(int(row["epoch"]), json.loads(row["metrics"] or "{}")) for row in rows]


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial or probe, as far as it has come."""

    trial: str
    kind: TrialKind
    status: TrialStatus
    """`running` from its start until an end is recorded; see `Record.at_rest`."""
    reason: str
    """In words, for the status."""
    until_epoch: int | None
    """Epoch to which the last decision let it go on."""
    started: float
    """Seconds since 1970."""
    sources: tuple[str | Mapping[str, Any], str | Mapping[str, Any]] = field(repr=False)
    """Assignment and configuration, parsed or as JSON text."""
    confirms: str | None = None
    """The trial whose configuration it trains again with another seed."""
    curve: tuple[EpochResult | EpochRows, ...] = field(default=(), repr=False)
    """The reported epochs in order of arrival, as objects or columns."""

    @cached_property
    def assignment(self) -> Json:
        """The space's choice: value by label."""
        return _parsed(self.sources[0])

    @cached_property
    def config(self) -> TrialConfig:
        """The complete configuration, as the worker filled it once it has.

        Raises:
            FormatError: If it is of a newer format.
        """
        return TrialConfig.from_json(_parsed(self.sources[1]), where=f"the configuration of {self.trial}")

    def metric(self, epoch: int, name: str) -> float | None:
        """Return a metric that has no column of its own, as the epoch reported it; None where it did not."""
        for part in reversed(self.curve):
            found = part.metrics() if isinstance(part, EpochRows) else [(part.epoch, part.metrics)]
            for number, metrics in reversed(found):
                if number == epoch:
                    value: float | None = metrics.get(name)
                    return value
        return None

    @cached_property
    def epochs(self) -> tuple[EpochResult, ...]:
        """The epochs, from the first on; one that was trained again replaces its former self and what followed."""
        kept: list[EpochResult] = []
        for part in self.curve:
            for result in part.results() if isinstance(part, EpochRows) else (part,):
                while kept and kept[-1].epoch >= result.epoch:
                    kept.pop()
                kept.append(result)
        return tuple(kept)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the strategy decided, and why."""

    number: int
    action: Action
    trial: str | None
    until_epoch: int | None
    reason: str
    time: float
    """Seconds since 1970."""
    logical: float | None = None
    """Of a deterministic search: the time on its logical clock."""
    seconds: tuple[float, float] | None = None
    """Of a search with a budget of seconds: those used and those reserved, as the strategy saw them."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """All that has happened in a search up to one moment; immutable."""

    trials: tuple[TrialRow, ...]
    """In the order in which they were started, probes among them."""
    searches: tuple[Json, ...]
    """One entry for the search and each resume: when, and on which host."""
    notes: tuple[str, ...]
    seconds_used: float
    """Wall clock so far, added up over resumes."""
    has_ended: bool
    """Whether the search, or its last resume, has written that it ends, done or not; one that was killed has not."""
    test: Json | None
    """`trial` and `metrics` of the final test, once it is made."""
    last_seq: int
    """Number of the last event."""
    last_time: float
    """When the last event was written, in seconds since 1970; of sealed ones, the last that is of no trial's epoch."""
    decision_sources: tuple[SealedTable | Json, ...] = field(repr=False)
    """Decisions, as tables or events."""
    epoch_tables: tuple[SealedTable, ...] = field(repr=False)
    """Sealed epochs, as columns."""
    recent_epochs: tuple[tuple[str, EpochResult], ...] = field(repr=False)
    """Epochs that are not sealed, with their trial."""

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions, in order."""
        events: list[Json] = []
        for source in self.decision_sources:
            events.extend(rows_to_events("decisions", source.whole()) if isinstance(source, SealedTable) else (source,))
        return tuple(
            Decision(
                number=event["number"],
                action=event["action"],
                trial=event["trial"],
                until_epoch=event["until_epoch"],
                reason=event["reason"],
                time=event["time"],
                logical=event.get("logical"),
                seconds=tuple(event["seconds"]) if event.get("seconds") else None,
            )
            for event in events
        )

    @cached_property
    def by_name(self) -> Mapping[str, TrialRow]:
        """The trials by their names."""
        return {row.trial: row for row in self.trials}

    def silence(self, now: float) -> float | None:
        """Return for how many seconds nothing was written, where it is so long that the search cannot be under way.

        Args:
            now: Seconds since 1970. The clock of the machine that wrote may be another; none that talks to an object
                store is far off, for that refuses its requests.
        """
        seconds = now - self.last_time
        return seconds if self.searches and not self.has_ended and seconds > SILENCE_SECONDS else None

    def at_rest(self) -> "Record":
        """Return it as it stands while nobody searches: what was running is paused, since a resume takes it up."""
        trials = tuple(
            dataclasses.replace(row, status="paused") if row.status == "running" else row for row in self.trials
        )
        return dataclasses.replace(self, trials=trials)


def _parsed(source: str | Mapping[str, Any]) -> Json:
    return dict(json.loads(source) if isinstance(source, str) else source)
