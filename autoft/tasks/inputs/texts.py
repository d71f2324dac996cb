"""Texts: tokenised once, padded to the longest of a batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from tokenizers import Tokenizer
from torch import Tensor

from autoft.core.shelf import Shelved, in_memory
from autoft.tasks.inputs.base import Batch, Decode, mapping
from autoft.tasks.inputs.encoded import EncodedTexts, Ids

CHARACTERS_PER_TOKEN = 32
"""A text is cut to this many characters for each token that is kept; rarely more are needed."""
_CHUNK = 1024


class TextInputs:
    """Texts as token ids and attention mask.

    Args:
        preprocessing: `tokenizer`, the text of a tokenizer.json; `max_length` in tokens, special ones included;
            `pad_id`.
    """

    def __init__(self, preprocessing: Mapping[str, Any]) -> None:
        self.max_length = int(preprocessing["max_length"])
        self.pad_id = int(preprocessing["pad_id"])
        self.row_bytes = 8  # an id and an offset
        self.schema = pa.schema([pa.field("ids", pa.list_(pa.int32()), nullable=False)])
        self._tokenizer = Tokenizer.from_str(preprocessing["tokenizer"])
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_length)

    def encode(self, raw: Iterable[str], decode: Decode | None = None) -> EncodedTexts:
        """Return all texts, held in memory; see `encode_batches`."""
        return self.open(in_memory(self.encode_batches(raw), self.schema))

    def encode_batches(
        self,
        raw: Iterable[str],
        decode: Decode | None = None,
        *,
        threads: int = 1,
        heartbeat: Callable[[], None] = lambda: None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield all texts as token ids, each of at most `max_length`."""
        chunks = _chunks(raw)
        with mapping(threads) as mapped:
            while ahead := list(islice(chunks, threads)):
                for rows in mapped(self._rows, ahead):
                    heartbeat()
                    yield _record_batch(rows, self.schema)

    def open(self, shelved: Shelved) -> EncodedTexts:
        """Return the texts of a table."""
        return EncodedTexts(shelved)

    def _rows(self, texts: Sequence[str]) -> list[Ids]:
        return [np.asarray(ids, dtype=np.int32) for ids in self._ids(texts, CHARACTERS_PER_TOKEN)]

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
        return encoded.lengths

    def batch(self, encoded: EncodedTexts, indices: Sequence[int] | Tensor) -> Batch:
        """Return (input_ids, attention_mask), int64 (B, L), L the longest of these texts."""
        rows = encoded.rows(indices)
        longest = max((len(row) for row in rows), default=0)
        input_ids = np.full((len(rows), longest), self.pad_id, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for index, row in enumerate(rows):
            input_ids[index, : len(row)] = row
            attention_mask[index, : len(row)] = 1
        return torch.from_numpy(input_ids), torch.from_numpy(attention_mask)

    def finish(
        self, batch: Batch, device: torch.device | str, dtype: torch.dtype = torch.float32, channels_last: bool = False
    ) -> Batch:
        """Return the batch on `device`; ids and mask have neither another dtype nor another layout."""
        return tuple(tensor.to(device, non_blocking=True) for tensor in batch)


def _chunks(raw: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(raw)
    while chunk := list(islice(texts, _CHUNK)):
        yield chunk


def _record_batch(rows: Sequence[Ids], schema: pa.Schema) -> pa.RecordBatch:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    flat: list[pa.Int32Array] = [pa.array(values, pa.int32()) for values in (offsets, np.concatenate(rows))]
    return pa.RecordBatch.from_arrays([pa.ListArray.from_arrays(*flat)], schema=schema)
