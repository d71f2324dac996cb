"""An optimizer's state as named tensors and JSON, so that a checkpoint needs no pickle."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from autoft.core.jsonable import Json


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], Json]:
    """Return the state as tensors by name ("state.0.exp_avg": of parameter 0) and as JSON: all that is no tensor."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    rest: Json = {}
    for part, values in (("state", state["state"]), ("group", dict(enumerate(state["param_groups"])))):
        rest[part] = {}
        for index, settings in values.items():
            plain = rest[part][str(index)] = {}
            for name, value in settings.items():
                if isinstance(value, Tensor):
                    tensors[f"{part}.{index}.{name}"] = value
                else:
                    plain[name] = list(value) if isinstance(value, tuple) else value
    return tensors, rest


def load_optimizer_state(optimizer: Optimizer, tensors: Mapping[str, Tensor], rest: Json) -> None:
    """Give `optimizer`, built from the same configuration and groups, a state from `optimizer_state`."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    parts: dict[str, dict[int, dict[str, Any]]] = {
        part: {int(index): dict(values) for index, values in rest[part].items()} for part in ("state", "group")
    }
    for key, tensor in tensors.items():
        part, index, name = key.split(".", 2)
        value = _laid_out_like(parameters[int(index)], tensor) if part == "state" else tensor
        parts[part][int(index)][name] = value
    groups = [parts["group"][index] for index in sorted(parts["group"])]
    for group in groups:
        group.update({key: tuple(value) for key, value in group.items() if isinstance(value, list) and key != "params"})
    optimizer.load_state_dict({"state": parts["state"], "param_groups": groups})


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Return `tensor` in the memory layout of its parameter: fused kernels pair the two as they lie in memory."""
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
