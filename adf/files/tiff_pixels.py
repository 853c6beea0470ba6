"""The pixels of a TIFF's strips and tiles, each of which must be there, and whole.

Plain, deflated and PackBits pixels are decoded here, within bounds; the other compressions by
`imagecodecs`, where it is installed. (tifffile as a whole fills up what is missing with zeros.)
"""

import importlib.util
import itertools
import math

import numpy as np

from .limits import PIECE, PIXELS, Refusal, inflated, pieces

PLAIN = 1
PACKBITS = 32773
DEFLATE = (8, 32946)
DIFFERENCES = 2  # the predictor of neighbours
FLOAT_DIFFERENCES = 3  # of neighbours, byte by byte
MOST_RATIO = 2**14  # decoded bytes for one stored; deflate reaches 1032
PACKED_BITS = range(1, 17)  # of integers that need not fill whole bytes


def check_compression(page):
    """Refuses what cannot be decoded, and names what could."""
    predictors = (1, DIFFERENCES, FLOAT_DIFFERENCES)
    reversed_bits = page.fillorder != 1 and page.compression != PLAIN
    if (
        page.predictor not in predictors[: 3 if page.dtype.kind == "f" else 2]
        or page.fillorder not in (1, 2)
        or reversed_bits
    ):
        raise Refusal(
            f"predictor 1 to 3 and fill order 1, got {page.predictor} and {page.fillorder}; "
            "save it without compression"
        )
    if not _is_native(page):
        name = getattr(page.compression, "name", page.compression)
        if importlib.util.find_spec("imagecodecs") is None:
            raise Refusal(
                f"plain, deflate or PackBits, got the compression {name}; "
                "`pip install imagecodecs` to read it, or save it without compression"
            )
    # 24 bits, for one, come in two orders of bytes.
    bits = page.bitspersample
    whole = bits == 8 * page.dtype.itemsize and bits != 1
    is_packed = page.dtype.kind in "bu" and bits in PACKED_BITS and page.predictor == 1
    if not whole and not is_packed:
        raise Refusal(f"1 to 16, 32 or 64 bits a sample, got {bits}; convert it first")


def read_channels(page, file) -> list[np.ndarray]:
    """Every channel as (H, W), alpha included. `file` is the page's, open for reading."""
    _check_claims(page, file)
    if not _is_native(page):
        image = page.asarray(squeeze=False, maxworkers=1)[:, 0]
        return [image[i, ..., j] for i in range(len(image)) for j in range(image.shape[-1])]
    planes, _, height, width, samples = page.shaped
    dtype = np.dtype(page.dtype)
    image = np.empty((planes, height, width, samples), dtype)
    # A tile may stick out over the right and lower edge.
    for index, (plane, top, left, rows, columns) in enumerate(_segments(page)):
        stored = _stored(page, file, index, rows * _row_bytes(page, columns))
        numbers = _numbers(page, stored.reshape(rows, -1), columns)
        part = image[plane, top : top + rows, left : left + columns]
        part[:] = numbers.reshape(rows, columns, samples)[: part.shape[0], : part.shape[1]]
    return [image[i, ..., j] for i in range(planes) for j in range(samples)]


def _is_native(page) -> bool:
    return page.compression in (PLAIN, PACKBITS, *DEFLATE)


def _segments(page):
    """(plane, first row, first column, rows, columns) of every strip or tile, as they are stored.

    The last strip ends with the image, a tile is always whole.
    """
    planes, _, height, width, _ = page.shaped
    rows = page.tilelength if page.is_tiled else page.rowsperstrip
    columns = page.tilewidth if page.is_tiled else width
    places = itertools.product(range(planes), range(0, height, rows), range(0, width, columns))
    for plane, top, left in places:
        yield plane, top, left, rows if page.is_tiled else min(rows, height - top), columns


def _row_bytes(page, columns: int) -> int:
    return (columns * page.shaped[-1] * page.bitspersample + 7) // 8


