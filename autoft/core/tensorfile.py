"""What autoft writes into the header of a safetensors file: JSON of its own, and a checksum over everything.

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


def first_part(tensors: Json, about: Json, pieces: Iterable[bytes | memoryview]) -> bytes:
    """Return the beginning of a file: all that comes before the bytes of its tensors.

    Args:
        tensors: `dtype`, `shape` and `data_offsets` of each, by name.
        about: What JSON says of them.
        pieces: The bytes of all tensors, as they will lie in the file.
    """
    words = canonical_json(about)
    metadata = {_ABOUT: words, _CHECKSUM: _checksum(tensors, words, pieces)}
    text = json.dumps({"__metadata__": metadata, **tensors}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_about(file: BinaryIO) -> Json | None:
    """Return what JSON says in a file, which is read whole, or None where it is not as it was written."""
    length = int.from_bytes(file.read(8), "little")
    if length > _MOST_HEADER_BYTES:
        return None
    try:
        tensors = json.loads(file.read(length))
        said = tensors.pop("__metadata__")
        is_whole = _checksum(tensors, said[_ABOUT], _pieces(file)) == said[_CHECKSUM]
        about: Json = json.loads(said[_ABOUT])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return about if is_whole else None


def _checksum(tensors: Json, words: str, pieces: Iterable[bytes | memoryview]) -> str:
    """Return a CRC-32 in hex: it tells what a disk or a cut did, not what somebody meant to do."""
    found = zlib.crc32(canonical_json([tensors, words]).encode())
    for piece in pieces:
        found = zlib.crc32(piece, found)
    return f"{found:08x}"


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_CHUNK_BYTES):
        yield piece
