"""Writes .pt files byte by byte, the good and the hostile, and watches what reading them runs."""

import codecs
import io
import math
import random
import struct
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

KINDS = {
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}
KEY = "94051"


def whole(number: int) -> bytes:
    """An integer as pickle writes it at protocol 2."""
    if 0 <= number < 256:
        return b"K" + struct.pack("<B", number)
    if -(2**31) <= number < 2**31:
        return b"J" + struct.pack("<i", number)
    content = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + struct.pack("<B", len(content)) + content


def text(string: str) -> bytes:
    return b"X" + struct.pack("<I", len(string)) + string.encode()


def name(module: str, attribute: str) -> bytes:
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def row(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def wholes(numbers) -> bytes:
    return row(*map(whole, numbers))


def pickled(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


HOOKS = name("collections", "OrderedDict") + b")R"
KEYS = b"]" + text(KEY) + b"a"
SING = name("hostile", "sing") + b")R"  # the canary: this call does what pickle lets every file do


def storage(kind="FloatStorage", size=12, key=KEY, *rest: bytes) -> bytes:
    return (
        row(text("storage"), name("torch", kind), text(key), text("cpu"), whole(size), *rest) + b"Q"
    )


def rebuilt(numbers: bytes, offset=0, shape=(3, 4), strides=(4, 1)) -> bytes:
    arguments = row(numbers, whole(offset), wholes(shape), wholes(strides), b"\x89", HOOKS)
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def legacy(tensor: bytes, numbers=bytes(48), count=12, keys=KEYS, little=b"\x88") -> bytes:
    """A legacy file around the pickle of `tensor`; the defaults are those of twelve float32."""
    sizes = b"}(" + text("protocol_version") + whole(1001) + text("little_endian") + little + b"u"
    heads = pickled(whole(0x1950A86A20F9469CFC6C)) + pickled(whole(1001)) + pickled(sizes)
    return heads + pickled(tensor) + pickled(keys) + struct.pack("<q", count) + numbers


def zipped(
    members: dict[str, bytes] | list,
    top="archive/",
    compression=zipfile.ZIP_STORED,
    comment=b"",
) -> bytes:
    """A zip archive of (name, content); names may come twice in a list."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for member, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(top + member, content)
        archive.comment = comment
    return file.getvalue()


def tensor_zip(tensor: bytes, numbers=bytes(48), key=KEY, **extra: bytes) -> bytes:
    members = {
        "data.pkl": pickled(tensor),
        "byteorder": b"little",
        f"data/{key}": numbers,
        "version": b"3\n",
    }
    return zipped(members | extra)


def tensor_file(array: np.ndarray, zip_format=True, offset=0, view=None) -> bytes:
    """A .pt file whose storage is `array`.

    Its tensor is all of it, or the `view` (shape, strides) at `offset`.
    """
    shape, strides = view or (
        array.shape,
        [math.prod(array.shape[i + 1 :]) for i in range(array.ndim)],
    )
    kind = KINDS[array.dtype.str[1:]]
    numbers = array.tobytes()
    if zip_format:
        return tensor_zip(rebuilt(storage(kind, array.size), offset, shape, strides), numbers)
    return legacy(
        rebuilt(storage(kind, array.size, KEY, b"N"), offset, shape, strides), numbers, array.size
    )


def mutated(content: bytes, chance: random.Random) -> bytes:
    """`content` with one to four bytes, runs or numbers changed, moved, doubled or lost."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(content)), chance.choice((1, 1, 2, 4, 8, 30))
        piece = bytes(content[at : at + length])
        new = chance.choice(
            (
                chance.randbytes(length),
                b"\xff" * length,
                bytes(length),
                piece * 2,
                b"",
                b"(",
                b"R",
                b"Q",
            )
        )
        content[at : at + len(new) if chance.random() < 0.7 else at + length] = new
        if not content:
            break
    return bytes(content)


def put(path: Path, content: bytes):
    """Writes a file anew.

    Truncating one that is there makes ext4 flush it to the disk, 20,000 times.
    """
    path.unlink(missing_ok=True)
    path.write_bytes(content)


songs = []


def sing():
    songs.append("a file ran code")


# zipfile and pickletools import them at need, which would be heard
for codec in ("cp437", "raw_unicode_escape"):
    codecs.lookup(codec)
_heard = None


def _listen(event, arguments):
    if _heard is not None:
        _heard.add(f"import {arguments[0]}" if event == "import" else event)


sys.addaudithook(_listen)  # cannot be taken away again, only made deaf


@contextmanager
def listening():
    """The names of everything that Python audits meanwhile.

    These are imports, exec, os.system, pickle's look-ups, ...
    """
    global _heard
    _heard = heard = set()
    try:
        yield heard
    finally:
        _heard = None