def _check_claims(page, file):
    """Refuses pixels that cannot all be there, before memory is taken for them."""
    planes, _, height, width, _ = page.shaped
    rows = page.tilelength if page.is_tiled else page.rowsperstrip
    columns = page.tilewidth if page.is_tiled else width
    if min(rows, columns) < 1 or rows * columns > PIXELS:
        raise Refusal(f"strips or tiles of 1 to {PIXELS} pixels, got {rows} x {columns}; hostile?")
    segments = planes * math.ceil(height / rows) * math.ceil(width / columns)
    # A strip that is not there would count as zeros.
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))[:segments]
    file_bytes = file.seek(0, 2)
    there = sum(0 < start and 0 < size <= file_bytes - start for start, size in places)
    if there < segments:
        raise Refusal(
            f"{segments} strips or tiles inside the file, got {there}: pixels missing; "
            "cut short, or copied while it was written?"
        )
    expected = planes * height * _row_bytes(page, width)
    stored = min(sum(size for _, size in places), file_bytes)
    if page.compression == PLAIN and stored >= 2 * planes * segments * rows * _row_bytes(
        page, columns
    ):
        raise Refusal(f"{expected} bytes of pixels, got {stored}; a stack behind one directory?")
    if expected > stored * (1 if page.compression == PLAIN else MOST_RATIO):
        raise Refusal(f"{expected} bytes of pixels, got {stored}: pixels missing; cut short?")


def _stored(page, file, index: int, size: int) -> np.ndarray:
    """The decompressed bytes of one strip or tile."""
    file.seek(page.dataoffsets[index])
    count = page.databytecounts[index]
    # No encoder makes pixels a quarter longer.
    if page.compression != PLAIN and count > size + size // 4 + PIECE:
        raise Refusal(f"at most {size} bytes in a strip, got {count}; damaged or hostile?")
    if page.compression in DEFLATE:
        data = b"".join(inflated(pieces(file, count), size))
    else:
        data = file.read(min(count, size) if page.compression == PLAIN else count)
    if page.compression == PACKBITS:
        data = _unpacked(data, size)
    if len(data) < size:
        raise Refusal(f"{size} bytes in a strip, got {len(data)}: pixels missing; cut short?")
    stored = np.frombuffer(data, np.uint8)[:size]
    return _reversed(stored) if page.fillorder == 2 else stored


def _unpacked(data: bytes, size: int) -> bytes:
    """PackBits: a head of n < 128 goes before n + 1 bytes, one of n > 128 before 1, 257 - n times.

    Ends at `size`, wherever the data would lead.
    """
    result = bytearray()
    position = 0
    while position < len(data) and len(result) < size:
        head = data[position]
        literal = head + 1 if head < 128 else 1
        following = data[position + 1 : position + 1 + literal]
        # 128 does nothing.
        result += following * (1 if head < 128 else 257 - head) if head != 128 else b""
        position += 1 + (literal if head != 128 else 0)
    return bytes(result)


def _reversed(stored: np.ndarray) -> np.ndarray:
    """Every byte with its bits in the other order."""
    return np.packbits(np.unpackbits(stored[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


def _numbers(page, rows: np.ndarray, columns: int) -> np.ndarray:
    """(rows, columns, samples) out of the bytes (rows, bytes)."""
    shape = (len(rows), columns, page.shaped[-1])
    dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    if page.bitspersample != 8 * dtype.itemsize or page.bitspersample == 1:
        return _packed_numbers(rows, page.bitspersample, shape)
    if page.predictor == FLOAT_DIFFERENCES:
        # The differences run over the bytes of a row, which are sorted by their place in a number,
        # the highest first.
        sums = np.cumsum(rows.reshape(len(rows), -1, shape[-1]), axis=1, dtype=np.uint8)
        places = sums.reshape(len(rows), dtype.itemsize, -1).transpose(0, 2, 1)
        return np.ascontiguousarray(places).view(dtype.newbyteorder(">")).reshape(shape)
    numbers = np.ascontiguousarray(rows).view(dtype).reshape(shape)
    if page.predictor == DIFFERENCES:
        # Sums wrap round as unsigned integers do.
        whole = np.dtype(f"u{dtype.itemsize}")
        native = numbers.view(whole.newbyteorder(dtype.byteorder))
        return np.cumsum(native, axis=1, dtype=whole).view(dtype.newbyteorder("="))
    return numbers


def _packed_numbers(rows: np.ndarray, bits: int, shape: tuple) -> np.ndarray:
    """Numbers of any bits, the highest bit first, without gaps but at the end of a row."""
    count = shape[1] * shape[2]
    digits = np.unpackbits(rows, axis=1)[:, : count * bits].reshape(len(rows), count, bits)
    numbers = np.zeros((len(rows), count), np.uint16)
    for i in range(bits):
        numbers = numbers << 1 | digits[..., i]
    return numbers.reshape(shape)
