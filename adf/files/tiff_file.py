"""One grey image or one label image out of a TIFF, decided by its tags.

What is returned is exact; what is not understood is refused by its name. Rules that are choices:

- Colours become luma at full depth; one alpha channel is dropped.
- A table of colours (palette, ImageJ's LUT) is for display: the stored numbers are the grey values.
- WhiteIsZero is turned, so that more is brighter: integers of b bits become 2^b - 1 - value (signed
  ones -1 - value), floats, which have no greatest value, become their negative. Labels are never
  turned. A file that does not name its photometric counts as BlackIsZero.
- The orientation is applied, to images and labels alike.
"""

import logging
import math
import os
import re
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

from .limits import Refusal, check_image, luma, parsing
from .tiff_pixels import check_compression, read_channels
from .tiff_tags import TiffHead, directory

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, INKS, YCBCR = range(7)
# Photometric -> how many samples a pixel has beside alpha.
SAMPLES = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, MASK: 1, INKS: 4, YCBCR: 3}
JPEG = (6, 7)  # compressions whose YCbCr is decoded into RGB
ALPHA = (1, 2)  # what the tag ExtraSamples calls transparency; 0 is a channel of anything
UIC2 = 33629  # a tag of MetaMorph stacks, one entry a plane
INK_SET = 332
# How a picture is turned upright, by the tag Orientation.
UPRIGHT = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).T,
    8: np.rot90,
}


def read_tiff(path: Path, labels: bool) -> np.ndarray:
    """(H, W): stored numbers for `labels`; else grey values, of colours their luma.

    Raises ValueError, in one line, for anything but one whole image.
    """
    with _quiet(), parsing(path, "a TIFF image"), TiffHead(path) as head:
        tags, has_more = directory(head)
        head.seek(0)  # tifffile begins where the file stands
        with tifffile.TiffFile(head) as tiff:
            page = tiff.pages[0]
            _check_tags(tags, page)
            _check_planes(page, has_more)
            _check_samples(page, labels)
            check_compression(page)
            _check_size(path, page)
            # So far nothing was taken for pixels.
            head.limit = os.fstat(head.fileno()).st_size
            channels = read_channels(page, head)
        image = channels[0] if labels else _grey(page, channels)
        return UPRIGHT[_orientation(page)](image)


class _Listener(logging.Filter):
    """Drops what tifffile logs in a thread that reads here: an error is one line, and ours."""

    reading = threading.local()

    def filter(self, record):
        return not getattr(self.reading, "depth", 0)


logging.getLogger("tifffile").addFilter(_Listener())


@contextmanager
def _quiet():
    reading = _Listener.reading
    reading.depth = getattr(reading, "depth", 0) + 1
    try:
        yield
    finally:
        reading.depth -= 1


def _check_tags(tags: set[int], page):
    """Refuses a tag that tifffile could not read, and for which it would take the default."""
    lost = sorted(tags - {tag.code for tag in page.tags.values()})
    if lost:
        raise Refusal(f"readable tags, got a damaged one, {lost[0]}; damaged?")


def _check_planes(page, has_more: bool):
    """Refuses what holds more than one plane, wherever that is written."""
    # tifffile and ImageJ write some stacks behind one directory, and say so in its description.
    described = re.search(r'^(?:{.*"shape": \[|shape=\()([0-9, ]*)', page.description)
    numbers = [int(number) for number in re.findall("[0-9]+", described[1])] if described else []
    hyperstack = page.description.startswith("ImageJ=") and re.search(
        r"^(?:images|slices|frames|channels)=0*([2-9]|[1-9][0-9]+)\s*$", page.description, re.M
    )
    planes = {
        "several pages": has_more,
        f"ImageDepth {page.imagedepth}": page.imagedepth > 1,
        f"TileDepth {page.tiledepth}": page.is_tiled and page.tiledepth > 1,
        f"ImageJ's {hyperstack and hyperstack[0].strip()}": hyperstack,
        f"the shape {numbers} of tifffile": numbers and math.prod(numbers) != math.prod(page.shape),
        "planes of MetaMorph": UIC2 in page.tags and page.tags[UIC2].count > 1,
    }
    for name, is_there in planes.items():
        if is_there:
            raise Refusal(f"one image, got {name}; a stack or a volume? save its planes one by one")


def _check_samples(page, labels: bool):
    """Refuses kinds of numbers, and numbers of channels, that no rule above is for."""
    kind = f"{page.bitspersample} bits, SampleFormat {int(page.sampleformat)}"
    if page.dtype is None or page.dtype.kind not in "buif":
        raise Refusal(f"samples of integers or floats, got {kind}; complex numbers, or damaged?")
    photometric = _photometric(page)
    name = getattr(photometric, "name", photometric)
    other_inks = page.tags.valueof(INK_SET, 1) != 1 or page.dtype.kind != "u"
    if photometric not in SAMPLES or (photometric == INKS and other_inks):
        raise Refusal(f"grey values or RGB, got the mode {name}; convert it first")
    # YCbCr may have any coefficients and ranges: JPEG's are known, and undone by its decoder.
    if photometric == YCBCR and page.compression not in JPEG:
        raise Refusal("grey values or RGB, got YCbCr without JPEG; convert it first")
    expected = SAMPLES[photometric]
    extra = tuple(page.extrasamples)
    samples = page.samplesperpixel
    is_known = len(extra) <= 1 and samples == expected + len(extra) and set(extra) <= set(ALPHA)
    if not is_known:
        raise Refusal(
            f"{expected} samples a pixel ({name}), and at most alpha, got {samples} planes or "
            "samples; several channels? save them one by one"
        )
    if labels and (samples > 1 or page.dtype.kind == "f" or expected > 1):
        raise Refusal(
            "a mode of one integer a pixel for labels, got "
            f"{name} with {samples} x {page.dtype}; an image or probabilities instead?"
        )


def _check_size(path: Path, page):
    check_image(path, (page.imagelength, page.imagewidth), page.dtype)
    if _orientation(page) not in UPRIGHT:
        raise Refusal(f"an orientation of 1 to 8, got {_orientation(page)}; damaged?")


def _orientation(page) -> int:
    return page.tags.valueof(274, 1)


def _photometric(page) -> int:
    if 262 in page.tags:
        return page.photometric
    return RGB if page.samplesperpixel == 3 else BLACK_IS_ZERO


def _grey(page, channels: list) -> np.ndarray:
    """Brightness out of the channels, more being brighter."""
    match _photometric(page):
        case 0:
            return _turned(channels[0], page.bitspersample)
        case 2 | 6:
            return luma(channels[:3])
        case 5:
            # Inks swallow light: the black one of all colours, the others of one each.
            bits = page.bitspersample
            light = [_turned(channel, bits) for channel in channels[:4]]
            return luma(light[:3]) * (light[3] / (2**bits - 1))
    return channels[0]


def _turned(channel: np.ndarray, bits: int) -> np.ndarray:
    """What WhiteIsZero stores, as brightness."""
    if channel.dtype.kind == "f":
        return -channel
    return ~channel if channel.dtype.kind in "bi" else channel.dtype.type(2**bits - 1) - channel
