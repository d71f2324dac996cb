"""Running statistics of batch norms: kept through a pass that does not count, computed anew for averaged weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoft.backbones.layers import batch_norms


@contextmanager
def computed_anew(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let batch norms of a network in evaluation mode forget their statistics, and take those of the passes inside.

    The passes count alike; all but the norms stays in evaluation mode, so nothing is drawn.

    Reference: Izmailov et al., arXiv:1803.05407, algorithm 1, last line; torch.optim.swa_utils.update_bn.
    """
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norms as they are: SAM's second pass is at weights that are not kept."""
    norms = list(batch_norms(network).values())
    momenta = [norm.momentum for norm in norms]
    counts = [None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)
