"""Safetensors files that are written while what their headers say is still being found."""

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future

import torch
from torch import Tensor

from autoft.core.draft import ALIGNMENT, Draft
from autoft.core.jsonable import Json
from autoft.core.rewriter import LARGE_BYTES, Rewriter
from autoft.core.tensorfile import checksum_of, first_part

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The names of the format."""
_PIECE_BYTES = 1 << 20


class TensorDraft:
    """The next version of a safetensors file.

    Where there are many bytes, and on a local disk, they are written before it is known what the header says, behind a
    room for it; else nothing is before the file is published.
    """

    def __init__(self, rewriter: Rewriter, tensors: Mapping[str, Tensor], *, room: int | None) -> None:
        """Hold what is to be written.

        Args:
            rewriter: Of the file.
            tensors: By name; not to be changed before the file is published.
            room: About the bytes of the header; None: there is no writing before it is known.
        """
        self._rewriter = rewriter
        self._tensors = dict(tensors)
        self._room = room
        self._draft: Draft | None = None
        self._checksum = 0
        self._writing: Future[None] | None = None
        self._is_wanted = True

    def begin(self, pool: Executor) -> None:
        """Let a thread write what is worth it."""
        if self._room is not None and self._num_bytes >= LARGE_BYTES:
            self._writing = pool.submit(self._begin, self._room)

    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Let there be more tensors, by name.

        Raises:
            OSError: If the disk refuses them, or has refused those before.
        """
        self._wait()
        self._tensors |= tensors
        if self._draft is not None:
            self._append(self._draft, tensors)

    def publish(self, about: Json, *, former: str | None = None) -> None:
        """Let it be the file.

        Args:
            about: What JSON says of the tensors.
            former: As `Rewriter.publish` takes it.

        Raises:
            OSError: If the disk refuses it.
            StorageError: If the store does.
        """
        self._wait()
        header = header_of(self._tensors)
        if self._draft is None:
            parts = [_bytes_of(tensor) for tensor in self._tensors.values()]
            self._rewriter.write(first_part(header, about, checksum_of(parts)), *parts, former=former)
            return
        first = first_part(header, about, self._checksum, room=self._draft.room)
        if len(first) > self._draft.room:
            self._begin(len(first))
            first = first_part(header, about, self._checksum, room=self._draft.room)
        self._rewriter.publish(self._draft, first, former=former)

    def cancel(self) -> None:
        """Let the thread that writes it stop soon; it cannot be published then, if it is not already."""
        self._is_wanted = False

    def close(self) -> None:
        """Write no more."""
        if self._draft is not None:
            with contextlib.suppress(OSError):  # If it is published, it was closed before.
                self._draft.close()

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()

    @property
    def _num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._tensors.values())

    def _begin(self, room: int) -> None:
        self.close()
        self._checksum = 0
        self._draft = self._rewriter.draft(room=-(-room // ALIGNMENT) * ALIGNMENT, num_bytes=self._num_bytes)
        self._append(self._draft, self._tensors)

    def _append(self, draft: Draft, tensors: Mapping[str, Tensor]) -> None:
        try:
            for tensor in tensors.values():
                for piece in _pieces(_bytes_of(tensor)):
                    if not self._is_wanted:
                        return
                    self._checksum = checksum_of([piece], self._checksum)
                    draft.append(piece)
            if self._is_wanted:
                draft.settle()
        except BaseException:
            self._rewriter.drop(draft)
            raise


def header_of(tensors: Mapping[str, Tensor]) -> Json:
    """Return what the header of a file says of its tensors, which follow one another.

    Reference: https://github.com/huggingface/safetensors, "Format".
    """
    header: Json = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    return header


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor as they lie, without a copy if they lie in order."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _pieces(content: memoryview) -> Iterator[memoryview]:
    """Yield the bytes in pieces that the processor's cache holds while they are used twice."""
    for start in range(0, len(content), _PIECE_BYTES):
        yield content[start : start + _PIECE_BYTES]
