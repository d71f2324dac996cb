"""What a person types after an option, as a value; a mistake is refused with what is allowed."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import typer

from autoft.core.errors import ConfigError, nearest, one_of
from autoft.core.jsonable import Json

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_QUANTITIES = {"k": 1e3, "M": 1e6, "G": 1e9}
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_LARGEST = 2**32 - 1
_SHOWN = 40
_SETTING = re.compile(r"[A-Za-z_][\w.\-]*(?:\[[^\[\]=]+\][\w.\-]*)*")


def whole_number(text: str) -> int:
    """Return a whole number of 0 or more.

    Raises:
        BadParameter: If `text` is none.
    """
    value = _whole(str(text))
    if value is None:
        raise typer.BadParameter(f"must be a whole number, not '{text}'")
    return value


def count(text: str) -> int:
    """Return a whole number above 0.

    Raises:
        BadParameter: If `text` is none.
    """
    value = _whole(str(text))
    if not value:
        raise typer.BadParameter(f"must be a whole number above 0, not '{text}'")
    return value


def positive(text: str) -> float:
    """Return a finite number above 0.

    Raises:
        BadParameter: If `text` is none.
    """
    value = _number(str(text))
    if value is None or value <= 0:
        raise typer.BadParameter(f"must be a number above 0, not '{text}'")
    return value


def quantity(text: str) -> float:
    """Return the number above 0 that "10M", "500k", "1.5G" or "30e6" means.

    Raises:
        BadParameter: If `text` is none.
    """
    shown = str(text).strip()
    unit = _QUANTITIES.get(shown[-1:], 1.0)
    value = _number(shown if unit == 1.0 else shown[:-1])
    if value is None or value <= 0:
        raise typer.BadParameter(f"must be a number above 0 such as 10M, 500k or 30e6, not '{text}'")
    return value * unit


def gpus(text: str) -> str | float:
    """Return "auto", or a number of 0 or more.

    Raises:
        BadParameter: If `text` is neither.
    """
    if str(text) == "auto":
        return "auto"
    value = _number(str(text))
    if value is None or value < 0:
        raise typer.BadParameter(f"must be 'auto' or a number of 0 or more, not '{text}'")
    return value


def _whole(text: str) -> int | None:
    """Return a whole number, or None if `text` is none.

    Raises:
        BadParameter: If it is larger than a seed or a count may be.
    """
    digits = text.strip()
    if not re.fullmatch(r"[0-9]+", digits):
        return None
    if len(digits) > len(str(_LARGEST)) or int(digits) > _LARGEST:
        shown = digits if len(digits) <= _SHOWN else f"{digits[:_SHOWN]}..."
        raise typer.BadParameter(f"must be at most {_LARGEST}, not '{shown}'")
    return int(digits)


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a parser of one of `allowed`, which names the nearest when it is given another."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise typer.BadParameter(f"must be {one_of(allowed)}, not '{text}'.{nearest(text, allowed)}")
        return text

    return parse


def duration(text: str) -> float:
    """Return the seconds that "30m", "1h30m", "90s", "1.5h" or "240" (seconds) means.

    Raises:
        BadParameter: If `text` is no duration, or is 0.
    """
    compact = str(text).replace(" ", "").lower()
    seconds = _number(compact)
    if seconds is None:
        whole = _DURATION.fullmatch(compact)
        parts = _PART.findall(compact) if whole else []
        units = [unit for _, unit in parts]
        if not parts or sorted(set(units), key="dhms".index) != units:
            raise typer.BadParameter(f"must be a duration such as 30m, 1h30m, 90s or 240 (seconds), not '{text}'")
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise typer.BadParameter(f"must be above 0, not '{text}'")
    return seconds


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def settings(given: Iterable[str]) -> Json:
    """Return {path: value} of texts such as "optimizer.lr=1e-4"; values are read as in a space's YAML.

    Raises:
        ConfigError: If a text is no path=value, or a path is given twice.
        SpaceError: If a value is no YAML.
    """
    found: Json = {}
    for text in given:
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals or not _SETTING.fullmatch(path):
            raise ConfigError(f"--set must be path=value, such as --set optimizer.lr=1e-4, not '{text}'.")
        if path in found:
            raise ConfigError(f"--set gives '{path}' twice.")
        found[path] = yaml_value(value, where=f"--set {path}")
    return found


def limits(given: Iterable[str]) -> dict[str, float]:
    """Return {name: value} of texts such as "parameters=10e6" or "parameters=10M".

    Raises:
        ConfigError: If a text is no name=value, a value no number, or a name is given twice.
    """
    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        unit = _QUANTITIES.get(value.strip()[-1:], 1.0)
        number = _number(value.strip() if unit == 1.0 else value.strip()[:-1])
        if number is None:
            raise ConfigError(f"--limit must be NAME=VALUE, such as --limit parameters=10M, not '{text}'.")
        if name.strip() in found:
            raise ConfigError(f"--limit gives '{name.strip()}' twice.")
        found[name.strip()] = number * unit
    return found


def yaml_value(text: str, *, where: str) -> Any:
    """Return a scalar, list or map written as YAML; 1e-5 is a number and `on` a text.

    Raises:
        ConfigError: If `text` is empty.
        SpaceError: If `text` is no YAML; names `where`.
    """
    if not text.strip():
        raise ConfigError(f"{where}= needs a value; `null` stands for none.")
    from autoft.space.yaml_text import parse_yaml

    return parse_yaml(text, file=where).plain()
