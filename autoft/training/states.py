"""The states that enter the first layers that learn, of every row of a split: a table that is read batch by batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from autoft.core.shelf import Shelved

_STORED: dict[torch.dtype, Any] = {torch.float32: pa.float32(), torch.bfloat16: pa.int16()}
"""Arrow has no bfloat16: its bytes are kept as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How the states of a row lie in a table."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    """Of a picture's; of one token's, where rows are texts."""
    is_text: bool
    channels_last: bool
    """Whether a picture's channels are its last dimension in memory, though not in the tensor."""

    @classmethod
    def of(cls, states: Tensor, ids_BL: Tensor | None) -> Self | None:
        """Return the layout of a batch's states; None where they cannot be kept row by row.

        Args:
            states: (B, L, ...) of texts, (B, ...) of pictures.
            ids_BL: Of texts; None: they are of pictures.
        """
        is_text = ids_BL is not None
        rows = (1, 0) if ids_BL is None else tuple(ids_BL.shape)
        if states.dtype not in _STORED or (is_text and tuple(states.shape[:2]) != rows):
            return None
        channels_last = states.ndim == 4 and not is_text and not states.is_contiguous()
        channels_last &= states.is_contiguous(memory_format=torch.channels_last)
        row = states.permute(0, 2, 3, 1) if channels_last else states
        return cls(
            dtype=states.dtype, shape=tuple(row.shape[1 + is_text :]), is_text=is_text, channels_last=channels_last
        )

    @property
    def schema(self) -> pa.Schema:
        """Of a table."""
        return pa.schema([pa.field("states", pa.list_(_STORED[self.dtype]), nullable=False)])

    def num_bytes(self, lengths: Tensor) -> int:
        """Return what rows of these lengths take."""
        return int(lengths.sum()) * math.prod(self.shape) * self.dtype.itemsize

    def record_batch(self, states: Tensor, lengths: Sequence[int]) -> pa.RecordBatch:
        """Return a batch's states as rows, each text's without what it was padded with."""
        rows = states.permute(0, 2, 3, 1) if self.channels_last else states
        rows = rows.cpu().contiguous()
        numbers = rows.view(torch.int16).numpy() if self.dtype == torch.bfloat16 else rows.numpy()
        parts = [row[:length] if self.is_text else row for row, length in zip(numbers, lengths, strict=True)]
        values = np.concatenate([part.reshape(-1) for part in parts])
        offsets = np.cumsum([0, *(part.size for part in parts)], dtype=np.int32)
        flat: list[Any] = [pa.array(offsets), pa.array(values)]
        array = pa.ListArray.from_arrays(*flat)
        return pa.RecordBatch.from_arrays([array], schema=self.schema)


class States:
    """The states of every row of a split.

    Args:
        shelved: Its one column has a row's numbers in each row.
        order: Which row of the split each of them is, int64 (N,).
        layout: How they lie there.
    """

    def __init__(self, shelved: Shelved, order: Tensor, layout: Layout) -> None:
        self._shelved = shelved
        self._layout = layout
        self._places = np.empty(len(order), dtype=np.int64)
        self._places[order.numpy()] = np.arange(len(order))
        chunks: list[Any] = shelved.table.column(0).chunks
        self._starts = np.cumsum([0, *map(len, chunks)])
        self._offsets = [chunk.offsets.to_numpy(zero_copy_only=True) for chunk in chunks]
        self._values = [chunk.values.to_numpy(zero_copy_only=True) for chunk in chunks]

    @property
    def nbytes(self) -> int:
        """Bytes in the memory of this process; what is mapped is not among them."""
        return 0 if self._shelved.file is not None else self._shelved.table.nbytes

    def batch(self, indices: Tensor) -> Tensor:
        """Return a copy of the states of the rows at `indices`, those of texts filled with zeros to the longest."""
        rows = [self._row(place) for place in self._places[indices.numpy()].tolist()]
        self._shelved.was_read(sum(row.nbytes for row in rows), places=len(rows))
        shape = self._layout.shape
        if self._layout.is_text:
            longest = max(row.size for row in rows) // math.prod(shape)
            numbers = np.zeros((len(rows), longest, *shape), dtype=rows[0].dtype)
            for place, row in enumerate(rows):
                numbers[place].reshape(-1)[: row.size] = row
        else:
            numbers = np.stack(rows).reshape(len(rows), *shape)
        states = torch.from_numpy(numbers)
        states = states.view(torch.bfloat16) if self._layout.dtype == torch.bfloat16 else states
        return states.permute(0, 3, 1, 2) if self._layout.channels_last else states

    def _row(self, place: int) -> np.ndarray[Any, np.dtype[Any]]:
        chunk = int(np.searchsorted(self._starts, place, side="right")) - 1
        start, stop = self._offsets[chunk][place - self._starts[chunk] :][:2]
        row: np.ndarray[Any, np.dtype[Any]] = self._values[chunk][start:stop]
        return row
