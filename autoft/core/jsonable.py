"""Configurations as data: the same bytes for the same content."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)


def canonical_json(value: Any) -> str:
    """Return compact JSON with sorted keys; equal content gives equal text.

    Raises:
        ValueError: If a number is not finite, which JSON cannot hold.
    """
    return _ENCODER.encode(value)


def digest(value: Any) -> str:
    """Return the SHA-256 of `canonical_json(value)`, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def finite_or_none(value: float | None) -> float | None:
    """Return `value`, or None where it is not finite: JSON holds no NaN."""
    return value if value is not None and math.isfinite(value) else None


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> Json:
    """Return `base` with `change` laid over it, maps merged at every depth."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
