"""One tensor out of a `.pt` file, without PyTorch and without running anything that the file says: see opcodes.py."""

import io
import math
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np

from .opcodes import FILE_BYTES, View, as_view, demand, interpret, is_size

PICKLE_BYTES = 2**16  # torch needs 400
ZIP_MEMBERS = 64  # torch needs 7
EXTRA_BYTES = 2**16  # a zip member that holds no numbers: version, byteorder, ...
AXES = 8

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def read_tensor(path) -> np.ndarray:
    """The one tensor in a `.pt` file, legacy or zip, as a C-contiguous array of its own.

    ValueError, in one line, for a file that is damaged, hostile, or holds anything but one plain tensor;
    OSError where the path cannot be opened.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: expected a .pt file, got a folder or a device; a wrong path?")
    if status.st_size > FILE_BYTES:
        raise ValueError(
            f"{path}: expected at most {FILE_BYTES} bytes, got {status.st_size}; not an image's tensor?"
        )
    data = path.read_bytes()
    try:
        return _gather(*(_read_zip(data) if data.startswith(b"PK\x03\x04") else _read_legacy(data)))
    except ValueError as error:
        raise ValueError(f"{path}: expected a .pt file of one tensor, got {error}") from error


def _read_legacy(data: bytes) -> tuple[View, memoryview]:
    """Five pickles (magic number, protocol, sizes, tensor, storage keys), an int64 count, the numbers."""
    stream = io.BytesIO(data[:PICKLE_BYTES])
    demand(
        _is_int(interpret(stream), MAGIC),
        "a pickle without torch's magic number; not written by torch.save?",
    )
    demand(
        _is_int(interpret(stream), PROTOCOL),
        "an unknown protocol; written by another version of torch?",
    )
    sizes = interpret(stream)
    little = isinstance(sizes, dict) and sizes.get("little_endian") is True
    demand(little, "big-endian numbers; written on another kind of machine?")
    view = as_view(interpret(stream))
    match interpret(stream):
        case [str(key)]:
            demand(key == view.storage.key, "the numbers of another tensor; damaged?")
        case _:
            raise ValueError("no or several storages; several tensors in one file?")
    start = stream.tell() + 8
    count = data[start - 8 : start]
    demand(
        count == view.storage.size.to_bytes(8, "little"),
        "two counts of its numbers; cut short or damaged?",
    )
    return view, memoryview(data)[start:]


def _read_zip(data: bytes) -> tuple[View, bytes]:
    """TOP/data.pkl describes the tensor, TOP/data/KEY holds its numbers, TOP/byteorder is optional."""
    demand(
        data[-22:-18] == b"PK\x05\x06",
        "a zip archive without its end, or with bytes behind it; cut short?",
    )
    # Every entry of the directory starts so: their number is bounded before zipfile makes objects of them.
    demand(
        data.count(b"PK\x01\x02") <= ZIP_MEMBERS,
        "a zip archive of too many members; not a tensor alone?",
    )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _checked_members(archive.infolist(), len(data))
            content = {name: archive.read(member) for name, member in members.items()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as error:
        raise ValueError(f"a damaged zip archive ({str(error)[:80]}); cut short?") from error
    demand(
        content.get("byteorder", b"little") == b"little",
        "big-endian numbers; written on another machine?",
    )
    stream = io.BytesIO(content.get("data.pkl", b""))
    view = as_view(interpret(stream))
    demand(not stream.read(1), "bytes behind its pickle; damaged?")
    numbers = [name for name in content if name.startswith("data/")]
    demand(
        numbers == [f"data/{view.storage.key}"],
        "no or several storages; several tensors in one file?",
    )
    return view, content[numbers[0]]


def _checked_members(infos: list[zipfile.ZipInfo], file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Name below the top folder -> member; nothing is read before their sizes add up to less than the file."""
    members = {info.filename.partition("/")[2]: info for info in infos}
    parts = [part for info in infos for part in info.filename.removesuffix("/").split("/")]
    demand(
        ".." not in parts and "" not in parts,
        "a zip archive whose names leave its folder; hostile?",
    )
    one_top = len({info.filename.partition("/")[0] for info in infos}) == 1
    demand(
        one_top and len(members) == len(infos),
        "a zip archive with a name twice or two folders; hostile?",
    )
    stored = all(
        info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1 for info in infos
    )
    demand(stored, "a compressed or encrypted zip archive; packed again by another program?")
    demand(
        sum(info.file_size for info in infos) < file_bytes,
        "a zip archive that claims more than it has; hostile?",
    )
    extra = max(
        (info.file_size for name, info in members.items() if not name.startswith("data/")),
        default=0,
    )
    demand(extra <= EXTRA_BYTES, "a zip archive with more than a tensor in it; a whole model?")
    return members


def _gather(view: View, numbers) -> np.ndarray:
    """The elements of `view` out of the storage's bytes; all is checked before anything is allocated."""
    dtype, size, shape, strides = view.storage.dtype, view.storage.size, view.shape, view.strides
    tuples = type(shape) is tuple and type(strides) is tuple and len(shape) == len(strides) <= AXES
    demand(
        tuples,
        f"a shape and strides that do not fit each other or are longer than {AXES}; damaged?",
    )
    sizes = all(is_size(number) for number in (view.offset, *shape, *strides))
    demand(sizes, "an offset, shape or stride below 0 or above any file's; hostile?")
    expected = size * dtype.itemsize
    demand(len(numbers) == expected, f"{len(numbers)} bytes of numbers, not {expected}; cut short?")
    count = math.prod(shape)
    demand(
        count <= size,
        f"{count} elements out of {size} stored; saved from expand()? use contiguous() before",
    )
    last = view.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    demand(
        count == 0 or last < size,
        f"a tensor that ends at element {last} of {size} stored; cut short or hostile?",
    )
    if count == 0:
        return np.zeros(shape, dtype)
    truth = dtype.kind == "b"  # read as bytes, for one other than 0 and 1 is no bool
    steps = [stride * dtype.itemsize for stride in strides]
    elements = np.ndarray(
        shape, "u1" if truth else dtype, numbers, view.offset * dtype.itemsize, steps
    )
    return np.array(elements != 0 if truth else elements, dtype.newbyteorder("="), order="C")


def _is_int(value, expected: int) -> bool:
    return type(value) is int and value == expected
