"""Reading a record, also while another process writes it: nothing is locked, nothing is written."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from autoft.core.errors import FormatError
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.record.fold import Fold
from autoft.record.journal import decode_segment, in_order
from autoft.record.model import Record
from autoft.record.sealed import Manifest, SealedTable, is_manifest, read_part
from autoft.record.tables import to_events

FOLDER = "results"
"""Where in a run's folder the record lies."""

_ATTEMPTS = 6
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class SealedEvents:
    """New events that lie as columns; the last is `last_seq`."""

    tables: Mapping[str, SealedTable]
    last_seq: int


class _MovedError(Exception):
    """What was listed is no longer there, or not all was listed: the writer has sealed meanwhile."""


@dataclass(slots=True)
class Follower:
    """Yields what is new in a record since the last time, each event once and in order."""

    store: Store
    """The record's own folder."""
    next_seq: int = 1
    """The first event not yet seen."""
    manifest: Manifest = field(default_factory=Manifest)
    """The newest manifest seen."""
    _offsets: dict[str, int] = field(default_factory=dict)

    def poll(self) -> Iterator[SealedEvents | Json]:
        """Yield the new events: sealed ones as tables, the others one by one.

        Raises:
            FormatError: If the record is damaged or of a newer format, or there is none.
        """
        for attempt in range(_ATTEMPTS):
            try:
                yield from self._read_once()
                return
            except (_MovedError, FileNotFoundError) as moved:
                if attempt == _ATTEMPTS - 1:
                    raise FormatError(f"The record in {self.store.path()} is damaged: {moved}.") from moved
                time.sleep(_PAUSE_SECONDS * 2**attempt)

    def _read_once(self) -> Iterator[SealedEvents | Json]:
        sizes = self.store.sizes()
        segments = in_order(sizes)
        self._read_manifest([name for name in sizes if is_manifest(name)])
        if not segments and not self.manifest.last_seq:
            if any(is_manifest(name) or name.endswith(".parquet") for name in sizes):
                # A listing is no snapshot: it may have passed the manifest's place before a seal put it there.
                raise _MovedError("the list of its tables, sealed-*.json, is lost")
            raise FormatError(f"'{self.store.path().removesuffix('/' + FOLDER)}' is no autoft run: it has no record.")
        for part in self.manifest.parts:
            if part.last_seq >= self.next_seq:
                tables = read_part(self.store, part, from_seq=self.next_seq)
                self.next_seq = part.last_seq + 1
                yield SealedEvents(tables, part.last_seq)
        for index, (_, name) in enumerate(segments):
            following = segments[index + 1][0] if index + 1 < len(segments) else None
            if following is None or following > self.next_seq:
                yield from self._read_segment(name, sizes[name], following)

    def _read_manifest(self, names: list[str]) -> None:
        """Take the newest whole manifest; one that is torn was never published."""
        for name in sorted(names, reverse=True):
            if name <= self.manifest.name:
                return
            found = Manifest.decode(self.store.read(name), where=self.store.path(name))
            if found is not None:
                self.manifest = found
                self._offsets.clear()
                return

    def _read_segment(self, name: str, size: int, following: int | None) -> Iterator[Json]:
        """Yield a segment's new events; `following` is the first event of the next segment, if there is one."""
        offset = self._offsets.get(name, 0)
        if size != offset or following is not None:
            content = self.store.read(name, offset=offset)
            frames = decode_segment(content, name=self.store.path(name), offset=offset)
            for event in frames.events:
                if event["seq"] > self.next_seq:
                    raise _MovedError(f"event {self.next_seq} is missing before {name}")
                if event["seq"] == self.next_seq:
                    self.next_seq += 1
                    yield event
            self._offsets[name] = frames.end
            if frames.durable_seq >= self.next_seq:
                raise _MovedError(f"event {self.next_seq} is missing at byte {frames.end} of {name}")
        if following is not None and following > self.next_seq:
            raise _MovedError(f"event {self.next_seq} is missing at the end of {name}")


class RecordReader:
    """Follows a run: each `refresh` reads only what is new."""

    def __init__(self, store: Store) -> None:
        """Follow the run in the folder `store`."""
        self._follower = Follower(store.within(FOLDER))
        self._fold = Fold()

    def refresh(self) -> Record:
        """Return all that is recorded by now.

        Raises:
            FormatError: If the folder holds no run, or its record is damaged or of a newer format.
        """
        for item in self._follower.poll():
            if isinstance(item, SealedEvents):
                self._fold.add_part(item.tables, last_seq=item.last_seq)
            else:
                self._fold.add(item)
        return self._fold.record()


def follow(store: Store) -> RecordReader:
    """Return a reader that follows the run in the folder `store`, also while it is written."""
    return RecordReader(store)


def read_record(store: Store) -> Record:
    """Read the record of the run in the folder `store`.

    Raises:
        FormatError: If the folder holds no run, or its record is damaged or of a newer format.
    """
    return RecordReader(store).refresh()


def read_events(store: Store) -> Iterator[Json]:
    """Yield every event of a run in the order in which it was written.

    Raises:
        FormatError: As `read_record`.
    """
    for item in Follower(store.within(FOLDER)).poll():
        if isinstance(item, SealedEvents):
            yield from to_events({name: table.whole() for name, table in item.tables.items()})
        else:
            yield item
