"""Whether values read from a file have the types that a config's fields are annotated with."""

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from autoft.core.errors import FormatError


def check_types(cls: type, values: Mapping[str, Any], *, where: str) -> None:
    """Refuse values of other types than the fields of the dataclass `cls`; unknown and missing keys are not looked at.

    Raises:
        FormatError: Naming the first such field, its value and `where`.
    """
    for name, annotation in _annotations(cls).items():
        if name in values and not _fits(values[name], annotation):
            shown = repr(values[name])
            shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
            raise FormatError(f"{where} is damaged: '{name}' must be {_in_words(annotation)}, not {shown}.")


_SHOWN = 60
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    dict: "a map",
    tuple: "a list",
}


@cache
def _annotations(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _fits(value: Any, annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(annotation))
    if origin is Literal:
        return value in get_args(annotation)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, get_args(annotation)[0]) for item in value)
    if annotation in (int, float):
        return isinstance(value, annotation | int) and not isinstance(value, bool)
    return isinstance(value, origin or annotation)


def _in_words(annotation: Any) -> str:
    parts = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    words = []
    for part in parts:
        if get_origin(part) is Literal:
            words += [repr(choice) for choice in get_args(part)]
        else:
            words.append("null" if part is type(None) else _WORDS.get(get_origin(part) or part, "a map"))
    return " or ".join(words)
