"""Checkpoints of one trial: safetensors for tensors, JSON for the rest, published by the JSON that is written last.

A kill between any two writes leaves the former checkpoint whole: tensors go into a file named by their epoch, and
only then does the small JSON file point to it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from autoft.core.jsonable import Json, canonical_json
from autoft.core.storage import Store
from autoft.tasks import state_hash

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


def save(store: Store, slot: Slot, tensors: Mapping[str, Tensor], about: Json) -> str:
    """Publish a checkpoint, remove the one that it replaces, and return the hash of its tensors.

    The best one survives a power cut. The last one need not, and is not waited for until it lies on the disk: what is
    lost of it is trained again.

    Args:
        store: Folder of the trial's checkpoints.
        slot: Which one.
        tensors: By name.
        about: What JSON says of them; must hold `epoch`.
    """
    parts = _file_of(tensors)
    name = f"{slot}-{about['epoch']:05d}.safetensors"
    store.write(name, *parts, durable=slot == "best")
    found = state_hash(tensors)
    published = {**about, "file": name, "tensors_sha256": found}
    store.write(f"{slot}.json", canonical_json(published).encode(), durable=slot == "best")
    for old in store.list():
        if old.startswith(f"{slot}-") and old != name:
            store.delete(old)
    return found


def _file_of(tensors: Mapping[str, Tensor]) -> list[bytes | memoryview]:
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
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *parts]


def load(store: Store, slot: Slot) -> Checkpoint | None:
    """Return the published checkpoint, or None where there is none that is whole."""
    if not store.exists(f"{slot}.json"):
        return None
    try:
        about = json.loads(store.read(f"{slot}.json"))
        tensors = safetensors.torch.load(store.read(about["file"]))
        return Checkpoint(tensors, about) if state_hash(tensors) == about["tensors_sha256"] else None
    except (ValueError, KeyError, FileNotFoundError, safetensors.SafetensorError):
        return None
