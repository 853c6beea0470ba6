"""One tensor out of a `.pt` file, without PyTorch and without running anything that the file says.

A `.pt` file is a pickle, and a pickle is a program. Here its opcodes are walked by an interpreter that can only
stack numbers, strings and containers: a name such as `torch._utils._rebuild_tensor_v2` stays a name, a call is
compared with the three calls that torch writes for a tensor and never made.
"""

import io
import math
import pickletools
import stat
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FILE_BYTES = 2**30  # no image or mask of the data set comes near
PICKLE_BYTES = 2**16  # torch needs 400
PICKLE_OPCODES = 1000  # torch needs 80; this bounds the stack, the memo and the nesting too
ZIP_MEMBERS = 64  # torch needs 7
EXTRA_BYTES = 2**16  # a zip member that holds no numbers: version, byteorder, ...
AXES = 8

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
DTYPES = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("i1"),
    "torch ByteStorage": np.dtype("u1"),
    "torch BoolStorage": np.dtype("?"),
}
MARK = object()
HOOKS = object()  # the empty OrderedDict of backward hooks that torch writes for every tensor
COUNTS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}
COUNTS |= dict.fromkeys(("TUPLE", "APPENDS", "SETITEMS"))  # None: all above the mark
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": MARK}


@dataclass(frozen=True)
class Name:
    """What a pickle imports, as "module name". Never looked up."""

    text: str


@dataclass(frozen=True)
class Storage:
    """A run of `size` numbers that lie outside the pickle, under `key`."""

    dtype: np.dtype
    key: str
    size: int


@dataclass(frozen=True)
class View:
    """A tensor as its pickle describes it; offset and strides count elements of the storage."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


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
        raise ValueError(f"{path}: expected at most {FILE_BYTES} bytes, got {status.st_size}; not an image's tensor?")
    data = path.read_bytes()
    try:
        return _gather(*(_read_zip(data) if data.startswith(b"PK\x03\x04") else _read_legacy(data)))
    except ValueError as error:
        raise ValueError(f"{path}: expected a .pt file of one tensor, got {error}") from error


def _read_legacy(data: bytes) -> tuple[View, memoryview]:
    """Five pickles (magic number, protocol, sizes, tensor, storage keys), an int64 count, the numbers."""
    stream = io.BytesIO(data[:PICKLE_BYTES])
    _demand(_is_int(interpret(stream), MAGIC), "a pickle without torch's magic number; not written by torch.save?")
    _demand(_is_int(interpret(stream), PROTOCOL), "an unknown protocol; written by another version of torch?")
    sizes = interpret(stream)
    little = isinstance(sizes, dict) and sizes.get("little_endian") is True
    _demand(little, "big-endian numbers; written on another kind of machine?")
    view = _as_view(interpret(stream))
    match interpret(stream):
        case [str(key)]:
            _demand(key == view.storage.key, "the numbers of another tensor; damaged?")
        case _:
            raise ValueError("no or several storages; several tensors in one file?")
    start = stream.tell() + 8
    count = data[start - 8 : start]
    _demand(count == view.storage.size.to_bytes(8, "little"), "two counts of its numbers; cut short or damaged?")
    return view, memoryview(data)[start:]


def _read_zip(data: bytes) -> tuple[View, bytes]:
    """TOP/data.pkl describes the tensor, TOP/data/KEY holds its numbers, TOP/byteorder is optional."""
    _demand(data[-22:-18] == b"PK\x05\x06", "a zip archive without its end, or with bytes behind it; cut short?")
    # Every entry of the directory starts so: their number is bounded before zipfile makes objects of them.
    _demand(data.count(b"PK\x01\x02") <= ZIP_MEMBERS, "a zip archive of too many members; not a tensor alone?")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _checked_members(archive.infolist(), len(data))
            content = {name: archive.read(member) for name, member in members.items()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as error:
        raise ValueError(f"a damaged zip archive ({str(error)[:80]}); cut short?") from error
    _demand(content.get("byteorder", b"little") == b"little", "big-endian numbers; written on another machine?")
    stream = io.BytesIO(content.get("data.pkl", b""))
    view = _as_view(interpret(stream))
    _demand(not stream.read(1), "bytes behind its pickle; damaged?")
    numbers = [name for name in content if name.startswith("data/")]
    _demand(numbers == [f"data/{view.storage.key}"], "no or several storages; several tensors in one file?")
    return view, content[numbers[0]]


def _checked_members(infos: list[zipfile.ZipInfo], file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Name below the top folder -> member; nothing is read before their sizes add up to less than the file."""
    members = {info.filename.partition("/")[2]: info for info in infos}
    parts = [part for info in infos for part in info.filename.removesuffix("/").split("/")]
    _demand(".." not in parts and "" not in parts, "a zip archive whose names leave its folder; hostile?")
    one_top = len({info.filename.partition("/")[0] for info in infos}) == 1
    _demand(one_top and len(members) == len(infos), "a zip archive with a name twice or two folders; hostile?")
    stored = all(info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1 for info in infos)
    _demand(stored, "a compressed or encrypted zip archive; packed again by another program?")
    _demand(sum(info.file_size for info in infos) < file_bytes, "a zip archive that claims more than it has; hostile?")
    extra = max((info.file_size for name, info in members.items() if not name.startswith("data/")), default=0)
    _demand(extra <= EXTRA_BYTES, "a zip archive with more than a tensor in it; a whole model?")
    return members


