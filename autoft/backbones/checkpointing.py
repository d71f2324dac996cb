"""Gradient checkpointing: activations within blocks are computed again in the backward pass, not kept."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from autoft.backbones.hf_text import TextEncoder
from autoft.backbones.hf_vision import VisionEncoder
from autoft.backbones.timm_pooling import PooledTimm


def checkpoint_gradients(module: nn.Module) -> bool:
    """Let a backbone's module keep no activations within its blocks; return whether it can.

    What it computes stays the same; batch norms see each batch twice, so whoever runs it must keep their statistics in
    the backward pass.

    Reference: Chen et al., arXiv:1604.06174.
    """
    encoder: Any = module.encoder if isinstance(module, TextEncoder | VisionEncoder | PooledTimm) else module
    if isinstance(encoder, PreTrainedModel):
        if encoder.supports_gradient_checkpointing:
            # The later name of transformers 5; the other one is deprecated where there are both.
            enable = getattr(encoder, "activation_checkpointing_enable", None) or encoder.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        return bool(encoder.supports_gradient_checkpointing)
    try:
        encoder.set_grad_checkpointing(True)
    except (AttributeError, AssertionError):
        return False
    return True
