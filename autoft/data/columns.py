"""Which columns of a table are the input and the target, and their values as rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from autoft.core.configs import DataSpec
from autoft.core.errors import DataError, nearest
from autoft.data.pictures import is_picture_name
from autoft.data.rows import ContentInputs, Inputs, Part, PathInputs, TextInputs
from autoft.data.tables import MISSING_WORDS, Table, objects_of

ColumnKind = Literal["text", "path", "content"]

TARGET_NAMES = frozenset({"label", "labels", "target", "class", "category", "y"})
"""A column of such a name (in lower case) is the target, if it is the only one."""

TEXT_NAMES = frozenset({"text", "sentence", "review", "content", "document", "comment", "message", "tweet", "body"})
"""Among several columns of text, the only one of such a name is the input."""

_SAY_INPUT = "`--set data.input=COLUMN`"
_SAMPLE = 200
_MOST_CLASSES_OF_FRACTIONS = 20


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns in use."""

    input: str
    target: str | None
    kind: ColumnKind


def model_columns(
    table: Table, input_kind: str, *, column: str | None, target: str | None, needs_target: bool
) -> Columns:
    """Return the columns for a model that is trained: its own where the table has them, else those that are plain.

    Args:
        table: The table.
        input_kind: What the model takes: "image" or "text".
        column: The input column of its training, None where it had none.
        target: The target column, likewise.
        needs_target: False for data to predict.

    Raises:
        DataError: If the target is needed and missing, or it is not plain which column is the input.
    """
    names = table.content.column_names
    spec = DataSpec(
        source=None,
        input=column if column in names else None,
        target=target if needs_target or target in names else None,
    )
    remedy = f"a column called '{column}', as in the training" if column is not None else "one such column alone"
    return choose_columns(table, spec, input_kind, needs_target=needs_target, say_input=remedy)


def choose_columns(
    table: Table,
    spec: DataSpec,
    input_kind: str | None,
    *,
    needs_target: bool = True,
    say_input: str = _SAY_INPUT,
) -> Columns:
    """Return the input and target columns: those that `spec` names, else those that are plain.

    Args:
        table: The table.
        spec: Names what the person named.
        input_kind: "image" or "text" where the task is known, else None.
        needs_target: False for data to predict.
        say_input: How a person says which is the input, for messages.

    Raises:
        DataError: If a named column is missing, or it is not plain which is meant; lists the columns.
    """
    for name, option in ((spec.target, "--target"), (spec.group, "--group"), (spec.input, "--set data.input")):
        if name is not None:
            _require(table, name, option)
            if needs_target or name != spec.target:
                _refuse_objects(table, name)
    target = spec.target or (_find_target(table, spec) if needs_target else _likely_target(table, spec))
    kinds = {name: kind for name in table.content.column_names if (kind := column_kind(table, name)) is not None}
    if spec.input is not None:
        if spec.input == target:
            raise DataError(f"Column '{target}' of {table.where} cannot be both the input and the target.")
        return Columns(spec.input, target, _forced_kind(table, spec.input, kinds.get(spec.input), input_kind))
    for name in (target, spec.group):
        if name is not None:
            kinds.pop(name, None)
    return _find_input(table, kinds, input_kind, target, say_input)


def column_kind(table: Table, name: str) -> ColumnKind | None:
    """Return what a column can be as an input, or None: numbers and the like are none."""
    kind = table.content.schema.field(name).type
    if types.is_binary(kind) or types.is_large_binary(kind) or _is_picture_struct(kind):
        return "content"
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not _is_text(kind) or name in table.class_names:
        return None
    sample = [value for value in islice(_values(table.content[name]), _SAMPLE) if value]
    if not sample or (table.from_text and all(_is_number(value) for value in sample)):
        return None
    return "path" if sum(map(is_picture_name, sample)) * 2 > len(sample) else "text"


def part_of(table: Table, columns: Columns, group: str | None, name_prefix: str) -> Part:
    """Return a table's rows; each is called `name_prefix` and its number, counted from 1.

    Raises:
        DataError: If the table lacks one of the columns, or the target holds what is no label.
    """
    for column in (columns.input, columns.target):
        if column is not None:
            _require(table, column, None)
    size = table.content.num_rows
    labels: Sequence[str | None] = [None] * size
    if columns.target is not None:
        labels = labels_of(table, columns.target)
    groups = None
    if group is not None and group in table.content.column_names:
        groups = [None if value is None else str(value) for value in _values(table.content[group])]
    names = [f"{name_prefix}{number}" for number in range(1, size + 1)]
    return Part(names, _inputs(table, columns), labels, groups)


def labels_of(table: Table, name: str) -> list[str | None]:
    """Return a column as labels; None where the value is missing.

    Whole numbers that are stored as fractions (1.0, as pandas does beside missing values) are named "1".

    Raises:
        DataError: If it holds lists or maps, or numbers that measure instead of naming a class.
    """
    kind = table.content.schema.field(name).type
    if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        raise DataError(f"Target '{name}' of {table.where} holds values of type {kind}; a label is a text or a number.")
    names = table.class_names.get(name)
    if names is not None:
        return [_class_name(value, names, name, table.where) for value in _values(table.content[name])]
    values = list(_values(table.content[name]))
    if table.from_text:
        labels = [None if value is None or value.strip() in MISSING_WORDS else value.strip() for value in values]
    else:
        labels = [_label(value) for value in values]
    _refuse_measurements(labels, name, table.where)
    return labels


def _require(table: Table, name: str, option: str | None) -> None:
    names = table.content.column_names
    if name not in names:
        given = f" ({option})" if option else ""
        raise DataError(
            f"{table.where} has no column '{name}'{given}.{nearest(name, names)} Its columns: {', '.join(names)}."
        )


