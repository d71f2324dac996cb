import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from autoft.core.errors import DataError
from autoft.data import check_picture, decode_picture
from autoft.data.pictures import is_picture_name
from tests.data.making import picture


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def giant_png(width: int, height: int) -> bytes:
    """Return a small file that unpacks to width x height grey pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_a_whole_picture_has_no_problem(kind):
    assert check_picture(picture(0, kind, side=20)) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_a_truncated_picture_is_broken(kind):
    content = picture(0, kind, side=64)
    assert check_picture(content[: len(content) * 2 // 3]) is not None


def test_a_flipped_byte_in_a_png_is_found_by_its_checksum():
    content = bytearray(picture(0, side=64))
    content[len(content) // 2] ^= 0xFF
    assert "broken" in check_picture(bytes(content))


def test_text_is_no_picture():
    assert check_picture(b"hello, this is a text") == "the content is no picture of a kind that can be read"


def test_a_program_for_printers_is_no_picture():
    assert "no picture" in check_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


def test_a_large_picture_is_checked_too():
    content = encoded(Image.new("L", (4100, 4100)), "PNG", compress_level=1)
    assert check_picture(content) is None
    assert "broken" in check_picture(content[:-3000])


def test_an_empty_file_is_named_so():
    assert check_picture(b"") == "the picture is empty (0 bytes)"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_hundred_million_pixels_are_refused_unread():
    assert check_picture(giant_png(10_000, 10_000)) == "the picture has 100,000,000 pixels, more than 89,478,485"


def test_a_thousand_million_pixels_are_refused_unread():
    assert "more than 89,478,485 pixels" in check_picture(giant_png(40_000, 40_000))


def test_decoding_a_bomb_raises():
    with pytest.raises(DataError, match=r"pixels"):
        decode_picture(giant_png(40_000, 40_000), 8)


def test_pixels_are_uint8_in_three_channels():
    pixels = decode_picture(picture(0, side=30), 16)
    assert pixels.shape == (3, 16, 16)
    assert pixels.dtype == np.uint8


def test_a_picture_of_the_right_size_keeps_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(decode_picture(encoded(Image.fromarray(pixels)), 8), pixels.transpose(2, 0, 1))


def test_the_middle_of_the_long_side_is_kept():
    pixels = np.zeros((4, 12, 3), dtype=np.uint8)
    pixels[:, 4:8] = 200
    assert (decode_picture(encoded(Image.fromarray(pixels)), 4) == 200).all()


def test_the_exif_note_turns_a_picture_upright():
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees clockwise for viewing: the left half comes to the top
    turned = decode_picture(encoded(Image.fromarray(pixels), exif=exif), 8)
    assert (turned[:, :4] == 255).all()
    assert (turned[:, 4:] == 0).all()


def test_sixteen_bits_are_scaled_not_cut_off():
    grey = Image.fromarray(np.full((4, 4), 0x8000, dtype=np.uint16))
    assert (decode_picture(encoded(grey), 4) == 128).all()


@pytest.mark.parametrize(
    ("values", "pixels"),
    [
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0.0, 128.0, 255.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0, 200, 255]], dtype=np.int32), [0, 200, 255]),
        (np.array([[0, 0x80FF, 0xFFFF]], dtype=np.int32), [0, 128, 255]),
    ],
)
def test_fractions_and_whole_numbers_are_scaled_by_their_range(values, pixels):
    content = encoded(Image.fromarray(np.repeat(values, 3, axis=0)), "TIFF")
    assert check_picture(content) is None
    assert decode_picture(content, 3)[0, 0].tolist() == pixels


@pytest.mark.parametrize(
    ("values", "span"),
    [
        (np.array([[0.0, np.nan]], dtype=np.float32), "nan to nan"),
        (np.array([[0.0, np.inf]], dtype=np.float32), "0 to inf"),
        (np.array([[-1000.0, 3000.0]], dtype=np.float32), "-1000 to 3000"),
        (np.array([[0, 70000]], dtype=np.int32), "0 to 70000"),
        (np.array([[-3, 7]], dtype=np.int32), "-3 to 7"),
    ],
)
def test_values_of_a_range_that_cannot_be_told_are_refused(values, span):
    content = encoded(Image.fromarray(np.repeat(values, 2, axis=0)), "TIFF")
    reason = (
        f"the picture's values are of no range that is read ({span}; whole numbers of 0 to 65,535 are, fractions of 0 "
        "to 1 or to 255)"
    )
    assert check_picture(content) == reason
    with pytest.raises(DataError, match=re.escape(reason)):
        decode_picture(content, 2)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    image = Image.fromarray(np.full((6, 6, 3), 255, dtype=np.uint8)).convert(mode)
    assert (decode_picture(encoded(image, kind), 6) >= 250).all()


def test_a_palette_with_transparency_is_read_without_a_warning():
    image = Image.new("P", (6, 6), 0)
    image.putpalette([10, 20, 30] * 256)
    content = encoded(image, transparency=b"\x00\x80")
    assert decode_picture(content, 6)[:, 0, 0].tolist() == [10, 20, 30]


def test_a_very_long_picture_takes_no_more_memory_than_its_square():
    assert decode_picture(encoded(Image.new("RGB", (20_000, 1))), 224).shape == (3, 224, 224)


def test_decoding_what_is_no_picture_raises():
    with pytest.raises(DataError, match=r"no picture"):
        decode_picture(b"not a picture", 8)


def test_decoding_a_truncated_picture_raises():
    content = picture(0, "JPEG", side=64)
    with pytest.raises(DataError, match=r"broken"):
        decode_picture(content[: len(content) // 2], 8)


@pytest.mark.parametrize(("name", "known"), [("a.JPG", True), ("b/c.webp", True), ("a.txt", False), ("jpg", False)])
def test_pictures_are_known_by_their_endings(name, known):
    assert is_picture_name(name) is known
