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
from autoft.core.rewriter import Rewriter
from autoft.core.storage import Store
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
Slot = Literal["best", "last", "former"]
WEIGHTS = "model."
"""What the names of weights begin with where a checkpoint holds more than them."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and what JSON says of them."""

    tensors: dict[str, Tensor]
    about: Json


class Checkpoints:
    """The checkpoints of one trial, in a folder.

    Where an epoch is the best, its weights are part of both: a local disk then holds them in the best one alone, and
    the last says by their hash which they are. The best before stays, as `former.safetensors`, until a newer last is
    there.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._best = Rewriter(store, file_name("best"), durable=True)
        self._last = Rewriter(store, file_name("last"))
        self._saving: Future[None] | None = None
        self._best_weights = ""
        self._source: Slot | None = None
        """Which one holds the weights of the last that is published, if that does not hold them itself."""

    def save_best(self, weights: Mapping[str, Tensor], about: Json, *, weights_sha256: str) -> None:
        """Publish the best weights in the place of those before, by a thread; they survive a power cut.

        Args:
            weights: By name; not to be changed until `settle` returns.
            about: What JSON says of them.
            weights_sha256: Their hash.
        """
        self.settle()
        self._best_weights = weights_sha256
        former = file_name("former") if self._source == "best" else None

        def save() -> None:
            self._best.write(*_file_of(weights, {**about, "weights_sha256": weights_sha256}), former=former)

        pool = ThreadPoolExecutor(1, thread_name_prefix="autoft-best")
        self._saving = pool.submit(save)
        pool.shutdown(wait=False)

    def save_last(
        self, tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor], about: Json, *, weights_sha256: str | None
    ) -> None:
        """Publish the state to go on from in the place of the one before, not before the best one is published.

        It need not survive a power cut: what is lost of it is trained again.

        Args:
            tensors: By name.
            weights: More tensors by name, which `load` gives with `WEIGHTS` before it.
            about: What JSON says of all.
            weights_sha256: The hash of `weights`, if it is known.
        """
        is_shared = self.store.is_local and weights_sha256 == self._best_weights
        if is_shared:
            about = {**about, "weights_sha256": weights_sha256}
        else:
            tensors = {**tensors, **_prefixed(weights)}
        try:
            # Whoever goes on from the last one takes the best to be as new.
            self._last.write(*_file_of(tensors, about), after=self.settle)
        finally:
            self.settle()
        self._source = "best" if is_shared else None
        self._best.reclaim(file_name("former"))

    def settle(self) -> None:
        """Wait for the best one.

        Raises:
            OSError: If the disk refused it.
            StorageError: If the store did.
        """
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()
            self._source = self._source and "former"

    def load(self, slot: Slot) -> Checkpoint | None:
        """Return the published checkpoint, or None where there is none that is whole."""
        found = self._read(slot)
        weights_sha256 = found.about.pop("weights_sha256", None) if slot == "last" and found is not None else None
        if found is None or weights_sha256 is None:
            return found
        sources: tuple[Slot, ...] = ("best", "former")
        for source in sources:
            held = self._read(source)
            if held is not None and held.about.get("weights_sha256") == weights_sha256:
                self._source = source
                return Checkpoint(found.tensors | _prefixed(held.tensors), found.about)
        return None

    def _read(self, slot: Slot) -> Checkpoint | None:
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


def _prefixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{WEIGHTS}{name}": tensor for name, tensor in weights.items()}


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
