"""What a network takes in each dtype, measured once a machine when a worker first meets it.

A worker that meets it later, in this search or another, reads the note of the first, so that all agree.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from autoft.backbones.layers import batch_norms
from autoft.core.configs import TrialConfig
from autoft.core.jsonable import Json
from autoft.core.notebook import alone, read_note, write_note
from autoft.training.execution import Dtype, Execution, computes_in_bfloat16, learns, likeness
from autoft.training.memory import is_out_of_memory

MARGIN = 1.2
"""How much faster bfloat16 must be: less is not worth its rounding, nor told from the noise of a busy machine."""
BUDGET_SECONDS = 0.6
"""About what a pass with several rows in each dtype may take; there are two at least, of two rows at least."""
DTYPES: tuple[Dtype, Dtype] = ("float32", "bfloat16")
Seconds = dict[Dtype, float]
"""Of a row, by dtype."""
SECONDS_TO_TURN_A_WEIGHT = 4e-9
"""Into bfloat16, and its gradient back, on a processor: some 12 bytes through its memory."""
PASSES = 2
"""Raise it where passes come to take another time: what was noted before does not count then."""
_TOKENS = 32
"""Of a text in a batch, at most; texts of padded batches are seldom longer."""

_log = logging.getLogger(__name__)


def measured(
    execution: Execution, network: nn.Module, config: TrialConfig, preprocessing: Json, *, heartbeat: Callable[[], None]
) -> Execution:
    """Return `execution` with the dtype that is the fastest for this network here.

    Args:
        execution: As the rules say.
        network: On its device and in its layout; it and all generators stay as they are, to the bit.
        config: The trial's.
        preprocessing: The backbone's.
        heartbeat: Called after each pass.
    """
    if not computes_in_bfloat16(on_gpu=execution.device == "cuda"):
        return replace(execution, dtype="float32")
    key = dtype_key(config, execution)
    with alone("dtype", key):
        seconds = _noted(key)
        if seconds is None:
            rows = config.recipe.get("batch_size", 32) if learns(config) else execution.eval_batch
            try:
                seconds = seconds_per_row(
                    network, execution, preprocessing, trains=learns(config), most_rows=rows, heartbeat=heartbeat
                )
            except (RuntimeError, MemoryError) as error:
                _log.warning("The dtype could not be measured, and bfloat16 is not taken: %s", error)
                return replace(execution, dtype="float32")
            write_note("dtype", key, {"seconds_per_row": seconds})
            _log.info("Seconds for a row, measured: %s", seconds)
    return replace(execution, dtype=fastest(seconds))


def dtype_key(config: TrialConfig, execution: Execution) -> Json:
    """Return the key of the note: modes of fine-tuning that train a backbone at all count alike."""
    return {**likeness(config, execution), "mode": "trained" if learns(config) else "frozen", "passes": PASSES}


def fastest(seconds: Seconds) -> Dtype:
    """Return "bfloat16" where it is `MARGIN` times as fast, else "float32"."""
    return "bfloat16" if seconds["bfloat16"] * MARGIN < seconds["float32"] else "float32"


def seconds_per_row(
    network: nn.Module,
    execution: Execution,
    preprocessing: Json,
    *,
    trains: bool,
    most_rows: int,
    heartbeat: Callable[[], None],
) -> Seconds:
    """Return the seconds of a forward pass, and if it `trains` of a backward pass, by dtype."""
    copied = copy.deepcopy(network)
    copied.train(trains)
    for norm in batch_norms(copied).values():
        norm.eval()  # It would refuse a single row.

    clock = time.process_time if execution.device == "cpu" and execution.threads == 1 else time.perf_counter

    def seconds(dtype: Dtype, rows: int) -> float:
        inputs = example(preprocessing, rows, execution)
        _wait(execution)
        start = clock()
        with torch.set_grad_enabled(trains), replace(execution, dtype=dtype).autocast():
            output: Tensor = copied(*inputs)
        if trains:
            output.float().square().mean().backward()  # type: ignore[no-untyped-call]
        _wait(execution)
        heartbeat()
        return clock() - start

    devices = [execution.torch_device] if execution.device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        turning = sum(parameter.numel() for parameter in copied.parameters()) * SECONDS_TO_TURN_A_WEIGHT
        return _compared(seconds, most_rows, turning if execution.device == "cpu" else math.inf)


def _compared(seconds: Callable[[Dtype, int], float], num_rows: int, turning: float) -> Seconds:
    """Return the seconds of a row of a batch of `num_rows`, from passes of one row and of as many as time allows.

    A pass in bfloat16 takes some seconds whatever its rows, since it turns all weights into its own; `turning` is more
    than that. What is slower by more with a single row needs no second look.
    """
    for dtype in DTYPES:
        seconds(dtype, 1)  # The first pass also builds kernels.
    one = {dtype: seconds(dtype, 1) for dtype in DTYPES}
    if one["bfloat16"] - turning > one["float32"]:
        return one
    rows = max(2, min(num_rows, int(BUDGET_SECONDS / sum(one.values()))))
    many: Seconds = {}
    started, rounds = time.perf_counter(), 0
    try:
        # The first pass of so many rows builds kernels of its own.
        while rounds < 2 or time.perf_counter() - started < BUDGET_SECONDS:
            rounds += 1
            for dtype in DTYPES:
                many[dtype] = min(seconds(dtype, rows), many.get(dtype, math.inf))
                one[dtype] = min(seconds(dtype, 1), one[dtype]) if len(many) > 1 else one[dtype]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return one
    return {dtype: seconds_of(num_rows, one[dtype], rows, many[dtype]) / num_rows for dtype in DTYPES}


def seconds_of(num_rows: int, one: float, rows: int, many: float) -> float:
    """Return the seconds of a pass of `num_rows`, on the line through those of one row and of `rows`."""
    return one + max((many - one) / (rows - 1), 0.0) * (num_rows - 1)


def example(preprocessing: Json, rows: int, execution: Execution) -> tuple[Tensor, ...]:
    """Return finished inputs of as many rows, on the device and in the layout of `execution`."""
    device = execution.torch_device
    if preprocessing["kind"] == "image":
        size = preprocessing["size"]
        draws = torch.Generator().manual_seed(0)
        layout = torch.channels_last if execution.channels_last else torch.contiguous_format
        return (torch.rand(rows, 3, size, size, generator=draws).to(device).contiguous(memory_format=layout),)
    ids = torch.zeros(rows, min(_TOKENS, preprocessing["max_length"]), dtype=torch.int64, device=device)
    return ids, torch.ones_like(ids)


def noted_seconds(config: TrialConfig, execution: Execution) -> float | None:
    """Return the seconds of a row that were measured here for like configurations; None where none were."""
    seconds = _noted(dtype_key(config, execution))
    return None if seconds is None else seconds[execution.dtype]


def _noted(key: Json) -> Seconds | None:
    seconds = (read_note("dtype", key) or {}).get("seconds_per_row")
    if not isinstance(seconds, dict) or set(seconds) != set(DTYPES):
        return None
    return seconds if all(isinstance(value, float) and value > 0 for value in seconds.values()) else None


def _wait(execution: Execution) -> None:
    if execution.device == "cuda":
        torch.cuda.synchronize()
