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
from torch import Tensor

from autoft.core.jsonable import Json, canonical_json
from autoft.core.storage import Store

Slot = Literal["best", "last"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and what JSON says of them."""

    tensors: dict[str, Tensor]
    about: Json


def save(store: Store, slot: Slot, tensors: Mapping[str, Tensor], about: Json) -> None:
    """Publish a checkpoint and remove the one that it replaces; `about` must hold `epoch`."""
    content = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    name = f"{slot}-{about['epoch']:05d}.safetensors"
    store.write(name, content)
    published = {**about, "file": name, "sha256": sha256(content).hexdigest()}
    store.write(f"{slot}.json", canonical_json(published).encode())
    for old in store.list():
        if old.startswith(f"{slot}-") and old != name:
            store.delete(old)


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
