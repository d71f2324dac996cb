"""Pictures: kept as bytes of one size, normalised on the device."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autoft.tasks.inputs.base import Batch, Decode


class ImageInputs:
    """Pictures of one size.

    Args:
        preprocessing: `size` in pixels, `mean` and `std` of each channel for values in [0, 1].
    """

    def __init__(self, preprocessing: Mapping[str, Any]) -> None:
        self.size = int(preprocessing["size"])
        mean = torch.tensor(preprocessing["mean"], dtype=torch.float64).view(1, -1, 1, 1)
        std = torch.tensor(preprocessing["std"], dtype=torch.float64).view(1, -1, 1, 1)
        self._scale = (1 / (255 * std)).float()
        self._shift = (-mean / std).float()
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def encode(self, raw: Iterable[Any], decode: Decode | None = None) -> Tensor:
        """Return all pictures as uint8 (N, 3, S, S).

        Raises:
            TypeError: If `decode` is missing.
            ValueError: If `decode` returns another shape than (3, S, S).
        """
        if decode is None:
            raise TypeError("Pictures need `decode`.")
        contents = list(raw) if not isinstance(raw, Sequence) else raw
        pictures = torch.empty((len(contents), 3, self.size, self.size), dtype=torch.uint8)
        for index in range(len(contents)):
            pixels = torch.from_numpy(decode(contents[index], self.size))
            if pixels.shape != pictures.shape[1:]:
                raise ValueError(f"A picture of {tuple(pictures.shape[1:])} is needed, not {tuple(pixels.shape)}.")
            pictures[index] = pixels
        return pictures

    def lengths(self, encoded: Tensor) -> Tensor:
        """Return 1 for each picture, int64 (N,): all are of one size."""
        return torch.ones(len(encoded), dtype=torch.int64)

    def batch(self, encoded: Tensor, indices: Sequence[int] | Tensor) -> Batch:
        """Return the pictures at `indices`, uint8 (B, 3, S, S), as a copy."""
        return (encoded[torch.as_tensor(indices, dtype=torch.int64)],)

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
