"""PNG at every depth, colour type and interlacing: all its bits, and all its pixels or none."""

import io
import struct
import zlib

import numpy as np
import pytest
from hostile import put
from PIL import Image

from adf.files.image_file import LUMA, read_image, read_labels
from adf.files.png_file import LAYOUTS, PASSES

RNG = np.random.default_rng(0)
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PALETTE = RNG.integers(0, 256, (256, 3), np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def rows_of(samples: np.ndarray, bits: int) -> bytes:
    """Rows of whole bytes, each behind the number of a filter (Sub, so that it must be undone)."""
    if bits < 8:
        digits = samples[..., None] >> np.arange(bits)[::-1] & 1
        rows = np.packbits(digits.reshape(len(samples), -1).astype(np.uint8), axis=1)
    else:
        rows = samples.astype(f">u{bits // 8}").reshape(len(samples), -1).view(np.uint8)
    step = max(1, samples.shape[2] * bits // 8)
    left = np.pad(rows, ((0, 0), (step, 0)))[:, : rows.shape[1]]
    return b"".join(b"\x01" + row.tobytes() for row in rows - left)


def png(samples, bits, colour, interlaced=0, lost=0, *extra, size=None) -> bytes:
    """`samples` are (H, W, C); `lost` bytes of the rows are not written."""
    height, width = size or samples.shape[:2]
    passes = PASSES if interlaced else [(0, 1, 0, 1)]
    parts = [samples[top::down, left::right] for top, down, left, right in passes]
    rows = b"".join(rows_of(part, bits) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    palette = [chunk(b"PLTE", PALETTE[: 2**bits].tobytes())] if colour == 3 else []
    data = chunk(b"IDAT", zlib.compress(rows[: len(rows) - lost]))
    chunks = [chunk(b"IHDR", header), *palette, *extra, data, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def example(bits, colour, size=(13, 11)):
    return RNG.integers(0, 2**bits, (*size, CHANNELS[colour]), np.uint16)


def read(tmp_path, content: bytes, reader=read_image):
    put(tmp_path / "a.png", content)
    return reader(tmp_path / "a.png")


def refuse(tmp_path, content: bytes, match: str, reader=read_image):
    with pytest.raises(ValueError, match=match) as error:
        read(tmp_path, content, reader)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'a.png'}: expected ") and "\n" not in message


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("bits", "colour"), LAYOUTS)
def test_every_kind_is_read_with_all_its_bits(tmp_path, bits, colour, interlaced):
    """Pillow hands over the upper 8 bits of colours, and of grey with alpha."""
    for size in [(13, 11), (1, 1), (3, 2), (8, 8)]:
        samples = example(bits, colour, size)
        content = png(samples, bits, colour, interlaced)
        grey = samples[..., 0]
        if colour == 3:
            grey = PALETTE[grey] @ LUMA
        elif colour in (2, 6):
            grey = samples[..., :3] @ LUMA
        np.testing.assert_allclose(read(tmp_path, content), grey, rtol=1e-14)
        if colour in (0, 3):
            np.testing.assert_array_equal(read(tmp_path, content, read_labels), samples[..., 0])
        else:
            refuse(tmp_path, content, "mode", read_labels)
        # These tests' writer is one that Pillow understands.
        Image.open(io.BytesIO(content)).load()


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("bits", "colour"), LAYOUTS)
def test_pixels_that_are_missing_are_refused(tmp_path, bits, colour, interlaced):
    """A whole row, a part of one, a single byte: Pillow fills them up with 0."""
    samples = example(bits, colour)
    for lost in (1, 1 + (11 * bits * CHANNELS[colour] + 7) // 8, 40 * bits // 8):
        refuse(tmp_path, png(samples, bits, colour, interlaced, lost), "pixels missing")


def test_a_file_of_a_hundred_bytes_does_not_claim_64_million_pixels(tmp_path):
    content = png(np.zeros((2, 8192, 1), np.uint8), 8, 0, size=(8192, 8192))
    assert len(content) < 110
    refuse(tmp_path, content, "pixels missing")


def test_what_is_no_single_whole_picture_is_refused(tmp_path):
    samples = example(8, 0)
    good = png(samples, 8, 0)
    read(tmp_path, good)
    refuse(tmp_path, good.replace(b"IEND", b"IENE"), "checksum")
    refuse(tmp_path, good[:-12], "got")
    refuse(tmp_path, png(samples, 8, 0, 0, 0, chunk(b"ABCD", b"")), "ABCD")
    refuse(tmp_path, png(samples, 8, 0, 0, 0, chunk(b"acTL", bytes([0, 0, 0, 2] * 2))), "frames")
    refuse(tmp_path, png(samples, 8, 5, 0), "header")
    refuse(tmp_path, png(samples, 8, 0, 2), "header")
    read(tmp_path, png(samples, 8, 0, 0, 0, chunk(b"teXt", b"a comment")))
    read(tmp_path, png(samples, 8, 0, 0, 0, chunk(b"acTL", bytes([0, 0, 0, 1] * 2))))


def test_a_colour_that_the_palette_lacks_is_refused(tmp_path):
    content = png(np.full((2, 2, 1), 3, np.uint8), 2, 3)
    short = chunk(b"PLTE", PALETTE[:3].tobytes())
    content = content.replace(chunk(b"PLTE", PALETTE[:4].tobytes()), short)
    refuse(tmp_path, content, "colours below 3, got 3")
    np.testing.assert_array_equal(read(tmp_path, content, read_labels), 3)


def test_a_bomb_is_refused(tmp_path):
    content = png(np.zeros((8192, 8192 + 4096, 1), np.uint8), 8, 0, size=(9, 9))
    refuse(tmp_path, content, "hostile")
