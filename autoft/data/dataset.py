"""dataset.arrow: every usable row with its label and split, mapped into memory by whoever trains."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pyarrow as pa

from autoft.core.configs import FORMAT, SPLITS, check_format
from autoft.core.errors import DataError, FormatError, WorkError
from autoft.core.jsonable import Json, canonical_json
from autoft.core.mapped import MappedFile
from autoft.core.shelf import Shelved
from autoft.data.rows import InputKind, Part, Row, read_file

FILE_NAME = "dataset.arrow"

_KEY = b"autoft"
_BATCH_ROWS = 1000
BATCH_BYTES = 32 * 2**20
_TYPES: dict[InputKind, tuple[str, pa.DataType]] = {
    "text": ("text", pa.large_string()),
    "path": ("path", pa.string()),
    "content": ("content", pa.large_binary()),
}


class InputsOfSplit(Sequence[str | bytes]):
    """The texts, or the pictures' bytes, of one split, each read when it is asked for."""

    def __init__(
        self,
        column: Any,
        hashes: Any,
        indices: np.ndarray[Any, np.dtype[np.int64]],
        shelved: Shelved,
        *,
        are_paths: bool,
    ) -> None:
        self._column = column
        self._hashes = hashes
        self._indices = indices
        self._shelved = shelved
        self._are_paths = are_paths

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, place: int) -> str | bytes: ...

    @overload
    def __getitem__(self, place: slice) -> "InputsOfSplit": ...

    def __getitem__(self, place: int | slice) -> "str | bytes | InputsOfSplit":
        """Return the input at a place of the split, or those of a slice, still unread.

        Raises:
            DataError: If a picture's file is gone or holds something else than it did; names the file.
        """
        if isinstance(place, slice):
            part = self._indices[place]
            return InputsOfSplit(self._column, self._hashes, part, self._shelved, are_paths=self._are_paths)
        index = int(self._indices[place])
        value: str | bytes = self._column[index].as_py()
        self._shelved.was_read(len(value))
        if not self._are_paths:
            return value
        return unchanged(Path(str(value)), self._hashes[index].as_py())

    def __iter__(self) -> Iterator[str | bytes]:
        return (self[place] for place in range(len(self)))


class Dataset:
    """The rows that `prepare` found usable; opened by `open_dataset`, or by `RunRows.open` in a worker."""

    def __init__(self, shelved: Shelved, facts: Json) -> None:
        """Take the rows as they lie.

        Args:
            shelved: Their table.
            facts: task, labels, fingerprint, num_rows and kind.
        """
        self.task: str = facts["task"]
        """Name of the task."""
        self.labels: tuple[str, ...] = tuple(facts["labels"])
        """Classes; a target is a place in it."""
        self.fingerprint: str = facts["fingerprint"]
        """SHA-256 of the rows' content, labels and split."""
        self.kind: Literal["image", "text"] = "text" if facts["kind"] == "text" else "image"
        """What the inputs are."""
        self.input_kind: InputKind = facts["kind"]
        """How they are held."""
        self.facts = facts
        """What it was made with."""
        self._shelved = shelved
        self._table = table = shelved.table
        self._targets = table["target"].to_numpy().astype(np.int64)
        splits = np.asarray(table["split"].to_pylist())
        self._indices = {split: np.flatnonzero(splits == split).astype(np.int64) for split in SPLITS}

    def num_rows(self, split: str) -> int:
        """Return the rows of "train", "val" or "test"."""
        return len(self._indices[split])

    def targets(self, split: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the targets of a split: int64 of shape (rows,), places in `labels`."""
        return self._targets[self._indices[split]]

    def inputs(self, split: str) -> InputsOfSplit:
        """Return the texts or pictures' bytes of a split, read one at a time, in the order of `targets`."""
        column, hashes = self._table[_TYPES[self.input_kind][0]], self._table["sha256"]
        are_paths = self.input_kind == "path"
        return InputsOfSplit(column, hashes, self._indices[split], self._shelved, are_paths=are_paths)

    def rows(self, split: str) -> list[str]:
        """Return the names of a split's rows, in the order of `targets`."""
        return [str(name) for name in self._table["row"].take(self._indices[split]).to_pylist()]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows as they lie, in batches of bounded size."""
        for batch in self._table.to_batches():
            yield batch
            self._shelved.was_read(batch.nbytes)


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset file, mapped into memory.

    Raises:
        FormatError: If it is none, damaged, or of a newer format.
        DataError: If there is no such file.
    """
    path = Path(path)
    try:
        file = MappedFile(path)
        table = _read_all(file)
    except FileNotFoundError:
        raise DataError(f"There is no dataset '{path}'; it is made again when the search is started anew.") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"'{path}' is no dataset of autoft, or damaged: {error}.") from error
    facts = _facts(table, path)
    if table.num_rows != sum(facts["num_rows"].values()):
        raise FormatError(f"'{path}' is damaged: it has {table.num_rows} rows, not {sum(facts['num_rows'].values())}.")
    return Dataset(Shelved(table=table, file=file), facts)


