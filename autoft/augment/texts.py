"""Policies for texts: tokens masked, deleted, or in another order; special tokens and padding are left alone."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from autoft.augment.policy import Augmentation, Batch
from autoft.core.errors import ConfigError

MASK_TOKENS = ("[MASK]", "<mask>")
"""How tokenizers spell the mask token: BERT's kin, and RoBERTa's; tokenizer.json does not mark it otherwise."""


def token_masking(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return the replacement of each token by the mask token with `probability`; special tokens stay.

    Args:
        config: `probability`.
        preprocessing: The special tokens are read from `tokenizer`, the text of a tokenizer.json.

    Raises:
        ConfigError: If the backbone's tokenizer has no mask token.

    Reference: Devlin et al., BERT, arXiv:1810.04805, 3.1 (the mask token), as noise on the input of a classifier.
    """
    probability = float(config["probability"])
    special = special_tokens(preprocessing["tokenizer"])
    mask_id = next((special[token] for token in MASK_TOKENS if token in special), None)
    if mask_id is None:
        raise ConfigError(
            "augmentation.name: token_masking needs a mask token, and this backbone's tokenizer has none. Take 'none'."
        )
    special_ids = _ids(special)

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        input_ids, attention_mask = batch
        draws = _draws(input_ids, generator)
        is_masked = _words(batch, special_ids) & (draws < probability)
        return torch.where(is_masked, mask_id, input_ids), attention_mask

    return augment


def token_deletion(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return the deletion of each token with `probability`; special tokens stay, the others keep their order.

    What is left of a row moves together and is padded again to the length that the batch had. Of a row that would
    lose every token, one, drawn evenly, stays.

    Args:
        config: `probability`.
        preprocessing: `tokenizer`, the text of a tokenizer.json, and `pad_id`.

    Reference: Wei & Zou, EDA, arXiv:1901.11196, section 2 (random deletion), of tokens, not of words.
    """
    probability, pad_id = float(config["probability"]), int(preprocessing["pad_id"])
    special_ids = _ids(special_tokens(preprocessing["tokenizer"]))

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        input_ids, attention_mask = batch
        if not input_ids.numel():
            return batch
        draws, is_word = _draws(input_ids, generator), _words(batch, special_ids)
        # The token with the largest draw is the last to go; given that all draws are below `probability`, it is any.
        last = draws.masked_fill(~is_word, -1).argmax(dim=1, keepdim=True)
        is_deleted = (is_word & (draws < probability)).scatter(1, last, False)
        is_kept = (attention_mask == 1) & ~is_deleted
        order = (~is_kept).to(torch.uint8).argsort(dim=1, stable=True)
        mask = is_kept.gather(1, order)
        return torch.where(mask, input_ids.gather(1, order), pad_id), mask.to(attention_mask.dtype)

    return augment


def token_swap(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation:
    """Return the exchange of tokens in pairs drawn evenly, each pair with `probability`; special tokens stay.

    No token is in two pairs, so a token changes its place with `probability`, but for the one that is left over where
    their number is odd.

    Args:
        config: `probability`.
        preprocessing: `tokenizer`, the text of a tokenizer.json.

    Reference: Wei & Zou, EDA, arXiv:1901.11196, section 2 (random swap): n = alpha l swaps, one after another, of which
    one may undo another; here their pairs are disjoint, and `probability` is 2 alpha.
    """
    probability = float(config["probability"])
    special_ids = _ids(special_tokens(preprocessing["tokenizer"]))

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        input_ids, attention_mask = batch
        num_pairs = input_ids.shape[1] // 2
        draws, is_word = _draws(input_ids, generator), _words(batch, special_ids)
        is_swapped = _draws(input_ids[:, :num_pairs], generator) < probability
        # The words in a drawn order, then all else: places 0 and 1 of it are a pair, 2 and 3 the next.
        order = draws.masked_fill(~is_word, 2).argsort(dim=1)[:, : 2 * num_pairs]
        is_swapped &= is_word.gather(1, order[:, 1::2])
        places = order.reshape(len(order), num_pairs, 2)
        sources = torch.where(is_swapped.unsqueeze(2), places.flip(2), places).flatten(1)
        return input_ids.scatter(1, order, input_ids.gather(1, sources)), attention_mask

    return augment


def special_tokens(tokenizer: str) -> dict[str, int]:
    """Return the ids of the special tokens, by their spelling, from the text of a tokenizer.json."""
    added = json.loads(tokenizer).get("added_tokens") or []
    return {token["content"]: int(token["id"]) for token in added if token.get("special")}


def _ids(special: Mapping[str, int]) -> Tensor:
    return torch.tensor(sorted(special.values()), dtype=torch.int64)


def _words(batch: Batch, special_ids: Tensor) -> Tensor:
    """Return bool (B, L): which tokens are neither special nor padding."""
    input_ids, attention_mask = batch
    return (attention_mask == 1) & ~torch.isin(input_ids, special_ids.to(input_ids.device))


def _draws(input_ids: Tensor, generator: torch.Generator) -> Tensor:
    """Return float32 (B, L) from [0, 1), drawn on the processor, so that every device sees the same."""
    return torch.rand(input_ids.shape, generator=generator, device=generator.device).to(input_ids.device)
