"""timm models whose states are pooled by us, not by themselves."""

from typing import Any

import torch
from torch import Tensor, nn

from autoft.backbones.pooling import FIRST, make_pooling
from autoft.core.errors import ConfigError


class PooledTimm(nn.Module):
    """A timm encoder with another pooling than its own, or that has none.

    What the encoder does after its own pooling (a norm, a last layer) is done to the pooled features too: they stand
    at every place of the states, so that its own pooling leaves them as they are.

    Args:
        encoder: A timm model without classifier.
        pooling: From states (B, T, F) to features (B, F).
        num_prefix: Tokens at the front that stand for no place of the picture.
        has_own: Whether the encoder has a pooling of its own; else it gives states (B, T, F) or (B, F, H, W).
    """

    def __init__(self, encoder: nn.Module, pooling: nn.Module, *, num_prefix: int, has_own: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.num_prefix = num_prefix
        self.has_own = has_own

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, F) of normalised pictures."""
        encoder: Any = self.encoder
        states = states_of(encoder, images_BCHW, has_own=self.has_own)
        pooled_BF: Tensor = self.pooling(_in_a_row(encoder, states)[:, self.num_prefix :])
        if not self.has_own:
            return pooled_BF
        if states.ndim == 3:
            place = pooled_BF[:, None]
        else:
            place = pooled_BF[:, None, None] if _is_channels_last(encoder) else pooled_BF[:, :, None, None]
        features: Tensor = encoder.forward_head(place.to(states.dtype).expand(states.shape))
        return features


def pooled_timm(name: str, encoder: nn.Module, pooling: str | None, *, has_own: bool, size: int) -> nn.Module:
    """Return `encoder` as it is if it has its own pooling and `pooling` is None, else wrapped.

    Args:
        name: For the messages.
        encoder: A timm model without classifier; put into evaluation mode.
        pooling: "mean", "cls", "attention", or None: its own, the mean where it has none.
        has_own: Whether it gives one vector by itself.
        size: Side of a picture that it takes, in pixels.

    Raises:
        ConfigError: If its states cannot be pooled so.
    """
    if has_own and pooling is None:
        return encoder.eval()
    with torch.no_grad():
        states = states_of(encoder.eval(), torch.zeros(1, 3, size, size), has_own=has_own)
    # LeViT and its like keep biases of an evaluation until they train; other weights may be loaded before they do.
    encoder.train()
    encoder.eval()
    if not isinstance(states, Tensor) or states.ndim not in (3, 4):
        raise ConfigError(f"{name} gives no states of places that could be pooled; leave out the setting 'pooling'.")
    has_class_token = states.ndim == 3 and any(path.endswith("cls_token") for path, _ in encoder.named_parameters())
    num_prefix = int(getattr(encoder, "num_prefix_tokens", has_class_token)) if states.ndim == 3 else 0
    if pooling == FIRST:
        if not has_class_token:
            raise ConfigError(
                f"{name} has no class token: the setting 'pooling' must be mean, attention or null, not cls."
            )
        num_prefix = 0
    elif num_prefix and states.shape[1] <= num_prefix:
        raise ConfigError(
            f"{name} gives the state of its class token alone; the setting 'pooling' must be cls or null."
        )
    row = _in_a_row(encoder, states)
    return PooledTimm(encoder, make_pooling(pooling or "mean", row.shape[-1]), num_prefix=num_prefix, has_own=has_own)


def states_of(encoder: Any, images_BCHW: Tensor, *, has_own: bool) -> Any:
    """Return what the encoder gives before pooling: of most, states (B, T, F), (B, F, H, W) or (B, H, W, F)."""
    return encoder.forward_features(images_BCHW) if has_own else encoder(images_BCHW)


def _in_a_row(encoder: nn.Module, states: Tensor) -> Tensor:
    """Return states (B, T, F)."""
    if states.ndim == 3:
        return states
    return states.flatten(1, 2) if _is_channels_last(encoder) else states.flatten(2).transpose(1, 2)


def _is_channels_last(encoder: nn.Module) -> bool:
    # timm calls the layout of pictures' states "NCHW" or "NHWC"; models without the attribute have the usual one.
    return str(getattr(encoder, "output_fmt", "NCHW")).endswith("NHWC")
