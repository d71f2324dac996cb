"""The sealed part of a record: Parquet files, and the manifests that publish them.

A seal writes the tables of a range of events (a part), then a manifest that lists every part. Nothing is ever written
over: the newest whole manifest is what counts, so a kill at any step leaves the old state or the new.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from autoft.core.configs import FORMAT, check_format
from autoft.core.errors import FormatError
from autoft.core.jsonable import Json, canonical_json, digest
from autoft.core.storage import Store
from autoft.record.columns import codes, integers, take
from autoft.record.tables import SCHEMAS

_NAME_FORM = re.compile(r"sealed-(\d{12})\.json")
_ROW_GROUP_ROWS = 65536
REPEATED = ("event", "trial", "status", "reason", "action")
"""Text columns of few values, which are read as Parquet keeps them: as a dictionary and places in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedFile:
    """One table of one part."""

    name: str
    rows: int
    bytes: int
    sha256: str | None = None
    """Of the whole file; None in a record of before it was kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The events `first_seq` to `last_seq`, as tables; a table without rows has no file."""

    first_seq: int
    last_seq: int
    files: Mapping[str, SealedFile]

    @property
    def num_events(self) -> int:
        """How many events the part holds."""
        return self.last_seq - self.first_seq + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Every part of a record, in order; together they hold the events 1 to `last_seq`."""

    last_seq: int = 0
    parts: tuple[Part, ...] = ()

    @property
    def name(self) -> str:
        """The manifest's file name; a later manifest sorts behind an earlier one."""
        return f"sealed-{self.last_seq:012d}.json"

    def file_names(self) -> set[str]:
        """Return the names of the manifest and of every file that it lists."""
        return {self.name, *(file.name for part in self.parts for file in part.files.values())}

    def encode(self) -> bytes:
        """Return the manifest's bytes, with their own checksum."""
        content: Json = {"format": FORMAT, "last_seq": self.last_seq, "parts": [asdict(part) for part in self.parts]}
        return canonical_json({"content": content, "sha256": digest(content)}).encode()

    @classmethod
    def decode(cls, data: bytes, *, where: str) -> "Manifest | None":
        """Read a manifest's bytes; None where they are torn.

        Raises:
            FormatError: If it is of a newer format.
        """
        try:
            outer = json.loads(data)
        except ValueError:
            return None
        content = outer.get("content", {})
        if digest(content) != outer.get("sha256"):
            return None
        check_format(content, where=where)
        parts = tuple(
            Part(
                first_seq=part["first_seq"],
                last_seq=part["last_seq"],
                files={name: SealedFile(**file) for name, file in part["files"].items()},
            )
            for part in content["parts"]
        )
        return cls(last_seq=content["last_seq"], parts=parts)


def is_manifest(name: str) -> bool:
    """Return whether a file name is a manifest's."""
    return _NAME_FORM.fullmatch(name) is not None


def write_part(store: Store, tables: Mapping[str, pa.Table], *, first_seq: int, last_seq: int) -> Part:
    """Write tables as the Parquet files of a part; they count once a manifest lists them."""
    import pyarrow.parquet as pq

    files = {}
    for table_name, table in tables.items():
        sink = pa.BufferOutputStream()
        pq.write_table(
            table, sink, compression="zstd", row_group_size=_ROW_GROUP_ROWS, write_page_checksum=True, version="2.6"
        )
        content = sink.getvalue().to_pybytes()
        name = f"{table_name}-{first_seq:012d}-{last_seq:012d}.parquet"
        store.write(name, content)
        files[table_name] = SealedFile(
            name=name, rows=table.num_rows, bytes=len(content), sha256=sha256(content).hexdigest()
        )
    return Part(first_seq=first_seq, last_seq=last_seq, files=files)


