"""Heads, a backbone with a head on its features, and the hash of its weights."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class LinearHead(nn.Module):
    """Dropout, then one linear layer, from features (B, F) to logits (B, C).

    The weights start from a normal distribution of deviation 0.02 cut at two deviations, the biases at zero, as in
    BERT (Devlin et al., arXiv:1810.04805) and timm.
    """

    def __init__(self, num_features: int, num_classes: int, *, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = _output_layer(num_features, num_classes, generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, C) of features (B, F)."""
        logits: Tensor = self.linear(self.dropout(features))
        return logits


class MlpHead(nn.Module):
    """A hidden layer with GELU, dropout, and a linear layer, from features (B, F) to logits (B, C).

    The hidden weights start from a normal distribution of variance 2 / F (He et al., arXiv:1502.01852), so that any
    F passes on the features' scale; the last layer starts as a linear head's.
    """

    def __init__(
        self, num_features: int, num_classes: int, *, hidden_features: int, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.hidden = _unfilled(num_features, hidden_features)
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(self.hidden.bias)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.linear = _output_layer(hidden_features, num_classes, generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, C) of features (B, F)."""
        logits: Tensor = self.linear(self.dropout(self.activation(self.hidden(features))))
        return logits


def linear_head(
    config: Mapping[str, Any], num_features: int, num_classes: int, generator: torch.Generator
) -> LinearHead:
    """Return the head that the entry `linear` describes; its first weights are drawn from `generator`."""
    return LinearHead(num_features, num_classes, dropout=float(config["dropout"]), generator=generator)


def mlp_head(config: Mapping[str, Any], num_features: int, num_classes: int, generator: torch.Generator) -> MlpHead:
    """Return the head that the entry `mlp` describes; its first weights are drawn from `generator`."""
    return MlpHead(
        num_features,
        num_classes,
        hidden_features=int(config["hidden_features"]),
        dropout=float(config["dropout"]),
        generator=generator,
    )


def _output_layer(num_features: int, num_classes: int, generator: torch.Generator) -> nn.Linear:
    linear = _unfilled(num_features, num_classes)
    nn.init.trunc_normal_(linear.weight, std=0.02, a=-0.04, b=0.04, generator=generator)
    nn.init.zeros_(linear.bias)
    return linear


def _unfilled(num_inputs: int, num_outputs: int) -> nn.Linear:
    # From the meta device, so that the layer's own first weights cost no draw of the global generator.
    layer: nn.Linear = nn.Linear(num_inputs, num_outputs, device="meta").to_empty(device="cpu")
    return layer


class Network(nn.Module):
    """A backbone and a head; its weights are named `backbone.*` and `head.*`."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def features(self, *inputs: Tensor) -> Tensor:
        """Return the backbone's features (B, F) of finished inputs: pictures, or token ids and attention mask."""
        features: Tensor = self.backbone(*inputs)
        return features

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the logits (B, C) of finished inputs; the head computes in float32, also under autocast."""
        features = self.features(*inputs)
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.head(features.float())
        return logits


def state_hash(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of all tensors, in the order of their names, in hex.

    Device, memory layout and the order of the mapping make no difference.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1e".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
