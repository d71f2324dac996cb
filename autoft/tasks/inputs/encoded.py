"""Encoded rows, as they lie in a table: mapped from a file or held in memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoft.core.shelf import Shelved

Indices = Sequence[int] | Tensor
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Ids = np.ndarray[Any, np.dtype[np.int32]]


class _Rows:
    """The rows of one column, which lies in several chunks."""

    def __init__(self, shelved: Shelved) -> None:
        self._shelved = shelved
        self._chunks: list[Any] = shelved.table.column(0).chunks
        self._starts = np.cumsum([0, *map(len, self._chunks)])

    def __len__(self) -> int:
        return self._shelved.table.num_rows

    @property
    def nbytes(self) -> int:
        """Bytes in the memory of this process; what is mapped is not among them."""
        return 0 if self._shelved.file is not None else self._shelved.table.nbytes

    def _places(self, indices: Indices) -> list[tuple[int, int]]:
        """Return the chunk of each row, and its place there.

        Raises:
            IndexError: If there is no such row.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"There are {len(self)} encoded rows; asked for are {rows.min()} to {rows.max()}.")
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        return list(zip(chunks.tolist(), (rows - self._starts[chunks]).tolist(), strict=True))


class EncodedPictures(_Rows):
    """N pictures of 3 x S x S bytes.

    Args:
        shelved: Its one column has a picture's bytes in each row.
        size: S.
    """

    def __init__(self, shelved: Shelved, *, size: int) -> None:
        super().__init__(shelved)
        self._shape = (3, size, size)
        self._pixels = [_pixels(chunk, self._shape) for chunk in self._chunks]

    def copied(self, indices: Indices) -> Pixels:
        """Return a copy of the pictures at `indices`, uint8 (B, 3, S, S)."""
        places = self._places(indices)
        pictures: Pixels = np.empty((len(places), *self._shape), dtype=np.uint8)
        for row, (chunk, place) in enumerate(places):
            pictures[row] = self._pixels[chunk][place]
        self._shelved.was_read(pictures.nbytes, places=len(places))
        return pictures


class EncodedTexts(_Rows):
    """The token ids of N texts.

    Args:
        shelved: Its one column has a list of ids in each row.
    """

    def __init__(self, shelved: Shelved) -> None:
        super().__init__(shelved)
        self._offsets = [_values(chunk.offsets) for chunk in self._chunks]
        self._ids = [_values(chunk.values) for chunk in self._chunks]
        lengths = [np.diff(offsets) for offsets in self._offsets]
        self.lengths = torch.from_numpy(np.concatenate([*lengths, np.zeros(0, dtype=np.int32)]).astype(np.int64))
        """Tokens of each text, int64 (N,)."""

    def rows(self, indices: Indices) -> list[Ids]:
        """Return the ids of the texts at `indices`, int32 (L,) each, which are not to be written to."""
        rows: list[Ids] = []
        for chunk, place in self._places(indices):
            start, stop = self._offsets[chunk][place : place + 2]
            rows.append(self._ids[chunk][start:stop])
        self._shelved.was_read(sum(row.nbytes for row in rows), places=len(rows))
        return rows

    def row(self, index: int) -> Ids:
        """Return the ids of one text, int32 (L,)."""
        return self.rows([index])[0]


def _pixels(chunk: Any, shape: tuple[int, int, int]) -> Pixels:
    """Return the pictures of a chunk of fixed-size binaries, uint8 (rows, *shape), without a copy."""
    width = chunk.type.byte_width
    _, buffer = chunk.buffers()
    values = np.frombuffer(buffer, dtype=np.uint8, count=len(chunk) * width, offset=chunk.offset * width)
    return values.reshape(len(chunk), *shape)


def _values(array: Any) -> Ids:
    """Return the integers of an array without a copy."""
    values: Ids = array.to_numpy(zero_copy_only=True)
    return values
