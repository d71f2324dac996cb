"""The contract of inputs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from autoft.core.shelf import Shelved

Decode = Callable[[Any, int], np.ndarray[Any, np.dtype[np.uint8]]]
"""From the content of a picture and a side in pixels to uint8 (3, side, side)."""

Batch = tuple[Tensor, ...]
"""The arguments of a backbone."""

T = TypeVar("T")
R = TypeVar("R")


class Inputs(Protocol):
    """From raw rows to the arguments of a backbone, in three steps."""

    schema: pa.Schema
    """Of encoded rows."""
    row_bytes: int
    """What an encoded row takes at least."""

    def encode(self, raw: Iterable[Any], decode: Decode | None = None) -> Any:
        """Return all rows of `raw` encoded and held in memory, to be given to `batch`.

        Args:
            raw: Contents of pictures, or texts.
            decode: Reads one picture, one after the other; texts need none.
        """
        ...

    def encode_batches(
        self,
        raw: Iterable[Any],
        decode: Decode | None = None,
        *,
        threads: int = 1,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `raw` encoded, batch by batch, in their order.

        Args:
            raw: Contents of pictures, or texts.
            decode: Reads one picture; texts need none.
            threads: Rows that are read and encoded at the same time.
            heartbeat: Called again and again.
        """
        ...

    def open(self, shelved: Shelved) -> Any:
        """Return a table of such batches as what `batch` takes."""
        ...

    def lengths(self, encoded: Any) -> Tensor:
        """Return what a row costs within a batch that is padded to its longest, int64 (N,)."""
        ...

    def batch(self, encoded: Any, indices: Sequence[int] | Tensor) -> Batch:
        """Return the rows at `indices`, copied, as a batch that augmentations can work on."""
        ...

    def finish(
        self, batch: Batch, device: torch.device | str, dtype: torch.dtype = torch.float32, channels_last: bool = False
    ) -> Batch:
        """Return a batch as the arguments of a backbone, on `device`."""
        ...


@contextmanager
def mapping(threads: int) -> "Iterator[Callable[[Callable[[T], R], Iterable[T]], Iterator[R]]]":
    """Give a `map` whose calls run in so many threads; its results come in order."""
    if threads == 1:
        yield map
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="autoft-encode") as pool:
        yield pool.map
