"""Rows in a remote store: Arrow files under their fingerprint, which each machine fetches once and then maps.

`part-00000.arrow` and so on, and last `dataset.json`, which has the bytes and SHA-256 of each. What a machine has
fetched lies on its shelf of prepared data, under the fingerprint, so that other runs on the same rows find it there.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from autoft.core.configs import FORMAT, check_format, from_json
from autoft.core.errors import FormatError
from autoft.core.filelock import Beat
from autoft.core.jsonable import Json, canonical_json
from autoft.core.shelf import Shelf
from autoft.core.storage import Store
from autoft.core.typed import check_types
from autoft.data.dataset import Dataset, Fingerprint, schema_of
from autoft.data.describing import describe
from autoft.data.packing import arrow_parts, packed_batches, packed_kind, packed_schema

LISTING = "dataset.json"
"""Written last: rows without it are not whole."""
_UPLOADED = "uploaded.json"
"""The parts that an upload under way has brought there, so that one that was cut goes on."""
_CODE = 1
"""Version of how rows lie on a shelf."""
_FACTS = ("task", "labels", "fingerprint", "num_rows")

Progress = Callable[[int, int], None]
"""Called with the rows done and the rows in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsPart:
    """One Arrow file of the rows."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What `dataset.json` says."""

    dataset: Json
    """What a `Dataset` is made with."""
    facts: Json
    """What `autoft.data.describe` says of it."""
    parts: tuple[RowsPart, ...]
    """In order."""


