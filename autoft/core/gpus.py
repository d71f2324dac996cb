"""A share of a GPU: how large it must be for what a trial takes, and what of it is left for tensors."""

import math

CONTEXT_MB = 1024.0
"""MiB of a GPU that each process takes beside its tensors: CUDA's context, loaded kernels, libraries' handles."""
MARGIN = 1.3
"""Times the measured peak of tensors: the allocator's gaps, and what likeness does not see."""
LEAST_MB = 256.0
"""MiB that tensors are given in any case."""
MOST_SHARES = 8
"""Trials that share a GPU, at most."""
_STEPS = 10_000
"""Ray counts a GPU in so many steps."""


def share_for(peak_mb: float, device_mb: float) -> float:
    """Return the share of a GPU, 1 over a whole number, that a process with such a peak of tensors asks for.

    It is rounded down to Ray's steps, so that as many fit onto a GPU as the number says.

    Args:
        peak_mb: MiB that tensors took at most.
        device_mb: MiB of the GPU.
    """
    needed = max(LEAST_MB, peak_mb) * MARGIN + CONTEXT_MB
    count = min(MOST_SHARES, math.floor(device_mb / needed))
    return 1.0 if count <= 1 else _STEPS // count / _STEPS


def tensor_fraction(share: float, device_mb: float) -> float:
    """Return the fraction of a GPU's memory that tensors of a process with such a share of it may take, above 0."""
    return max(0.01, share - CONTEXT_MB / device_mb)
