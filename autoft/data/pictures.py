"""Pictures as bytes: what is wrong with one, and its pixels at the size that a model takes."""

import io
import struct
import threading
import warnings
import zlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from autoft.core.errors import DataError

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k"),
    "AVIF": (".avif",),
    "ICO": (".ico",),
}
FORMATS = tuple(_ENDINGS)
"""What is read, by Pillow's names; no format that runs another program (EPS) or has no signature (TGA)."""

EXTENSIONS = frozenset(ending for endings in _ENDINGS.values() for ending in endings)
"""Endings by which a file or a path in a table is known for a picture."""

MAX_PIXELS = 89_478_485
"""Pillow's own bound against decompression bombs: a quarter of a gigabyte of RGB pixels."""

LARGE_PIXELS = 2**24
"""A picture of more pixels is decoded alone, whatever the number of threads."""

_MOST_OF_8_BITS = 255
_MOST_OF_16_BITS = 65535

_LARGE = threading.Lock()

_BROKEN = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG or TIFF header
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    ArithmeticError,
    NotImplementedError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on damaged content."""


def is_picture_name(name: str) -> bool:
    """Return whether a file name or path ends like a picture's."""
    _, dot, ending = name.rpartition(".")
    return bool(dot) and f".{ending.lower()}" in EXTENSIONS


def check_picture(content: bytes) -> str | None:
    """Decode a picture to its last byte; return what is wrong with it, or None."""
    try:
        with _opened(content) as picture, _turn(picture):
            picture.draft(None, (1, 1))  # a JPEG at an eighth of its size: still every byte is decoded, and faster
            _load(picture)
            if _is_wide(picture):
                _eight_bits(picture)
    except DataError as error:
        return str(error)
    return None


def decode_picture(content: bytes, size: int) -> Pixels:
    """Return the centre of a picture as uint8 RGB pixels of shape (3, `size`, `size`).

    It is turned upright by its EXIF note, its short side is scaled to `size` (bicubic, antialiased), and the middle
    of the long side is kept.

    Raises:
        DataError: If the content is no picture, damaged, or too large; gives the reason alone.
    """
    with _opened(content) as picture, _turn(picture):
        picture.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded no larger than is of use
        _load(picture)
        upright = _rgb(_upright(picture))
    width, height = upright.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    # Cutting before scaling gives the same square, and a very long picture cannot fill the memory.
    square = upright.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + short, top + short))
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8).transpose(2, 0, 1))


def rgb_picture(content: bytes) -> Image.Image:
    """Return a whole picture, upright, in RGB.

    Raises:
        DataError: If the content is no picture, damaged, or too large; gives the reason alone.
    """
    with _opened(content) as picture, _turn(picture):
        _load(picture)
        return _rgb(_upright(picture))


def quiet_pillow() -> "warnings.catch_warnings[None]":
    """Return a context in which Pillow's warnings on odd pictures are not shown; for one thread, around its pool."""
    return warnings.catch_warnings(action="ignore", category=Warning)


def _opened(content: bytes) -> Image.Image:
    if not content:
        raise DataError("the picture is empty (0 bytes)")
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"the picture has more than {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise DataError("the content is no picture of a kind that can be read") from None
    except _BROKEN as error:
        raise DataError(f"the picture is broken ({_plain(error)})") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise DataError(f"the picture has {width * height:,} pixels, more than {MAX_PIXELS:,}")
    if not width * height:
        raise DataError("the picture has no pixels")
    return picture


def _turn(picture: Image.Image) -> AbstractContextManager[object]:
    """Return what to hold while a picture is decoded: a lock for a large one, so that threads decode one at a time."""
    width, height = picture.size
    return _LARGE if width * height > LARGE_PIXELS else nullcontext()


def _load(picture: Image.Image) -> None:
    try:
        picture.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"the picture has more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise DataError("the picture does not fit into memory") from None
    except _BROKEN as error:
        raise DataError(f"the picture is broken ({_plain(error)})") from error


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except _BROKEN:  # a damaged EXIF note: the pixels are good, only how the camera was held is lost
        return picture


def _rgb(picture: Image.Image) -> Image.Image:
    if _is_wide(picture):
        picture = _eight_bits(picture)
    elif picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _is_wide(picture: Image.Image) -> bool:
    """Return whether a pixel has 16 or 32 bits, whole numbers or fractions, which Pillow would cut off at 255."""
    return picture.mode.startswith("I") or picture.mode == "F"


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a picture of 16 or 32 bits a pixel with 8, scaled by the range that its values tell.

    Raises:
        DataError: If they tell none.
    """
    values = np.asarray(picture)
    low, high = float(values.min()), float(values.max())
    is_whole = picture.mode != "F"
    if not 0 <= low <= high <= (_MOST_OF_16_BITS if is_whole else _MOST_OF_8_BITS):
        raise DataError(
            f"the picture's values are of no range that is read ({low:g} to {high:g}; whole numbers of 0 to "
            f"{_MOST_OF_16_BITS:,} are, fractions of 0 to 1 or to {_MOST_OF_8_BITS})"
        )
    if is_whole:
        values = values >> 8 if high > _MOST_OF_8_BITS else values
    else:
        values = np.rint(values * _MOST_OF_8_BITS if high <= 1 else values)
    return Image.fromarray(values.astype(np.uint8))


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
