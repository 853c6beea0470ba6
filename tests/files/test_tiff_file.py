"""TIFFs of every kind of sample, plane, photometric and layout: decoded exactly, or refused."""

import importlib.util
import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tifffile
from hostile import put
from PIL import Image

from adf.files.image_file import LUMA, read_image, read_labels
from adf.files.tiff_pixels import _unpacked
from adf.files.tiff_tags import FACTORS

RNG = np.random.default_rng(0)
WORDS = RNG.integers(0, 65536, (37, 53), np.uint16)
BYTES = RNG.integers(0, 256, (37, 53), np.uint8)
COLOURS = RNG.integers(0, 65536, (37, 53, 3), np.uint16)
LOW = RNG.integers(0, 200, (37, 53, 3), np.uint16)
FLOATS = RNG.normal(size=(37, 53))
HAS_CODECS = importlib.util.find_spec("imagecodecs") is not None


def tiff(array, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def raw(data: bytes, size=(53, 37), bits=8, order="<", drop=(), big=False, **tags) -> bytes:
    """A TIFF by hand: one strip of `data`; `tags` are t258=(type, value, ...)."""
    content = {
        256: (4, size[0]),
        257: (4, size[1]),
        258: (3, bits),
        259: (3, 1),
        262: (3, 1),
        273: (4, 8),
        277: (3, 1),
        278: (4, size[1]),
        279: (4, len(data)),
    }
    content |= {int(name[1:]): value for name, value in tags.items()}
    file = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4) + data)
    entries = []
    for code, (kind, *values) in sorted(content.items()):
        if code in drop:
            continue
        letter = {1: "B", 2: "B", 3: "H", 4: "I"}[kind]
        value = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(value) > 4:
            place = struct.pack(order + "I", len(file))
            file += value
            value = place
        entries.append(struct.pack(order + "HHI", code, kind, len(values)) + value.ljust(4, b"\0"))
    file[4:8] = struct.pack(order + "I", len(file))
    return bytes(file + struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4))


def read(tmp_path, content: bytes, reader=read_image):
    put(tmp_path / "a.tif", content)
    return reader(tmp_path / "a.tif")


def refuse(tmp_path, content: bytes, match: str, reader=read_image):
    with pytest.raises(ValueError, match=match) as error:
        read(tmp_path, content, reader)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'a.tif'}: expected ") and "got" in message
    assert "\n" not in message and message.count("expected") == 1


def colour_map(colours) -> np.ndarray:
    return np.asarray(colours, np.uint16)


