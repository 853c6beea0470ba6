"""One tensor out of a `.pt` file, without PyTorch and without running what the file says.

opcodes.py reads the pickles in it, tensor_zip.py the archive around them.
"""

import io
import math
import stat
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .opcodes import FILE_BYTES, View, as_view, demand, interpret, is_size
from .tensor_zip import unzip, unzipped

PICKLE_BYTES = 2**16  # torch needs 400
AXES = 8  # images and masks have 2 or 3

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the legacy format
PROTOCOL = 1001  # the second


def read_tensor(path, check=None) -> np.ndarray:
    """The one tensor in a `.pt` file, legacy or zip, as a C-contiguous array of its own.

    `check(shape, dtype)` may refuse it before memory is taken for its numbers. Raises
    ValueError, in one line, for a file that is damaged, hostile, or holds anything but one plain
    tensor, and OSError where the path cannot be opened.
    """
    path = Path(path)
    status = path.stat()
    # Only regular files are read: a device might never end.
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path}: expected a .pt file, got a folder or a device; a wrong path?")
    if status.st_size > FILE_BYTES:
        raise ValueError(
            f"{path}: expected at most {FILE_BYTES} bytes, got {status.st_size}; "
            "not an image's tensor?"
        )
    with path.open("rb") as file:
        with _naming(path):
            is_zip = file.read(4) == b"PK\x03\x04"
            view, length, read = (_open_zip if is_zip else _open_legacy)(file)
            _check_view(view, length)
        # So far no number was read.
        if check is not None:
            check(view.shape, view.storage.dtype)
        with _naming(path):
            return _gather(view, read())


@contextmanager
def _naming(path: Path):
    """Makes what was got instead of a tensor an error that names the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: expected a .pt file of one tensor, got {error}") from error


def _open_legacy(file) -> tuple[View, int, Callable]:
    """The tensor, how many bytes its numbers are, and what reads them, of the legacy format.

    It consists of five pickles (magic number, protocol, sizes, tensor, storage keys), an int64
    count, and the numbers.
    """
    file.seek(0)
    data = file.read(PICKLE_BYTES)
    stream = io.BytesIO(data)
    _check_preamble(stream)
    view = as_view(interpret(stream))
    match interpret(stream):
        case [str(key)]:
            demand(key == view.storage.key, "the numbers of another tensor; damaged?")
        case _:
            raise ValueError("no or several storages; several tensors in one file?")
    # The pickles end here; 8 bytes of count lie between them and the numbers.
    start = stream.tell() + 8
    count = data[start - 8 : start]
    demand(
        count == view.storage.size.to_bytes(8, "little"),
        "two counts of its numbers; cut short or damaged?",
    )
    length = file.seek(0, io.SEEK_END) - start
    file.seek(start)
    return view, length, file.read


def _check_preamble(stream: io.BytesIO):
    """Reads the first three pickles of the legacy format: magic number, protocol, sizes."""
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


def _open_zip(file) -> tuple[View, int, Callable]:
    """The tensor, how many bytes its numbers are, and what reads them, of the zip format.

    TOP/data.pkl describes the tensor, TOP/data/KEY holds its numbers, TOP/byteorder is optional.
    """
    archive, members = unzipped(file)
    content = {
        name: unzip(archive, member)
        for name, member in members.items()
        if not name.startswith("data/")
    }
    demand(
        content.get("byteorder", b"little") == b"little",
        "big-endian numbers; written on another machine?",
    )
    # A missing data.pkl reads as an empty one, which is a damaged pickle.
    stream = io.BytesIO(content.get("data.pkl", b""))
    view = as_view(interpret(stream))
    demand(not stream.read(1), "bytes behind its pickle; damaged?")
    numbers = [name for name in members if name.startswith("data/")]
    demand(
        numbers == [f"data/{view.storage.key}"],
        "no or several storages; several tensors in one file?",
    )
    member = members[numbers[0]]
    return view, member.file_size, lambda: unzip(archive, member)


def _gather(view: View, numbers) -> np.ndarray:
    """The elements of `view` out of the bytes of its storage."""
    dtype = view.storage.dtype
    if math.prod(view.shape) == 0:
        return np.zeros(view.shape, dtype)
    # Bools are read as bytes, for a byte other than 0 and 1 is no bool.
    is_bool = dtype.kind == "b"
    offset = view.offset * dtype.itemsize
    steps = [stride * dtype.itemsize for stride in view.strides]
    elements = np.ndarray(view.shape, "u1" if is_bool else dtype, numbers, offset, steps)
    return np.array(elements != 0 if is_bool else elements, dtype.newbyteorder("="), order="C")


def _check_view(view: View, length: int):
    """Refuses an offset, shape or strides that do not fit the `length` bytes of numbers."""
    shape = view.shape
    strides = view.strides
    tuples = type(shape) is tuple and type(strides) is tuple and len(shape) == len(strides) <= AXES
    demand(
        tuples,
        f"a shape and strides that do not fit each other or are longer than {AXES}; damaged?",
    )
    sizes = all(is_size(number) for number in (view.offset, *shape, *strides))
    demand(sizes, "an offset, shape or stride below 0 or above any file's; hostile?")
    expected = view.storage.size * view.storage.dtype.itemsize
    demand(length == expected, f"{length} bytes of numbers, not {expected}; cut short?")
    _check_bounds(view, math.prod(shape))


def _check_bounds(view: View, count: int):
    """Refuses a view of more than its storage, before anything is allocated for its elements."""
    size = view.storage.size
    demand(
        count <= size,
        f"{count} elements out of {size} stored; saved from expand()? use contiguous() before",
    )
    # Strides are not negative, so the last element lies highest.
    axes = zip(view.shape, view.strides, strict=True)
    last = view.offset + sum((n - 1) * stride for n, stride in axes)
    demand(
        count == 0 or last < size,
        f"a tensor that ends at element {last} of {size} stored; cut short or hostile?",
    )


def _is_int(value, expected: int) -> bool:
    return type(value) is int and value == expected
