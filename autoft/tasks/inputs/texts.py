"""Texts: tokenised once, padded to the longest of a batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from autoft.tasks.inputs.base import Batch, Decode

CHARACTERS_PER_TOKEN = 32
"""A text is cut to this many characters for each token that is kept; rarely more are needed."""
_CHUNK = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedTexts:
    """Token ids of N texts, one after another."""

    ids: Tensor
    """int32, of all texts."""
    starts: Tensor
    """int64 (N + 1,): text i has the ids from starts[i] up to starts[i + 1]."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.ids.nbytes + self.starts.nbytes

    def row(self, index: int) -> Tensor:
        """Return the ids of one text."""
        return self.ids[int(self.starts[index]) : int(self.starts[index + 1])]


class TextInputs:
    """Texts as token ids and attention mask.

    Args:
        preprocessing: `tokenizer`, the text of a tokenizer.json; `max_length` in tokens, special ones included;
            `pad_id`.
    """

    def __init__(self, preprocessing: Mapping[str, Any]) -> None:
        self.max_length = int(preprocessing["max_length"])
        self.pad_id = int(preprocessing["pad_id"])
        self._tokenizer = Tokenizer.from_str(preprocessing["tokenizer"])
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_length)

    def encode(self, raw: Iterable[str], decode: Decode | None = None) -> EncodedTexts:
        """Return all texts as token ids, each of at most `max_length`."""
        rows: list[np.ndarray[Any, np.dtype[np.int32]]] = []
        texts = iter(raw)
        while chunk := list(islice(texts, _CHUNK)):
            rows.extend(np.asarray(ids, dtype=np.int32) for ids in self._ids(chunk, CHARACTERS_PER_TOKEN))
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        ids = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int32)
        return EncodedTexts(ids=torch.from_numpy(ids), starts=torch.from_numpy(starts))

    def _ids(self, texts: Sequence[str], characters_per_token: int) -> list[list[int]]:
        """Return the ids of each text, from as few of its characters as fill `max_length`."""
        limit = self.max_length * characters_per_token
        encodings = self._tokenizer.encode_batch_fast([text[:limit] for text in texts])
        # A row without any token (no special tokens, an empty text) would leave nothing to pool.
        rows = [encoding.ids or [self.pad_id] for encoding in encodings]
        # Where nothing was truncated, the characters that were left off may have belonged to the kept tokens.
        short = [i for i, text in enumerate(texts) if len(text) > limit and not encodings[i].overflowing]
        if short:
            for i, ids in zip(short, self._ids([texts[i] for i in short], 8 * characters_per_token), strict=True):
                rows[i] = ids
        return rows

    def lengths(self, encoded: EncodedTexts) -> Tensor:
        """Return the tokens of each text, int64 (N,)."""
        return encoded.starts.diff()

    def batch(self, encoded: EncodedTexts, indices: Sequence[int] | Tensor) -> Batch:
        """Return (input_ids, attention_mask), int64 (B, L), L the longest of these texts."""
        rows = [encoded.row(int(index)) for index in indices]
        longest = max((len(row) for row in rows), default=0)
        input_ids = torch.full((len(rows), longest), self.pad_id, dtype=torch.int64)
        attention_mask = torch.zeros_like(input_ids)
        for index, row in enumerate(rows):
            input_ids[index, : len(row)] = row
            attention_mask[index, : len(row)] = 1
        return input_ids, attention_mask

    def finish(
        self, batch: Batch, device: torch.device | str, dtype: torch.dtype = torch.float32, channels_last: bool = False
    ) -> Batch:
        """Return the batch on `device`; ids and mask have neither another dtype nor another layout."""
        return tuple(tensor.to(device, non_blocking=True) for tensor in batch)
