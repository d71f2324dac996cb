"""What autoft writes into the header of a safetensors file: JSON of its own, and a checksum over everything.

The header comes first and says what is known last, so the bytes of the tensors may be written before it, behind a room
that is left for it.

Reference: https://github.com/huggingface/safetensors, "Format".
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from autoft.core.jsonable import Json, canonical_json

_ABOUT, _CHECKSUM = "autoft", "crc32"
_MOST_HEADER_BYTES = 100 * 2**20
_CHUNK_BYTES = 8 * 2**20


def first_part(tensors: Json, about: Json, checksum: int, *, room: int = 0) -> bytes:
    """Return the beginning of a file: all that comes before the bytes of its tensors.

    Args:
        tensors: `dtype`, `shape` and `data_offsets` of each, by name.
        about: What JSON says of them.
        checksum: `checksum_of` the bytes of all tensors, as they lie in the file.
        room: Bytes that it fills, a multiple of 8, if it needs no more.
    """
    words = canonical_json(about)
    metadata = {_ABOUT: words, _CHECKSUM: _with_words(checksum, tensors, words)}
    text = json.dumps({"__metadata__": metadata, **tensors}).encode()
    text += b" " * max(-len(text) % 8, room - 8 - len(text))
    return len(text).to_bytes(8, "little") + text


def read_about(file: BinaryIO) -> Json | None:
    """Return what JSON says in a file, which is read whole, or None where it is not as it was written."""
    length = int.from_bytes(file.read(8), "little")
    if length > _MOST_HEADER_BYTES:
        return None
    try:
        tensors = json.loads(file.read(length))
        said = tensors.pop("__metadata__")
        is_whole = _with_words(checksum_of(_pieces(file)), tensors, said[_ABOUT]) == said[_CHECKSUM]
        about: Json = json.loads(said[_ABOUT])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return about if is_whole else None


def checksum_of(pieces: Iterable[bytes | memoryview], before: int = 0) -> int:
    """Return the CRC-32 of bytes that follow those whose own is `before`.

    It tells what a disk or a cut did, not what somebody meant to do.
    """
    for piece in pieces:
        before = zlib.crc32(piece, before)
    return before


def _with_words(checksum: int, tensors: Json, words: str) -> str:
    return f"{zlib.crc32(canonical_json([tensors, words]).encode(), checksum):08x}"


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_CHUNK_BYTES):
        yield piece
