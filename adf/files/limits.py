"""What a stranger's picture may claim, and how it is refused.

Every claim is compared with these limits, and with the bytes that are there, before memory is taken
for it.
"""

import math
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

PIXELS = 2**26  # 8192 x 8192, 512 MiB as float64
METADATA_BYTES = 2**24  # of a chunk or a tag that holds no pixels
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
PIECE = 2**16  # bytes that are read or inflated at a time
SURPLUS = 2**26  # inflated bytes behind the pixels; more is a bomb


class Refusal(Exception):
    """Why a file is refused, as "what was expected, got what; likely cause"."""


@contextmanager
def parsing(path: Path, expected: str):
    """Turns a Refusal, and whatever a parser raises on a damaged file, into a ValueError.

    It is one line, names the file and says what was expected of it.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of metadata that nobody here reads
            yield
    except Refusal as error:
        raise ValueError(f"{path}: expected {_one_line(error)}") from error
    except Exception as error:  # on purpose: no library says which types its parsers raise
        if type(error) is ValueError and str(error).startswith(f"{path}: expected"):
            raise
        got = f"{type(error).__name__}: {_one_line(error)[:100]}"
        raise ValueError(
            f"{path}: expected {expected}, got {got}; cut short, damaged or not one at all?"
        ) from error


def _one_line(error: Exception) -> str:
    """Its message, in which what a file says of itself may have any length and any characters."""
    words = "".join(c if c.isprintable() else " " for c in str(error)).split()
    return " ".join(words)[:300]


def check_image(path: Path, shape: tuple, dtype: np.dtype):
    """Raises ValueError unless an array of this shape and type is an image."""
    if dtype.kind not in "buif":
        raise ValueError(
            f"{path}: expected an array of real numbers, got {dtype}; "
            "objects, complex numbers or text?"
        )
    if len(shape) != 2 and (len(shape) != 3 or shape[0] != 1):
        raise ValueError(
            f"{path}: expected the shape (H, W) or (1, H, W), got {shape}; "
            "a stack or a colour image?"
        )
    # What is too large is refused by its shape, before anything is allocated for it.
    if min(shape) < 1 or math.prod(shape) > PIXELS:
        raise ValueError(
            f"{path}: expected 1 to {PIXELS} pixels, got the shape {shape}; "
            "empty, damaged or hostile?"
        )


def luma(channels) -> np.ndarray:
    """The brightness (H, W), float64, of red, green and blue of any depth."""
    pairs = zip(LUMA, channels, strict=True)
    return sum(np.multiply(channel, weight, dtype=np.float64) for weight, channel in pairs)


def pieces(file, count: int):
    """Yields the next `count` bytes of a file, or those that are there, a few at a time."""
    while count > 0 and (piece := file.read(min(count, PIECE))):
        count -= len(piece)
        yield piece


def inflated(parts, size: int):
    """Yields the pieces of the zlib stream in `parts`, to its end and its checksum.

    Raises Refusal where they are less than `size` bytes, or so much more that no picture is meant.
    """
    inflater = zlib.decompressobj()
    count = 0
    for rest in parts:
        # A part may hold a thousand times its length: that is taken in pieces, too.
        while rest and not inflater.eof:
            piece = inflater.decompress(rest, PIECE)
            count += len(piece)
            if count > size + SURPLUS:
                raise Refusal(f"{size} bytes of pixels, got over {count}; damaged or hostile?")
            yield piece
            rest = inflater.unconsumed_tail
    if count < size:
        raise Refusal(
            f"{size} bytes of pixels, got {count}: pixels missing; cut short while written?"
        )
    if not inflater.eof:
        raise Refusal("a whole stream of pixels, got one without its end; cut short?")
