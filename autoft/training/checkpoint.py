"""Checkpoints of one trial: one safetensors file each, with JSON in its header for what are no tensors.

It is published whole, by one request to an object store: a kill leaves the former checkpoint or the new.
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
_KEY = "autoft"
Slot = Literal["best", "last"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and what JSON says of them."""

    tensors: dict[str, Tensor]
    about: Json


def save(store: Store, slot: Slot, tensors: Mapping[str, Tensor], about: Json) -> str:
    """Publish a checkpoint in the place of the one before, and return the hash of its tensors.

    The best one survives a power cut. The last one need not, and is not waited for until it lies on the disk: what is
    lost of it is trained again.

    Args:
        store: Folder of the trial's checkpoints.
        slot: Which one.
        tensors: By name.
        about: What JSON says of them.
    """
    found = state_hash(tensors)
    store.write(file_name(slot), *_file_of(tensors, {**about, "tensors_sha256": found}), durable=slot == "best")
    return found


def file_name(slot: Slot) -> str:
    """Return the name of a checkpoint's file."""
    return f"{slot}.safetensors"


def _file_of(tensors: Mapping[str, Tensor], about: Json) -> list[bytes | memoryview]:
    """Return the parts of a safetensors file: its header, and the bytes of each tensor as they lie, without a copy.

    Reference: https://github.com/huggingface/safetensors, "Format".
    """
    header: Json = {"__metadata__": {_KEY: canonical_json(about)}}
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
    try:
        content = store.read(file_name(slot))
        size = int.from_bytes(content[:8], "little")
        about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][_KEY])
        tensors = safetensors.torch.load(content)
        return Checkpoint(tensors, about) if state_hash(tensors) == about["tensors_sha256"] else None
    except (FileNotFoundError, ValueError, LookupError, TypeError, safetensors.SafetensorError):
        return None
