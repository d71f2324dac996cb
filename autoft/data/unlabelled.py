"""Inputs to predict: files, folders, tables, objects in memory, or texts line by line."""

import codecs
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, overload

from autoft.core.errors import DataError
from autoft.data import hugging_face, tables
from autoft.data.columns import model_columns, part_of
from autoft.data.folders import TABLE_ENDINGS, spelled, walk_files
from autoft.data.pictures import is_picture_name
from autoft.data.rows import Held, Inputs, PathInputs, Unread, read_lines
from autoft.data.source import describe_source, existing
from autoft.data.tables import Table

STDIN = "-"
"""Stands for the texts on standard input."""

TEXT_ENDINGS = (".txt", ".text")
"""Endings of files with one text a line."""

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class _Own:
    """The columns of the model's training."""

    column: str | None
    target: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where one input lies."""

    name: str
    inputs: Inputs
    index: int


class LazyInputs(Sequence[str | bytes]):
    """Inputs of several sources one after the other, each read when it is asked for."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def name(self, place: int) -> str:
        """Return what messages call the input at a place."""
        return self._places[place].name

    def take(self, places: Iterable[int]) -> "LazyInputs":
        """Return the inputs at places, in their order."""
        return LazyInputs([self._places[place] for place in places])

    @overload
    def __getitem__(self, place: int) -> str | bytes: ...

    @overload
    def __getitem__(self, place: slice) -> "LazyInputs": ...

    def __getitem__(self, place: int | slice) -> "str | bytes | LazyInputs":
        """Return the text, or the picture's bytes, at a place.

        Raises:
            DataError: If it is missing or cannot be read; names it.
        """
        if isinstance(place, slice):
            return LazyInputs(self._places[place])
        found = self._places[place]
        try:
            return found.inputs.read(found.index)
        except DataError as error:
            raise DataError(f"'{found.name}' cannot be used: {spelled(str(error))}.") from error


def read_inputs(
    inputs: Any,
    kind: Literal["image", "text"] | str,
    *,
    stdin: Iterable[str] | None = None,
    column: str | None = None,
    target: str | None = None,
) -> tuple[list[str], LazyInputs]:
    """Return the names of inputs to predict, and the inputs themselves: texts, or pictures' bytes read on demand.

    A folder stands for all pictures (or text files) below it, a text file for its lines, a table for its rows, with
    the input column found as for training; blank lines are left out. On a command line a string is a path. In Python
    the strings of a sequence given to a model of texts are texts; one alone is a path where it is called like a table
    or text file, or a folder is there. A `Path` is always a path.

    Args:
        inputs: One input or a sequence: paths, texts, contents of pictures as bytes; or a DataFrame, a pyarrow.Table
            or a Hugging Face dataset.
        kind: What the model takes: "image" or "text".
        stdin: Given by a command line: the lines that "-" stands for.
        column: Column that the model was trained on, for tables; taken where it is there.
        target: Column with the labels of its training, for tables; never taken for the input.

    Raises:
        DataError: If a source is missing, holds nothing of the kind, or is of no form that can be read.
    """
    own = _Own(column, target)
    found = _of_object(inputs, kind, own)
    if found is None:
        alone = isinstance(inputs, str | bytes | Path) or not isinstance(inputs, Iterable)
        found = []
        for number, one in enumerate([inputs] if alone else inputs, start=1):
            found += _of_one(one, number, kind, stdin, own, alone=alone)
    if not found:
        raise DataError(f"There is no {_word(kind)} to predict.")
    return [place.name for place in found], LazyInputs(found)


def _of_object(data: Any, kind: str, own: _Own) -> list[Place] | None:
    """Return the rows of a table or dataset in memory, or None if the object is neither."""
    where = describe_source(data, "the data")
    datasets = hugging_face.from_memory(data, where)
    if datasets is not None:
        return [place for name, table in datasets.items() for place in _of_table(table, kind, own, name)]
    table = tables.from_memory(data, where)
    return None if table is None else _of_table(table, kind, own, "")


