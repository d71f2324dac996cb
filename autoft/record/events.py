"""What can happen in a search: the kinds of events, what each must hold, and their form in JSON."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from autoft.core.configs import EpochResult
from autoft.core.jsonable import Json

KEYS: Mapping[str, tuple[str, ...]] = {
    "search": (),
    "trial": ("trial", "kind", "assignment", "config", "until_epoch"),
    "config": ("trial", "config"),
    "epoch": ("trial", "result"),
    "status": ("trial", "status", "reason"),
    "decision": ("number", "action", "trial", "until_epoch", "reason"),
    "test": ("trial", "metrics"),
    "note": ("text",),
    "places": ("slots", "workers"),
    "front": ("trials", "hypervolume"),
    "clock": ("seconds",),
    "end": (),
}
"""The keys that each kind of event must hold besides `seq`, `time` and `event`; it may hold more."""

STAMPS = ("seq", "time", "event")
"""The keys that every event holds."""

WHOLE_METRICS = ("parameters",)
"""Metrics that are counted, not measured: whole numbers."""


def encode(event: Mapping[str, Any], *, seq: int, time: float) -> bytes:
    """Return an event as the JSON that is written, stamped with its number and time (seconds since 1970).

    Metrics that are not finite become null. Text that UTF-8 cannot hold is replaced, not refused.

    Raises:
        ValueError: If the kind is unknown, a key is missing, or a number elsewhere is not finite.
        FormatError: If an epoch's result is incomplete.
    """
    kind = str(event.get("event"))
    if kind not in KEYS:
        raise ValueError(f"Unknown kind of event {kind!r}; allowed: {', '.join(KEYS)}.")
    missing = [key for key in KEYS[kind] if key not in event]
    if missing:
        raise ValueError(f"Event '{kind}' lacks {', '.join(missing)}.")
    content: Json = {"seq": seq, "time": time, "event": kind, **event}
    content["seq"] = seq
    if kind == "epoch":
        content["result"] = _finite_result(EpochResult.from_json(event["result"], where="the event"))
    elif kind == "test":
        content["metrics"] = _finite(event["metrics"])
    return to_text(content).encode("utf-8", "replace")


def decode(payload: bytes) -> Json:
    """Return the event that `encode` wrote."""
    event: Json = json.loads(payload)
    return event


def to_text(value: Any) -> str:
    """Return compact JSON, keys in their own order.

    Raises:
        ValueError: If a number is not finite.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _finite_result(result: EpochResult) -> Json:
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    values["metrics"] = {name: _number(name, value) for name, value in result.metrics.items()}
    values["timings"] = _finite(result.timings)
    values["learning_rate"] = _finite(result.learning_rate)
    return values


def _number(name: str, value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return int(value) if name in WHOLE_METRICS else float(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
