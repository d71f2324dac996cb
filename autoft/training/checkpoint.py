"""Checkpoints of one trial: one safetensors file each, with JSON in its header for what are no tensors.

It is published whole, by one request to an object store: a kill leaves the former checkpoint or the new.
"""

import io
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from autoft.core.jsonable import Json
from autoft.core.storage import Rewriter, Store
from autoft.core.tensorfile import first_part, read_about

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The names of the format."""
Slot = Literal["best", "last"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and what JSON says of them."""

    tensors: dict[str, Tensor]
    about: Json


class Checkpoints:
    """The checkpoints of one trial, in a folder."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._last = Rewriter(store, file_name("last"))
        self._saving: Future[None] | None = None

    def save(self, slot: Slot, tensors: Mapping[str, Tensor], about: Json) -> None:
        """Publish a checkpoint in the place of the one before: the best by a thread, the last not before that is done.

        The best one survives a power cut. The last one, which every epoch writes, need not: what is lost of it is
        trained again.

        Args:
            slot: Which one.
            tensors: By name; not to be changed until `settle` returns.
            about: What JSON says of them.
        """
        if slot == "best":
            self.settle()
            pool = ThreadPoolExecutor(1, thread_name_prefix="autoft-best")
            self._saving = pool.submit(lambda: self.store.write(file_name(slot), *_file_of(tensors, about)))
            pool.shutdown(wait=False)
        else:
            try:
                # Whoever goes on from the last one takes the best to be as new.
                self._last.write(*_file_of(tensors, about), after=self.settle)
            finally:
                self.settle()

    def settle(self) -> None:
        """Wait for the best one.

        Raises:
            OSError: If the disk refused it.
            StorageError: If the store did.
        """
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def load(self, slot: Slot) -> Checkpoint | None:
        """Return the published checkpoint, or None where there is none that is whole."""
        try:
            content = self.store.read(file_name(slot))
        except FileNotFoundError:
            return None
        about = read_about(io.BytesIO(content))
        try:
            return None if about is None else Checkpoint(safetensors.torch.load(content), about)
        except safetensors.SafetensorError:
            return None


def file_name(slot: Slot) -> str:
    """Return the name of a checkpoint's file."""
    return f"{slot}.safetensors"


def _file_of(tensors: Mapping[str, Tensor], about: Json) -> list[bytes | memoryview]:
    """Return the parts of a safetensors file: its header, and the bytes of each tensor as they lie, without a copy.

    Reference: https://github.com/huggingface/safetensors, "Format".
    """
    header: Json = {}
    parts: list[bytes | memoryview] = []
    end = 0
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        start, end = end, end + flat.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        parts.append(flat.numpy().data)
    return [first_part(header, about, parts), *parts]
