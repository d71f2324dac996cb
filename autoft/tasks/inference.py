"""Forward passes over all rows: for validation, features, and prediction alike."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from autoft.tasks.inputs import Inputs


@torch.inference_mode()
def forward_all(
    forward: Callable[..., Tensor],
    module: nn.Module,
    inputs: Inputs,
    encoded: Any,
    *,
    num_rows: int,
    places: Tensor | None = None,
    more: Callable[[Tensor], Tensor] | None = None,
    batch_size: int,
    device: torch.device,
    channels_last: bool,
    autocast: AbstractContextManager[Any],
    heartbeat: Callable[[], None] | None = None,
) -> Tensor:
    """Return `forward` of every row, float32 (N, K) on the processor, in the order of the rows or of `places`.

    Args:
        forward: The module itself, or a method of it.
        module: Put into evaluation mode for the pass, and each of its parts back after it.
        inputs: Encoded the rows.
        encoded: What `inputs.encode` returned.
        num_rows: Rows that are encoded, at least 1.
        places: Of those that are wanted, int64; None: all.
        more: Returns what `forward` gets of rows, int64 (B,), behind their inputs.
        batch_size: Rows of one pass; the last may have fewer. The last digits can depend on it.
        device: Where the module is.
        channels_last: Memory layout of pictures.
        autocast: The context of the pass.
        heartbeat: Called after each batch.
    """
    was_training, modes = module.training, [(part, part.training) for part in module.modules()]
    # LeViT and its like keep biases of an evaluation until they train; an average of weights never does.
    module.train()
    module.eval()
    results: Tensor | None = None
    # Rows of like length together: less padding. The sort is stable, so the batches are the same every time.
    wanted = torch.arange(num_rows) if places is None else places
    order = inputs.lengths(encoded)[wanted].argsort(stable=True)
    for indices in torch.split(order, batch_size):
        rows = wanted[indices]
        finished = inputs.finish(inputs.batch(encoded, rows), device, channels_last=channels_last)
        if more is not None:
            finished = (*finished, more(rows).to(device, non_blocking=True))
        with autocast:
            result = forward(*finished)
        if results is None:
            results = result.new_empty((len(wanted), *result.shape[1:]), dtype=torch.float32)
        results[indices.to(results.device, non_blocking=True)] = result.float()
        if heartbeat is not None:
            heartbeat()
    module.train(was_training)
    for part, mode in modes:
        part.training = mode
    if results is None:
        raise ValueError("There are no rows.")
    return results.cpu()
