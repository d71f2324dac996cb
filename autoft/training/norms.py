"""Statistics of batch norms: kept through a pass that does not count, computed anew for averages, none of one value."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoft.backbones.layers import batch_norms
from autoft.training.finetune import Plan, set_train_mode
from autoft.training.memory import Rewinder, has_learning_statistics
from autoft.training.resizing import resizing_of

if TYPE_CHECKING:
    from autoft.training.workbench import Workbench


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


@torch.no_grad()
def refuses_single_rows(bench: "Workbench", plan: Plan) -> bool:
    """Return whether batch norms that learn would see one value a channel in a batch of one row; leaves no trace.

    It has no variance, and torch refuses it; of larger inputs a norm sees as many values of a row as there are places.
    """
    network, epochs = bench.network, bench.config.epochs
    if plan.start_epoch is not None:
        plan.start_epoch(epochs)  # in the last one all norms learn that ever do
    set_train_mode(network, kept_norms=plan.kept_norms)
    if not has_learning_statistics(network):
        return False
    batch = bench.inputs.batch(bench.encoded("train"), torch.tensor([0]))
    resizing = resizing_of(bench.config.recipe, bench.backbone.preprocessing.get("size", 0))
    if side := resizing.side(1, epochs):
        batch = (resizing.resize(batch[0], side),)
    execution = bench.execution
    inputs = bench.inputs.finish(batch, execution.torch_device, channels_last=execution.channels_last)
    rewinder = Rewinder(network, torch.Generator())
    try:
        with execution.autocast():
            network(*inputs)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        return True
    finally:
        rewinder.rewind()
    return False
