"""Memory: that it ran out, what an update had changed until then, and the most that a trial took."""

import gc
import logging
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoft.backbones.checkpointing import checkpoint_gradients
from autoft.backbones.layers import batch_norms
from autoft.core.errors import WorkError
from autoft.core.gpus import tensor_fraction
from autoft.core.jsonable import Json

if TYPE_CHECKING:
    from autoft.training.workbench import Workbench

_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "could not create a primitive",
)
"""By which plain RuntimeErrors say it: of torch's allocator on processors, C++, NVIDIA's libraries, and oneDNN's."""

_log = logging.getLogger(__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the processor or a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def free_memory() -> None:
    """Give back what no tensor holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep_to_share(share: float) -> None:
    """Let the tensors of this process take no more of its GPU than a share leaves, so that no other's run out of it."""
    if share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(tensor_fraction(share, device_megabytes()))


def device_megabytes() -> float:
    """Return the MiB of memory that the GPU has."""
    return round(torch.cuda.get_device_properties().total_memory / 2**20, 1)


class Rewinder:
    """Takes an update that did not come to its step back to its start, to the bit.

    That is the generators, and the statistics of the batch norms that learn; weights change in the step alone.

    Args:
        network: That learns, in the mode of its epoch.
        draws: The generator of the augmentations, on the processor.
    """

    def __init__(self, network: nn.Module, draws: torch.Generator) -> None:
        self._draws = draws
        norms = [norm for norm in batch_norms(network).values() if norm.training]
        self._buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self._kept = [buffer.clone() for buffer in self._buffers]
        self._on_gpu = torch.cuda.is_available()
        self.mark()

    @torch.no_grad()
    def mark(self) -> None:
        """Let this be the moment to go back to."""
        self._states = self._states_now()
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)

    @torch.no_grad()
    def rewind(self) -> None:
        """Go back."""
        state, drawn, on_gpu = self._states
        torch.set_rng_state(state)
        self._draws.set_state(drawn)
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu)
        for buffer, value in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(value)

    def _states_now(self) -> tuple[Tensor, Tensor, Tensor | None]:
        return torch.get_rng_state(), self._draws.get_state(), torch.cuda.get_rng_state() if self._on_gpu else None


def has_learning_statistics(network: nn.Module) -> bool:
    """Return whether the network computes with the statistics of each batch, as it stands."""
    return any(norm.training for norm in batch_norms(network).values())


def fewest_rows(network: nn.Module) -> int:
    """Return the smallest micro-batch: a row; 3 where batch norms learn, of which no piece of a batch is a single row.

    A single row of one place has no variance, and torch refuses it.
    """
    return 3 if has_learning_statistics(network) else 1


def take_less(bench: "Workbench", step: int, largest: int, reason: str, *, mixes_embeddings: bool) -> None:
    """Go on with half the rows at a time, or at last with gradient checkpointing, and let the configuration say so.

    Args:
        bench: The trial's, its network in the mode of its epoch.
        step: The update that is to be done with them.
        largest: Rows of the largest batch.
        reason: How it is known that memory ran out.
        mixes_embeddings: Whether the embeddings of a batch's rows are mixed.

    Raises:
        WorkError: If that is done already.
    """
    execution = bench.execution
    before = execution.micro_batch_of(step)
    rows, fewest = min(before, largest), fewest_rows(bench.network)
    if rows > fewest:
        ends = {**execution.ran_out, str(before): step}
        ran_out = {size: min(end, step) for size, end in ends.items() if min(end, step) > 0}
        bench.revise(micro_batch=min(max(rows // 2, fewest), execution.micro_batch), ran_out=ran_out)
        differs = has_learning_statistics(bench.network) or mixes_embeddings
        _log.warning(
            "Memory ran out at %d rows in update %d: from here on %d go through at a time, and their gradients "
            "are added up to the same update. %s",
            rows,
            step,
            bench.execution.micro_batch,
            "What is computed over a batch (batch norms, mixed embeddings) is now over fewer rows, so the result "
            "differs from that of whole batches."
            if differs
            else "The result stays the same but for rounding.",
        )
    elif _can_checkpoint(bench):
        bench.revise(gradient_checkpointing=True)
        _log.warning("Memory ran out at %d rows: activations are computed again from here on, and not kept.", rows)
    else:
        raise WorkError(
            f"Memory ran out in an update of {rows} rows at a time ({reason}). Take a smaller backbone "
            "or input size, fewer trials side by side (--concurrent), or a machine with more memory."
        )
    bench.note_memory("micro_batch", "gradient_checkpointing")


def _can_checkpoint(bench: "Workbench") -> bool:
    is_new = not bench.execution.gradient_checkpointing and not bench.execution.compile
    return is_new and checkpoint_gradients(bench.backbone.module)


class Peak:
    """The most memory that this process held since the start of a trial.

    On a GPU: that tensors took there. Else: what was resident of the process, libraries and what a warm worker keeps
    included. Linux counts it from anew when it is told to; elsewhere the process's most ever is all there is.
    """

    def __init__(self, device: str) -> None:
        self._on_gpu = device == "cuda"
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        self._is_own = not self._on_gpu and _forget_peak()

    def costs(self) -> Json:
        """Return it as peak_memory_mb; of a GPU, all that it has as device_memory_mb."""
        device = {"device_memory_mb": device_megabytes()} if self._on_gpu else {}
        return {"peak_memory_mb": self.megabytes(), **device}

    def megabytes(self) -> float:
        """Return it in MiB."""
        if self._on_gpu:
            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        kilobytes = _resident_peak() if self._is_own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(kilobytes / 2**10, 1)


def _forget_peak() -> bool:
    """Let the kernel count the peak anew (proc(5): clear_refs, 5); return whether it does."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _resident_peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def pieces(tensors: tuple[Tensor, ...], rows: int) -> list[tuple[Tensor, ...]]:
    """Return a batch cut along its rows into pieces of nearly equal size, of `rows` at most."""
    count = -(-len(tensors[0]) // rows)
    return list(zip(*(tensor.tensor_split(count) for tensor in tensors), strict=True))
