"""Tables, and files, that are made once on this machine and mapped into memory by who needs them again.

Each is an Arrow IPC file, named by the digest of its key: JSON that says what it holds and what made it. A file holds
its key and a checksum of every batch, so one that is cut, damaged or foreign is made again. What lies here can be
removed at any time: a process that has mapped a file keeps it.
"""

import contextlib
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from autoft.core.cache import prepared_folder, prepared_limit_bytes
from autoft.core.filelock import SILENT_SECONDS, Beat, file_lock
from autoft.core.jsonable import Json, canonical_json, digest
from autoft.core.mapped import MappedFile

_log = logging.getLogger(__name__)

Make = Callable[[Beat], Iterator[pa.RecordBatch]]
"""Yields the batches of a table; calls what it is given after every piece of work."""

SPARE_BYTES = 2 * 2**30
"""What is left free on the disk, whatever the limit."""

_KEY = b"autoft"
_CHECKSUM = b"crc32"
_FRAME_BYTES = 8192
"""More than a batch adds to a file beside its own bytes: the schema with the key, and its part of the footer."""


class _Unkept(Exception):
    """That a table cannot be kept on the disk, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shelved:
    """A table, mapped from the shelf or held in memory."""

    table: pa.Table
    file: MappedFile | None
    """What it is mapped from; None: it is held in memory."""

    def was_read(self, num_bytes: int, *, places: int = 1) -> None:
        """Take that `num_bytes` at some places were read; see `MappedFile.was_read`."""
        if self.file is not None:
            self.file.was_read(num_bytes, places=places)


def in_memory(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Shelved:
    """Return a table of batches, held in memory."""
    return Shelved(table=pa.Table.from_batches(list(batches), schema), file=None)


class Shelf:
    """A folder of tables with a limit; those that were not used for longest go first.

    Args:
        folder: Made when it is needed; None: the one of this machine's cache.
        limit_bytes: The most that it may hold; None: what AUTOFT_CACHE_GB or the disk's size says.
        spare_bytes: What must stay free on its disk.

    Raises:
        ConfigError: If AUTOFT_CACHE_GB is no number.
    """

    def __init__(
        self, folder: Path | None = None, *, limit_bytes: int | None = None, spare_bytes: int = SPARE_BYTES
    ) -> None:
        self._folder = prepared_folder() if folder is None else folder
        self._limit_bytes = prepared_limit_bytes() if limit_bytes is None else limit_bytes
        self._spare_bytes = spare_bytes
        self._said: set[str] = set()

    def table(
        self, key: Json, schema: pa.Schema, make: Make, *, num_bytes: int = 0, heartbeat: Beat = lambda: None
    ) -> Shelved:
        """Return the table of a key, which one process of this machine makes while the others wait for it.

        A disk that is full or may not be written to is said in the log, and the table is held in memory.

        Args:
            key: All that decides the table's content.
            schema: Its columns.
            make: Called if there is no such table; once more if the disk refuses what it gave.
            num_bytes: What the table will take, as far as that is known before.
            heartbeat: Called while it is made, waited for, or read.
        """
        schema = schema.with_metadata({_KEY: canonical_json(key).encode()})
        path = self._folder / f"{digest(key)}.arrow"
        found = self._opened(path, schema, heartbeat)
        if found is not None:
            return found
        try:
            if not self._limit_bytes:
                raise _Unkept(self._bound())
            before = _inode(path)
            with self._lock(path, heartbeat) as sign_of_life:
                if _inode(path) == before:  # else another process has built it meanwhile
                    self._build(path, schema, make(sign_of_life), num_bytes)
            found = self._opened(path, schema, heartbeat)
            if found is None:
                raise _Unkept("what was written cannot be read back")
        except _Unkept as reason:
            self._say(str(reason))
            return in_memory(make(heartbeat), schema)
        return found

    def file(
        self,
        name: str,
        make: Callable[[Path, Beat], None],
        *,
        is_whole: Callable[[Path], bool],
        num_bytes: int,
        heartbeat: Beat = lambda: None,
    ) -> Path:
        """Return the file of a name, which one process of this machine makes while the others wait for it.

        Args:
            name: The file's.
            make: Called to write the file at a path, if there is none that is whole.
            is_whole: Says whether a file holds what it should.
            num_bytes: What it will take.
            heartbeat: Called while it is made or waited for.

        Raises:
            OSError: If it cannot be kept.
        """
        path = self._folder / name
        try:
            if not is_whole(path):
                if not self._limit_bytes:
                    raise _Unkept(self._bound())
                with self._lock(path, heartbeat) as sign_of_life:
                    if not is_whole(path):
                        self._make_file(path, make, num_bytes, sign_of_life)
        except _Unkept as reason:
            raise OSError(str(reason)) from reason
        with contextlib.suppress(OSError):  # another user's: its age is not ours to change
            os.utime(path)
        return path

    def _make_file(self, path: Path, make: Callable[[Path, Beat], None], num_bytes: int, beat: Beat) -> None:
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with _on_disk():
                self._sweep()
                self._make_room(num_bytes)
            make(part, beat)
            with _on_disk():
                part.replace(path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _opened(self, path: Path, schema: pa.Schema, heartbeat: Beat) -> Shelved | None:
        """Return the table of a file, checked to its last byte, or None where there is none or it is not whole."""
        try:
            file = MappedFile(path)
        except (OSError, ValueError):  # there is none, it is empty, or the disk will refuse a new one too
            return None
        try:
            batches = list(_checked(file, schema, heartbeat))
        except (OSError, ValueError, pa.ArrowException):  # pyarrow has OSError for a file that is cut
            return None
        with contextlib.suppress(OSError):  # another user's: its age is not ours to change
            os.utime(path)
        return Shelved(table=pa.Table.from_batches(batches, schema), file=file)

    def _build(self, path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], num_bytes: int) -> None:
        """Write batches to a file, which gets its name once it is whole.

        Raises:
            _Unkept: If the disk refuses it, or it is larger than the limit.
        """
        if path.exists():
            _log.warning("Made again, since it is not whole, or not ours: %s", path)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with _on_disk():
                self._sweep()
                self._make_room(num_bytes + _FRAME_BYTES)
            with _whole_file(part, schema) as writer:
                for batch in batches:
                    with _on_disk():
                        self._make_room(pa.ipc.get_record_batch_size(batch) + _FRAME_BYTES)
                        writer.write_batch(batch, custom_metadata={_CHECKSUM: _checksum(batch)})
            with _on_disk():
                part.replace(path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _make_room(self, more: int) -> None:
        """Remove the tables that were not used for longest until `more` bytes fit; none where they never will.

        Raises:
            _Unkept: If they do not.
        """
        while True:
            files = [(path, status) for path, status in self._files() if path.suffix != ".lock"]
            over = sum(status.st_size for _, status in files) + more - self._limit_bytes
            lacking = self._spare_bytes + more - shutil.disk_usage(self._folder).free
            if over <= 0 and lacking <= 0:
                return
            old = {path: status for path, status in files if path.suffix != ".part"}
            if max(over, lacking) > sum(status.st_size for status in old.values()):
                raise _Unkept(self._bound() if over > 0 else self._spare())
            min(old, key=lambda path: old[path].st_mtime_ns).unlink(missing_ok=True)

    def _bound(self) -> str:
        return f"they may take no more than {self._limit_bytes / 2**30:.3g} GiB there (AUTOFT_CACHE_GB)"

    def _spare(self) -> str:
        return f"its disk would have less than {self._spare_bytes / 2**30:.3g} GiB free"

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                yield path, path.stat()

    def _sweep(self) -> None:
        """Remove what killed processes left of tables that they were building; the lock of a live one is young."""
        oldest = time.time() - 2 * SILENT_SECONDS
        files = [(path, status.st_mtime) for path, status in self._files() if path.suffix in (".part", ".lock")]
        alive = {path.stem for path, changed in files if path.suffix == ".lock" and changed > oldest}
        for path, changed in files:
            if changed < oldest and path.name.partition(".")[0] not in alive:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self, path: Path, heartbeat: Beat) -> Iterator[Beat]:
        """Wait for the right to build a file, and give what its holder calls to be known alive.

        Raises:
            _Unkept: If there can be no lock, or its holder gives no sign of life.
        """
        with contextlib.ExitStack() as held:
            with _on_disk():
                sign_of_life = held.enter_context(file_lock(path.with_suffix(".lock"), heartbeat=heartbeat))
            yield sign_of_life or heartbeat

    def _say(self, reason: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            _log.warning("Prepared data are held in memory, not kept in %s: %s.", self._folder, reason)


def _inode(path: Path) -> int:
    """Return the number of the file that has the name now, 0 for none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


