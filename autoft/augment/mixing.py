"""Rows mixed with rows of the same batch, and their labels with theirs.

The papers draw one share for a batch; here each row has a share, a box and a partner of its own, as in timm's "elem"
mode: the expected loss is the same, its variance smaller. Each row is the partner of one other, never of itself, unless
it is the only one: then it stays as it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autoft.augment import draws
from autoft.augment.policy import Batch
from autoft.core import catalog


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixed:
    """A batch after mixing."""

    inputs: Batch
    """Of the network."""
    targets_BC: Tensor  # noqa: N815
    """Probabilities, float32."""
    embed: "EmbeddingMix | None" = None
    """To be applied to the embeddings (B, L, E) of the tokens in this batch's forward pass; of texts alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingMix:
    """What mixes the embeddings (B, L, E) of a batch's tokens."""

    mask_BL: Tensor  # noqa: N815
    """Of each row's own tokens."""
    partners_B: Tensor  # noqa: N815
    lambdas_B: Tensor  # noqa: N815

    def __call__(self, embeddings_BLE: Tensor) -> Tensor:
        """Return the mixed embeddings of the whole batch."""
        own = embeddings_BLE * self.mask_BL.unsqueeze(-1).to(embeddings_BLE.dtype)
        return blend(own, self.partners_B, self.lambdas_B)

    def of_rows(self, rows: slice, ids_BL: Tensor, embed: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Return what mixes the embeddings of `rows` alone; those of their partners are computed for it.

        Args:
            rows: Of the batch.
            ids_BL: The network's inputs, of the whole batch.
            embed: From ids to embeddings.
        """
        partners_B = self.partners_B[rows].to(ids_BL.device)
        count = len(partners_B)
        masks = torch.cat([self.mask_BL[rows], self.mask_BL[partners_B]])
        beside = EmbeddingMix(
            mask_BL=masks,
            partners_B=torch.cat([torch.arange(count, 2 * count), torch.arange(count)]),
            lambdas_B=torch.cat([self.lambdas_B[rows], torch.ones(count)]),
        )
        return lambda embeddings_BLE: beside(torch.cat([embeddings_BLE, embed(ids_BL[partners_B])]))[:count]


Mixing = Callable[[Batch, Tensor, torch.Generator], Mixed]
"""From finished inputs and targets (B, C), float32 probabilities; all chance comes from the generator, on the CPU."""


def build_mixing(config: Mapping[str, Any]) -> Mixing | None:
    """Return the mixing of a recipe's section `mixing`, or None if rows stay by themselves.

    Raises:
        ConfigError: If there is no such mixing.
    """
    mixing: Mixing | None = catalog.entry("mixing", config["name"], where="mixing.name").load()(config)
    return mixing


def none(config: Mapping[str, Any]) -> None:
    """Return None: rows stay by themselves."""


def mixup(config: Mapping[str, Any]) -> Mixing:
    """Return the weighted mean of pictures and of labels: lambda times the row, 1 - lambda times its partner.

    Args:
        config: `alpha` of lambda's distribution Beta(alpha, alpha), and the `probability` of a row to be mixed.

    Reference: Zhang et al., mixup, arXiv:1710.09412, section 2.
    """

    def mix(batch: Batch, targets_BC: Tensor, generator: torch.Generator) -> Mixed:
        (images_BCHW,) = batch
        partners_B = draw_partners(len(images_BCHW), config["probability"], generator)
        lambdas_B = draw_lambdas(partners_B, config["alpha"], generator)
        images_BCHW = blend(images_BCHW, partners_B, lambdas_B)
        return Mixed(inputs=(images_BCHW,), targets_BC=blend(targets_BC, partners_B, lambdas_B))

    return mix


def cutmix(config: Mapping[str, Any]) -> Mixing:
    """Return pictures with a box of their partners' pixels; labels are mixed by the area of the box.

    Args:
        config: `alpha` of lambda's distribution Beta(alpha, alpha), 1 - lambda being the area of the box before it is
            clipped at the border, and the `probability` of a row to be mixed.

    Reference: Yun et al., CutMix, arXiv:1905.04899, section 3.2.
    """

    def mix(batch: Batch, targets_BC: Tensor, generator: torch.Generator) -> Mixed:
        (images_BCHW,) = batch
        partners_B = draw_partners(len(images_BCHW), config["probability"], generator)
        lambdas_B = draw_lambdas(partners_B, config["alpha"], generator)
        height, width = images_BCHW.shape[-2:]
        images_BCHW, lambdas_B = paste(images_BCHW, partners_B, draw_boxes(lambdas_B, height, width, generator))
        return Mixed(inputs=(images_BCHW,), targets_BC=blend(targets_BC, partners_B, lambdas_B))

    return mix


def mixup_cutmix(config: Mapping[str, Any]) -> Mixing:
    """Return CutMix for a share of the rows, MixUp for the others.

    Args:
        config: `mixup_alpha` and `cutmix_alpha`, as in `mixup` and `cutmix`; `cutmix_share`, the probability of a mixed
            row to be cut; `probability` of a row to be mixed.

    Reference: timm.data.Mixup, its `switch_prob`; Liu et al., ConvNeXt, arXiv:2201.03545, table 5, train with both.
    """

    def mix(batch: Batch, targets_BC: Tensor, generator: torch.Generator) -> Mixed:
        (images_BCHW,) = batch
        height, width = images_BCHW.shape[-2:]
        partners_B = draw_partners(len(images_BCHW), config["probability"], generator)
        is_cut_B = draws.occurs(len(images_BCHW), config["cutmix_share"], generator)
        blended_B = draw_lambdas(partners_B, config["mixup_alpha"], generator)
        cut_B = draw_lambdas(partners_B, config["cutmix_alpha"], generator)
        pasted_BCHW, cut_B = paste(images_BCHW, partners_B, draw_boxes(cut_B, height, width, generator))
        blended_BCHW = blend(images_BCHW, partners_B, blended_B)
        images_BCHW = torch.where(is_cut_B.to(images_BCHW.device).view(-1, 1, 1, 1), pasted_BCHW, blended_BCHW)
        lambdas_B = torch.where(is_cut_B, cut_B, blended_B)
        return Mixed(inputs=(images_BCHW,), targets_BC=blend(targets_BC, partners_B, lambdas_B))

    return mix


def embedding_mixup(config: Mapping[str, Any]) -> Mixing:
    """Return texts whose embeddings are weighted means of two texts', token by token, as their labels are.

    Both are padded with zeros to the length of the batch, and the longer decides what is attended to. Where a row has
    ended and its partner has not, its ids become the partner's: encoders that count positions by the ids that are no
    padding (RoBERTa's kin) give these tokens their places; the row's own embeddings are zero there.

    Args:
        config: `alpha` of lambda's distribution Beta(alpha, alpha), and the `probability` of a row to be mixed.

    Reference: Guo et al., arXiv:1905.08941, section 3 (wordMixup).
    """

    def mix(batch: Batch, targets_BC: Tensor, generator: torch.Generator) -> Mixed:
        ids_BL, mask_BL = batch
        partners_B = draw_partners(len(ids_BL), config["probability"], generator)
        lambdas_B = draw_lambdas(partners_B, config["alpha"], generator)
        rows_B = partners_B.to(ids_BL.device)
        return Mixed(
            inputs=(torch.where(mask_BL == 1, ids_BL, ids_BL[rows_B]), mask_BL | mask_BL[rows_B]),
            targets_BC=blend(targets_BC, partners_B, lambdas_B),
            embed=EmbeddingMix(mask_BL=mask_BL, partners_B=partners_B, lambdas_B=lambdas_B),
        )

    return mix


def draw_partners(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Return int64 (count,): the other row that each is mixed with, or the row itself, which is then not mixed.

    The rows stand in a circle in a drawn order, and the next is the partner; each keeps it with `probability`.
    """
    order = torch.randperm(count, generator=generator)
    partners_B = torch.empty_like(order)
    partners_B[order] = order.roll(-1)
    return torch.where(draws.occurs(count, probability, generator), partners_B, torch.arange(count))


def draw_lambdas(partners_B: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
    """Return each row's own share, float32 (B,), from Beta(alpha, alpha); 1 for rows that are their own partners."""
    drawn = draws.numpy_generator(generator).beta(alpha, alpha, size=len(partners_B))
    is_alone = partners_B == torch.arange(len(partners_B))
    return torch.from_numpy(drawn).float().masked_fill(is_alone, 1)


def draw_boxes(lambdas_B: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Return boxes as int64 (B, 4): top, bottom, left, right; bottom and right are the first ones outside.

    A box has 1 - lambda of the area and the picture's shape; its middle is drawn evenly over the picture, its edges are
    rounded to pixels and clipped at the border.
    """
    lengths_B = (1 - lambdas_B.double()).sqrt()
    edges = []
    for size in (height, width):
        middles_B = draws.between(len(lambdas_B), 0, size, generator)
        halves_B = size * lengths_B / 2
        edges += [(middles_B - halves_B).round().clamp(0, size), (middles_B + halves_B).round().clamp(0, size)]
    return torch.stack(edges, dim=1).to(torch.int64)


def paste(images_BCHW: Tensor, partners_B: Tensor, boxes_B4: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pictures with their partners' pixels within their boxes, and the share of their own, float32 (B,)."""
    height, width = images_BCHW.shape[-2:]
    top, bottom, left, right = boxes_B4.unbind(1)
    shares_B = 1 - ((bottom - top) * (right - left)).double() / (height * width)
    is_row_BH = _within(height, top, bottom, images_BCHW.device)
    is_column_BW = _within(width, left, right, images_BCHW.device)
    is_inside = (is_row_BH.unsqueeze(2) & is_column_BW.unsqueeze(1)).unsqueeze(1)
    others = images_BCHW[partners_B.to(images_BCHW.device)]
    return torch.where(is_inside, others, images_BCHW), shares_B.float()


def _within(size: int, starts_B: Tensor, ends_B: Tensor, device: torch.device) -> Tensor:
    places = torch.arange(size, device=device)
    return (places >= starts_B.to(device).unsqueeze(1)) & (places < ends_B.to(device).unsqueeze(1))


def blend(rows: Tensor, partners_B: Tensor, lambdas_B: Tensor) -> Tensor:
    """Return lambda times each row of (B, ...) plus 1 - lambda times its partner."""
    shares = lambdas_B.to(rows.device, rows.dtype).view(-1, *[1] * (rows.ndim - 1))
    return rows * shares + rows[partners_B.to(rows.device)] * (1 - shares)
