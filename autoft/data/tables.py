"""Tables from files and from memory, as one `pyarrow.Table` each; CSV and TSV cells stay the texts that they are."""

import codecs
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from autoft.core.errors import DataError, first_line, one_of

if TYPE_CHECKING:  # pyarrow's stubs make generic what is not so when it runs
    Column = pa.Array[Any] | pa.ChunkedArray[Any]

MISSING_WORDS = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL")
"""Cells of a CSV or TSV target that mean "no value", as pandas and R write it."""


_OBJECTS = b"autoft objects"
_SPELLED = {"Interval", "Period"}
"""Objects of pandas whose texts name a class."""
_HEAD_BYTES = 4096
_BLOCK_BYTES = 1 << 24
_LARGEST_BLOCK_BYTES = 2**31 - 1
"""The most that pyarrow takes."""
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)
"""What pyarrow raises of objects that one column cannot hold, beside errors of Python's own."""
_TAB_AND_LINE_END = r"(?s)\t.*[\r\n]|[\r\n].*\t"


@dataclass(frozen=True, slots=True)
class Table:
    """A table and what is known about it."""

    content: pa.Table
    where: str
    """For messages: the path, or what the object is."""
    base: Path
    """Folder from which its relative picture paths count."""
    from_text: bool = False
    """Whether cells were read as texts, so that numbers are known by their look and missing values by words."""
    class_names: dict[str, list[str]] = field(default_factory=dict)
    """Names behind the numbers of Hugging Face ClassLabel columns."""


def read_table(path: Path) -> Table:
    """Read a CSV, TSV, JSONL or Parquet file.

    Raises:
        DataError: If its ending is none of these, or its content cannot be read; says where.
    """
    readers: dict[str, Callable[[Path], pa.Table]] = {
        ".csv": _read_csv,
        ".tsv": _read_tsv,
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".parquet": _read_parquet,
    }
    ending = path.suffix.lower()
    if ending not in readers:
        raise DataError(
            f"'{path}' is not a kind of data that can be read; give a folder of class folders or a file that ends in "
            f"{one_of(readers)}."
        )
    if not path.is_file():
        raise DataError(f"The table '{path}' is no file that can be read twice; write it to a file first.")
    if path.stat().st_size == 0:
        raise DataError(f"The table '{path}' is empty.")
    try:
        content = readers[ending](path)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:  # UnicodeDecodeError: in the names of columns
        raise DataError(_explained(path, str(error))) from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"The table '{path}' cannot be read: {_sentence(error)}") from error
    return finished(content, str(path), path.absolute().parent, from_text=ending in (".csv", ".tsv"))


def from_memory(data: Any, where: str) -> Table | None:
    """Return a `pandas.DataFrame` or `pyarrow.Table` as a table, or None if the object is neither.

    Raises:
        DataError: If it has no rows, or two columns of one name.
    """
    if isinstance(data, pa.Table):
        return finished(data, where, Path.cwd())
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        names = [str(name) for name in data.columns]
        _refuse_doubles(names, where)
        columns = {name: _from_series(data.iloc[:, place]) for place, name in enumerate(names)}
        return finished(_assembled(columns, len(data)), where, Path.cwd())
    return None


def finished(
    content: pa.Table,
    where: str,
    base: Path,
    *,
    from_text: bool = False,
    class_names: dict[str, list[str]] | None = None,
) -> Table:
    """Return a table whose columns have names of their own and plain types.

    Raises:
        DataError: If it has no rows, or two columns of one name.
    """
    _refuse_doubles(content.column_names, where)
    if not content.num_rows:
        raise DataError(f"{where} has no rows.")
    names = class_names_of(content.schema.metadata) if class_names is None else class_names
    return Table(content, where, base, from_text, names)


def objects_of(table: Table) -> dict[str, str]:
    """Return the columns whose values are Python objects that cannot be read, with their type."""
    metadata = {field.name: field.metadata or {} for field in table.content.schema}
    return {name: notes[_OBJECTS].decode() for name, notes in metadata.items() if _OBJECTS in notes}


