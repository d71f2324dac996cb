"""The journal: segments of checksummed frames, one an event, in which a tear at any byte is seen.

A segment is a header and frames. A frame is a marker, a CRC-32 of all that follows it, the payload's length, the last
event known to be durable when the frame was written, and the payload (JSON). The durable event tells damage from a
tear: what some later frame calls durable must be there.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoft.core.configs import FORMAT
from autoft.core.errors import FormatError
from autoft.core.jsonable import Json
from autoft.record.events import decode

HEADER = b"autoft journal %04d\n" % FORMAT
"""First bytes of every segment: what it is, and its format version."""

_HEADER_FORM = re.compile(rb"autoft journal (\d{4})\n")
_MARKER = b"\xaf\x74\x0a\x1e"
_FRAME = struct.Struct("<4sIIQ")
_CHECKED_FROM = 8
_NAME_FORM = re.compile(r"journal-(\d{12})(?:-(\d{6}))?\.log")


def segment_name(first_seq: int, *, writer: int = 0) -> str:
    """Return the file name of the segment whose first event is `first_seq`.

    Args:
        first_seq: The event's number.
        writer: The writer's number on an object store: no writer overwrites what another has written.
    """
    return f"journal-{first_seq:012d}-{writer:06d}.log" if writer else f"journal-{first_seq:012d}.log"


def segment_start(name: str) -> int | None:
    """Return the first event's number of a segment by its file name, or None where the name is no segment's."""
    match = _NAME_FORM.fullmatch(name)
    return int(match.group(1)) if match else None


def in_order(names: Iterable[str]) -> list[tuple[int, str]]:
    """Return the segments among file names, each after its first event; of those with the same one the newest last."""
    found = [(match, name) for name in names if (match := _NAME_FORM.fullmatch(name))]
    found.sort(key=lambda pair: (int(pair[0].group(1)), int(pair[0].group(2) or 0)))
    return [(int(match.group(1)), name) for match, name in found]


def encode_frame(payload: bytes, *, durable_seq: int) -> bytes:
    """Return the frame of one event; `durable_seq` is the last event already acknowledged."""
    checked = struct.pack("<IQ", len(payload), durable_seq) + payload
    return _MARKER + struct.pack("<I", zlib.crc32(checked)) + checked


@dataclass(frozen=True, slots=True)
class Frames:
    """The whole frames of a segment, read from some byte on."""

    events: Sequence[Json]
    end: int
    """Byte of the segment up to which all is whole; what follows is torn or not yet written."""
    durable_seq: int
    """The last event that any whole frame calls durable, those beyond a broken one included."""


def decode_segment(content: bytes, *, name: str, offset: int = 0) -> Frames:
    """Return the events of a segment's bytes from byte `offset` of the segment on, up to the first broken frame.

    Raises:
        FormatError: If the segment is of a newer format, or is no journal.
    """
    position = 0
    if offset == 0:
        if not _has_header(content, name):
            return Frames((), 0, 0)
        position = len(HEADER)
    events: list[Json] = []
    durable = 0
    while (frame := _decode_frame(content, position)) is not None:
        payload, acknowledged = frame
        events.append(decode(payload))
        durable = max(durable, acknowledged)
        position += _FRAME.size + len(payload)
    return Frames(events, offset + position, max(durable, _durable_beyond(content, position)))


def _has_header(content: bytes, name: str) -> bool:
    """Return whether the header is whole; False where it is torn.

    Raises:
        FormatError: If it is another's, or of a newer format.
    """
    if len(content) < len(HEADER):
        return False
    match = _HEADER_FORM.match(content)
    if match is None:
        raise FormatError(f"{name} is no autoft journal, or its first bytes are damaged.")
    if int(match.group(1)) > FORMAT:
        raise FormatError(
            f"{name} has format {int(match.group(1))}, this autoft reads up to {FORMAT}; upgrade autoft to read it."
        )
    return True


def _decode_frame(content: bytes, position: int) -> tuple[bytes, int] | None:
    if len(content) - position < _FRAME.size:
        return None
    marker, checksum, length, durable_seq = _FRAME.unpack_from(content, position)
    start = position + _FRAME.size
    if marker != _MARKER or len(content) - start < length:
        return None
    if zlib.crc32(content[position + _CHECKED_FROM : start + length]) != checksum:
        return None
    return content[start : start + length], durable_seq


def _durable_beyond(content: bytes, position: int) -> int:
    """Return the last event that a whole frame beyond the broken one at `position` calls durable, or 0."""
    durable = 0
    while (position := content.find(_MARKER, position + 1)) >= 0:
        frame = _decode_frame(content, position)
        if frame is not None:
            durable = max(durable, frame[1])
    return durable
