"""Grey images and label images out of files that strangers made: PNG, TIFF, .npy, .pt.

Whatever a file claims is compared with limits, and with the bytes that are there, before memory is
allocated for it.
"""

import math
import os
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from .limits import LUMA, METADATA_BYTES, PIXELS, check_image, parsing
from .png_file import read_png
from .tensor_file import read_tensor
from .tiff_file import read_tiff

__all__ = ["LUMA", "PIXELS", "read_image", "read_labels", "resize"]


def read_image(path) -> np.ndarray:
    """The image in a .png, .tif, .tiff, .npy or .pt file, as (H, W) float64 in its own grey values.

    Colours become their luma at full depth, transparency is dropped. A TIFF of one sample a pixel
    keeps its stored numbers, whatever table of colours it is displayed with; WhiteIsZero is turned
    (tiff_file.py says how). Arrays may be (H, W) or (1, H, W). Raises ValueError, in one line, for
    a file that is damaged or holds anything but one finite image, and OSError where the path cannot
    be opened.
    """
    array = _read(path, labels=False)
    # What float64 cannot hold becomes inf or NaN here, and is refused below.
    with np.errstate(over="ignore", invalid="ignore"):
        image = array.astype(np.float64)
    if not np.isfinite(image).all():
        raise ValueError(
            f"{path}: expected finite numbers, got NaN or inf; "
            "a division by zero before it was saved?"
        )
    return image


def read_labels(path) -> np.ndarray:
    """The classes in a .png, .tif, .tiff, .npy or .pt file, as (H, W) integers of 0 or more.

    They are the numbers that lie in the file, whatever colours or polarity it is displayed with.
    Raises ValueError, in one line, for a file that is damaged or holds no such integers, and
    OSError where the path cannot be opened.
    """
    labels = _read(path, labels=True)
    if labels.dtype.kind == "f":
        raise ValueError(
            f"{path}: expected integer labels, got {labels.dtype}; "
            "an image or probabilities instead?"
        )
    if labels.min() < 0:
        raise ValueError(
            f"{path}: expected labels of 0 or more, got {labels.min()}; "
            "is that 'not annotated'? this program cannot leave pixels out"
        )
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` (H, W) at `size` (height, width): bicubic, antialiased where it shrinks, float32."""
    picture = Image.fromarray(np.asarray(image, np.float32))
    return np.array(picture.resize(size[::-1], Image.Resampling.BICUBIC))


def _read(path, labels: bool) -> np.ndarray:
    """The (H, W) array in a file of any of the formats."""
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected an image file, got a folder or a device; a wrong path?")
    # The suffix chooses the reader, which refuses content of another kind.
    match path.suffix.lower():
        case ".png" | ".tif" | ".tiff":
            array = _read_picture(path, labels)
        case ".npy":
            array = _read_npy(path)
        case ".pt":
            array = read_tensor(path, lambda shape, dtype: check_image(path, shape, dtype))
        case suffix:
            raise ValueError(
                f"{path}: expected .png, .tif, .tiff, .npy or .pt, got {suffix!r}; convert it first"
            )
    return array.reshape(array.shape[-2:]).astype(array.dtype.newbyteorder("="), copy=False)


def _read_picture(path: Path, labels: bool) -> np.ndarray:
    """A picture, whichever of the two suffixes it bears."""
    with path.open("rb") as file:
        is_tiff = file.read(2) in (b"II", b"MM")
    return (read_tiff if is_tiff else read_png)(path, labels)


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        with parsing(path, "a .npy array"):
            shape, fortran, dtype = _npy_header(file)
        check_image(path, shape, dtype)
        expected = math.prod(shape) * dtype.itemsize
        got = os.fstat(file.fileno()).st_size - file.tell()
        if got != expected:
            raise ValueError(
                f"{path}: expected {expected} bytes for the shape {shape}, got {got}; cut short?"
            )
        # Bools are read as bytes, for a byte other than 0 and 1 is no bool.
        is_bool = dtype.kind == "b"
        numbers = np.frombuffer(file.read(expected), np.uint8 if is_bool else dtype)
    array = numbers.reshape(shape, order="F" if fortran else "C")
    return array != 0 if is_bool else array


def _npy_header(file) -> tuple:
    # Version (3, 0) is missing: it is for named fields.
    headers = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    read_header = headers[npy.read_magic(file)]
    start = file.tell()
    # Version 2.0 may claim gigabytes of header, and NumPy would read them.
    length = int.from_bytes(file.read(4 if read_header is headers[2, 0] else 2), "little")
    if length > METADATA_BYTES:
        raise ValueError(f"a header of {length} bytes")
    file.seek(start)
    return read_header(file)
