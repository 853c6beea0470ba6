"""One grey image or one label image out of a PNG, at full depth.

The chunks are walked here, with their checksums, and the pixels counted; Pillow's decoder then
undoes the filters. (Pillow as a whole keeps the upper 8 of 16 bits, and fills up missing rows.)
"""

import io
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .limits import METADATA_BYTES, Refusal, check_image, inflated, luma, parsing, pieces

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NAMES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}  # by colour type
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# (bits, colour type) -> Pillow's mode, and the names of its layouts of the bytes. Where there are
# two, the first yields the upper and the second the lower bytes of 16-bit samples.
LAYOUTS = {
    (1, 0): ("1", "1"),
    (2, 0): ("P", "P;2"),
    (4, 0): ("P", "P;4"),
    (8, 0): ("L", "L"),
    (16, 0): ("LA", "LA"),
    (8, 2): ("RGB", "RGB"),
    (16, 2): ("RGB", "RGB;16B", "RGB;16L"),
    (1, 3): ("P", "P;1"),
    (2, 3): ("P", "P;2"),
    (4, 3): ("P", "P;4"),
    (8, 3): ("P", "P"),
    (8, 4): ("LA", "LA"),
    (16, 4): ("RGBA", "RGBA"),
    (8, 6): ("RGBA", "RGBA"),
    (16, 6): ("RGBA", "RGBA;16B", "RGBA;16L"),
}
# Interlaced pixels lie in seven passes: (first row, row step, first column, column step).
PASSES = (
    (0, 8, 0, 8),
    (0, 8, 4, 8),
    (4, 8, 0, 4),
    (0, 4, 2, 4),
    (2, 4, 0, 2),
    (0, 2, 1, 2),
    (1, 2, 0, 1),
)


class Header(NamedTuple):
    """The chunk IHDR."""

    width: int
    height: int
    bits: int
    colour: int
    compression: int
    filters: int
    interlaced: int


def read_png(path: Path, labels: bool) -> np.ndarray:
    """(H, W): stored numbers for `labels`; else grey values, of colours their luma.

    Raises ValueError, in one line, for anything but one whole picture.
    """
    with parsing(path, "a PNG image"), path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise Refusal("a PNG image, got other bytes; another format under this name?")
        header = _header(file)
    check_image(path, (header.height, header.width), np.dtype(np.uint8))
    # So far nothing was taken for pixels.
    with parsing(path, "a PNG image"), path.open("rb") as file:
        file.seek(len(SIGNATURE))
        _check_colour(header, labels)
        palette, data = _content(file, _bytes(header))
        for _ in inflated(pieces(io.BytesIO(data), len(data)), _bytes(header)):  # counts them
            pass
        samples = _decoded(header, data)
        return samples[..., 0] if labels else _grey(header, samples, palette)


def _header(file) -> Header:
    kind, content = next(_chunks(file, 0))
    if kind != b"IHDR":
        raise Refusal(f"the chunk IHDR, got {kind!r}; damaged?")
    header = Header(*struct.unpack(">IIBBBBB", content))
    known = (header.bits, header.colour) in LAYOUTS and header.interlaced in (0, 1)
    if not known or header.compression or header.filters:
        raise Refusal(f"a header that PNG knows, got {tuple(header)}; damaged?")
    return header


def _check_colour(header: Header, labels: bool):
    if labels and header.colour not in (0, 3):
        raise Refusal(
            f"a mode of one integer a pixel for labels, got {NAMES[header.colour]}; "
            "a picture of labels?"
        )


def _bytes(header: Header) -> int:
    """How many bytes the inflated pixels take; every row begins with the number of its filter."""
    bits = header.bits * CHANNELS[header.colour]
    count = 0
    for top, down, left, right in PASSES if header.interlaced else [(0, 1, 0, 1)]:
        rows = len(range(top, header.height, down))
        columns = len(range(left, header.width, right))
        count += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return count


def _chunks(file, pixel_bytes: int):
    """Yields (kind, content) of every chunk up to IEND, checksums compared.

    Together, the chunks IDAT may take twice the bytes of the pixels: no encoder wastes more.
    """
    most_data = 2 * pixel_bytes + METADATA_BYTES
    kind = b""
    while kind != b"IEND":
        # The claim is compared with its limit before anything is read for it.
        length, kind = struct.unpack(">I4s", file.read(8))
        most = most_data if kind == b"IDAT" else METADATA_BYTES
        if length > most:
            raise Refusal(f"a chunk {kind!r} of at most {most} bytes, got {length}; hostile?")
        # So is the checksum: what is a hole in the file fails here, read in pieces.
        start = file.tell()
        checksum = zlib.crc32(kind)
        for piece in pieces(file, length):
            checksum = zlib.crc32(piece, checksum)
        if file.read(4) != checksum.to_bytes(4, "big"):
            raise Refusal(f"a PNG of whole chunks, got {kind!r} with another checksum; cut short?")
        most_data -= length if kind == b"IDAT" else 0
        file.seek(start)
        content = file.read(length)
        file.seek(start + length + 4)
        yield kind, content


def _content(file, pixel_bytes: int) -> tuple[np.ndarray, bytes]:
    """The palette (N, 3), and the deflated pixels."""
    palette = np.zeros((0, 3), np.uint8)
    data = bytearray()
    for kind, content in _chunks(file, pixel_bytes):
        # Chunks that begin with a small letter may be passed over, the others must be understood.
        match kind:
            case b"PLTE":
                palette = np.frombuffer(content, np.uint8).reshape(-1, 3)
            case b"IDAT":
                data += content
            case b"acTL" if int.from_bytes(content[:4], "big") > 1:
                raise Refusal("one image, got several frames; an animation?")
            case _ if kind[0] < ord("a") and kind not in (b"IHDR", b"IEND"):
                raise Refusal(f"chunks that PNG knows, got {kind!r}; damaged?")
    return palette, bytes(data)


def _decoded(header: Header, data: bytes) -> np.ndarray:
    """(H, W, C), bool, uint8 or uint16."""
    mode, *layouts = LAYOUTS[header.bits, header.colour]
    size = (header.width, header.height)
    parts = [
        np.asarray(Image.frombytes(mode, size, data, "zip", layout, header.interlaced))
        for layout in layouts
    ]
    # Grey of 16 bits was decoded as pairs of bytes.
    if len(parts) == 1 and header.bits == 16:
        return parts[0].view(">u2").astype(np.uint16)
    # Other samples of 16 bits were decoded as upper and lower bytes.
    samples = parts[0] if len(parts) == 1 else parts[0].astype(np.uint16) << 8 | parts[1]
    return samples.reshape(*size[::-1], -1)


def _grey(header: Header, samples: np.ndarray, palette: np.ndarray) -> np.ndarray:
    if header.colour in (0, 4):
        return samples[..., 0]
    if header.colour == 3:
        if samples.max() >= len(palette):
            raise Refusal(f"colours below {len(palette)}, got {samples.max()}; damaged?")
        return luma(palette.T)[samples[..., 0]]
    return luma(samples[..., i] for i in range(3))
