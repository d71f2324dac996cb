"""Writing a record: one writer, on the driver; what `flush` has returned from survives any kill."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.record.events import decode, encode
from autoft.record.fold import Fold
from autoft.record.journal import HEADER, encode_frame, segment_name, segment_start
from autoft.record.lock import Claim, WriterLock
from autoft.record.model import Record
from autoft.record.reader import FOLDER, Follower, SealedEvents
from autoft.record.sealed import HeldTable, Manifest, Part, SealedTable, is_manifest, read_part, write_part
from autoft.record.tables import SCHEMAS, to_tables

SEAL_BYTES = 4 * 2**20
"""A journal of so many bytes is sealed by the next flush."""
SEAL_SEGMENTS = 64
"""So is one of so many segments: on an object store every flush makes one."""


class RecordWriter:
    """The one writer of a run's record; makes it, or goes on behind the last whole event."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        """Open the record of the run in the folder `store`.

        Args:
            store: The run's folder.
            clock: Gives each event its time, in seconds since 1970.

        Raises:
            ConfigError: If another process is writing this run.
            FormatError: If the record is damaged or of a newer format.
            OSError: If the storage refuses.
        """
        self._store = store.within(FOLDER)
        self._clock = clock
        self._fold = Fold()
        self._unsealed: list[Json] = []
        self._pending: list[bytes] = []
        self._manifest = Manifest()
        self._segment: str | None = None
        self._segment_bytes = 0
        self._journal_bytes = 0
        self._num_segments = 0
        self._lock = WriterLock(self._store)
        self._claim = None if self._store.is_local else Claim(self._store)
        try:
            self._lock.sign()
            self._durable_seq = self._recover()
        except BaseException:
            self._lock.release()
            raise

    @property
    def record(self) -> Record:
        """What is recorded so far, events that are not flushed among them."""
        return self._fold.record()

    def append(self, event: Mapping[str, Any]) -> int:
        """Take an event and return its number; it is safe once `flush` returns.

        Raises:
            ValueError: If its kind is unknown, a key is missing, its trial never started, or a number that is no
                metric is not finite.
            FormatError: If an epoch's result is incomplete.
        """
        if event.get("event") in ("config", "epoch", "status") and not self._fold.knows(event.get("trial", "")):
            raise ValueError(f"Event '{event['event']}' tells of trial {event.get('trial')!r}, which never started.")
        seq = self._durable_seq + len(self._pending) + 1
        payload = encode(event, seq=seq, time=self._clock())
        stored = decode(payload)
        self._fold.add(stored)
        self._pending.append(payload)
        self._unsealed.append(stored)
        return seq

    def flush(self) -> None:
        """Make every event so far durable; seal the journal when it has grown large.

        Raises:
            OSError: If the storage refuses; the record stays readable, and `flush` may be tried again.
            WorkError: If another process writes this run on an object store by now.
        """
        if self._pending:
            frames = b"".join(encode_frame(payload, durable_seq=self._durable_seq) for payload in self._pending)
            self._write_frames(frames)
            self._durable_seq += len(self._pending)
            self._pending.clear()
        if self._journal_bytes >= SEAL_BYTES or self._num_segments >= SEAL_SEGMENTS:
            self.seal()

    def seal(self) -> None:
        """Turn the journal into Parquet files; readers see the old state or the new.

        Raises:
            OSError: If the storage refuses; nothing is lost, and `seal` may be tried again.
        """
        if self._pending:
            self.flush()
        if self._unsealed:
            tables = to_tables(self._unsealed)
            self._manifest = self._write_sealed(tables)
            self._fold.seal({name: HeldTable(table) for name, table in tables.items()})
            self._unsealed.clear()
            self._segment = None
            self._journal_bytes = self._num_segments = 0
            self._remove_leftovers()

    def close(self) -> None:
        """Flush, and let another process write this run."""
        try:
            self.flush()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        """Return the writer, to be closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the writer."""
        self.close()

    def _recover(self) -> int:
        """Read what there is, remove what earlier kills left over, and return the last durable event's number."""
        sizes = self._store.sizes()
        if not any(is_manifest(n) or segment_start(n) is not None or n.endswith(".parquet") for n in sizes):
            self._create_segment(1, HEADER)
            return 0
        follower = Follower(self._store)
        for item in follower.poll():
            if isinstance(item, SealedEvents):
                self._fold.add_part(item.tables, last_seq=item.last_seq)
            else:
                self._fold.add(item)
                self._unsealed.append(item)
        self._manifest = follower.manifest
        if self._claim is None:  # else a writer that is believed dead may be about to list what seems left over
            self._remove_leftovers()
        segments = [size for name, size in sizes.items() if segment_start(name) is not None]
        self._journal_bytes, self._num_segments = sum(segments), len(segments)
        return follower.next_seq - 1

    def _write_frames(self, frames: bytes) -> None:
        if self._segment is not None and self._store.is_local:
            self._store.append(self._segment, frames, at=self._segment_bytes)
            self._segment_bytes += len(frames)
            self._journal_bytes += len(frames)
        else:
            self._create_segment(self._durable_seq + 1, HEADER + frames)

    def _create_segment(self, first_seq: int, content: bytes) -> None:
        """Write a new segment; one of that name holds no whole event, or is from a flush that failed."""
        name = segment_name(first_seq, writer=self._claim.number if self._claim else 0)
        self._store.write(name, content)
        self._require_newest()
        self._segment, self._segment_bytes = name, len(content)
        self._journal_bytes += len(content)
        self._num_segments += 1

    def _write_sealed(self, unsealed: Mapping[str, pa.Table]) -> Manifest:
        """Write the unsealed events as a part and publish it; smaller parts before it are merged into it.

        Each part stays larger than the next, so there are few of them, and an event is rewritten few times.
        """
        parts = list(self._manifest.parts)
        first_seq, last_seq = self._manifest.last_seq + 1, self._durable_seq
        tables = dict(unsealed)
        while parts and parts[-1].num_events <= last_seq - first_seq + 1:
            first_seq = parts[-1].first_seq
            tables = _joined(read_part(self._store, parts.pop()), tables)
        part: Part = write_part(self._store, tables, first_seq=first_seq, last_seq=last_seq)
        manifest = Manifest(last_seq=last_seq, parts=(*parts, part))
        self._require_newest()
        self._store.write(manifest.name, manifest.encode())
        return manifest

    def _remove_leftovers(self) -> None:
        """Remove what the newest manifest has made needless, and what a kill in the middle of a seal left.

        On an object store only after a seal of our own: then an older writer's manifest that comes late is not newer.
        """
        kept = self._manifest.file_names()
        names = self._require_newest() or self._store.sizes()
        self._store.delete_files(*(name for name in names if name not in kept and self._is_needless(name)))
        if self._store.is_local:
            for prefix in ("journal-", "sealed-", *(f"{table}-" for table in SCHEMAS)):
                for path in Path(self._store.path()).glob(f".{prefix}*"):
                    path.unlink(missing_ok=True)

    def _is_needless(self, name: str) -> bool:
        start = segment_start(name)
        if start is not None:
            return start <= self._manifest.last_seq
        return is_manifest(name) or name.endswith(".parquet") or bool(self._claim and self._claim.is_older(name))

    def _require_newest(self) -> dict[str, int]:
        """Return the files of a record on an object store, once no newer writer is seen among them; else none."""
        if self._claim is None:
            return {}
        sizes = self._store.sizes()
        self._claim.require_newest(sizes)
        return sizes


def _joined(before: Mapping[str, SealedTable], after: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return the tables of two ranges of events that follow each other as those of one."""
    joined = {}
    for name in SCHEMAS:
        parts = [before[name].whole().replace_schema_metadata(SCHEMAS[name].metadata)] if name in before else []
        parts += [after[name]] if name in after else []
        if parts:
            joined[name] = pa.concat_tables(parts)
    return joined
