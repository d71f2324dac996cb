"""Pictures: kept as bytes of one size, normalised on the device."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from autoft.core.shelf import Shelved, in_memory
from autoft.tasks.inputs.base import Batch, Decode, mapping
from autoft.tasks.inputs.encoded import EncodedPictures, Pixels

BATCH_BYTES = 16 * 2**20
"""Pictures that are encoded, and held in memory, together."""


class ImageInputs:
    """Pictures of one size.

    Args:
        preprocessing: `size` in pixels, `mean` and `std` of each channel for values in [0, 1].
    """

    def __init__(self, preprocessing: Mapping[str, Any]) -> None:
        self.size = int(preprocessing["size"])
        self.row_bytes = 3 * self.size**2
        self.schema = pa.schema([pa.field("pixels", pa.binary(self.row_bytes), nullable=False)])
        mean = torch.tensor(preprocessing["mean"], dtype=torch.float64).view(1, -1, 1, 1)
        std = torch.tensor(preprocessing["std"], dtype=torch.float64).view(1, -1, 1, 1)
        self._scale = (1 / (255 * std)).float()
        self._shift = (-mean / std).float()
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def encode(self, raw: Iterable[Any], decode: Decode | None = None) -> EncodedPictures:
        """Return all pictures, held in memory; see `encode_batches`."""
        return self.open(in_memory(self.encode_batches(raw, decode), self.schema))

    def encode_batches(
        self,
        raw: Iterable[Any],
        decode: Decode | None = None,
        *,
        threads: int = 1,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield all pictures as their bytes, those of uint8 (3, S, S).

        Raises:
            TypeError: If `decode` is missing.
            ValueError: If `decode` returns another shape than (3, S, S).
        """
        if decode is None:
            raise TypeError("Pictures need `decode`.")
        contents = raw if isinstance(raw, Sequence) else list(raw)
        shape = (3, self.size, self.size)
        rows = max(1, BATCH_BYTES // self.row_bytes)
        with mapping(threads) as mapped:
            for start in range(0, len(contents), rows):
                part = range(start, min(start + rows, len(contents)))
                pixels = np.empty((len(part), *shape), dtype=np.uint8)
                for place, picture in enumerate(mapped(lambda index: decode(contents[index], self.size), part)):
                    if picture.shape != shape:
                        raise ValueError(f"A picture of {shape} is needed, not {picture.shape}.")
                    pixels[place] = picture
                    heartbeat()
                yield _record_batch(pixels, self.schema)

    def open(self, shelved: Shelved) -> EncodedPictures:
        """Return the pictures of a table."""
        return EncodedPictures(shelved, size=self.size)

    def lengths(self, encoded: EncodedPictures) -> Tensor:
        """Return 1 for each picture, int64 (N,): all are of one size."""
        return torch.ones(len(encoded), dtype=torch.int64)

    def batch(self, encoded: EncodedPictures, indices: Sequence[int] | Tensor) -> Batch:
        """Return the pictures at `indices`, uint8 (B, 3, S, S), as a copy."""
        return (torch.from_numpy(encoded.copied(indices)),)

    def finish(
        self, batch: Batch, device: torch.device | str, dtype: torch.dtype = torch.float32, channels_last: bool = False
    ) -> Batch:
        """Return the pictures on `device`, normalised, in `dtype` and the memory layout asked for."""
        (images_BCHW,) = batch
        device = torch.device(device)
        if device not in self._constants:
            self._constants[device] = (self._scale.to(device), self._shift.to(device))
        scale, shift = self._constants[device]
        images_BCHW = (images_BCHW.to(device, non_blocking=True).float() * scale).add_(shift).to(dtype)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return (images_BCHW.contiguous(memory_format=layout),)


def _record_batch(pixels: Pixels, schema: pa.Schema) -> pa.RecordBatch:
    """Return pictures (N, 3, S, S) as rows of bytes, without a copy."""
    type_ = schema.field(0).type
    array = pa.FixedSizeBinaryArray.from_buffers(type_, len(pixels), [None, pa.py_buffer(pixels.data)])
    return pa.RecordBatch.from_arrays([array], schema=schema)
