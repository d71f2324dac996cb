"""A look at the loss now and then."""

import math

import torch
from torch import Tensor


class Lookout:
    """Looks whether a sum on a device is finite, without making a GPU wait: there each look sees the sum of the last.

    A sum that is not finite stays so.
    """

    def __init__(self, device: torch.device) -> None:
        self._seen: tuple[Tensor, torch.cuda.Event] | None = None
        self._is_far = device.type == "cuda"

    def is_finite(self, total: Tensor) -> bool:
        """Return whether the sum, or on a GPU that of the last look, is finite."""
        if not self._is_far:
            return math.isfinite(total.item())
        before, copied = self._seen, torch.cuda.Event()  # type: ignore[no-untyped-call]
        seen = torch.empty((), dtype=total.dtype, pin_memory=True).copy_(total, non_blocking=True)
        copied.record()
        self._seen = seen, copied
        if before is None:
            return True
        before[1].synchronize()
        return math.isfinite(before[0].item())
