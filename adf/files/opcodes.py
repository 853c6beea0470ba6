"""What a tensor's pickle says, by an interpreter that calls nothing.

A pickle is a program. Its opcodes are walked here by a machine that can only stack numbers, strings
and containers: a name such as `torch._utils._rebuild_tensor_v2` stays a name; a call is compared
with the three calls that torch writes for a tensor, and is never made.
"""

import io
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

FILE_BYTES = 2**29 + 2**17  # of any file: 2**26 pixels as float64, and what torch writes around
PICKLE_OPCODES = 1000  # torch needs 80; this bounds the stack, the memo and the nesting too
# The name of a storage's class -> its numbers.
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
MARK = object()  # stands on the stack where the items of a tuple, list or dict begin
HOOKS = object()  # the empty OrderedDict of backward hooks that torch writes for every tensor
# How many values an opcode takes off the stack; None: all above the mark.
COUNTS = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}
COUNTS |= dict.fromkeys(("TUPLE", "APPENDS", "SETITEMS"))
# The value that an opcode stands for.
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": MARK}


@dataclass(frozen=True)
class Name:
    """What a pickle imports, as "module name". It is never looked up."""

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


def interpret(stream: io.BytesIO):
    """The value of the next pickle in `stream`, which is left behind its STOP.

    Nothing is run or looked up.
    """
    stack = []
    memo = {}
    for count, (name, argument) in enumerate(_opcodes(stream)):
        demand(count < PICKLE_OPCODES, "a pickle of too many opcodes; not a tensor alone?")
        if name == "STOP":
            (value,) = _pop(stack, 1)
            demand(not stack, "a pickle that leaves values behind; damaged?")
            return value
        _step(stack, memo, name, argument)


def _opcodes(stream: io.BytesIO) -> Iterator[tuple[str, object]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, argument
    except (ValueError, Warning) as error:  # of a bad escape in a string, where warnings are errors
        raise ValueError(
            f"a damaged pickle ({str(error)[:80]}); cut short, or not a tensor at all?"
        ) from error


def _step(stack: list, memo: dict, name: str, argument):
    """Does what one opcode says, on the stack and the memo."""
    match name:
        case "PROTO":
            demand(
                argument == 2,
                f"pickle protocol {argument}, torch writes 2; written by another program?",
            )
        case "BINPUT" | "LONG_BINPUT":
            (memo[argument],) = _pop(stack, 1)
            stack.append(memo[argument])
        case "BINGET" | "LONG_BINGET":
            demand(argument in memo, "a pickle that remembers what it never saw; damaged?")
            stack.append(memo[argument])
        # Every other opcode pushes one value, some after they have popped what it is made of.
        case _:
            stack.append(_made(stack, name, argument))


def _made(stack: list, name: str, argument):
    """The value that one opcode makes of its argument and of what it pops off the stack.

    BUILD, INST, OBJ, NEWOBJ and all others that torch does not need are missing on purpose.
    """
    match name:
        case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
            return argument
        case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE" | "MARK":
            return CONSTANTS[name]
        case "EMPTY_LIST" | "EMPTY_DICT":
            return [] if name == "EMPTY_LIST" else {}
        case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
            return tuple(_pop(stack, COUNTS[name]))
        # A list or dict lies on the stack below its items.
        case "APPEND" | "APPENDS":
            values = _pop(stack, COUNTS[name])
            return _append(*_pop(stack, 1), values)
        case "SETITEM" | "SETITEMS":
            items = _pop(stack, COUNTS[name])
            return _set_items(*_pop(stack, 1), items)
        case "GLOBAL":
            return Name(argument)
        case "BINPERSID":
            return _as_storage(*_pop(stack, 1))
        case "REDUCE":
            return _as_rebuilt(*_pop(stack, 2))
    raise ValueError(f"the opcode {name}, which no tensor needs; hostile, or not a tensor alone?")


def _pop(stack: list, count: int | None = None) -> list:
    """The last `count` values, or those above the last MARK, which goes too."""
    values = []
    while len(values) != count:
        demand(stack, "a pickle that uses values it does not have; damaged?")
        value = stack.pop()
        if value is MARK:
            demand(count is None, "a pickle that uses a mark as a value; damaged?")
            break
        values.append(value)
    return values[::-1]


def _append(target, values: list) -> list:
    demand(
        type(target) is list, "a pickle that appends to what is no list; damaged, or a whole model?"
    )
    target.extend(values)
    return target


def _set_items(target, items: list) -> dict:
    keys = items[::2]
    values = items[1::2]
    plain = len(keys) == len(values) and all(type(key) is str for key in keys)
    demand(
        type(target) is dict and plain,
        "a pickle that sets items of what is no dict of strings; damaged, or a whole model?",
    )
    target.update(zip(keys, values, strict=True))
    return target


def _as_storage(persistent_id) -> Storage:
    match persistent_id:
        # The legacy format has a sixth field, for storages that are parts of others: it is None in
        # all but ancient files.
        case ("storage", Name(kind), str(key), str(), size, *rest) if rest in ([], [None]):
            demand(
                kind in DTYPES,
                f"numbers of the kind {repr(kind)[:60]}; bfloat16, complex or quantised?",
            )
            demand(
                is_size(size), "a storage of less than no or more than any file's numbers; hostile?"
            )
            return Storage(DTYPES[kind], key, size)
    raise ValueError("a reference that is no storage; damaged?")


def _as_rebuilt(function, arguments):
    """What a call would return, for the three calls that torch writes; none of them is made."""
    match function, arguments:
        # An empty OrderedDict stands for no backward hooks; hooks would be code.
        case Name("collections OrderedDict"), ():
            return HOOKS
        case Name("torch._utils _rebuild_tensor_v2"), (
            Storage() as storage,
            offset,
            shape,
            strides,
            bool(),
            hooks,
        ):
            demand(hooks is HOOKS, "a tensor with backward hooks; hostile?")
            return View(storage, offset, shape, strides)
        case Name("torch._utils _rebuild_parameter"), (View() as view, bool(), _):
            return view
        case Name(text), _:
            raise ValueError(
                f"a call of {repr(text)[:60]}, which was not made; hostile, or not a plain tensor?"
            )
    raise ValueError("a call of what is no function; damaged?")


def as_view(value) -> View:
    demand(
        isinstance(value, View), f"a pickled {type(value).__name__}; a model or a list of tensors?"
    )
    return value


def is_size(value) -> bool:
    return type(value) is int and 0 <= value <= FILE_BYTES


def demand(condition, otherwise: str):
    """Raises ValueError for a file that is not as it must be.

    `otherwise` says what the file is instead, and why that may be.
    """
    if not condition:
        raise ValueError(otherwise)
