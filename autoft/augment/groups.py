"""Changes to some pictures of a batch, together, each by a value of its own."""

from collections.abc import Callable

import torch
from torch import Tensor

CPU_GROUP = 4
"""Pictures that are changed at a time on a CPU, whose caches hold no more: a blur takes a third of the time so."""


def rows_of(is_chosen_B: Tensor, device: torch.device) -> Tensor:
    """Return the indices, int64 on `device`, of the chosen pictures."""
    return is_chosen_B.nonzero().squeeze(1).to(device)


def change(images_BCHW: Tensor, is_chosen_B: Tensor, by: Callable[[Tensor, Tensor], Tensor], values_B: Tensor) -> None:
    """Change the chosen pictures by their values, in place.

    Args:
        images_BCHW: uint8.
        is_chosen_B: bool, on the CPU.
        by: From some of the pictures and their values to as many pictures.
        values_B: On the CPU; those of the chosen are used.
    """
    rows, values = rows_of(is_chosen_B, images_BCHW.device), values_B[is_chosen_B]
    if not len(rows):
        return
    size = CPU_GROUP if images_BCHW.device.type == "cpu" else len(rows)
    for some, own in zip(torch.split(rows, size), torch.split(values, size), strict=True):
        # These two copy whole pictures; indexing with brackets goes byte by byte.
        images_BCHW.index_copy_(0, some, by(images_BCHW.index_select(0, some), own))