def interpret(stream: io.BytesIO):
    """The value of the next pickle in `stream`, which is left behind its STOP. Runs nothing, looks nothing up."""
    stack, memo = [], {}
    for count, (name, argument) in enumerate(_opcodes(stream)):
        _demand(count < PICKLE_OPCODES, "a pickle of too many opcodes; not a tensor alone?")
        if name == "STOP":
            (value,) = _pop(stack, 1)
            _demand(not stack, "a pickle that leaves values behind; damaged?")
            return value
        _step(stack, memo, name, argument)


def _opcodes(stream: io.BytesIO) -> Iterator[tuple[str, object]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, argument
    except (ValueError, Warning) as error:  # of a bad escape in a string, where warnings are errors
        raise ValueError(f"a damaged pickle ({str(error)[:80]}); cut short, or not a tensor at all?") from error


def _step(stack: list, memo: dict, name: str, argument):
    """One opcode. BUILD, INST, OBJ, NEWOBJ and all others that torch does not need are missing on purpose."""
    match name:
        case "PROTO":
            _demand(argument == 2, f"pickle protocol {argument}, torch writes 2; written by another program?")
        case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
            stack.append(argument)
        case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE" | "MARK":
            stack.append(CONSTANTS[name])
        case "EMPTY_LIST" | "EMPTY_DICT":
            stack.append([] if name == "EMPTY_LIST" else {})
        case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
            stack.append(tuple(_pop(stack, COUNTS[name])))
        case "APPEND" | "APPENDS":
            values = _pop(stack, COUNTS[name])
            stack.append(_append(*_pop(stack, 1), values))
        case "SETITEM" | "SETITEMS":
            items = _pop(stack, COUNTS[name])
            stack.append(_set_items(*_pop(stack, 1), items))
        case "BINPUT" | "LONG_BINPUT":
            (memo[argument],) = _pop(stack, 1)
            stack.append(memo[argument])
        case "BINGET" | "LONG_BINGET":
            _demand(argument in memo, "a pickle that remembers what it never saw; damaged?")
            stack.append(memo[argument])
        case "GLOBAL":
            stack.append(Name(argument))
        case "BINPERSID":
            stack.append(_as_storage(*_pop(stack, 1)))
        case "REDUCE":
            stack.append(_as_rebuilt(*_pop(stack, 2)))
        case _:
            raise ValueError(f"the opcode {name}, which no tensor needs; hostile, or not a tensor alone?")


def _pop(stack: list, count: int | None = None) -> list:
    """The last `count` values, or those above the last MARK, which goes too."""
    values = []
    while len(values) != count:
        _demand(stack, "a pickle that uses values it does not have; damaged?")
        value = stack.pop()
        if value is MARK:
            _demand(count is None, "a pickle that uses a mark as a value; damaged?")
            break
        values.append(value)
    return values[::-1]


def _append(target, values: list) -> list:
    _demand(type(target) is list, "a pickle that appends to what is no list; damaged, or a whole model?")
    target.extend(values)
    return target


def _set_items(target, items: list) -> dict:
    keys, values = items[::2], items[1::2]
    plain = type(target) is dict and len(keys) == len(values) and all(type(key) is str for key in keys)
    _demand(plain, "a pickle that sets items of what is no dict of strings; damaged, or a whole model?")
    target.update(zip(keys, values, strict=True))
    return target


def _as_storage(persistent_id) -> Storage:
    match persistent_id:
        # The legacy format has a sixth field, for storages that are parts of others: None in all but ancient files.
        case ("storage", Name(kind), str(key), str(), size, *rest) if rest in ([], [None]):
            _demand(kind in DTYPES, f"numbers of the kind {repr(kind)[:60]}; bfloat16, complex or quantised?")
            _demand(_is_size(size), "a storage of less than no or more than any file's numbers; hostile?")
            return Storage(DTYPES[kind], key, size)
    raise ValueError("a reference that is no storage; damaged?")


def _as_rebuilt(function, arguments):
    """What a call would return, for the three calls that torch writes for a tensor; no call is made."""
    match function, arguments:
        case Name("collections OrderedDict"), ():
            return HOOKS
        case Name("torch._utils _rebuild_tensor_v2"), (Storage() as storage, offset, shape, strides, bool(), hooks):
            _demand(hooks is HOOKS, "a tensor with backward hooks; hostile?")
            return View(storage, offset, shape, strides)
        case Name("torch._utils _rebuild_parameter"), (View() as view, bool(), _):
            return view
        case Name(text), _:
            raise ValueError(f"a call of {repr(text)[:60]}, which was not made; hostile, or not a plain tensor?")
    raise ValueError("a call of what is no function; damaged?")


def _as_view(value) -> View:
    _demand(isinstance(value, View), f"a pickled {type(value).__name__}; a model or a list of tensors?")
    return value


def _gather(view: View, numbers) -> np.ndarray:
    """The elements of `view` out of the storage's bytes; all is checked before anything is allocated."""
    dtype, size, shape, strides = view.storage.dtype, view.storage.size, view.shape, view.strides
    tuples = type(shape) is tuple and type(strides) is tuple and len(shape) == len(strides) <= AXES
    _demand(tuples, f"a shape and strides that do not fit each other or are longer than {AXES}; damaged?")
    sizes = all(_is_size(number) for number in (view.offset, *shape, *strides))
    _demand(sizes, "an offset, shape or stride below 0 or above any file's; hostile?")
    expected = size * dtype.itemsize
    _demand(len(numbers) == expected, f"{len(numbers)} bytes of numbers, not {expected}; cut short?")
    count = math.prod(shape)
    _demand(count <= size, f"{count} elements out of {size} stored; saved from expand()? use contiguous() before")
    last = view.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    _demand(count == 0 or last < size, f"a tensor that ends at element {last} of {size} stored; cut short or hostile?")
    if count == 0:
        return np.zeros(shape, dtype)
    truth = dtype.kind == "b"  # read as bytes, for one other than 0 and 1 is no bool
    steps = [stride * dtype.itemsize for stride in strides]
    elements = np.ndarray(shape, "u1" if truth else dtype, numbers, view.offset * dtype.itemsize, steps)
    return np.array(elements != 0 if truth else elements, dtype.newbyteorder("="), order="C")


def _is_size(value) -> bool:
    return type(value) is int and 0 <= value <= FILE_BYTES


def _is_int(value, expected: int) -> bool:
    return type(value) is int and value == expected


def _demand(condition, otherwise: str):
    """ValueError for a file that is not as it must be; `otherwise` says what it is instead and why that may be."""
    if not condition:
        raise ValueError(otherwise)
