"""The processes that train one trial together: which rows each takes, and what they tell each other.

All of them draw the same batches; each takes its share of the rows of every micro-batch, and the gradients are added
up once an update. DistributedDataParallel would do so by hooks within the backward pass, once for every pass, and does
not fit what is done here: a process without rows has no backward pass, an adversarial step asks for gradients of its
own, R-Drop goes forward twice, which weights learn changes from epoch to epoch, and memory may run out in one process.
What it would win, to add up while the backward pass still goes on, is left.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed, nn

BUCKET = 1 << 24
"""Numbers that are sent at once: 64 MB beside the tensors themselves."""
BEAT_SECONDS = 1.0
"""Between heartbeats of a process that waits for the others: it does not hang, and each of them has its own watch."""


class OthersLostError(RuntimeError):
    """Another process of the group is gone, or does not answer."""


class RanOutElsewhereError(MemoryError):
    """Memory ran out in another process of the group, or in this one, and all do the update again."""


@dataclass(frozen=True, slots=True)
class Group:
    """A process's place among those that train one trial; alone, it costs nothing."""

    rank: int = 0
    size: int = 1
    heartbeat: Callable[[], None] = field(default=lambda: None, compare=False)
    """Called again and again while this process waits for the others."""

    @classmethod
    def here(cls, heartbeat: Callable[[], None] = lambda: None) -> "Group":
        """Return the place of this process in torch's default group; alone where there is none."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return ALONE
        return cls(distributed.get_rank(), distributed.get_world_size(), heartbeat)

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that measures, writes and reports."""
        return self.rank == 0

    def share(self, count: int, *, fewest: int = 1) -> slice:
        """Return which of `count` rows are this process's.

        The shares are in the order of the processes and of nearly equal size. Where there are too few rows for shares
        of `fewest`, the last processes have none.
        """
        return shares(count, self.size, fewest=fewest)[self.rank]

    def add_up(self, parameters: Iterable[nn.Parameter], mean: Tensor, *, ran_out: bool) -> Tensor:
        """Let each parameter's gradient be the sum over all processes, and return the sum of `mean`, of one number.

        A parameter that has no gradient anywhere is left without.

        Args:
            parameters: Those that learn, in the same order everywhere.
            mean: This process's part of the mean loss.
            ran_out: Whether memory ran out here, so that the gradients are void.

        Raises:
            RanOutElsewhereError: In every process, if it did in one.
        """
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        has = [float(parameter.grad is not None) for parameter in learning]
        told = torch.cat([mean.reshape(1), torch.tensor([float(ran_out), *has], device=mean.device)])
        with self._waiting():
            distributed.all_reduce(told)
            lacking, *holders = told[1:].tolist()
        if lacking:
            raise RanOutElsewhereError(f"out of memory in {lacking:.0f} of {self.size} workers")
        moving = [parameter for parameter, count in zip(learning, holders, strict=True) if count]
        for parameter in moving:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._together([parameter.grad for parameter in moving if parameter.grad is not None], distributed.all_reduce)
        return told[0]

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """Return the rows (N, ...) of all processes in order, each having given those of its `share` of `count`."""
        parts = shares(count, self.size)
        longest = parts[0].stop
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in parts]
        with self._waiting():
            distributed.all_gather(gathered, padded)
        return torch.cat([found[: part.stop - part.start] for found, part in zip(gathered, parts, strict=True)])

    def first(self, value: Any) -> Any:
        """Return the first process's `value`, of JSON."""
        if self.is_alone:
            return value
        content = json.dumps(value).encode() if self.is_first else b""
        length = torch.tensor([len(content)])
        with self._waiting():
            distributed.broadcast(length, 0)
            text = torch.frombuffer(bytearray(content or bytes(int(length))), dtype=torch.uint8)
            distributed.broadcast(text, 0)
        return json.loads(text.numpy().tobytes())

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Let all have the first process's values: processors of other kinds round otherwise."""
        self._together(tensors, lambda flat: distributed.broadcast(flat, 0))

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Let each be the mean over all processes."""

        def mean(flat: Tensor) -> None:
            distributed.all_reduce(flat)
            flat /= self.size

        self._together(tensors, mean)

    @torch.no_grad()
    def _together(self, tensors: Iterable[Tensor], change: Callable[[Tensor], object]) -> None:
        """Let `change` work in place on all numbers of the tensors, many at once."""
        with self._waiting():
            for bucket in _buckets(tensors):
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                change(flat)
                parts = torch.split(flat, [tensor.numel() for tensor in bucket])
                for tensor, part in zip(bucket, parts, strict=True):
                    tensor.copy_(part.view_as(tensor))
                if flat.is_cuda:
                    torch.cuda.current_stream().synchronize()  # NCCL's wait is the GPU's, and no heart beats for that.

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Let the heart beat from a thread until the block ends.

        Raises:
            OthersLostError: If the others cannot be reached.
        """
        is_over = threading.Event()

        def beat() -> None:
            while not is_over.wait(BEAT_SECONDS):
                self.heartbeat()

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        except RuntimeError as error:
            raise OthersLostError(str(error)) from error
        finally:
            is_over.set()
            thread.join()


ALONE = Group()


def shares(count: int, size: int, *, fewest: int = 1) -> list[slice]:
    """Return the rows, of `count`, of each of `size` processes; see `Group.share`."""
    used = min(size, max(1, count // fewest))
    each, rest = divmod(count, used)
    parts, start = [], 0
    for width in [each + (place < rest) for place in range(used)] + [0] * (size - used):
        parts.append(slice(start, start + width))
        start += width
    return parts


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors, in order, in lists of one dtype and `BUCKET` numbers at most; a larger one is alone."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        is_full = sum(held.numel() for held in bucket) + tensor.numel() > BUCKET
        if bucket and (is_full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