REVERSED = colour_map([np.arange(255, -1, -1) * 257] * 3)
PLANAR = {"photometric": "rgb", "planarconfig": "separate"}  # of tifffile, by default
GLASBEY = RNG.integers(0, 65536, (3, 256), np.uint16)
ALPHA = np.stack([WORDS, WORDS[::-1]], -1)
RGBA = np.concatenate([COLOURS, WORDS[..., None]], -1)
DEPTHS = {
    "uint8": BYTES,
    "uint16": WORDS,
    "uint32 above 2^31": WORDS.astype(np.uint32) * 65537,
    "uint64": WORDS.astype(np.uint64) * 2**30,
    "int8": BYTES.view(np.int8),
    "int16": WORDS.view(np.int16),
    "int32": WORDS.astype(np.int32) * -30000,
    "int64": WORDS.astype(np.int64) * -(2**30),
    "float16": FLOATS.astype(np.float16),
    "float32": FLOATS.astype(np.float32),
    "float64": FLOATS,
    "1 bit": BYTES > 99,
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", DEPTHS)
def test_every_depth_and_sign_is_read(tmp_path, kind, order):
    array = DEPTHS[kind]
    image = read(tmp_path, tiff(array, byteorder=order, photometric="minisblack"))
    np.testing.assert_array_equal(image, array.astype(np.float64))
    assert image.dtype == np.float64


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", DEPTHS)
def test_white_is_zero_is_brightness_as_displayed_at_every_depth(tmp_path, kind, order):
    array = DEPTHS[kind]
    content = tiff(array, byteorder=order, photometric="miniswhite")
    # of an integer the greatest and the least value change places, a float becomes its negative
    top = {"u": np.iinfo, "i": np.iinfo}.get(array.dtype.kind)
    total = int(top(array.dtype).max) + int(top(array.dtype).min) if top else array.dtype == bool
    np.testing.assert_allclose(
        read(tmp_path, content), float(total) - array.astype(np.float64), rtol=1e-15
    )
    if array.dtype.kind in "bu":  # labels are what is stored
        np.testing.assert_array_equal(read(tmp_path, content, read_labels), array)


READABLE = {
    "planar colours": (tiff(COLOURS.transpose(2, 0, 1), **PLANAR), COLOURS @ LUMA),
    "planar colours of 8 bit": (
        tiff((COLOURS >> 8).astype(np.uint8).transpose(2, 0, 1), photometric="rgb"),
        (COLOURS >> 8) @ LUMA,
    ),
    "planar colours in strips": (
        tiff(COLOURS.transpose(2, 0, 1), photometric="rgb", rowsperstrip=5, compression="zlib"),
        COLOURS @ LUMA,
    ),
    "colours": (tiff(COLOURS, photometric="rgb"), COLOURS @ LUMA),
    "colours below 256": (tiff(LOW, photometric="rgb"), LOW @ LUMA),
    "colours, big-endian": (tiff(LOW, photometric="rgb", byteorder=">"), LOW @ LUMA),
    "colours of float": (
        tiff(COLOURS.astype(np.float32), photometric="rgb"),
        COLOURS.astype(np.float64) @ LUMA,
    ),
    "colours and alpha": (
        tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]),
        COLOURS @ LUMA,
    ),
    "planar colours and alpha": (
        tiff(
            RGBA.transpose(2, 0, 1),
            photometric="rgb",
            planarconfig="separate",
            extrasamples=["unassalpha"],
        ),
        COLOURS @ LUMA,
    ),
    "grey and alpha": (
        tiff(ALPHA, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]),
        WORDS,
    ),
    "planar grey and alpha": (
        tiff(
            ALPHA.transpose(2, 0, 1),
            photometric="minisblack",
            planarconfig="separate",
            extrasamples=["unassalpha"],
        ),
        WORDS,
    ),
    "a display LUT, reversed": (tiff(BYTES, photometric="palette", colormap=REVERSED), BYTES),
    "a display LUT of colours": (tiff(BYTES, photometric="palette", colormap=GLASBEY), BYTES),
    "a display LUT of ImageJ": (
        tiff(BYTES, imagej=True, metadata={"LUTs": [(REVERSED >> 8).astype(np.uint8)]}),
        BYTES,
    ),
    "one plane of ImageJ": (tiff(WORDS[None, None], imagej=True), WORDS),
    "axes of length 1": (tiff(WORDS[None, None]), WORDS),
    "OME of one plane": (tiff(WORDS, ome=True), WORDS),
    "BigTIFF": (tiff(WORDS, bigtiff=True), WORDS),
    "BigTIFF, big-endian": (tiff(WORDS, bigtiff=True, byteorder=">"), WORDS),
    "strips": (tiff(WORDS, rowsperstrip=5), WORDS),
    "deflate": (tiff(WORDS, compression="zlib"), WORDS),
    "deflate in strips": (tiff(WORDS, compression="zlib", rowsperstrip=7), WORDS),
    "tiles": (tiff(WORDS, tile=(16, 32)), WORDS),
    "tiles, deflate": (tiff(COLOURS, tile=(16, 32), compression="zlib"), COLOURS @ LUMA),
    "tiles, planar": (
        tiff(COLOURS.transpose(2, 0, 1), tile=(16, 32), photometric="rgb"),
        COLOURS @ LUMA,
    ),
    "a tile of 1 bit": (
        raw(np.packbits(np.pad(BYTES > 99, ((0, 11), (0, 11))), axis=1).tobytes(), bits=1,
            drop=(273, 278, 279), t322=(3, 64), t323=(3, 48), t324=(4, 8), t325=(4, 384)),
        BYTES > 99,
    ),
    "no photometric": (raw(BYTES.tobytes(), drop=(262,)), BYTES),
    "a strip of too many bytes": (raw(BYTES.tobytes() + bytes(9)), BYTES),
    "fill order 2": (
        raw(np.packbits(BYTES > 99, axis=1, bitorder="little").tobytes(), bits=1, t266=(3, 2)),
        BYTES > 99,
    ),
    "inks": (
        raw(np.dstack([COLOURS >> 8, BYTES]).astype(np.uint8).tobytes(), bits=8, t262=(3, 5),
            t277=(3, 4), t258=(3, 8, 8, 8, 8)),
        ((255 - (COLOURS >> 8)) @ LUMA) * ((255 - BYTES.astype(float)) / 255),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_every_layout_is_decoded_exactly(tmp_path, name):
    content, expected = READABLE[name]
    np.testing.assert_allclose(read(tmp_path, content), expected, rtol=1e-14)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", range(1, 17))
def test_packed_integers_of_any_bits(tmp_path, bits, order):
    """Cameras of 10, 12 and 14 bits write them; a row ends with a whole byte."""
    array = WORDS >> (16 - bits)
    digits = array[..., None] >> np.arange(bits)[::-1] & 1
    data = np.packbits(digits.reshape(37, -1).astype(np.uint8), axis=1).tobytes()
    if bits == 16:
        data = array.astype(order + "u2").tobytes()
    for photometric, expected in [(1, array), (0, 2**bits - 1 - array.astype(int))]:
        content = raw(data, bits=bits, order=order, t262=(3, photometric))
        np.testing.assert_array_equal(read(tmp_path, content), expected)
        np.testing.assert_array_equal(read(tmp_path, content, read_labels), array)


def floating_differences(array: np.ndarray) -> bytes:
    """The predictor 3 of Adobe's Technical Note 3, written as it is said there."""
    places = array.astype(array.dtype.newbyteorder(">")).view(np.uint8)
    places = places.reshape(*array.shape, -1).transpose(0, 2, 1).reshape(len(array), -1)
    return np.diff(places, axis=1, prepend=np.uint8(0)).astype(np.uint8).tobytes()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32 above 2^31", "int16", "float32"])
def test_differences_of_neighbours(tmp_path, kind, order):
    array = DEPTHS[kind]
    whole = array.view(f"u{array.itemsize}")
    steps = np.diff(whole, axis=1, prepend=whole.dtype.type(0)).astype(whole.dtype)
    data = zlib.compress(steps.astype(steps.dtype.newbyteorder(order)).tobytes())
    form = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    content = raw(
        data, bits=8 * array.itemsize, order=order, t259=(3, 8), t317=(3, 2), t339=(3, form)
    )
    np.testing.assert_array_equal(read(tmp_path, content), array)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_differences_of_the_bytes_of_floats(tmp_path, kind, order):
    array = DEPTHS[kind]
    content = raw(
        zlib.compress(floating_differences(array)),
        bits=8 * array.itemsize,
        order=order,
        t259=(3, 8),
        t317=(3, 3),
        t339=(3, 3),
    )
    np.testing.assert_array_equal(read(tmp_path, content), array)


def test_differences_of_colours_run_over_each_colour(tmp_path):
    steps = np.diff(COLOURS, axis=1, prepend=np.uint16(0)).astype("<u2")
    content = raw(zlib.compress(steps.tobytes()), t258=(3, 16, 16, 16), t259=(3, 8), t262=(3, 2),
                  t277=(3, 3), t317=(3, 2))  # fmt: skip
    np.testing.assert_allclose(read(tmp_path, content), COLOURS @ LUMA, rtol=1e-14)


def test_packbits_as_pillow_writes_it(tmp_path):
    file = io.BytesIO()
    flat = BYTES // 128 * 9
    Image.fromarray(flat).save(file, "TIFF", compression="packbits")
    np.testing.assert_array_equal(read(tmp_path, file.getvalue()), flat)
    # The example of Apple's Technical Note 1023, with a 128 that does nothing.
    packed = bytes.fromhex("FE AA 02 80 00 2A 80 FD AA 03 80 00 2A 22 F7 AA")
    unpacked = bytes.fromhex("AAAAAA 80002A AAAAAAAA 80002A22 AAAAAAAAAAAAAAAAAAAA")
    assert _unpacked(packed, 24) == unpacked
    assert len(_unpacked(b"\x81\x00" * 1000, 500)) < 500 + 128


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(tmp_path, orientation):
    content = raw(BYTES.tobytes(), t274=(3, orientation))
    expected = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(read(tmp_path, content), expected)
    np.testing.assert_array_equal(read(tmp_path, content, read_labels), expected)


def test_labels_are_stored_numbers_whatever_displays_them(tmp_path):
    for content in (
        tiff(BYTES, photometric="miniswhite"),
        tiff(BYTES, photometric="palette", colormap=REVERSED),
        tiff(BYTES, photometric="palette", colormap=GLASBEY),
        tiff(BYTES, imagej=True, metadata={"LUTs": [(REVERSED >> 8).astype(np.uint8)]}),
    ):
        labels = read(tmp_path, content, read_labels)
        np.testing.assert_array_equal(labels, BYTES)
        assert labels.dtype == np.uint8


def imagej(line: str) -> bytes:
    """A hyperstack behind one directory, as ImageJ writes those above 4 GiB."""
    text = f"ImageJ=1.54f\n{line}\nloop=false\n\0".encode()
    return raw(BYTES.tobytes() * 3, t270=(1, *text), t279=(4, BYTES.size)).replace(
        struct.pack("<HH", 270, 1), struct.pack("<HH", 270, 2)
    )


def metamorph() -> bytes:
    planes = (0,) * 6
    return raw(BYTES.tobytes() * 3, t33628=(4, 0), t33629=(4, *planes)).replace(
        struct.pack("<HHI", 33629, 4, 6), struct.pack("<HHI", 33629, 5, 3)
    )


STACK = np.stack([WORDS] * 5)
STACKS = {
    "pages": (tiff(STACK, photometric="minisblack"), "several pages"),
    "two pages of other sizes": (
        (lambda: (f := io.BytesIO(), w := tifffile.TiffWriter(f), w.write(WORDS),
                  w.write(BYTES[:9]), w.close(), f.getvalue())[-1])(),
        "several pages",
    ),
    "ImageJ's pages": (tiff(STACK, imagej=True), "several pages"),
    "OME": (tiff(STACK, ome=True), "several pages"),
    "BigTIFF": (tiff(STACK, bigtiff=True, photometric="minisblack"), "several pages"),
    "ImageJ behind one directory": (imagej("images=3\nslices=3"), "images=3"),
    "ImageJ, 12 frames": (imagej("frames=12"), "frames=12"),
    "ImageJ, channels": (imagej("channels=2"), "channels=2"),
    "tifffile's shape": (tiff(STACK, truncate=True, photometric="minisblack"), r"shape \[5, 37"),
    "MetaMorph": (metamorph(), "MetaMorph"),
    "a volume": (tiff(STACK, volumetric=True, photometric="minisblack"), "ImageDepth 5"),
    "a volume in tiles": (
        tiff(STACK, volumetric=True, tile=(1, 16, 16), photometric="minisblack"),
        "ImageDepth 5",
    ),
    "without a word": (raw(BYTES.tobytes() * 3), "a stack behind one directory"),
}  # fmt: skip
CHANNELS = {
    "two planes": tiff(WORDS[None].repeat(2, 0), photometric="minisblack", planarconfig="separate"),
    "two samples": tiff(ALPHA, photometric="minisblack", planarconfig="contig"),
    "three planes that are no colours": tiff(
        COLOURS.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate"
    ),
    "four planes of which one is no colour": tiff(
        RGBA, photometric="rgb", extrasamples=["unspecified"]
    ),
    "five planes": tiff(
        np.concatenate([RGBA, RGBA[..., :1]], -1),
        photometric="rgb",
        extrasamples=["unassalpha", "unspecified"],
    ),
}
WRONG = {
    "complex": (tiff(FLOATS.astype(np.complex64)), "complex"),
    "24 bits": (raw(BYTES.tobytes() * 3, bits=24), "24 bits|1 to 16"),
    "5, 6 and 5 bits": (
        raw(bytes(37 * 53 * 2), t258=(3, 5, 6, 5), t262=(3, 2), t277=(3, 3)),
        "bits",
    ),
    "Lab": (raw(bytes(37 * 53 * 3), t258=(3, 8, 8, 8), t262=(3, 8), t277=(3, 3)), "CIELAB"),
    "YCbCr": (raw(bytes(37 * 53 * 3), t258=(3, 8, 8, 8), t262=(3, 6), t277=(3, 3)), "YCbCr"),
    "a camera's mosaic": (raw(BYTES.tobytes(), t262=(3, 32803)), "CFA"),
    "an unknown photometric": (raw(BYTES.tobytes(), t262=(3, 999)), "999"),
    "an unknown orientation": (raw(BYTES.tobytes(), t274=(3, 9)), "orientation"),
    "an unknown predictor": (raw(zlib.compress(BYTES.tobytes()), t259=(3, 8), t317=(3, 9)), "9"),
    "strips of no rows": (raw(BYTES.tobytes(), t278=(4, 0)), "got"),
    "a strip cut short": (raw(BYTES.tobytes()[:-53]), "pixels missing"),
    "a strip behind the end": (raw(BYTES.tobytes(), t273=(4, 2**31)), "pixels missing"),
    "an empty strip": (raw(BYTES.tobytes(), t279=(4, 0)), "pixels missing"),
    "a strip too few": (raw(BYTES.tobytes(), t278=(4, 20)), "pixels missing"),
    "deflated rows missing": (
        raw(zlib.compress(BYTES.tobytes()[:-53]), t259=(3, 8)),
        "pixels missing",
    ),
    "deflated without its end": (raw(zlib.compress(BYTES.tobytes())[:-4], t259=(3, 8)), "got"),
    "packed rows missing": (raw(b"\x81\x00" * 9, t259=(3, 32773)), "pixels missing"),
    "a deflate bomb": (raw(zlib.compress(bytes(2**27)), t259=(3, 8)), "hostile"),
    "a claim of 8192 x 8192": (
        raw(zlib.compress(bytes(50)), (8192, 8192), t259=(3, 8)),
        "pixels missing",
    ),
    "a tile of 2^31 x 2^31": (
        raw(BYTES.tobytes(), drop=(273, 278, 279), t322=(4, 2**31), t323=(4, 2**31), t324=(4, 8),
            t325=(4, 1961)),
        "strips or tiles",
    ),
    "a tag that cannot be read": (
        raw(BYTES.tobytes()).replace(struct.pack("<HH", 262, 3), struct.pack("<HH", 262, 77)),
        "damaged one, 262",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
def test_stacks_are_refused_by_name(tmp_path, name):
    content, match = STACKS[name]
    refuse(tmp_path, content, match)
    refuse(tmp_path, content, match, read_labels)


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_that_are_no_colours_are_refused_by_name(tmp_path, name):
    refuse(tmp_path, CHANNELS[name], "planes or samples; several channels")


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_understood_or_not_whole_is_refused(tmp_path, name):
    refuse(tmp_path, *WRONG[name])


@pytest.mark.parametrize("code", sorted(FACTORS))
@pytest.mark.parametrize("value", [(4, *[2**32 - 1] * 40), (2, 65, 0)], ids=["a list", "a text"])
def test_a_size_that_is_no_number_is_refused_before_anything_is_multiplied(tmp_path, code, value):
    """As often as the height is large, Python would repeat it: that took all memory there is."""
    content = raw(BYTES.tobytes(), (53, 2**32 - 1), **{f"t{code}": value})
    refuse(tmp_path, content, f"one number in tag {code}")


def test_what_a_file_says_is_printed_in_one_line(tmp_path):
    """A tag that should be a number may be a text of lines, or of codes that a terminal obeys."""
    text = b"ImageJ=1\nimages=1\n\x1b[2J" + b"x" * 3000 + b"\0"
    content = raw(BYTES.tobytes(), t317=(1, *text), t259=(3, 8))
    place = content.index(struct.pack("<HHI", 317, 1, len(text)))
    content = content[: place + 2] + struct.pack("<H", 2) + content[place + 4 :]
    refuse(tmp_path, content, "predictor")
    with pytest.raises(ValueError) as error:
        read(tmp_path, content)
    assert str(error.value).isprintable() and len(str(error.value)) < 500


def test_a_damaged_file_says_one_line_and_tifffile_none(tmp_path):
    """libtiff once wrote its own lines; tifffile logs errors to the terminal."""
    deflated = bytearray(raw(zlib.compress(BYTES.tobytes()), t259=(3, 8)))
    deflated[12] ^= 255
    put(tmp_path / "deflate.tif", bytes(deflated))
    put(tmp_path / "tag.tif", WRONG["a tag that cannot be read"][0])
    put(tmp_path / "strips.tif", raw(BYTES.tobytes(), t273=(4, 8, 8), t279=(4, 1961, 9)))
    script = """
import logging, sys
from adf.files.image_file import read_image
logging.basicConfig()
for path in sys.argv[1:]:
    try:
        read_image(path)
    except ValueError as error:
        print(error)
"""
    paths = [str(tmp_path / f"{name}.tif") for name in ("deflate", "tag", "strips")]
    run = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True)
    assert run.stderr == "" and len(run.stdout.splitlines()) == 2, run


def test_tifffile_still_speaks_to_others(caplog):
    put_bad = io.BytesIO(WRONG["a tag that cannot be read"][0])
    with tifffile.TiffFile(put_bad):
        assert "invalid data type" in caplog.text


@pytest.mark.skipif(not HAS_CODECS, reason="needs imagecodecs")
@pytest.mark.parametrize("compression", ["lzw", "zstd", "lzma", "jpegxl", "png"])
def test_other_compressions_are_decoded_where_imagecodecs_is(tmp_path, compression):
    content = tiff(WORDS, compression=compression, compressionargs={"lossless": True}
                   if compression == "jpegxl" else {})  # fmt: skip
    np.testing.assert_array_equal(read(tmp_path, content), WORDS)
