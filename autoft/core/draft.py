"""Writing a large file of the local disk that nobody reads yet."""

import errno
import mmap
import os
import time
from pathlib import Path

ALIGNMENT = 4096
"""Where what is written past the page cache begins and ends: at multiples of it."""
_BUFFER_BYTES = 4 << 20
"""Written at a time: a thread that writes waits for the interpreter after each."""
_MOST_BYTES = 1 << 30
"""That a system takes at a time."""
_DIRECT = getattr(os, "O_DIRECT", 0)


def direct_buffer() -> memoryview | None:
    """Return what a `Draft` needs to write past the page cache, or None where the system has no way past it."""
    return memoryview(mmap.mmap(-1, _BUFFER_BYTES)) if _DIRECT else None


class Draft:
    """A file that is being written; its beginning may come last.

    It may be written past the page cache, where the system can: what is hardly ever read then takes no memory. In a
    virtual machine the first touch of memory takes several times as long as a fast disk.
    """

    def __init__(self, path: Path, *, room: int = 0, buffer: memoryview | None = None, durable: bool = False) -> None:
        """Begin.

        Args:
            path: Of the file, which may be there.
            room: Bytes at its beginning that are written last, a multiple of `ALIGNMENT`.
            buffer: From `direct_buffer`, for this draft alone as long as it is written: what is written goes past the
                page cache, if this disk can do that. None: through it.
            durable: Whether the file must outlive a power cut.
        """
        self.room = room
        self.seconds = 0.0
        """That writing took so far."""
        self._path, self._durable = path, durable
        self._end = room
        """How far the file is written."""
        self._buffer = buffer
        self._filled = 0
        """Bytes of the buffer that wait for more."""
        try:
            self._handle = self._opened()
        except OSError as error:
            self._go_through_cache(error)
            self._handle = self._opened()

    @property
    def is_past_cache(self) -> bool:
        """Whether it is written past the page cache."""
        return self._buffer is not None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._end + self._filled

    def append(self, *parts: bytes | memoryview) -> None:
        """Write bytes behind those that are there."""
        for part in parts:
            content = memoryview(part).cast("B")
            while len(content):
                content = content[self._taken(content) :]

    def settle(self) -> None:
        """Wait until what is written is where a power cut does not reach it, if that is wanted.

        Past the page cache the end may still wait for more bytes: `finish` writes it.
        """
        if self._durable:
            start = time.perf_counter()
            os.fsync(self._handle)
            self.seconds += time.perf_counter() - start

    def finish(self, first: bytes = b"") -> None:
        """Write what is left, and cut off what an older version has behind it.

        Args:
            first: The beginning, as long as the room for it.
        """
        size = self.size
        self._flush()
        self._end = 0
        self.append(first)
        self._flush()
        os.ftruncate(self._handle, size)
        self._end = size
        self.settle()
        self.close()

    def close(self) -> None:
        """Write no more; unless it is finished, the file is not whole."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def _opened(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT
        return os.open(self._path, flags if self._buffer is None else flags | _DIRECT, 0o666)

    def _taken(self, content: memoryview) -> int:
        """Write the beginning of `content`, or let it wait for more; return how many bytes."""
        if self._buffer is None:
            return self._put(content[:_MOST_BYTES])
        count = min(len(content), len(self._buffer) - self._filled)
        self._buffer[self._filled : self._filled + count] = content[:count]
        self._filled += count
        if self._filled == len(self._buffer):
            self._flush()
        return count

    def _flush(self) -> None:
        """Write what waits, and behind it bytes without meaning up to a multiple of `ALIGNMENT`."""
        if self._buffer is None or not self._filled:
            return
        waiting = self._buffer[: -(-self._filled // ALIGNMENT) * ALIGNMENT]
        end, self._filled = self.size, 0
        while self._end < end:
            waiting = waiting[self._put(waiting) :]
        self._end = end

    def _put(self, content: memoryview) -> int:
        """Write the beginning of `content` and return how many bytes that are."""
        start = time.perf_counter()
        try:
            count = os.pwrite(self._handle, content, self._end)
        except OSError as error:
            self._go_through_cache(error)
            self.close()
            self._handle = self._opened()
            count = os.pwrite(self._handle, content, self._end)
        self._end += count
        self.seconds += time.perf_counter() - start
        return count

    def _go_through_cache(self, error: OSError) -> None:
        """Go through the page cache, if an error says that this disk knows no other way."""
        if error.errno != errno.EINVAL or self._buffer is None:
            raise error
        self._buffer = None