def _of_one(one: Any, number: int, kind: str, stdin: Iterable[str] | None, own: _Own, *, alone: bool) -> list[Place]:
    if isinstance(one, bytes):
        if kind == "text":
            raise DataError("Bytes are no text; decode them first.")
        return [Place(f"input {number}", Held([one]), 0)]
    if not isinstance(one, str | Path):
        raise DataError(f"A {type(one).__name__} is no {_word(kind)} to predict; give a path{_or_what(kind)}.")
    if stdin is not None and str(one) == STDIN:
        found = _of_stdin(stdin, kind)
    elif kind == "text" and stdin is None and isinstance(one, str) and not (alone and _is_place(one)):
        _refuse_blank(one, number)
        text = tables.without_surrogates(one)
        return [Place(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...", Held([text]), 0)]
    else:
        found = _of_path(existing(one), kind, own)
    if not found:
        raise DataError(f"'{one}' holds no {_word(kind)} to predict.")
    return found


def _of_path(path: Path, kind: str, own: _Own) -> list[Place]:
    if path.is_dir():
        if hugging_face.is_saved_dataset(path):
            saved = hugging_face.read_saved(path)
            return [place for name, table in saved.items() for place in _of_table(table, kind, own, name)]
        wanted = is_picture_name if kind == "image" else _is_text_name
        return [place for file in walk_files(path) if wanted(file.name) for place in _of_file(file, kind)]
    if path.name.lower().endswith(TABLE_ENDINGS):
        return _of_table(tables.read_table(path), kind, own, path.name)
    return _of_file(path, kind)


def _of_table(table: Table, kind: str, own: _Own, name: str) -> list[Place]:
    columns = model_columns(table, kind, column=own.column, target=own.target, needs_target=False)
    unlabelled = dataclasses.replace(columns, target=None)  # what predicts needs no labels, whatever the column holds
    part = part_of(table, unlabelled, None, f"{name} row ".lstrip())
    return [Place(row, part.inputs, index) for index, row in enumerate(part.names)]


def _of_file(file: Path, kind: str) -> list[Place]:
    name = spelled(str(file))
    if kind == "image":
        return [Place(name, PathInputs([file]), 0)]
    if not _is_text_name(file.name):
        raise DataError(
            f"'{name}' is no text: give a file that ends in {' or '.join(TEXT_ENDINGS)} (one text a line), a table, or "
            f"'{STDIN}' for standard input."
        )
    try:
        lines = read_lines(file)
    except DataError as error:
        return [Place(name, Unread(str(error)), 0)]
    return _of_lines(lines, name, kind)


def _of_stdin(lines: Iterable[str], kind: str) -> list[Place]:
    try:
        return _of_lines(_unmarked(map(_decoded, lines)), "stdin", kind)
    except UnicodeError as error:
        raise DataError(f"'stdin' is not in UTF-8: {error}.") from error


def _decoded(line: str) -> str:
    """Return a line in which each byte was a part of UTF-8; in the C locale Python lets the others pass."""
    return line.encode("utf-8", "surrogateescape").decode()


def _unmarked(lines: Iterator[str]) -> Iterator[str]:
    """Yield lines without the byte order mark that may stand before the first."""
    yield from (line.removeprefix(codecs.BOM_UTF8.decode()) for line in islice(lines, 1))
    yield from lines


def _of_lines(lines: Iterable[str], name: str, kind: str) -> list[Place]:
    if kind == "image":
        raise DataError(f"Texts on {name} are of no use to a model of pictures; give files, a folder or a table.")
    texts = [(number, line.rstrip("\r\n")) for number, line in enumerate(lines, start=1) if line.strip()]
    held = Held([text for _, text in texts])
    return [Place(f"{name}:{number}", held, index) for index, (number, _) in enumerate(texts)]


def _is_place(text: str) -> bool:
    """Return whether a string that is given alone to a model of texts means a file or folder."""
    if "\n" in text:
        return False
    if text.lower().endswith((*TABLE_ENDINGS, *TEXT_ENDINGS)):
        return True
    try:
        return Path(text).is_dir()
    except OSError:  # a text that is too long for a file name
        return False


def _refuse_blank(text: str, number: int) -> None:
    if not text.strip():
        raise DataError(f"Input {number} is an empty text.")


def _is_text_name(name: str) -> bool:
    return name.lower().endswith(TEXT_ENDINGS)


def _word(kind: str) -> str:
    return "picture" if kind == "image" else "text"


def _or_what(kind: str) -> str:
    return " or bytes" if kind == "image" else " or a str"