class StoredRows:
    """The rows of one fingerprint in a remote store."""

    def __init__(self, store: Store, fingerprint: str) -> None:
        """Take where they lie, or are to lie.

        Args:
            store: The folder of these rows.
            fingerprint: Of the rows.
        """
        self._store = store
        self._fingerprint = fingerprint

    def upload(self, dataset: Dataset, progress: Progress | None = None) -> None:
        """Bring all rows there, pictures by their content; goes on with the parts that lack if it was cut before.

        Raises:
            DataError: If a picture's file is gone or holds something else than it did.
            OSError: If the store refuses.
        """
        there, done = self._uploaded(), list[RowsPart]()
        batches, total, num_rows = packed_batches(dataset), sum(dataset.facts["num_rows"].values()), 0
        for number, (content, rows) in enumerate(arrow_parts(batches, packed_schema(dataset))):
            sha256 = hashlib.sha256(content).hexdigest()
            part = RowsPart(name=f"part-{number:05d}.arrow", rows=rows, bytes=content.size, sha256=sha256)
            done.append(part)
            if part not in there:
                self._store.write(part.name, memoryview(content))
                self._write(_UPLOADED, {"parts": [dataclasses.asdict(part) for part in done]})
            num_rows += rows
            if progress is not None:
                progress(num_rows, total)
        self._write(
            LISTING,
            {
                "dataset": {**{name: dataset.facts[name] for name in _FACTS}, "kind": packed_kind(dataset)},
                "facts": describe(dataset),
                "parts": [dataclasses.asdict(part) for part in done],
            },
        )
        self._store.delete(_UPLOADED)

    def listing(self) -> Listing:
        """Return what there is.

        Raises:
            FormatError: If it is lost or damaged, or of other rows or a newer format.
        """
        values, where = self._read(LISTING), self._store.path(LISTING)
        dataset, facts = values.get("dataset"), values.get("facts")
        if not isinstance(dataset, dict) or not isinstance(facts, dict):
            raise FormatError(f"'{where}' is damaged: it lacks 'dataset' or 'facts'.")
        lacking = [name for name in (*_FACTS, "kind") if name not in dataset]
        if lacking:
            raise FormatError(f"'{where}' is damaged: it lacks {', '.join(lacking)}.")
        if dataset["fingerprint"] != self._fingerprint:
            raise self._foreign()
        return Listing(dataset=dataset, facts=facts, parts=_parts(values, where=where))

    def check(self) -> None:
        """Find that all parts are there, without fetching them.

        Raises:
            FormatError: If not, or as `listing`.
        """
        parts, sizes = self.listing().parts, self._store.sizes()
        for part in parts:
            if part.name not in sizes:
                raise self._lost(part.name)
            if sizes[part.name] != part.bytes:
                raise FormatError(
                    f"'{self._store.path(part.name)}' is damaged: it has {sizes[part.name]} bytes, not {part.bytes}."
                )

    def open(self, heartbeat: Beat) -> Dataset:
        """Return the rows, which one process of this machine fetches while the others wait.

        Args:
            heartbeat: Called while they are fetched, waited for, or checked.

        Raises:
            FormatError: If they are lost or damaged, or other rows.
        """
        listing = self.listing()
        schema = schema_of(listing.dataset["kind"], {})
        shelved = Shelf().table(
            {"table": "rows", "code": _CODE, "data": self._fingerprint, "kind": listing.dataset["kind"]},
            schema,
            lambda beat: self._fetched(listing, schema, beat),
            num_bytes=sum(part.bytes for part in listing.parts),
            heartbeat=heartbeat,
        )
        return Dataset(shelved, listing.dataset)

    def _fetched(self, listing: Listing, schema: pa.Schema, beat: Beat) -> Iterator[pa.RecordBatch]:
        """Yield the rows part by part, all of them checked: contents against hashes, hashes against the fingerprint."""
        labels = listing.dataset["labels"]
        state = Fingerprint(labels)
        for part in listing.parts:
            reader = self._opened(part, schema)
            for index in range(reader.num_record_batches):
                batch = reader.get_batch(index)
                self._take(batch, labels, state, part)
                beat()
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        if state.hexdigest() != self._fingerprint:
            raise self._foreign()

    def _opened(self, part: RowsPart, schema: pa.Schema) -> pa.RecordBatchFileReader:
        content = self._store.read(part.name)
        if hashlib.sha256(content).hexdigest() != part.sha256:
            content = self._store.read(part.name)  # what was lost on the way is not lost again
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise self._changed(part)
        try:
            reader = pa.ipc.open_file(pa.BufferReader(content))
        except (OSError, pa.ArrowException) as error:
            raise FormatError(f"'{self._store.path(part.name)}' is damaged: {error}.") from error
        if not reader.schema.equals(schema):
            raise FormatError(f"'{self._store.path(part.name)}' is damaged: it has other columns.")
        return reader

    def _take(self, batch: pa.RecordBatch, labels: list[str], state: Fingerprint, part: RowsPart) -> None:
        """Add a batch to a fingerprint.

        Raises:
            FormatError: If it holds other contents or targets than it says.
        """
        batch.validate(full=True)
        for index, (name, sha256, target, split) in enumerate(
            zip(*(batch[name].to_pylist() for name in ("row", "sha256", "target", "split")), strict=True)
        ):
            value = batch[1][index].as_py()
            content = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            if hashlib.sha256(content).hexdigest() != sha256 or not 0 <= target < len(labels):
                raise self._changed(part)
            state.add(name, sha256, labels[target], split)

    def _uploaded(self) -> set[RowsPart]:
        """Return the parts that an upload before this one has brought there whole."""
        sizes = self._store.sizes()
        if _UPLOADED not in sizes:
            return set()
        try:
            parts = _parts(self._read(_UPLOADED), where=self._store.path(_UPLOADED))
        except FormatError:
            return set()
        return {part for part in parts if sizes.get(part.name) == part.bytes}

    def _write(self, name: str, values: dict[str, Any]) -> None:
        self._store.write(name, canonical_json({"format": FORMAT, **values}).encode())

    def _read(self, name: str) -> Json:
        where = self._store.path(name)
        try:
            values = json.loads(self._store.read(name))
        except FileNotFoundError:
            raise self._lost(name) from None
        except ValueError as error:
            raise FormatError(f"'{where}' is damaged: {error}.") from error
        if not isinstance(values, dict):
            raise FormatError(f"'{where}' is damaged: it holds no map.")
        check_format(values, where=f"'{where}'")
        return values

    def _lost(self, name: str) -> FormatError:
        return FormatError(f"The run has lost '{self._store.path(name)}', of its rows and split.")

    def _changed(self, part: RowsPart) -> FormatError:
        where = self._store.path(part.name)
        return FormatError(f"'{where}' is damaged: it is not as it was written (its SHA-256 differs).")

    def _foreign(self) -> FormatError:
        where = self._store.path(LISTING)
        return FormatError(f"'{where}' tells of other rows than the search began with (its fingerprint differs).")


def _parts(values: Json, *, where: str) -> tuple[RowsPart, ...]:
    found = values.get("parts")
    if not isinstance(found, list):
        raise FormatError(f"'{where}' is damaged: it has no list of parts.")
    parts = tuple(from_json(RowsPart, part, where=f"'{where}'") for part in found)
    for number, part in enumerate(parts):
        check_types(RowsPart, dataclasses.asdict(part), where=f"'{where}'")
        if part.name != f"part-{number:05d}.arrow":
            raise FormatError(f"'{where}' is damaged: its part {number} has the name {part.name!r}.")
    return parts
