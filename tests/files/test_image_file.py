"""Reading images and labels: with full depth where the file has it.

Where the file is not right, there is one line of error.
"""

import importlib.util
import io
import random
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hostile import put, tensor_file
from PIL import Image

from adf.files.image_file import LUMA, read_image, read_labels, resize

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (5, 7), np.uint8)
WORDS = RNG.integers(0, 65536, (5, 7), np.uint16)
FLOATS = RNG.normal(size=(5, 7)).astype(np.float32)
RGB = RNG.integers(0, 256, (5, 7, 3), np.uint8)


def saved(array, format: str, mode=None, **options) -> bytes:
    file = io.BytesIO()
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(file, format, **options)
    return file.getvalue()


def tiff(array, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def npy(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy_header(text: str, numbers: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + numbers


def png_header(
    width: int, height: int, bits: int = 8, numbers: bytes = b"", colour: int = 0
) -> bytes:
    """A PNG of grey pixels, with right checksums whatever it claims."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(numbers))
        + chunk(b"IEND", b"")
    )


def tiff_header(width: int, height: int) -> bytes:
    """A TIFF of 8-bit grey pixels, none of which is there."""
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 2**31),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(tags)) + entries + bytes(4)


def read(tmp_path, name: str, content: bytes, reader=read_image):
    path = tmp_path / name
    put(path, content)
    return reader(path)


def refuse(tmp_path, name: str, content: bytes, reader=read_image, match=None):
    with pytest.raises(ValueError, match=match) as error:
        read(tmp_path, name, content, reader)
    message = str(error.value)
    assert (
        type(error.value) is ValueError
        and message.startswith(str(tmp_path / name))
        and "\n" not in message
    )
    assert "expected" in message and "got" in message


PALETTE = Image.fromarray(BYTES % 4).convert("P")
PALETTE.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 255, 7, 7, 7])
COLOURS = np.array([[10, 20, 30], [200, 100, 50], [0, 0, 255], [7, 7, 7]])[BYTES % 4]
READABLE = {
    "8.png": (saved(BYTES, "PNG"), BYTES),
    "16.png": (saved(WORDS, "PNG"), WORDS),
    "1.png": (saved(BYTES > 99, "PNG"), BYTES > 99),
    "grey_alpha.png": (saved(np.stack([BYTES, 255 - BYTES], -1), "PNG"), BYTES),
    "rgb.png": (saved(RGB, "PNG"), RGB @ LUMA),
    "rgba.png": (saved(np.concatenate([RGB, RGB[..., :1]], -1), "PNG"), RGB @ LUMA),
    "palette.png": (saved(PALETTE, "PNG"), COLOURS @ LUMA),
    "palette_alpha.png": (saved(PALETTE, "PNG", transparency=b"\x00\x80"), COLOURS @ LUMA),
    "UPPER.PNG": (saved(BYTES, "PNG"), BYTES),
    "8.tif": (saved(BYTES, "TIFF"), BYTES),
    "16.tiff": (saved(WORDS, "TIFF"), WORDS),
    "big_endian.tif": (
        saved(Image.frombytes("I;16B", (7, 5), WORDS.astype(">u2").tobytes()), "TIFF"),
        WORDS,
    ),
    "int32.tif": (saved(WORDS.astype(np.int32) - 9, "TIFF"), WORDS.astype(np.int32) - 9),
    "float.tif": (saved(FLOATS, "TIFF"), FLOATS),
    "deflate.tif": (saved(FLOATS, "TIFF", compression="tiff_adobe_deflate"), FLOATS),
    "rgb.tif": (saved(RGB, "TIFF"), RGB @ LUMA),
    "fortran.npy": (npy(np.asfortranarray(FLOATS)), FLOATS),
    "big_endian.npy": (npy(WORDS.astype(">u2")), WORDS),
    "bool.npy": (npy(BYTES > 99), BYTES > 99),
    "half.npy": (npy(FLOATS.astype(np.float16)), FLOATS.astype(np.float16)),
    "double.npy": (npy(FLOATS * np.float64(1e300)), FLOATS * np.float64(1e300)),
    "one_channel.npy": (npy(FLOATS[None]), FLOATS),
    "version_2.npy": (
        b"\x93NUMPY\x02\x00" + npy(BYTES)[8:10] + b"\x00\x00" + npy(BYTES)[10:],
        BYTES,
    ),
    "legacy.pt": (tensor_file(FLOATS, zip_format=False), FLOATS),
    "zip.pt": (tensor_file(FLOATS[None]), FLOATS),
}
LZW = saved(WORDS, "TIFF", compression="tiff_lzw")
HAS_CODECS = importlib.util.find_spec("imagecodecs") is not None
if HAS_CODECS:
    READABLE["lzw.tif"] = (LZW, WORDS)


@pytest.mark.parametrize("name", READABLE)
def test_reads_images_at_full_depth(tmp_path, name):
    content, expected = READABLE[name]
    image = read(tmp_path, name, content)
    assert image.dtype == np.float64 and image.shape == (5, 7)
    np.testing.assert_allclose(image, expected, rtol=1e-15)


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': SHAPE, }"
UNREADABLE = {
    "jpeg.png": saved(BYTES, "JPEG"),
    "jpeg.jpg": saved(BYTES, "JPEG"),
    "no_suffix": saved(BYTES, "PNG"),
    "text.png": b"hello, I am no image\n",
    "empty.png": b"",
    "empty.tif": b"",
    "empty.npy": b"",
    "empty.pt": b"",
    "huge.png": png_header(60_000, 60_000),
    "above_the_limit.png": png_header(8193, 8192),
    "no_pixels.png": png_header(0, 5),
    "missing_pixels.png": png_header(50, 50, 8, b"\x00" * 60),
    "huge.tif": tiff_header(60_000, 60_000),
    "lying.tif": tiff_header(1000, 1000),
    "pages.tif": saved(BYTES, "TIFF", save_all=True, append_images=[Image.fromarray(BYTES)]),
    "frames.png": saved(BYTES, "PNG", save_all=True, append_images=[Image.fromarray(255 - BYTES)]),
    "lab.tif": saved(Image.new("LAB", (7, 5)), "TIFF"),
    "nan.tif": saved(np.full((5, 7), np.nan, np.float32), "TIFF"),
    "inf.npy": npy(np.full((5, 7), -np.inf)),
    "beyond_float64.npy": npy(np.full((5, 7), np.longdouble("1e4000"))),
    "nan.pt": tensor_file(np.full((5, 7), np.nan, np.float32)),
    "objects.npy": npy(np.array([[{}]]), allow_pickle=True),
    "complex.npy": npy(FLOATS + 1j),
    "text.npy": npy(np.array([["a", "b"]])),
    "dates.npy": npy(np.zeros((2, 2), "M8[s]")),
    "fields.npy": npy(np.zeros((2, 2), [("ü", "f4")])),
    "scalar.npy": npy(np.float32(3)),
    "line.npy": npy(FLOATS[0]),
    "colour.npy": npy(RGB),
    "five_axes.npy": npy(np.zeros((1, 1, 1, 5, 7))),
    "five_axes.pt": tensor_file(np.zeros((1, 1, 1, 5, 7), np.float32)),
    "no_pixels.npy": npy(np.zeros((0, 7))),
    "no_pixels.pt": tensor_file(np.zeros((5, 0), np.float32)),
    "longer.npy": npy(FLOATS) + b"\x00",
    "shorter.npy": npy(FLOATS)[:-1],
    "huge.npy": npy_header(HEADER.replace("SHAPE", "(1000000, 1000000)"), bytes(100)),
    "huge_number.npy": npy_header(HEADER.replace("SHAPE", "(1" + "0" * 200 + ", 1)")),
    "negative.npy": npy_header(HEADER.replace("SHAPE", "(-1, -4)"), bytes(16)),
    "code.npy": npy_header(HEADER.replace("SHAPE", "__import__('os').system('touch canary')")),
    "deep.npy": npy_header(HEADER.replace("SHAPE", "(" * 5000 + ")" * 5000)),
    "long.npy": npy_header(HEADER.replace("SHAPE", " " * 60_000 + "(2, 2)")),
    "version_9.npy": b"\x93NUMPY\x09\x00" + npy(BYTES)[8:],
    "a_zip.npy": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_refuses_what_is_no_image(tmp_path, name):
    refuse(tmp_path, name, UNREADABLE[name])
    refuse(tmp_path, name, UNREADABLE[name], read_labels)


def test_a_claim_is_refused_before_memory_is_allocated(tmp_path):
    """The message is the one of the check, not of an allocation that failed."""
    for name in ("huge.png", "above_the_limit.png", "huge.tif", "huge.npy", "huge_number.npy"):
        refuse(tmp_path, name, UNREADABLE[name], match="pixels")


CUT = (
    "8.png",
    "16.png",
    "palette.png",
    "8.tif",
    "float.tif",
    "deflate.tif",
    *(["lzw.tif"] if HAS_CODECS else []),
    "double.npy",
)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", CUT)
def test_refuses_a_file_cut_anywhere(tmp_path, name):
    content, expected = READABLE[name]
    for length in range(len(content)):
        path = tmp_path / name
        put(path, content[:length])
        try:
            image = read_image(path)
        except ValueError:
            continue
        np.testing.assert_array_equal(image, expected)  # only bytes that hold no pixel were lost
        assert length > len(content) - 20


def test_mutated_files_are_read_or_refused(tmp_path):
    chance, read_well = random.Random(0), 0
    for _ in range(1500):
        name = chance.choice(list(READABLE))
        content = bytearray(READABLE[name][0])
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.choice(
                (0, 1, 255, chance.randrange(256))
            )
        try:
            read_well += np.isfinite(read(tmp_path, name, bytes(content))).all()
        except ValueError as error:
            assert type(error) is ValueError and "\n" not in str(error)
    assert 100 < read_well < 1400


def test_labels_are_what_lies_in_the_file(tmp_path):
    labels = BYTES % 3
    palette = Image.fromarray(labels).convert("P")
    palette.putpalette([255, 0, 0, 255, 0, 0, 0, 0, 255])
    two, four = (
        np.array([[0, 0b00011000], [0, 0b00100100]], np.uint8),
        np.array([[0, 0x01, 0x20]], np.uint8),
    )
    for name, content, expected in [
        ("grey.png", saved(labels, "PNG"), labels),
        ("palette.png", saved(palette, "PNG"), labels),
        ("16.png", saved(labels.astype(np.uint16) * 300, "PNG"), labels.astype(int) * 300),
        ("1.png", saved(labels > 0, "PNG"), labels > 0),
        ("2.png", png_header(4, 2, 2, two.tobytes()), [[0, 1, 2, 0], [0, 2, 1, 0]]),
        ("4.png", png_header(4, 1, 4, four.tobytes()), [[0, 1, 2, 0]]),
        ("grey.tif", saved(labels, "TIFF"), labels),
        ("long.npy", npy(labels.astype(">i8") * 2**40), labels.astype(int) * 2**40),
        ("long.pt", tensor_file(labels.astype(np.int64)), labels),
    ]:
        read_back = read(tmp_path, name, content, read_labels)
        assert read_back.dtype.kind in "iu" and read_back.dtype.isnative
        np.testing.assert_array_equal(read_back, expected)


def test_refuses_a_label_below_zero(tmp_path):
    """-1 often means "not annotated": it must not become an object, nor 255 or 65535."""
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        labels = np.array([[0, 1], [2, -1]], dtype)
        refuse(tmp_path, "a.npy", npy(labels), read_labels, "got -1; is that 'not annotated'")
        refuse(tmp_path, "a.pt", tensor_file(labels), read_labels, "got -1")
        refuse(tmp_path, "a.tif", tiff(labels), read_labels, "got -1")


@pytest.mark.skipif(HAS_CODECS, reason="imagecodecs decodes it")
def test_names_the_package_that_a_compression_needs(tmp_path):
    refuse(tmp_path, "lzw.tif", LZW, match="LZW; `pip install imagecodecs`")
    jpeg = saved(BYTES, "TIFF", compression="jpeg")
    refuse(tmp_path, "jpeg.tif", jpeg, match="JPEG; `pip install imagecodecs`")


def test_refuses_labels_that_are_no_integers_or_colours(tmp_path):
    refuse(tmp_path, "float.npy", npy(FLOATS), read_labels, "integer")
    refuse(tmp_path, "float.tif", saved(FLOATS, "TIFF"), read_labels, "mode")
    refuse(tmp_path, "rgb.png", saved(RGB, "PNG"), read_labels, "mode")


def test_a_path_that_cannot_be_opened(tmp_path):
    for suffix in ("png", "tif", "npy", "pt"):
        with pytest.raises(OSError):
            read_image(tmp_path / f"missing.{suffix}")
        (tmp_path / f"folder.{suffix}").mkdir()
        with pytest.raises(ValueError, match="folder"):
            read_image(tmp_path / f"folder.{suffix}")


def test_resize_keeps_a_ramp_and_the_order_of_the_axes():
    ramp = np.arange(40.0)[:, None] + np.zeros(24)
    small = resize(ramp, (10, 12))
    assert small.shape == (10, 12) and small.dtype == np.float32
    np.testing.assert_allclose(
        small[2:-2], (np.arange(10) * 4 + 1.5)[2:-2, None] + np.zeros(12), rtol=1e-5
    )
