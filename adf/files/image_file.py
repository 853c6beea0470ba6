"""Grey images and label images out of files that strangers made: PNG, TIFF, .npy, .pt.

Whatever a file claims is compared with limits, and with the bytes that are there, before memory is
allocated for it.
"""

import math
import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from .tensor_file import read_tensor

PIXELS = 2**26  # 8192 x 8192, 512 MiB as float64; below the size at which Pillow begins to warn
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow's mode L
# Pillow's modes of one channel, whose numbers are taken as they are.
GREY_MODES = ("1", "L", "I", "I;16", "I;16L", "I;16B", "I;16N")
# Pillow's modes that read_image turns into grey.
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def read_image(path) -> np.ndarray:
    """The image in a .png, .tif, .tiff, .npy or .pt file, as (H, W) float64 in its own grey values.

    Colours become their luma, transparency is dropped. One channel keeps its full depth, be it 8 or
    16 bit or float; of colours with 16 bits per channel, Pillow hands over the upper 8. Arrays may
    be (H, W) or (1, H, W). Raises ValueError, in one line, for a file that is damaged or holds
    anything but one finite image, and OSError where the path cannot be opened.
    """
    array = _read(path, (*GREY_MODES, "F", "LA", *COLOUR_MODES), _grey)
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
    """The classes in a .png, .tif, .tiff, .npy or .pt file, as (H, W) integers.

    The colours of a palette are ignored. Raises ValueError, in one line, for a file that is damaged
    or holds no integers, and OSError where the path cannot be opened.
    """
    labels = _read(path, (*GREY_MODES, "P"), _indices)
    if labels.dtype.kind == "f":
        raise ValueError(
            f"{path}: expected integer labels, got {labels.dtype}; "
            "an image or probabilities instead?"
        )
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` (H, W) at `size` (height, width): bicubic, antialiased where it shrinks, float32."""
    picture = Image.fromarray(np.asarray(image, np.float32))
    return np.array(picture.resize(size[::-1], Image.Resampling.BICUBIC))


def _read(path, modes: tuple, channel) -> np.ndarray:
    """The (H, W) array in a file of any of the formats.

    A picture must be of one of the `modes`, and `channel` makes an array of it.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected an image file, got a folder or a device; a wrong path?")
    # The suffix chooses the reader, which refuses content of another kind.
    match path.suffix.lower():
        case ".png" | ".tif" | ".tiff":
            array = _read_picture(path, modes, channel)
        case ".npy":
            array = _read_npy(path)
        case ".pt":
            array = read_tensor(path)
            _check_image(path, array.shape, array.dtype)
        case suffix:
            raise ValueError(
                f"{path}: expected .png, .tif, .tiff, .npy or .pt, got {suffix!r}; convert it first"
            )
    return array.reshape(array.shape[-2:]).astype(array.dtype.newbyteorder("="), copy=False)


def _check_image(path: Path, shape: tuple, dtype: np.dtype):
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


@contextmanager
def _parsing(path: Path, expected: str):
    """Turns what the parsers of NumPy and Pillow raise on a damaged file into ValueErrors.

    They name the file and what was expected of it.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of metadata that nobody here reads
            yield
    except Exception as error:  # on purpose: neither library says which types its parsers raise
        got = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise ValueError(
            f"{path}: expected {expected}, got {got}; cut short, damaged or not one at all?"
        ) from error


def _read_npy(path: Path) -> np.ndarray:
    # Version (3, 0) is missing: it is for named fields.
    headers = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    with path.open("rb") as file:
        with _parsing(path, "a .npy array"):
            shape, fortran, dtype = headers[npy.read_magic(file)](file)
        _check_image(path, shape, dtype)
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


def _read_picture(path: Path, modes: tuple, channel) -> np.ndarray:
    formats = ["PNG", "TIFF"]
    with path.open("rb") as file:
        # verify compares every checksum of a PNG, up to its end. No picture can be read after it,
        # so the file is opened again.
        with _parsing(path, "a PNG or TIFF image"):
            Image.open(file, formats=formats).verify()
            picture = Image.open(file, formats=formats)
        # So far no pixel was decoded: `channel` does that, after these checks.
        _check_image(path, picture.size[::-1], np.dtype(np.uint8))
        if getattr(picture, "is_animated", False):
            raise ValueError(
                f"{path}: expected one image, got several pages; "
                "a stack? save its planes one by one"
            )
        if picture.mode not in modes:
            raise ValueError(
                f"{path}: expected a mode out of {', '.join(modes)}, got {picture.mode}; "
                "convert it first"
            )
        with _parsing(path, "a PNG or TIFF image"):
            return channel(picture)


def _grey(picture: Image.Image) -> np.ndarray:
    if picture.mode in COLOUR_MODES:
        bands = picture.convert("RGB").split()
        return sum(weight * np.asarray(band) for weight, band in zip(LUMA, bands, strict=True))
    return np.asarray(picture.getchannel(0) if picture.mode == "LA" else picture)


def _indices(picture: Image.Image) -> np.ndarray:
    """The numbers of a picture as they lie in its file.

    Pillow spreads greys of 2 and 4 bits over 0 to 255; that is undone here.
    """
    layout = picture.tile[0].args
    layout = layout if isinstance(layout, str) else layout[0]
    step = 85 if layout.startswith("L;2") else 17 if layout.startswith("L;4") else 1
    labels = np.asarray(picture)
    return labels // step if step > 1 else labels
