"""Files of a run, on a local disk or an object store, through pyarrow.fs; every write is published whole."""

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import pyarrow as pa
from pyarrow import fs

from autoft.core import remote
from autoft.core.mapped import MappedFile
from autoft.core.paths import local_path

T = TypeVar("T")
_CHUNK_BYTES = 16 * 2**20
_THREADS = 8
_MANY = 4
"""Files that are worth threads."""


@dataclass(frozen=True, slots=True)
class Store:
    """A folder on any file system; paths are relative to it, with "/" between parts.

    A store that travels to another process carries its URI and is opened anew there, by what that machine may do.
    """

    filesystem: fs.FileSystem
    root: str
    is_local: bool
    uri: str = ""
    """What names the folder; "" where a file system was given."""
    small: fs.FileSystem | None = None
    """For small files, where that is another one."""

    @classmethod
    def open(cls, uri: str | Path) -> Self:
        """Open the folder at a local path or a URI that pyarrow.fs knows (s3://, gs://, ...); makes nothing.

        Raises:
            ConfigError: If the path is none, the URI names no file system that pyarrow knows or holds credentials, or
                nobody answers there.
        """
        store = cls._at(str(uri))
        if not store.is_local:
            remote.require_answer(store.uri, store.filesystem, store.root)
        return store

    @classmethod
    def _at(cls, uri: str) -> Self:
        if "://" not in uri:
            path = str(local_path(uri))
            return cls(fs.LocalFileSystem(), path, True, path)
        filesystem, small, root = remote.opened(uri)
        return cls(filesystem, root, isinstance(filesystem, fs.LocalFileSystem), uri, small)

    def __reduce__(self) -> tuple[Any, ...]:
        """Carry the URI alone: a file system would bring its credentials."""
        if self.uri:
            return Store._at, (self.uri,)
        return Store, (self.filesystem, self.root, self.is_local)

    def path(self, name: str = "") -> str:
        """Return the full path of `name` within the store's file system."""
        return f"{self.root}/{name}" if name else self.root

    def within(self, name: str) -> "Store":
        """Return the store of a sub-folder."""
        uri = joined(self.uri, name) if self.uri else ""
        return Store(self.filesystem, self.path(name), self.is_local, uri, self.small)

    def exists(self, name: str = "") -> bool:
        """Return whether there is a file or folder of that name."""
        return bool(self._info(name).type != fs.FileType.NotFound)

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, or None where there is none."""
        info = self._info(name)
        return int(info.size) if info.type == fs.FileType.File else None

    def read(self, name: str, *, offset: int = 0) -> bytes:
        """Return a file's bytes from `offset` on; none where it is shorter, as one that is just written anew may be.

        Raises:
            FileNotFoundError: If there is none.
        """

        def read() -> bytes:
            with self.filesystem.open_input_file(self.path(name)) as file:
                size = file.size()
                if offset >= size:
                    return b""
                file.seek(offset)
                return bytes(file.read(size - offset))

        return self._patiently(read)

    def read_buffer(self, name: str) -> pa.Buffer:
        """Return a file's bytes in memory of Arrow's own; why, `record.columns.buffer_of` says.

        Raises:
            FileNotFoundError: If there is none.
        """

        def read() -> pa.Buffer:
            with self.filesystem.open_input_file(self.path(name)) as file:
                return file.read_buffer()

        return self._patiently(read)

    def download(self, name: str, path: Path, *, heartbeat: Callable[[], None] = lambda: None) -> None:
        """Copy a file to a local path, piece by piece; what fails on the way goes on where it stood.

        Args:
            name: The file.
            path: Where to; replaced.
            heartbeat: Called after every piece.

        Raises:
            FileNotFoundError: If there is none.
        """
        with path.open("wb") as file:
            while piece := self._patiently(lambda: self._piece(name, file.tell())):
                file.write(piece)
                heartbeat()
                if len(piece) < _CHUNK_BYTES:
                    return

    def upload(self, path: Path, name: str) -> None:
        """Write a file whole, with the content of a local one, which is not read whole into memory."""
        if path.stat().st_size == 0:
            self.write(name, b"")
        else:
            self.write(name, memoryview(MappedFile(path).buffer))

    def _piece(self, name: str, offset: int) -> bytes:
        with self.filesystem.open_input_file(self.path(name)) as file:
            file.seek(offset)
            return bytes(file.read(_CHUNK_BYTES))

    def write(self, name: str, *parts: bytes | memoryview) -> None:
        """Write a file whole, of `parts` one after another.

        A reader sees the old content or the new, never a part of it, also after a power cut.
        """
        if not self.is_local:
            self._patiently(lambda: self._put(name, parts))
            return
        target = Path(self.path(name))
        make_folder(target.parent)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_UMASK)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(target.parent)

    def append(self, name: str, content: bytes, *, at: int) -> None:
        """Put `content` at byte `at` of a local file, cutting off what lay beyond; durable once it returns.

        Raises:
            OSError: If the disk refuses; the file then ends at `at` again, as far as the disk allows.
            io.UnsupportedOperation: On an object store, whose files cannot be appended to.
        """
        if not self.is_local:
            raise io.UnsupportedOperation(f"{self.path(name)} lies on a store that cannot append.")
        handle = os.open(self.path(name), os.O_WRONLY)
        try:
            os.ftruncate(handle, at)
            try:
                written = 0
                while written < len(content):
                    written += os.pwrite(handle, content[written:], at + written)
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, at)
                raise
        finally:
            os.close(handle)

    def list(self, folder: str = "") -> list[str]:
        """Return the names directly in a folder, sorted; empty where there is no such folder."""
        names = sorted(info.base_name for info in self._infos(folder))
        return [name for name in names if not name.startswith(".")]

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the bytes of each file directly in a folder, by name, sorted; empty where there is no such folder."""
        files = {info.base_name: int(info.size) for info in self._infos(folder) if info.type == fs.FileType.File}
        return {name: files[name] for name in sorted(files) if not name.startswith(".")}

    def walk(self, folder: str = "") -> dict[str, fs.FileInfo]:
        """Return all files below a folder, by names within the store, sorted; none where there is no such folder."""
        selector = fs.FileSelector(self.path(folder), allow_not_found=True, recursive=True)
        infos = self._patiently(lambda: self.filesystem.get_file_info(selector))
        files = {info.path.removeprefix(f"{self.root}/"): info for info in infos if info.type == fs.FileType.File}
        return {name: files[name] for name in sorted(files)}

    def delete(self, name: str) -> None:
        """Remove a file or a folder with all in it; one that is not there is no error."""
        info = self._info(name)
        if info.type == fs.FileType.Directory:
            self.delete_folder(name)
        elif info.type == fs.FileType.File:
            self.delete_files(name)

    def delete_files(self, *names: str) -> None:
        """Remove files, many of an object store side by side; one that is not there is no error."""
        removals = [partial(self._gone, self.filesystem.delete_file, name) for name in names]
        if self.is_local or len(names) < _MANY:
            for removal in removals:
                self._patiently(removal)
        else:
            with ThreadPoolExecutor(_THREADS, thread_name_prefix="autoft-delete") as pool:
                for _ in pool.map(self._patiently, removals):
                    pass

    def delete_folder(self, name: str) -> None:
        """Remove a folder with all in it; one that is not there is no error."""
        self._patiently(lambda: self._gone(self.filesystem.delete_dir, name))

    def sweep(self, folder: str = "") -> None:
        """Remove from a local folder what kills left of writes that were never published; none may be under way."""
        if self.is_local:
            for path in Path(self.path(folder)).glob(".*"):
                if _UNPUBLISHED.fullmatch(path.name) and path.is_file():
                    path.unlink(missing_ok=True)

    def _patiently(self, call: Callable[[], T]) -> T:
        return call() if self.is_local else remote.patiently(self.uri or self.root, call)

    def _info(self, name: str) -> fs.FileInfo:
        return self._patiently(lambda: self.filesystem.get_file_info(self.path(name)))

    def _infos(self, folder: str) -> Sequence[fs.FileInfo]:
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        return self._patiently(lambda: self.filesystem.get_file_info(selector))

    def _gone(self, delete: Callable[[str], None], name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            delete(self.path(name))

    def _put(self, name: str, parts: tuple[bytes | memoryview, ...]) -> None:
        """Send an object.

        A stream that is left in the middle publishes what it got: it is written by a thread, which Ctrl-C does not hit.
        """
        if remote.has_folders(self.filesystem):
            self.filesystem.create_dir(self.path(name).rpartition("/")[0], recursive=True)
        size = sum(memoryview(part).nbytes for part in parts)
        filesystem = self.small if self.small is not None and size <= remote.SMALL_BYTES else self.filesystem

        def put() -> None:
            with filesystem.open_output_stream(self.path(name)) as stream:
                for part in parts:
                    stream.write(part)

        with ThreadPoolExecutor(1, thread_name_prefix="autoft-put") as pool:
            pool.submit(put).result()


def joined(uri: str, name: str) -> str:
    """Return what names a file or folder within the folder that a path or URI names."""
    base, mark, query = uri.partition("?")
    if "://" not in base:
        return f"{uri.rstrip('/')}/{name}"
    return f"{base.rstrip('/')}/{quote(name)}{mark}{query}"


def parent(uri: str) -> str:
    """Return what names the folder that holds what a path or URI names; of the topmost, itself."""
    base, mark, query = uri.partition("?")
    if "://" not in base:
        return str(Path(uri).parent)
    scheme, _, path = base.rstrip("/").partition("://")
    folder, slash, _ = path.rpartition("/")
    return f"{scheme}://{(folder or slash) if slash else path}{mark}{query}"


def make_folder(folder: Path) -> None:
    """Make a folder of the local disk, and those above it, as durable as what is written into it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a file's name as durable as its content: after a power cut a rename is kept only by its folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _read_umask()
_UNPUBLISHED = re.compile(r"\..+\.[a-z0-9_]{8}")  # `Store.write`, `Rewriter` and tempfile.mkstemp name them so
