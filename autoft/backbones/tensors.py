"""Pretrained tensors: read without running code, hashed by content, made safetensors of once."""

import hashlib
import logging
import pickle
import tempfile
import warnings
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoft.backbones.sources import shards_of, weights_file
from autoft.core.cache import cache_folder
from autoft.core.errors import WeightsError, first_line

_log = logging.getLogger(__name__)

Tensors = dict[str, Tensor]

_NESTS = ("state_dict_ema", "model_ema", "state_dict", "model", "encoder")
"""Keys under which training scripts put the weights; averaged ones first, as timm does."""
_WRAPPERS = ("_orig_mod.", "module.", "_orig_mod.")
"""Prefixes of torch.compile and DistributedDataParallel, in either order."""


def read_tensors(path: Path) -> Tensors:
    """Return the tensors of a safetensors or torch file, or of the folder that holds one or several.

    Raises:
        WeightsError: If it holds anything but plain tensors, or is damaged.
    """
    if path.is_dir():
        path = weights_file(path)
    if path.suffix == ".json":
        return _read_shards(path)
    try:
        if path.suffix == ".safetensors":
            return _unwrapped(load_file(path), path)
        with warnings.catch_warnings():
            # Of a plain pickle; whether it can be read is what comes next.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        return _unwrapped(loaded, path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"The weights file '{path}' is refused: it is damaged, or holds code or objects besides tensors "
            "(torch.load with weights_only=True); save the state_dict alone, best as .safetensors."
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, LookupError, AttributeError) as error:
        reason = first_line(error)
        raise WeightsError(f"The weights file '{path}' cannot be read: {reason}") from error


def _read_shards(index: Path) -> Tensors:
    tensors: Tensors = {}
    for path in shards_of(index):
        tensors |= read_tensors(path)
    return tensors


def _unwrapped(loaded: object, path: Path) -> Tensors:
    nest = next((key for key in _NESTS if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)), None)
    values = loaded[nest] if nest is not None and isinstance(loaded, Mapping) else loaded
    tensors: Tensors = {}
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(name, str) and isinstance(value, Tensor):
            tensors[reduce(str.removeprefix, _WRAPPERS, name)] = value
    if not tensors:
        raise WeightsError(f"The weights file '{path}' holds no named tensors.")
    return tensors


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and values, in hex; the file's format and path do not count."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1e".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def renamed_in_order(path: Path, model_tensors: Mapping[str, Tensor], *, distribution: str) -> Tensors:
    """Return the tensors of a packaged file under the names of the model's, which stand in the same order.

    The result is kept as safetensors in the cache folder; many workers may do so at once.

    Args:
        path: Torch file.
        model_tensors: The model's own, which give names and shapes.
        distribution: The package, which with the file's name and size tells the kept files apart.

    Raises:
        WeightsError: If the file does not fit the model.
    """
    kept = cache_folder() / "weights" / f"{distribution}-{path.stem}-{path.stat().st_size}.safetensors"
    if kept.is_file():
        try:
            tensors: Tensors = load_file(kept)
        except (SafetensorError, OSError) as error:
            _log.warning("Made again, since it cannot be read: %s (%s)", kept, error)
        else:
            if _shapes(tensors) == _shapes(model_tensors):
                return tensors
    values = read_tensors(path)
    if list(_shapes(values).values()) != list(_shapes(model_tensors).values()):
        raise WeightsError(
            f"The weights file '{path}' does not fit the model: it has {len(values)} tensors, the model "
            f"{len(model_tensors)}, or their shapes differ."
        )
    tensors = dict(zip(model_tensors, (value.contiguous() for value in values.values()), strict=True))
    _keep(tensors, kept)
    return tensors


@torch.no_grad()
def map_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Let the weights of a module lie where equal ones of a file lie: mapped, in memory that all its readers share.

    Args:
        module: Filled from `tensors`, as it is called there or with one name before it ("bert.embeddings...").
        tensors: From `read_tensors`; of a safetensors file they are mapped. A write to one stays this process's own.
    """
    shorter = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    for name, own in (*module.named_parameters(), *module.named_buffers()):
        found = tensors.get(name, shorter.get(name))
        if found is not None and found.dtype == own.dtype and torch.equal(found, own):
            own.data = found


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _keep(tensors: Tensors, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            draft = Path(folder) / path.name
            save_file(tensors, draft)
            draft.replace(path)
    except OSError as error:
        _log.warning("Converted weights are not kept in %s: %s", path, error)
