"""Files of a run, on a local disk or an object store, through pyarrow.fs; every write is published whole."""

import io
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pyarrow import fs

from autoft.core.errors import ConfigError
from autoft.core.paths import local_path

_ANSWER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Store:
    """A folder on any file system; paths are relative to it, with "/" between parts."""

    filesystem: fs.FileSystem
    root: str
    is_local: bool

    @classmethod
    def open(cls, uri: str | Path) -> Self:
        """Open the folder at a local path or a URI that pyarrow.fs knows (s3://, gs://, ...); makes nothing.

        Raises:
            ConfigError: If the path is none, the URI names no file system that pyarrow knows, or nobody answers there.
        """
        text = str(uri)
        if "://" not in text:
            return cls(fs.LocalFileSystem(), str(local_path(text)), True)
        try:
            _refuse_unanswered(text)
            filesystem, root = fs.FileSystem.from_uri(text)
        except (ValueError, OSError) as error:
            raise ConfigError(f"Cannot open the folder '{text}': {str(error).rstrip('.')}.") from error
        if not root.rstrip("/"):
            raise ConfigError(
                f"'{text}' names no folder; give one, such as {text.partition('://')[0]}://bucket/folder."
            )
        return cls(filesystem, root.rstrip("/"), isinstance(filesystem, fs.LocalFileSystem))

    def path(self, name: str = "") -> str:
        """Return the full path of `name` within the store's file system."""
        return f"{self.root}/{name}" if name else self.root

    def within(self, name: str) -> "Store":
        """Return the store of a sub-folder."""
        return Store(self.filesystem, self.path(name), self.is_local)

    def exists(self, name: str = "") -> bool:
        """Return whether there is a file or folder of that name."""
        return bool(self.filesystem.get_file_info(self.path(name)).type != fs.FileType.NotFound)

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, or None where there is none."""
        info = self.filesystem.get_file_info(self.path(name))
        return int(info.size) if info.type == fs.FileType.File else None

    def read(self, name: str, *, offset: int = 0) -> bytes:
        """Return a file's bytes from `offset` on.

        Raises:
            FileNotFoundError: If there is none.
        """
        with self.filesystem.open_input_file(self.path(name)) as file:
            if offset:
                file.seek(offset)
            return bytes(file.read())

    def write(self, name: str, *parts: bytes | memoryview, durable: bool = True) -> None:
        """Write a file whole, of `parts` one after another.

        A reader sees the old content or the new, never a part of it. It survives a power cut, but where `durable` is
        False: then only the death of the process.
        """
        if not self.is_local:
            self._make_parent(name)
            with self.filesystem.open_output_stream(self.path(name)) as stream:
                for part in parts:
                    stream.write(part)
            return
        target = Path(self.path(name))
        _make_folder(target.parent)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(parts)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_UMASK)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(target.parent)

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
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        names = sorted(info.base_name for info in self.filesystem.get_file_info(selector))
        return [name for name in names if not name.startswith(".")]

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the bytes of each file directly in a folder, by name, sorted; empty where there is no such folder."""
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        infos = self.filesystem.get_file_info(selector)
        files = {info.base_name: int(info.size) for info in infos if info.type == fs.FileType.File}
        return {name: files[name] for name in sorted(files) if not name.startswith(".")}

    def delete(self, name: str) -> None:
        """Remove a file or a folder with all in it; one that is not there is no error."""
        info = self.filesystem.get_file_info(self.path(name))
        if info.type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.path(name))
        elif info.type == fs.FileType.File:
            self.filesystem.delete_file(self.path(name))

    def sweep(self, folder: str = "") -> None:
        """Remove from a local folder what kills left of writes that were never published; none may be under way."""
        if self.is_local:
            for path in Path(self.path(folder)).glob(".*"):
                if _UNPUBLISHED.fullmatch(path.name) and path.is_file():
                    path.unlink(missing_ok=True)

    def _make_parent(self, name: str) -> None:
        parent = self.path(name).rpartition("/")[0]
        if parent and "/" in parent:
            self.filesystem.create_dir(parent, recursive=True)


def _refuse_unanswered(uri: str) -> None:
    """Ask Google's storage once with a limit: without one, an unreachable bucket is tried for 15 minutes a request.

    Raises:
        OSError: If it does not answer.
    """
    scheme = uri.partition("://")[0]
    if scheme in ("gs", "gcs") and "retry_limit_seconds" not in uri:
        limited = f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={_ANSWER_SECONDS}"
        filesystem, root = fs.FileSystem.from_uri(limited)
        filesystem.get_file_info(root)


def _make_folder(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
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
_UNPUBLISHED = re.compile(r"\..+\.[a-z0-9_]{8}")  # `Store.write` and tempfile.mkstemp name them so