@contextlib.contextmanager
def _on_disk() -> Iterator[None]:
    """Turn what the disk refuses into `_Unkept`."""
    try:
        yield
    except OSError as error:
        raise _Unkept(os.strerror(error.errno) if error.errno else str(error)) from error


@contextlib.contextmanager
def _whole_file(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatchFileWriter]:
    """Give the writer of a new file, which ends the file if all went well.

    Raises:
        _Unkept: If the disk refuses its beginning or its end.
    """
    with contextlib.ExitStack() as opened:
        with _on_disk():
            file = pa.OSFile(str(path), "wb")
            opened.callback(_close, file)
            writer = pa.ipc.new_file(file, schema)
            opened.callback(_close, writer)
        yield writer
        with _on_disk():
            writer.close()
            file.close()


def _close(opened: pa.NativeFile | pa.RecordBatchFileWriter) -> None:
    """Close what is of no more use, or is closed already."""
    with contextlib.suppress(OSError, pa.ArrowException):
        opened.close()


def _checked(file: MappedFile, schema: pa.Schema, heartbeat: Beat) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a file.

    Raises:
        ValueError: If they are not those that were written, under this very schema and key.
        pa.ArrowException: If it is no Arrow file.
    """
    reader = pa.ipc.open_file(pa.BufferReader(file.buffer))
    if not reader.schema.equals(schema, check_metadata=True):
        raise ValueError("another key or other columns")
    for index in range(reader.num_record_batches):
        found = reader.get_batch_with_custom_metadata(index)
        batch, about = found.batch, found.custom_metadata
        told = about[_CHECKSUM] if about is not None and _CHECKSUM in about else b""
        if told != _checksum(batch):
            raise ValueError(f"batch {index} is not what was written")
        batch.validate(full=True)
        file.was_read(batch.nbytes)
        heartbeat()
        yield batch
    file.release()


def _checksum(batch: pa.RecordBatch) -> bytes:
    state = zlib.crc32(str(batch.num_rows).encode())
    for column in batch.columns:
        for buffer in column.buffers():
            if buffer is not None:
                state = zlib.crc32(buffer, state)
    return str(state).encode()
