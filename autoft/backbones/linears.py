"""The linear layers of the blocks, which adapters go to."""

import re

from torch import nn

_ATTENTION = re.compile("attn|attention", re.IGNORECASE)
_FEED_FORWARD = ("mlp", "ffn", "feed_forward")
_POSITIONS = "rel_pos"


def block_linears(module: nn.Module) -> dict[str, bool]:
    """Return the paths of the linear layers in numbered blocks, and whether each is part of attention."""
    return {
        path: _is_attention(module, path.split("."))
        for path, part in module.named_modules()
        if isinstance(part, nn.Linear) and any(name.isdigit() for name in path.split("."))
    }


def _is_attention(module: nn.Module, names: list[str]) -> bool:
    """Return whether the innermost part that says what it is, by its name or its class, is attention.

    What holds attention and the MLP after it is called attention too in some models (MaxViT's `attn_block`, CaiT's
    `LayerScaleBlockClassAttn`). An MLP of relative positions belongs to the attention that it is in.
    """
    found, owner, before = False, module, ""
    for name in names:
        owner = owner.get_submodule(name)
        if name in _FEED_FORWARD and before != _POSITIONS:
            found = False
        elif _ATTENTION.search(name) or _ATTENTION.search(type(owner).__name__):
            found = True
        before = name
    return found
