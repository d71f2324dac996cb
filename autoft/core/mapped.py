"""A file mapped into memory, whose pages are let go again: reading all of it takes little of a process's own memory."""

import mmap
from pathlib import Path

import pyarrow as pa

RELEASE_BYTES = 128 * 2**20
"""Pages of so much, of a file that is larger, are let go together."""
_AROUND_BYTES = 2**20
"""What the system maps around each place that is touched: by trying, on Linux 6.18 with ext4."""


class MappedFile:
    """A whole file as a read-only buffer; it stays readable when the file is removed."""

    def __init__(self, path: Path) -> None:
        """Map the file.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is empty.
        """
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.buffer: pa.Buffer = pa.py_buffer(self._map)
        """Tables read from it hold it open."""
        self._num_read = 0

    def was_read(self, num_bytes: int, *, places: int = 1) -> None:
        """Take that `num_bytes` at some places were read; now and then all pages are let go.

        They stay in the system's own cache as long as there is room, and come back when they are read again.
        """
        self._num_read += num_bytes + places * _AROUND_BYTES
        if self._num_read > RELEASE_BYTES and len(self._map) > RELEASE_BYTES:
            self.release()

    def release(self) -> None:
        """Let all pages go."""
        self._num_read = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