def _read_all(file: MappedFile) -> pa.Table:
    """Return the whole table, checked batch by batch, so that little of a large one is in memory at a time."""
    reader = pa.ipc.open_file(pa.BufferReader(file.buffer))
    batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
    for batch in batches:
        batch.validate(full=True)
        file.was_read(batch.nbytes)
    return pa.Table.from_batches(batches, reader.schema)


def fingerprint_of(rows: Sequence[Row], labels: Sequence[str]) -> str:
    """Return the SHA-256 of the rows' names, contents, labels and splits, in order; where they lie does not count."""
    state = Fingerprint(labels)
    for row in rows:
        state.add(row.name, row.sha256, row.label, row.split)
    return state.hexdigest()


class Fingerprint:
    """The state of `fingerprint_of`, row after row."""

    def __init__(self, labels: Sequence[str]) -> None:
        head = canonical_json(["autoft data", 1, list(labels)])
        self._state = hashlib.sha256(head.encode("utf-8", "surrogatepass"))

    def add(self, name: str, sha256: str, label: str, split: str) -> None:
        """Take the next row."""
        line = canonical_json([name, sha256, label, split]) + "\n"
        self._state.update(line.encode("utf-8", "surrogatepass"))

    def hexdigest(self) -> str:
        """Return the fingerprint of the rows so far."""
        return self._state.hexdigest()


def write_dataset(folder: Path, rows: Sequence[Row], parts: dict[str, Part], facts: Json) -> Path:
    """Write `dataset.arrow` whole or not at all, and return its path.

    Args:
        folder: Made if it is not there.
        rows: In the order in which they are to lie.
        parts: Where their inputs are read.
        facts: task, labels, fingerprint and num_rows.

    Raises:
        WorkError: If it cannot be written (no room, no permission).
        DataError: If a picture vanished meanwhile.
    """
    kind = parts["train"].inputs.kind
    schema = schema_of(kind, {**facts, "format": FORMAT, "kind": kind})
    places = {label: place for place, label in enumerate(facts["labels"])}
    target = folder / FILE_NAME
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            _published(target) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, schema) as writer,
        ):
            for batch in _batches(rows, parts, places, schema):
                writer.write_batch(batch)
    except BaseException as error:
        for place in made:
            if place.is_dir():
                place.rmdir()
        if isinstance(error, OSError):
            raise WorkError(f"Cannot write '{target}': {error.strerror or error}.") from error
        raise
    return target


@contextmanager
def _published(target: Path) -> Iterator[Path]:
    """Give a path to write to; what lies there becomes `target` once it is whole, and is removed if it does not."""
    temporary = target.with_name(f".{target.name}.part")
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def schema_of(kind: InputKind, facts: Json) -> pa.Schema:
    """Return the columns of a dataset whose inputs are held so, with its facts as metadata."""
    name, type_ = _TYPES[kind]
    return pa.schema(
        [
            ("row", pa.string()),
            (name, type_),
            ("sha256", pa.string()),
            ("target", pa.int32()),
            ("split", pa.string()),
        ],
        metadata={_KEY: canonical_json(facts).encode()},
    )


def _batches(
    rows: Sequence[Row], parts: dict[str, Part], places: dict[str, int], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    pending: list[tuple[Row, str | bytes]] = []
    size = 0
    for row in rows:
        inputs = parts[row.part].inputs
        value = str(inputs.path(row.index)) if inputs.kind == "path" else inputs.read(row.index)
        pending.append((row, value))
        size += len(value)
        if len(pending) == _BATCH_ROWS or size > BATCH_BYTES:
            yield _batch(pending, places, schema)
            pending, size = [], 0
    if pending:
        yield _batch(pending, places, schema)


def _batch(pending: list[tuple[Row, str | bytes]], places: dict[str, int], schema: pa.Schema) -> pa.RecordBatch:
    columns: list[list[Any]] = [
        [row.name for row, _ in pending],
        [value for _, value in pending],
        [row.sha256 for row, _ in pending],
        [places[row.label] for row, _ in pending],
        [row.split for row, _ in pending],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _facts(table: pa.Table, path: Path) -> Json:
    try:
        facts = json.loads((table.schema.metadata or {})[_KEY])
    except (KeyError, ValueError):
        raise FormatError(f"'{path}' is no dataset of autoft.") from None
    check_format(facts, where=f"'{path}'")
    column = _TYPES.get(facts.get("kind"), ("?",))[0]
    missing = [name for name in ("row", column, "sha256", "target", "split") if name not in table.column_names]
    missing += [name for name in ("task", "labels", "fingerprint", "num_rows") if name not in facts]
    if missing:
        raise FormatError(f"'{path}' is damaged: it lacks {', '.join(missing)}.")
    return dict(facts)


def unchanged(path: Path, sha256: str) -> bytes:
    """Return the content of a picture's file.

    Raises:
        DataError: If it is gone, or is not as it was; names the file.
    """
    try:
        content = read_file(path)
    except DataError as error:
        raise DataError(f"A picture of the search is gone: {error}. Put it back, or start a new search.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f"The picture '{path}' has changed since the search began. Put the old one back, or start a new search."
        )
    return content
