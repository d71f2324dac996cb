"""From the states of an encoder to one vector of features."""

import math

import torch
from torch import Tensor, nn

MEAN, FIRST, ATTENTION = "mean", "cls", "attention"


class MeanPooling(nn.Module):
    """The mean over the states, of those of the mask if there is one."""

    def forward(self, states_BTF: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Return features (B, F)."""
        if mask_BT is None:
            return states_BTF.mean(dim=1)
        weights = mask_BT.unsqueeze(-1).to(states_BTF.dtype)
        return (states_BTF * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class FirstPooling(nn.Module):
    """The first state: a class token's."""

    def forward(self, states_BTF: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Return features (B, F)."""
        return states_BTF[:, 0]


class AttentionPooling(nn.Module):
    """The mean over the states, weighted by their likeness to a learned query.

    Weights are softmax(states @ query / sqrt(F)) over the states, of those of the mask if there is one. The query
    starts at zero, so the first features are the mean's.

    Reference: Yang et al., Hierarchical Attention Networks, NAACL 2016, eq. 5-7 (the query is their word context
    vector); the scale is that of Vaswani et al., arXiv:1706.03762.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(num_features))

    def forward(self, states_BTF: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """Return features (B, F)."""
        scores_BT = (states_BTF @ self.query.to(states_BTF.dtype)).float() / math.sqrt(len(self.query))
        if mask_BT is not None:
            scores_BT = scores_BT.masked_fill(mask_BT == 0, torch.finfo(scores_BT.dtype).min)
        weights_BT = scores_BT.softmax(dim=1).to(states_BTF.dtype)
        return (states_BTF * weights_BT.unsqueeze(-1)).sum(dim=1)


def make_pooling(name: str, num_features: int) -> nn.Module:
    """Return the pooling of that name, "mean", "cls" or "attention", for states of `num_features`."""
    if name == ATTENTION:
        return AttentionPooling(num_features)
    return FirstPooling() if name == FIRST else MeanPooling()