def class_names_of(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of ClassLabel columns that Hugging Face keeps in an Arrow or Parquet schema."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    except (ValueError, AttributeError):  # another program's note under the same key
        return {}
    return class_labels(features)


def class_labels(features: Any) -> dict[str, list[str]]:
    """Return the names of the ClassLabel columns among Hugging Face features in their JSON form."""
    if not isinstance(features, dict):
        return {}
    return {
        column: [str(name) for name in feature["names"]]
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def _refuse_doubles(names: list[str], where: str) -> None:
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise DataError(f"{where} has two columns called '{doubles[0]}'; rename one of them.")


def _read_csv(path: Path) -> pa.Table:
    with path.open("rb") as file:
        header = file.readline()
    delimiter = ","
    if b"," not in header:
        delimiter = next((mark for mark in (";", "\t") if mark.encode() in header), ",")
    return _read_delimited(path, delimiter)


def _read_tsv(path: Path) -> pa.Table:
    """Read a TSV; where a quote was swallowing the rows after it, quotes are taken for ordinary characters.

    A swallowed row leaves its tabs and its line's end in one cell; a tab alone was meant to be in its quotes.
    """
    try:
        content = _read_delimited(path, "\t")
    except pa.ArrowInvalid:
        return _read_delimited(path, "\t", quote_char=False)
    for column in content.columns:
        if pc.any(pc.match_substring_regex(column, _TAB_AND_LINE_END)).as_py():
            return _read_delimited(path, "\t", quote_char=False)
    return content


def _read_delimited(path: Path, delimiter: str, *, quote_char: str | bool = '"') -> pa.Table:
    parsing = csv.ParseOptions(
        delimiter=delimiter,
        quote_char=quote_char,  # type: ignore[arg-type]
        newlines_in_values=quote_char is not False,
    )
    try:
        return _read_in_blocks(path, parsing, _BLOCK_BYTES)
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):  # pyarrow's word for a row that is longer than a block
            raise
    return _read_in_blocks(path, parsing, min(path.stat().st_size, _LARGEST_BLOCK_BYTES))


def _read_in_blocks(path: Path, parsing: csv.ParseOptions, block_bytes: int) -> pa.Table:
    reading = csv.ReadOptions(block_size=block_bytes, use_threads=False)  # one thread knows the number of the row
    with csv.open_csv(path, reading, parsing) as reader:
        names = reader.schema.names
    as_texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False)
    try:
        reading.use_threads = True
        return csv.read_csv(path, reading, parsing, as_texts)
    except pa.ArrowInvalid:
        reading.use_threads = False
        return csv.read_csv(path, reading, parsing, as_texts)


def _read_jsonl(path: Path) -> pa.Table:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append(_json_row(line, f"{path}:{number}"))
        except UnicodeDecodeError as error:
            raise DataError(_explained(path, f"UTF-8 {error}")) from error
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _assembled({name: _from_objects([row.get(name) for row in rows]) for name in names}, len(rows))


def _json_row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is no JSON: {error}.") from error
    if not isinstance(row, dict):
        raise DataError(f'{where} is no JSON object; each line is one row, like {{"text": ..., "label": ...}}.')
    return row


def _read_parquet(path: Path) -> pa.Table:
    return parquet.ParquetFile(path).read()


def _from_series(series: Any) -> "Column | str":
    try:
        found: Column = pa.array(series, from_pandas=True)
    except (*_UNFIT, OverflowError, UnicodeEncodeError):
        return _from_objects([None if gone else value for value, gone in zip(series, series.isna(), strict=True)])
    return found


def _from_objects(values: list[Any]) -> "Column | str":
    """Return a column of Python objects, numbers and texts mixed as texts; or the type of one that no column holds."""
    values = [_in_python(value) for value in values]
    try:
        column: Column = pa.array(values)
    except (*_UNFIT, OverflowError, UnicodeEncodeError) as error:
        odd = next((value for value in values if not isinstance(value, str | int | float | bool | None)), None)
        if odd is not None:
            return type(odd).__name__
        if isinstance(error, UnicodeEncodeError):  # half of a surrogate pair, which JSON can spell and UTF-8 cannot
            return _from_objects([without_surrogates(value) if isinstance(value, str) else value for value in values])
        present = [None if isinstance(value, float) and isnan(value) else value for value in values]
        return _from_objects([None if value is None else str(value) for value in present])
    return column


def _in_python(value: Any) -> Any:
    """Return paths, intervals and periods as their texts, numpy's numbers as Python's, and all else as it is."""
    kind = type(value)
    if kind is str:  # most are
        return value
    if isinstance(value, PurePath) or (kind.__module__.partition(".")[0] == "pandas" and kind.__name__ in _SPELLED):
        return str(value)
    is_number = kind.__module__ == "numpy" and hasattr(value, "item") and not value.ndim and value.dtype.kind in "biuf"
    return value.item() if is_number else value


def _assembled(columns: "dict[str, Column | str]", num_rows: int) -> pa.Table:
    """Return a table; a column that Arrow cannot hold is empty and remembers the type of its objects."""
    arrays = [pa.nulls(num_rows) if isinstance(column, str) else column for column in columns.values()]
    fields = [
        pa.field(without_surrogates(name), array.type, metadata={_OBJECTS: column} if isinstance(column, str) else None)
        for (name, column), array in zip(columns.items(), arrays, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def without_surrogates(text: str) -> str:
    """Return a text with each half of a surrogate pair, which UTF-8 cannot spell, marked."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _explained(path: Path, message: str) -> str:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return (
            f"The table '{path}' is not in UTF-8 but in UTF-16; convert it, for example with "
            f"`iconv -f utf-16 -t utf-8 {path.name} > utf8{path.suffix}`."
        )
    if b"\0" in head:
        return f"The table '{path}' is no text: it holds zero bytes, as pictures, archives and spreadsheets do."
    if not head.strip():
        return f"The table '{path}' is empty."
    if "cannot infer number of columns" in message:
        return f"{path} has no rows."
    if "UTF" in message.upper():
        return (
            f"The table '{path}' is not in UTF-8; convert it, for example with "
            f"`iconv -f latin1 -t utf-8 {path.name} > utf8{path.suffix}`."
        )
    return f"The table '{path}' cannot be read: {_sentence(message)}"


def _sentence(error: object) -> str:
    line = first_line(error).rstrip(".") + "."
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in line)