class SealedTable:
    """One table of a part, decoded column by column as it is asked for: ranking needs few of them."""

    def __init__(self, content: pa.Buffer, schema: pa.Schema, *, where: str, from_seq: int) -> None:
        """Open the bytes of a Parquet file.

        Args:
            content: The whole file, in memory of Arrow's own: see `Store.read_buffer`.
            schema: Today's columns; those that an earlier autoft did not know are null.
            where: The file's name, for errors.
            from_seq: Leave out the events before this one.

        Raises:
            FormatError: If it is damaged, or has columns that this autoft does not know.
        """
        import pyarrow.parquet as pq

        self._schema, self._where = schema, where
        self._columns: dict[str, pa.ChunkedArray[Any]] = {}
        self._codes: dict[str, tuple[NDArray[np.int64], list[str]]] = {}
        self._first_row = 0
        try:
            source = pa.BufferReader(content)
            metadata = pq.read_metadata(source)
            repeated = [name for name in REPEATED if name in metadata.schema.names]
            self._file = pq.ParquetFile(
                source, metadata=metadata, read_dictionary=repeated, page_checksum_verification=True
            )
        except (OSError, pa.ArrowInvalid) as error:
            raise FormatError(f"{where} is damaged: {error}.") from error
        self._known = self._file.schema_arrow.names
        for name in self._known:
            if name not in schema.names:
                raise FormatError(f"{where} holds {name}, which this autoft does not know; upgrade autoft to read it.")
        seq = self.column("seq")
        self._first_row = int(np.searchsorted(integers(seq), from_seq))
        self._columns = {"seq": seq.slice(self._first_row)}
        self.num_rows = len(seq) - self._first_row

    def column(self, name: str) -> "pa.ChunkedArray[Any]":
        """Return a column by its name.

        Raises:
            FormatError: If it is damaged.
        """
        return self.select([name]).column(0)

    def codes(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Return a text column without nulls as `columns.codes` does.

        Raises:
            FormatError: If it is damaged.
        """
        if name not in self._codes:
            self._codes[name] = codes(self._stored([name]).column(0))
        return self._codes[name]

    def select(self, names: Sequence[str]) -> pa.Table:
        """Return some columns as a table.

        Raises:
            FormatError: If one is damaged.
        """
        return self._as_today(self._stored(names))

    def take(self, rows: NDArray[np.int64], names: Sequence[str] | None = None) -> pa.Table:
        """Return rows by their positions, of some columns or of all.

        Raises:
            FormatError: If a column is damaged.
        """
        return self._as_today(take(self._stored(self._schema.names if names is None else names), rows))

    def whole(self) -> pa.Table:
        """Return all columns as a table.

        Raises:
            FormatError: If one is damaged.
        """
        return self.select(self._schema.names)

    def _stored(self, names: Sequence[str]) -> pa.Table:
        """Return some columns as they are stored."""
        missing = [name for name in names if name not in self._columns and name in self._known]
        if missing:
            try:
                table = self._file.read(columns=missing).slice(self._first_row).unify_dictionaries()
            except (OSError, pa.ArrowInvalid) as error:
                raise FormatError(f"{self._where} is damaged: {error}.") from error
            self._columns |= dict(zip(table.column_names, table.columns, strict=True))
        unknown = [name for name in names if name not in self._columns]
        self._columns |= {
            name: pa.chunked_array([pa.nulls(self.num_rows, self._schema.field(name).type)]) for name in unknown
        }
        return pa.Table.from_arrays([self._columns[name] for name in names], names=list(names))

    def _as_today(self, table: pa.Table) -> pa.Table:
        return table.cast(pa.schema([self._schema.field(name) for name in table.column_names]))


class HeldTable(SealedTable):
    """One table of a part whose columns are all at hand."""

    def __init__(self, table: pa.Table) -> None:
        """Take a table of `tables.SCHEMAS`."""
        self._schema, self._where = table.schema, "memory"
        self._known = table.column_names
        self._columns = dict(zip(table.column_names, table.columns, strict=True))
        self._codes = {}
        self.num_rows = table.num_rows


def read_part(store: Store, part: Part, *, from_seq: int = 0) -> dict[str, SealedTable]:
    """Return the tables of a part, or of its events from `from_seq` on; one without rows is left out.

    Raises:
        FileNotFoundError: If a later seal has replaced the part.
        FormatError: If a file is damaged, or of a newer format.
    """
    tables = {}
    for table_name, file in part.files.items():
        where = store.path(file.name)
        content = store.read_buffer(file.name)
        if content.size != file.bytes:
            raise FormatError(f"{where} is damaged: it has {content.size} bytes instead of {file.bytes}.")
        if file.sha256 is not None and sha256(content).hexdigest() != file.sha256:
            raise FormatError(f"{where} is damaged: it is not as it was written (its SHA-256 differs).")
        table = SealedTable(content, SCHEMAS[table_name], where=where, from_seq=from_seq)
        if table.num_rows:
            tables[table_name] = table
    return tables
