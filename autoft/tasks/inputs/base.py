"""The contract of inputs."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Decode = Callable[[Any, int], np.ndarray[Any, np.dtype[np.uint8]]]
"""From the content of a picture and a side in pixels to uint8 (3, side, side)."""

Batch = tuple[Tensor, ...]
"""The arguments of a backbone."""


class Inputs(Protocol):
    """From raw rows to the arguments of a backbone, in three steps."""

    def encode(self, raw: Iterable[Any], decode: Decode | None = None) -> Any:
        """Return all rows of `raw` encoded, to be kept and given to `batch`.

        Args:
            raw: Contents of pictures, or texts.
            decode: Reads one picture; texts need none.
        """
        ...

    def lengths(self, encoded: Any) -> Tensor:
        """Return what a row costs within a batch that is padded to its longest, int64 (N,)."""
        ...

    def batch(self, encoded: Any, indices: Sequence[int] | Tensor) -> Batch:
        """Return the rows at `indices` as a batch that augmentations can work on."""
        ...

    def finish(
        self, batch: Batch, device: torch.device | str, dtype: torch.dtype = torch.float32, channels_last: bool = False
    ) -> Batch:
        """Return a batch as the arguments of a backbone, on `device`."""
        ...
