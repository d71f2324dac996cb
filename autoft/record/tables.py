"""Events as columns: the schema of the sealed Parquet files, and the way there and back without loss.

Four tables: `trials` (trial, config and status events), `epochs`, `decisions` and `events` (all else). What has no
column of its own lies in `extra` as JSON, so that each table gives its events back exactly.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from autoft.core.configs import FORMAT
from autoft.core.jsonable import Json
from autoft.core.metrics import METRICS, TRANSFERABILITY
from autoft.record.events import KEYS, STAMPS, WHOLE_METRICS, to_text

METRIC_COLUMNS: Mapping[str, pa.DataType] = {
    "train_loss": pa.float64(),
    "val_loss": pa.float64(),
    **{metric.column: pa.float64() for metric in METRICS.values() if not metric.is_cost},
    **{name: pa.float64() for name, metric in METRICS.items() if metric.is_cost and name not in WHOLE_METRICS},
    **{name: pa.int64() for name in WHOLE_METRICS},
    TRANSFERABILITY: pa.float64(),
}
"""Metrics of an epoch with a column of their own; the others, and those that were not finite, lie in `metrics`."""

_RESULT_COLUMNS: Mapping[str, pa.DataType] = {
    "epoch": pa.int32(),
    "status": pa.string(),
    "reason": pa.string(),
    "is_best": pa.bool_(),
    "seconds": pa.float64(),
    "learning_rate": pa.float64(),
    "weights_sha256": pa.string(),
    "timings": pa.string(),
    "config": pa.string(),
}
_STAMP_COLUMNS: Mapping[str, pa.DataType] = {"seq": pa.int64(), "time": pa.float64(), "event": pa.string()}
_COLUMNS: Mapping[str, Mapping[str, pa.DataType]] = {
    "trials": {
        **_STAMP_COLUMNS,
        "trial": pa.string(),
        "kind": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
        "until_epoch": pa.int32(),
        "assignment": pa.string(),
        "config": pa.string(),
        "extra": pa.string(),
    },
    "epochs": {
        **_STAMP_COLUMNS,
        "trial": pa.string(),
        **_RESULT_COLUMNS,
        **METRIC_COLUMNS,
        "metrics": pa.string(),
        "extra": pa.string(),
    },
    "decisions": {
        **_STAMP_COLUMNS,
        "number": pa.int64(),
        "action": pa.string(),
        "trial": pa.string(),
        "until_epoch": pa.int32(),
        "reason": pa.string(),
        "extra": pa.string(),
    },
    "events": {**_STAMP_COLUMNS, "seconds": pa.float64(), "extra": pa.string()},
}
SCHEMAS: Mapping[str, pa.Schema] = {
    name: pa.schema(list(columns.items()), metadata={"autoft_format": str(FORMAT)})
    for name, columns in _COLUMNS.items()
}
"""The schema of each table."""

_TABLE_OF = dict.fromkeys(KEYS, "events") | {
    "trial": "trials",
    "config": "trials",
    "status": "trials",
    "epoch": "epochs",
    "decision": "decisions",
}
_JSON_COLUMNS = ("assignment", "config", "timings", "metrics")


def to_tables(events: Iterable[Json]) -> dict[str, pa.Table]:
    """Return events, in order, as one table of each name; a table without rows is left out."""
    rows: dict[str, list[Json]] = {name: [] for name in SCHEMAS}
    for event in events:
        name = _TABLE_OF.get(event["event"], "events")
        rows[name].append(_to_row(event, name))
    return {name: pa.Table.from_pylist(rows[name], schema=SCHEMAS[name]) for name in rows if rows[name]}


def to_events(tables: Mapping[str, pa.Table]) -> list[Json]:
    """Return the events of one part's tables in the order in which they were written."""
    events = [event for name, table in tables.items() for event in rows_to_events(name, table)]
    return sorted(events, key=lambda event: int(event["seq"]))


def rows_to_events(name: str, table: pa.Table) -> Iterator[Json]:
    """Yield the events of one table, in its order."""
    columns: Sequence[str] = table.column_names
    for values in zip(*(table.column(column).to_pylist() for column in columns), strict=True):
        yield _to_event(dict(zip(columns, values, strict=True)), name)


def _to_row(event: Json, name: str) -> Json:
    columns = _COLUMNS[name]
    rest = dict(event)
    row: Json = {}
    if name == "epochs":
        result = rest.pop("result")
        row, unknown = _split_result(result)
        if unknown:
            rest["result"] = unknown
    for key in [key for key in rest if key in columns]:
        if rest[key] is not None:
            value = rest.pop(key)
            row[key] = to_text(value) if key in _JSON_COLUMNS else value
        elif key in KEYS.get(event["event"], ()):
            rest.pop(key)
    if rest:
        row["extra"] = to_text(rest)
    return row


def _split_result(result: Json) -> tuple[Json, Json]:
    """Return the columns of an epoch's result, and what has none."""
    row: Json = {}
    unknown: Json = {}
    for key, value in result.items():
        if key == "metrics":
            row |= {name: number for name, number in value.items() if name in METRIC_COLUMNS and number is not None}
            others = {name: number for name, number in value.items() if name not in METRIC_COLUMNS or number is None}
            if others:
                row["metrics"] = to_text(others)
        elif key not in _RESULT_COLUMNS:
            unknown[key] = value
        elif value is not None:
            row[key] = to_text(value) if key in _JSON_COLUMNS else value
    return row, unknown


def _to_event(row: Json, name: str) -> Json:
    extra: Json = json.loads(row.pop("extra") or "{}")
    if name == "epochs":
        result = {**row_to_result(row), **extra.pop("result", {})}
        return {**{key: row[key] for key in (*STAMPS, "trial")}, "result": result, **extra}
    event: Json = {key: row[key] for key in STAMPS}
    for key, value in row.items():
        if value is not None or (key in KEYS.get(row["event"], ()) and key not in extra):
            event[key] = json.loads(value) if key in _JSON_COLUMNS and value is not None else value
    return {**event, **extra}


def row_to_result(row: Mapping[str, Any]) -> Json:
    """Return the `EpochResult` JSON that a row of the epochs table holds."""
    result: Json = {key: row[key] for key in _RESULT_COLUMNS}
    result["timings"] = json.loads(row["timings"] or "{}")
    result["config"] = json.loads(row["config"]) if row["config"] else None
    result["metrics"] = {name: row[name] for name in METRIC_COLUMNS if row[name] is not None}
    if row["metrics"]:
        result["metrics"] |= json.loads(row["metrics"])
    return result
