"""Rows as they are read, before any is judged: names, inputs on demand, labels and groups."""

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from autoft.core.errors import DataError

InputKind = Literal["text", "path", "content"]
"""How an input is held: a text, the path of a picture file, or the picture's bytes."""

LARGEST_PICTURE_BYTES = 1 << 30
"""A larger file is not read into memory to find out that it is no picture."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that was set aside."""

    row: str
    """Path of the file within its folder, or "row N" of a table, counted from 1 without the header."""
    reason: str
    """In words."""


class Inputs(Protocol):
    """The inputs of one part of the data, read one at a time."""

    @property
    def kind(self) -> InputKind:
        """How each input is held."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def read(self, index: int) -> str | bytes:
        """Return the text, or the picture's bytes.

        Raises:
            DataError: If there is none; says why, without naming the row.
        """
        ...

    def path(self, index: int) -> Path | None:
        """Return the file of a picture, or None where it has none."""
        ...


@dataclass(frozen=True, slots=True)
class TextInputs:
    """Texts of one column."""

    column: Any
    """A `pyarrow.ChunkedArray` of strings."""
    kind: InputKind = "text"

    def __len__(self) -> int:
        return len(self.column)

    def read(self, index: int) -> str:
        """Return the text.

        Raises:
            DataError: If it is missing or blank.
        """
        text: str | None = self.column[index].as_py()
        if text is None or not text.strip():
            raise DataError("the text is empty")
        return text

    def path(self, index: int) -> Path | None:
        """Return None: a text has no file."""
        return None


@dataclass(frozen=True, slots=True)
class Held:
    """Texts, or contents of pictures, that are in memory as they are."""

    values: Sequence[str | bytes]
    kind: InputKind = "content"

    def __len__(self) -> int:
        return len(self.values)

    def read(self, index: int) -> str | bytes:
        """Return the text, or the picture's bytes."""
        return self.values[index]

    def path(self, index: int) -> Path | None:
        """Return None: it has no file."""
        return None


@dataclass(frozen=True, slots=True)
class Unread:
    """A file of texts that cannot be read, in the place of one text."""

    reason: str
    kind: InputKind = "content"

    def __len__(self) -> int:
        return 1

    def read(self, index: int) -> str:
        """Refuse.

        Raises:
            DataError: Always, with the reason.
        """
        raise DataError(self.reason)

    def path(self, index: int) -> Path | None:
        """Return None: it has no file that can be read."""
        return None


@dataclass(frozen=True, slots=True)
class PathInputs:
    """Picture files, each opened when it is read."""

    paths: Sequence[Path | None]
    kind: InputKind = "path"

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> bytes:
        """Return the file's bytes.

        Raises:
            DataError: If there is no path, or nothing that can be read there.
        """
        return read_file(self.paths[index])

    def path(self, index: int) -> Path | None:
        """Return the file's path."""
        return self.paths[index]


@dataclass(frozen=True, slots=True)
class ContentInputs:
    """Pictures held as bytes in a table; a row without bytes is read from its path."""

    content: Any
    """A `pyarrow.ChunkedArray` of binary."""
    paths: Any
    """A `pyarrow.ChunkedArray` of strings, or None."""
    base: Path
    kind: InputKind = "content"

    def __len__(self) -> int:
        return len(self.content)

    def read(self, index: int) -> bytes:
        """Return the picture's bytes.

        Raises:
            DataError: If the row has neither bytes nor a file that can be read.
        """
        content: bytes | None = self.content[index].as_py()
        if content:
            return content
        name = self.paths[index].as_py() if self.paths is not None else None
        return read_file(self.base / name if name else None)

    def path(self, index: int) -> Path | None:
        """Return None: the bytes are what counts."""
        return None


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one split as it was given, or all of them."""

    names: Sequence[str]
    inputs: Inputs
    labels: Sequence[str | None]
    groups: Sequence[str | None] | None = None
    no_label: str = "the target is missing"
    """The reason for which a row without a label is set aside."""


@dataclass(slots=True)
class Row:
    """One readable row."""

    name: str
    part: str
    """The split in which it was given: "train" also where none was given."""
    index: int
    """Its place in that part."""
    label: str
    sha256: str
    """Of the picture's bytes, or of the text in UTF-8."""
    group: str | None = None
    split: str = ""
    """Where it belongs at last: train, val or test."""


def read_file(path: Path | None) -> bytes:
    """Return a picture file's bytes.

    Raises:
        DataError: If there is no path, or nothing there that can be read as a picture; gives the reason alone.
    """
    if path is None:
        raise DataError("no picture is given")
    with _in_words(path):
        num_bytes = _num_bytes(path)
        if num_bytes <= LARGEST_PICTURE_BYTES:
            return path.read_bytes()
    raise DataError(
        f"the file '{path}' is larger than any picture that is read "
        f"({num_bytes:,} bytes; the most are {LARGEST_PICTURE_BYTES:,})"
    )


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file in UTF-8, with their ends.

    Raises:
        DataError: If it cannot be read as such; gives the reason alone.
    """
    with _in_words(path):
        _num_bytes(path)
        try:
            with path.open(encoding="utf-8-sig") as lines:
                return list(lines)
        except UnicodeDecodeError as error:
            raise DataError(f"it is not in UTF-8: {error}") from error


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Raise what the system says of a file as a reason in words.

    Raises:
        DataError: In place of any OSError.
    """
    try:
        yield
    except DataError:  # a ValueError too, which says it already
        raise
    except FileNotFoundError:
        raise DataError(f"there is no file '{path}'") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"the file '{path}' cannot be read: {reason}") from error


def _num_bytes(path: Path) -> int:
    """Return a file's size.

    Raises:
        DataError: If it is not to be opened: a pipe is waited for, and a device may have no end.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise DataError(f"the file '{path}' is a pipe, a socket or a device")
    return found.st_size
