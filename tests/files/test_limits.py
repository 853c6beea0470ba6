"""Claims of gigabytes, mere or sparse: refused with little memory, measured in a fresh process."""

import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hostile import KEY, legacy, rebuilt, storage, tensor_zip
from PIL import Image

from adf.files import checkpoint

# ru_maxrss would begin with the peak of the process that forked, this one.
needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
pytestmark = [needs_proc, pytest.mark.slow]
GIB = 2**30
MOST = 64 * 2**20  # bytes more than before the file was opened
SCRIPT = """
import re, sys
from adf.files import checkpoint, image_file
Image = image_file.Image
Image.preinit()
read = {"load": checkpoint.load, "image": image_file.read_image, "labels": image_file.read_labels}
def peak():
    return 1024 * int(re.search("VmHWM:(.*) kB", open("/proc/self/status").read())[1])
before = peak()
for path in sys.argv[2:]:
    try:
        read[sys.argv[1]](path)
    except ValueError as error:
        print(error)
print(peak() - before)
"""


def refused(*paths, reader="image", match=""):
    """Asserts that each file is refused in one line that has `match`, and with little memory."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, reader, *map(str, paths)], capture_output=True, text=True
    )
    *messages, memory = run.stdout.splitlines()
    assert run.stderr == "" and len(messages) == len(paths), run
    for path, message in zip(paths, messages, strict=True):
        assert message.startswith(f"{path}: expected") and match in message, message
    assert int(memory) < MOST, run


def sparse(path, head: bytes, size: int, tail: bytes = b""):
    """A file of `size` bytes, of which those between head and tail take no disk."""
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(size)
        file.seek(size - len(tail))
        file.write(tail)
    return path


def tiff_of(tag: tuple, place: int) -> bytes:
    """A whole TIFF of 4 pixels, and a tag (code, type, count) whose values lie at `place`."""
    tags = {256: (4, 1, 2), 257: (4, 1, 2), 258: (3, 1, 8), 262: (3, 1, 1), 273: (4, 1, 500),
            277: (3, 1, 1), 278: (4, 1, 2), 279: (4, 1, 4)}  # fmt: skip
    tags[tag[0]] = (*tag[1:], place)
    entries = [struct.pack("<HHII", code, *rest) for code, rest in sorted(tags.items())]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return head.ljust(504, b"\0")


def test_a_png_chunk_of_2_gib(tmp_path):
    header = struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    head += struct.pack(">I", zlib.crc32(b"IHDR" + header))
    paths = []
    for kind in (b"IDAT", b"iCCP", b"tEXt", b"zzZz", b"PLTE"):
        claim = head + struct.pack(">I", 2**31 - 1) + kind
        paths.append(sparse(tmp_path / f"mere{kind}.png", claim, len(claim) + 9))
        paths.append(sparse(tmp_path / f"sparse{kind}.png", claim, 3 * GIB))
    refused(*paths, match="a chunk")


def test_a_png_chunk_of_pixels_that_is_a_hole(tmp_path):
    """As long as the pixels of the largest picture may be, so that only its checksum is wrong."""
    header = struct.pack(">IIBBBBB", 8192, 8192, 16, 6, 0, 0, 0)
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    head += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", 2**28) + b"IDAT"
    refused(sparse(tmp_path / "a.png", head, 3 * GIB), match="checksum")


# A text, strip places and sizes, tables of colours, metadata of ImageJ, MetaMorph, Zeiss, GPS.
TAGS = [(270, 2), (273, 4), (279, 4), (320, 3), (258, 3), (50839, 1), (33628, 4), (34412, 1),
        (37724, 7), (65000, 12)]  # fmt: skip


def test_a_tiff_tag_of_2_gib(tmp_path):
    paths = []
    for code, kind in TAGS:
        count = (2**31 - 2) // {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 12: 8}[kind]
        head = tiff_of((code, kind, count), 512)
        paths.append(sparse(tmp_path / f"mere{code}.tif", head, 600))
        paths.append(sparse(tmp_path / f"sparse{code}.tif", head, 3 * GIB))
    refused(*paths, match="a tag of at most")


def test_a_tiff_within_a_tiff_that_claims_2_gib(tmp_path):
    """The directory of Exif lies behind a tag of 4 bytes; its own tags claim what they like."""
    inner = struct.pack("<HHHII", 1, 37510, 7, 2**31 - 2, 1000) + bytes(4)
    head = tiff_of((34665, 4, 1), 504) + inner
    path = sparse(tmp_path / "exif.tif", head, 3 * GIB)
    run = subprocess.run([sys.executable, "-c", SCRIPT, "image", str(path)], capture_output=True)
    assert int(run.stdout.splitlines()[-1]) < MOST and run.stderr == b""


@pytest.mark.parametrize("compression", [1, 8, 32773])
def test_strips_of_gigabytes(tmp_path, compression):
    """65536 x 1024 pixels of 64 bits, and a strip of 2 GiB for them."""
    tags = {256: (4, 65536), 257: (4, 1024), 258: (3, 64), 259: (3, compression), 262: (3, 1),
            273: (4, 500), 277: (3, 1), 278: (4, 1024), 279: (4, 2**31)}  # fmt: skip
    entries = [struct.pack("<HHII", c, kind, 1, value) for c, (kind, value) in tags.items()]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    paths = [sparse(tmp_path / "mere.tif", head.ljust(512, b"\0"), 600)]
    if compression != 1:  # without compression, a hole is a picture of zeros
        paths.append(sparse(tmp_path / "sparse.tif", head.ljust(512, b"\0"), 3 * GIB))
    refused(*paths)


def test_a_npy_whose_header_claims_2_gib(tmp_path):
    head = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31)
    mere = sparse(tmp_path / "mere.npy", head, 600)
    refused(mere, sparse(tmp_path / "sparse.npy", head, 3 * GIB))


def test_a_npy_of_3_gib(tmp_path):
    header = str({"descr": "|u1", "fortran_order": False, "shape": (3 * GIB // 2**10, 2**10)})
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    refused(sparse(tmp_path / "a.npy", head, len(head) + 3 * GIB), match="pixels")


def test_a_pt_of_1_gib(tmp_path):
    sizes = (GIB, GIB + 1, 3 * GIB)
    zips = [sparse(tmp_path / f"zip{size}.pt", b"PK\x03\x04", size) for size in sizes]
    legacies = [sparse(tmp_path / f"legacy{size}.pt", b"\x80\x02", size) for size in sizes]
    refused(*zips, *legacies, match="at most")


@pytest.mark.parametrize("size", [2**28, 2**29])
def test_a_pt_below_the_limit_that_is_mostly_holes(tmp_path, size):
    tensor = rebuilt(storage())
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, size - 500, 0, 0)
    # The 64-bit end, which zipfile believes more than the other.
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size - 500, 0)
    wide += struct.pack("<4sIQI", b"PK\x06\x07", 0, size - 98, 1)
    good_end = tensor_zip(tensor)[-22:]
    refused(
        sparse(tmp_path / "zeros.pt", b"", size),
        sparse(tmp_path / "legacy.pt", legacy(tensor), size),
        sparse(tmp_path / "zip.pt", b"PK\x03\x04", size, good_end),
        sparse(tmp_path / "directory.pt", b"PK\x03\x04", size, end),
        sparse(tmp_path / "wide.pt", b"PK\x03\x04", size, wide + good_end),
    )


def test_a_pt_whose_shape_is_no_images(tmp_path):
    """The numbers are there, as holes; the shape alone decides that they are never read."""
    count = 2**28
    tensor = rebuilt(storage("ByteStorage", count, KEY, b"N"), 0, (2**14, 2**14), (2**14, 1))
    content = legacy(tensor, b"", count)
    path = sparse(tmp_path / "a.pt", content, len(content) + count)
    refused(path, match="pixels")


def test_a_checkpoint_of_3_gib(tmp_path):
    whole = tmp_path / "whole.npz"
    checkpoint.save(whole, {"a": np.zeros(3)}, {})
    content = whole.read_bytes()
    refused(
        sparse(tmp_path / "a.npz", content, 3 * GIB),
        sparse(tmp_path / "b.npz", content, 3 * GIB, content[-86:]),
        reader="load",
        match="at most",
    )


def test_a_checkpoint_below_the_limit_whose_array_is_a_hole(tmp_path):
    """Sizes and names are right, the checksum is not: known before memory is taken."""
    path = tmp_path / "a.npz"
    checkpoint.save(path, {"a": np.zeros(3 * 2**26, np.uint8)}, {})
    with open(path, "r+b") as file:
        file.seek(2**26)
        file.write(b"\x01")
    refused(path, reader="load", match="CRC")
    path.unlink()


def test_a_checkpoint_whose_directory_claims_the_file(tmp_path):
    comment = b"0" * 64
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, GIB - 500, 0, 64) + comment
    path = sparse(tmp_path / "a.npz", b"PK", GIB, end)
    refused(path, reader="load", match="larger directory")


def test_nothing_is_saved_that_would_be_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "LIMIT", checkpoint.DIRECTORY_LIMIT + 2**23 + 100)
    checkpoint.save(tmp_path / "a.npz", {"a": np.zeros(100, np.uint8)}, {})
    checkpoint.load(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="a data set"):
        checkpoint.save(tmp_path / "b.npz", {"a": np.zeros(101, np.uint8)}, {})
    assert not (tmp_path / "b.npz").exists()


def test_the_probe_hears_memory(tmp_path):
    """The measure itself is measured: an image of 96 MiB as float64 is above its bound."""
    Image.fromarray(np.zeros((4096, 3072), np.uint8)).save(tmp_path / "a.png")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, "image", str(tmp_path / "a.png")], capture_output=True
    )
    assert int(run.stdout) > MOST
