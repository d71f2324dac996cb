"""Checkpoints of one trial: safetensors for tensors, JSON for the rest, published by the JSON that is written last.

A kill between any two writes leaves the former checkpoint whole: tensors go into a file named by their epoch, and
only then does the small JSON file point to it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from autoft.core.jsonable import Json, canonical_json
from autoft.core.storage import Store

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


def save(store: Store, slot: Slot, tensors: Mapping[str, Tensor], about: Json) -> None:
    """Publish a checkpoint and remove the one that it replaces; `about` must hold `epoch`."""
    parts = _file_of(tensors)
    name = f"{slot}-{about['epoch']:05d}.safetensors"
    store.write(name, *parts)
    hashed = sha256()
    for part in parts:
        hashed.update(part)
    published = {**about, "file": name, "sha256": hashed.hexdigest()}
    store.write(f"{slot}.json", canonical_json(published).encode())
    for old in store.list():
        if old.startswith(f"{slot}-") and old != name:
            store.delete(old)


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
        content = store.read(about["file"])
    except (ValueError, KeyError, FileNotFoundError):
        return None
    if sha256(content).hexdigest() != about["sha256"]:
        return None
    try:
        return Checkpoint(safetensors.torch.load(content), about)
    except safetensors.SafetensorError:
        return None