def _objects(table: Table) -> str:
    return "".join(
        f"Column '{name}' holds {kind} objects, which cannot be read; give texts, numbers, paths or bytes. "
        for name, kind in objects_of(table).items()
    )


def _refuse_objects(table: Table, name: str) -> None:
    kind = objects_of(table).get(name)
    if kind is not None:
        raise DataError(
            f"Column '{name}' of {table.where} holds {kind} objects, which cannot be read; give texts, numbers, paths "
            "or bytes."
        )


def _likely_target(table: Table, spec: DataSpec) -> str | None:
    names = [name for name in table.content.column_names if name != spec.input]
    found = [name for name in names if name.lower() in TARGET_NAMES]
    return found[0] if len(found) == 1 else None


def _find_target(table: Table, spec: DataSpec) -> str:
    names = [name for name in table.content.column_names if name not in (spec.input, spec.group)]
    found = [name for name in names if name.lower() in TARGET_NAMES]
    if len(found) != 1:
        found = [name for name in names if name in table.class_names]
    if len(found) != 1:
        raise DataError(
            f"Which column of {table.where} is to be predicted? Say it with `--target COLUMN` (target=...). "
            f"Its columns: {', '.join(table.content.column_names)}."
        )
    return found[0]


def _forced_kind(table: Table, name: str, kind: ColumnKind | None, input_kind: str | None) -> ColumnKind:
    if kind is None or (kind == "content" and input_kind == "text"):
        wanted = {"image": "paths or bytes of pictures", "text": "texts"}.get(input_kind or "", "texts or pictures")
        raise DataError(f"Column '{name}' of {table.where} (--set data.input) holds no {wanted}.")
    if kind == "content":
        return kind
    if input_kind is None:
        return kind
    return "text" if input_kind == "text" else "path"


def _find_input(
    table: Table, kinds: dict[str, ColumnKind], input_kind: str | None, target: str | None, say_input: str
) -> Columns:
    pictures = [name for name, kind in kinds.items() if kind != "text"]
    texts = [name for name, kind in kinds.items() if kind == "text"]
    if input_kind == "text":
        pictures = []
    elif input_kind == "image":
        texts = []
    candidates = pictures or texts
    if len(candidates) > 1 and not pictures:
        candidates = [name for name in texts if name.lower() in TEXT_NAMES]
        candidates = candidates if len(candidates) == 1 else texts
    if len(candidates) == 1:
        return Columns(candidates[0], target, kinds[candidates[0]])
    listed = ", ".join(table.content.column_names)
    if not candidates:
        wanted = {"image": "paths or bytes of pictures", "text": "texts"}.get(input_kind or "", "texts or pictures")
        raise DataError(
            f"No column of {table.where} holds {wanted} to learn from. Its columns: {listed}. "
            f"{_objects(table)}Name one with {say_input}."
        )
    raise DataError(f"Which column of {table.where} is the input: {', '.join(candidates)}? Say it with {say_input}.")


def _inputs(table: Table, columns: Columns) -> Inputs:
    column = _plain(table.content[columns.input])
    if columns.kind == "text":
        return TextInputs(column.cast(pa.large_string()))
    if columns.kind == "path":
        return PathInputs([table.base / value if value else None for value in _values(column)])
    if _is_picture_struct(column.type):
        paths = pc.struct_field(column, "path") if column.type.get_field_index("path") >= 0 else None
        return ContentInputs(pc.struct_field(column, "bytes"), paths, Path(table.base))
    return ContentInputs(column, None, Path(table.base))


def _plain(column: Any) -> Any:
    """Return a column without its dictionary; intervals and periods, as `pandas.cut` makes them, as their texts."""
    if not types.is_dictionary(column.type):
        return pa.chunked_array([_spelled(column)]) if _is_spelled(column.type) else column
    if not _is_spelled(column.type.value_type):
        return column.cast(column.type.value_type)
    return pa.chunked_array([_spelled(chunk.dictionary).take(chunk.indices) for chunk in column.chunks])


def _is_spelled(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name in {"pandas.interval", "pandas.period"}


def _spelled(values: Any) -> Any:
    return pa.array(values.to_pandas().map(str, na_action="ignore"), pa.large_string(), from_pandas=True)


def _values(column: Any) -> Iterable[Any]:
    """Yield a column's values chunk by chunk, so that not all are Python objects at once."""
    for chunk in _plain(column).chunks:
        yield from chunk.to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_picture_struct(kind: pa.DataType) -> bool:
    """Return whether this is Hugging Face's Image: struct<bytes, path>."""
    if not types.is_struct(kind):
        return False
    place = kind.get_field_index("bytes")
    return place >= 0 and (types.is_binary(kind.field(place).type) or types.is_large_binary(kind.field(place).type))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _class_name(value: Any, names: list[str], column: str, where: str) -> str | None:
    if value is None or value == -1:  # Hugging Face's mark for an unlabelled row
        return None
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise DataError(f"Target '{column}' of {where} holds {value!r}, but it has {len(names)} class names.")
    return names[value]


def _label(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return None
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value).strip() or None


def _refuse_measurements(labels: Iterable[str | None], name: str, where: str) -> None:
    distinct = {label for label in labels if label is not None}
    if len(distinct) <= _MOST_CLASSES_OF_FRACTIONS or not all(_is_number(label) for label in distinct):
        return
    if any(not float(label).is_integer() for label in distinct):
        raise DataError(
            f"Target '{name}' of {where} holds {len(distinct)} different fractional numbers: that is a measure, not a "
            "class. autoft classifies; cut the numbers into classes, or name another column with `--target`."
        )
