"""Reading .pt files: what is good is read to the bit, and what is not is refused.

Nothing in either is run.
"""

import pickle
import random
import struct
import tracemalloc
import zipfile

import hostile
import numpy as np
import pytest
from hostile import (
    KEY,
    legacy,
    name,
    pickled,
    rebuilt,
    row,
    storage,
    tensor_file,
    tensor_zip,
    text,
    whole,
    wholes,
)

from adf.files.tensor_file import read_tensor

HARMLESS = {"open"}  # of all events that Python audits
GOOD = rebuilt(storage())


def read(tmp_path, content: bytes):
    path = tmp_path / "tensor.pt"
    hostile.put(path, content)
    return read_tensor(path)


@pytest.mark.parametrize("zip_format", [False, True])
@pytest.mark.parametrize("kind", hostile.KINDS)
def test_reads_every_kind_of_number_at_any_offset_and_strides(tmp_path, kind, zip_format):
    memory = np.random.default_rng(0).integers(0, 100, (5, 6, 7)).astype(kind)
    views = {
        "whole": (memory, 0, None),
        "offset": (memory[2:], 84, ((3, 6, 7), (42, 7, 1))),
        "transposed": (memory.transpose(2, 0, 1), 0, ((7, 5, 6), (1, 42, 7))),
        "steps": (memory[1::2, :, ::3], 42, ((2, 6, 3), (84, 7, 3))),
        "scalar": (memory[1, 2, 3], 59, ((), ())),
        "empty": (memory[:0], 0, ((0, 6, 7), (42, 7, 1))),
        "one row again": (np.broadcast_to(memory[:1], (5, 6, 7)), 0, ((5, 6, 7), (0, 7, 1))),
    }
    for expected, offset, strides in views.values():
        array = read(tmp_path, tensor_file(memory, zip_format, offset, strides))
        np.testing.assert_array_equal(array, expected, strict=True)
        assert array.flags.owndata and array.flags.c_contiguous and array.flags.writeable


def test_a_byte_that_is_no_bool_becomes_one(tmp_path):
    array = read(
        tmp_path, legacy(rebuilt(storage("BoolStorage", 3), 0, (3,), (1,)), b"\x00\x02\xff", 3)
    )
    assert array.view(np.uint8).tolist() == [0, 1, 1]


def test_parameters_other_top_folders_and_small_extra_members_are_read(tmp_path):
    parameter = (
        name("torch._utils", "_rebuild_parameter") + row(GOOD, b"\x88", hostile.HOOKS) + b"R"
    )
    assert read(tmp_path, legacy(parameter)).shape == (3, 4)
    members = {
        "data.pkl": pickled(GOOD),
        f"data/{KEY}": bytes(48),
        ".data/serialization_id": b"1" * 40,
    }
    assert read(tmp_path, hostile.zipped(members, "any name at all/")).shape == (3, 4)


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return opening * depth + closing * depth


def patched_zip(content: bytes, **fields: int) -> bytes:
    """`content` with numbers of the last entry of its directory replaced."""
    at = {
        "flags": (8, "<H"),
        "method": (10, "<H"),
        "packed": (20, "<I"),
        "size": (24, "<I"),
        "start": (42, "<I"),
    }
    content, entry = bytearray(content), content.rindex(b"PK\x01\x02")
    for field, number in fields.items():
        struct.pack_into(at[field][1], content, entry + at[field][0], number)
    return bytes(content)


def hostile_pickles() -> dict[str, bytes]:
    """Tensors as pickles that must be refused in either format."""
    system = name("os", "system") + row(text("touch canary"))
    bomb = b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(200))
    return {
        "calls os.system": system + b"R",
        "calls os.system, returns a tensor": system + b"R0" + GOOD,
        "calls the canary": hostile.SING,
        "calls the canary inside a tensor": rebuilt(storage() + hostile.SING + b"0"),
        "the canary as hooks": GOOD.replace(hostile.HOOKS, hostile.SING),
        "the name of the canary as hooks": GOOD.replace(hostile.HOOKS, name("hostile", "sing")),
        "a dict of the canary as hooks": GOOD.replace(
            hostile.HOOKS, b"}" + text("x") + name("hostile", "sing") + b"s"
        ),
        "no hooks at all": GOOD.replace(hostile.HOOKS, b"N"),
        "names eval": name("builtins", "eval"),
        "calls eval": name("builtins", "eval") + row(text("__import__('hostile').sing()")) + b"R",
        "names by STACK_GLOBAL": b"\x8c\x07hostile\x8c\x04sing\x93)R",
        "an extension code": b"\x82\x01",
        "BUILD": GOOD + b"}b",
        "BUILD of a name": name("hostile", "songs") + b"}" + text("x") + whole(1) + b"sb",
        "INST": b"(ihostile\nsing\n",
        "OBJ": b"(" + name("hostile", "sing") + b"o",
        "NEWOBJ": name("hostile", "sing") + b")\x81",
        "a terabyte of storage": rebuilt(storage(size=2**38), 0, (2**19, 2**19), (2**19, 1)),
        "a terabyte of view": rebuilt(storage(), 0, (2**19, 2**19), (2**19, 1)),
        "a stride-0 bomb": rebuilt(storage(), 0, (2**20, 2**20), (0, 0)),
        "a small stride-0 bomb": rebuilt(storage(), 0, (13,), (0,)),
        "a negative stride": rebuilt(storage(), 11, (12,), (-1,)),
        "a negative offset": rebuilt(storage(), -1),
        "a negative shape": rebuilt(storage(), 0, (-3, -4)),
        "an offset behind the end": rebuilt(storage(), 1),
        "a stride behind the end": rebuilt(storage(), 0, (3, 4), (5, 1)),
        "more strides than axes": rebuilt(storage(), 0, (3, 4), (4, 1, 1)),
        "too many axes": rebuilt(storage(), 0, (1,) * 9, (1,) * 9),
        "a huge offset": rebuilt(storage(), 2**2000),
        "a huge stride on an axis of 1": rebuilt(storage(), 0, (1,), (2**70,)),
        "a huge empty shape": rebuilt(storage(), 0, (0, 2**62, 2**62), (1, 1, 1)),
        "a truth value as offset": GOOD.replace(storage() + whole(0), storage() + b"\x88"),
        "a shape of text": GOOD.replace(wholes((3, 4)), row(text("3"), text("4"))),
        "a shape that is a list": GOOD.replace(wholes((3, 4)), b"](" + whole(3) + whole(4) + b"e"),
        "a storage larger than its bytes": rebuilt(storage(size=13)),
        "a storage smaller than its bytes": rebuilt(storage(size=11), 0, (11,), (1,)),
        "a negative storage": rebuilt(storage(size=-12)),
        "a huge storage": rebuilt(storage(size=2**1000)),
        "complex numbers": rebuilt(storage("ComplexFloatStorage")),
        "another module's numbers": GOOD.replace(b"ctorch\n", b"chostile\n"),
        "part of a storage": rebuilt(
            storage("FloatStorage", 12, KEY, row(text("v"), whole(0), whole(3)))
        ),
        "no storage": rebuilt(whole(5) + b"Q"),
        "a number": whole(5),
        "a list of tensors": b"](" + GOOD + b"e",
        "two tensors": GOOD + GOOD,
        "nothing": b"",
        "a mark as value": b"(",
        "a mark in a tuple": b"(\x85",
        "a tuple without mark": b"t",
        "a REDUCE of nothing": b"R",
        "a call of a number": whole(5) + b")R",
        "a list as dict": b"]" + text("a") + whole(1) + b"s",
        "a dict of lists": b"}]" + whole(1) + b"s",
        "an odd dict": b"}(" + text("a") + b"u",
        "an append to itself": b"]q\x00h\x00a",
        "a memo never written": b"h\x05",
        "a memo bomb": bomb,
        "a long memo": b"N" + b"".join(b"r" + struct.pack("<I", i) for i in range(2000)),
        "more opcodes than any tensor's": GOOD + b"q\x07" * 1000,
        "a nest of tuples": b")" + b"\x85" * 3000,
        "a nest of marks": nested(b"(", b"t", 3000),
        "a nest of lists": b"]" * 3000 + b"a" * 2999,
        "a longer pickle than any tensor's": b"K\x000" * 40_000,
        "a huge LONG": b"L" + b"9" * 5000 + b"L\n",
        "a negative LONG4": b"\x8b\xff\xff\xff\xff",
        "a LONG4 of two gigabytes": b"\x8b\xff\xff\xff\x7f1",
        "a text of four gigabytes": b"X\xff\xff\xff\xff1",
        "bytes of eight exabytes": b"\x8e" + b"\xff" * 7 + b"\x7f",
        "text that is no UTF-8": b"X\x02\x00\x00\x00\xff\xfe",
        "a name that is no ASCII": b"ct\xf6rch\nFloatStorage\n",
        "protocol 4": b"\x80\x04" + GOOD,
        "an unknown opcode": b"\xff",
    }


def hostile_files() -> dict[str, bytes]:
    good_zip = tensor_zip(GOOD)
    member, other = ("data.pkl", pickled(GOOD)), (f"data/{KEY}", bytes(48))
    deflated = hostile.zipped([member, other], compression=zipfile.ZIP_DEFLATED)
    bomb = hostile.zipped([member, (f"data/{KEY}", bytes(2**24))], compression=zipfile.ZIP_DEFLATED)
    return {
        "no byte": b"",
        "one byte": b"\x80",
        "text": b"hello, I am no tensor\n",
        "a wrong magic number": legacy(GOOD).replace(b"\x6c\xfc\x9c\x46", b"\x6c\xfc\x9c\x47"),
        "another protocol": legacy(GOOD).replace(whole(1001), whole(1002), 1),
        "big-endian": legacy(GOOD, little=b"\x89"),
        "another tensor's key": legacy(GOOD, keys=b"]" + text("1") + b"a"),
        "no key": legacy(GOOD, keys=b"]"),
        "two keys": legacy(GOOD, keys=b"](" + text(KEY) + text("1") + b"e"),
        "keys that run code": legacy(GOOD, keys=hostile.SING),
        "sizes that run code": legacy(GOOD, little=hostile.SING),
        "another count": legacy(GOOD, count=11),
        "a negative count": legacy(GOOD, count=-12),
        "bytes behind the numbers": legacy(GOOD) + b"\x00",
        "a second STOP": legacy(GOOD + b"."),
        "a STOP less": legacy(GOOD)[:-49].removesuffix(b".") + legacy(GOOD)[-48:],
        "zip: a second STOP": tensor_zip(GOOD + b"."),
        "zip: bytes behind STOP": hostile.zipped([("data.pkl", pickled(GOOD) + b"x"), other]),
        "zip: big-endian": tensor_zip(GOOD, byteorder=b"big"),
        "zip: bytes behind its end": good_zip + b"\x00",
        "zip: no data.pkl": hostile.zipped([other]),
        "zip: no numbers": hostile.zipped([member]),
        "zip: other numbers": tensor_zip(GOOD, key="1"),
        "zip: two storages": tensor_zip(GOOD, **{"data/1": b""}),
        "zip: a large extra": tensor_zip(GOOD, extra=bytes(2**17)),
        "zip: no top folder": hostile.zipped([member, other], top=""),
        "zip: two top folders": hostile.zipped(
            [("a/data.pkl", pickled(GOOD)), ("b/data/" + KEY, bytes(48))], top=""
        ),
        "zip: a slip up": tensor_zip(GOOD, **{"../../etc/passwd": b""}),
        "zip: a slip to the root": hostile.zipped([member, other, ("/etc/passwd", b"")], top="/"),
        "zip: many members": tensor_zip(GOOD, **{str(i): b"" for i in range(100)}),
        "zip: deflated": deflated,
        "zip: a deflate bomb": bomb,
        "zip: an unknown compression": patched_zip(good_zip, method=99),
        "zip: encrypted": patched_zip(good_zip, flags=1),
        "zip: a member of four gigabytes": patched_zip(good_zip, packed=2**32 - 2, size=2**32 - 2),
        "zip: a member that overlaps": patched_zip(good_zip, start=0),
        "zip: a wrong checksum": good_zip.replace(bytes(48), bytes(47) + b"1"),
    }


@pytest.fixture(scope="module")
def twice():
    """zipfile warns when it writes a name twice."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        return hostile.zipped(
            [("data.pkl", pickled(GOOD)), ("data.pkl", pickled(GOOD)), (f"data/{KEY}", bytes(48))]
        )


def refuse(tmp_path, content: bytes):
    """Asserts that `content` is refused in one line.

    That must run nothing and take little memory.
    """
    path = tmp_path / "tensor.pt"
    hostile.put(path, content)
    tracemalloc.start()
    try:
        with hostile.listening() as heard, pytest.raises(ValueError) as error:
            read_tensor(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(error.value)
    assert type(error.value) is ValueError and message.startswith(str(path)) and "\n" not in message
    assert "expected" in message and "got" in message and len(message) < len(str(path)) + 250
    assert heard <= HARMLESS and not hostile.songs
    assert peak < 4 * len(content) + 2**20


@pytest.mark.parametrize("case", hostile_pickles())
def test_refuses_hostile_pickles(tmp_path, case):
    refuse(tmp_path, legacy(hostile_pickles()[case]))
    refuse(tmp_path, tensor_zip(hostile_pickles()[case]))


@pytest.mark.parametrize("case", hostile_files())
def test_refuses_hostile_files(tmp_path, case):
    refuse(tmp_path, hostile_files()[case])


def test_refuses_a_name_twice(tmp_path, twice):
    refuse(tmp_path, twice)


@pytest.mark.parametrize("content", [legacy(GOOD), tensor_zip(GOOD)], ids=["legacy", "zip"])
def test_refuses_a_file_cut_anywhere(tmp_path, content):
    read(tmp_path, content)
    for length in [*range(0, len(content), 7), len(content) - 1]:
        refuse(tmp_path, content[:length])


def test_what_is_refused_would_run_with_pickle(tmp_path):
    """The checks themselves are checked.

    Where pickle reads the file, the canary sings, and the audit hears it.
    """
    with hostile.listening() as heard:
        pickle.loads(pickled(hostile.SING))
    assert hostile.songs.pop() and not hostile.songs
    assert "pickle.find_class" in heard - HARMLESS


def test_refuses_what_is_no_file_and_what_is_too_large(tmp_path):
    with pytest.raises(ValueError, match="folder"):
        read_tensor(tmp_path)
    with pytest.raises(OSError):
        read_tensor(tmp_path / "missing.pt")
    with (tmp_path / "large.pt").open("wb") as file:
        file.truncate(2**30 + 1)  # sparse: takes no disk
    with pytest.raises(ValueError, match="at most"):
        read_tensor(tmp_path / "large.pt")


@pytest.mark.slow
def test_mutated_files_are_read_or_refused(tmp_path):
    """Reading must not need luck: it is given 20,000 damaged files.

    Some zip files are damaged inside, with a right checksum.
    """
    chance, count, refused = random.Random(0), 20_000, 0
    bodies = [
        GOOD,
        hostile.SING,
        rebuilt(storage() + hostile.SING + b"0"),
        rebuilt(storage("HalfStorage", 24)),
    ]
    makers = [
        lambda body: hostile.mutated(legacy(body), chance),
        lambda body: hostile.mutated(tensor_zip(body), chance),
        lambda body: tensor_zip(hostile.mutated(body, chance)),
    ]
    path = tmp_path / "tensor.pt"
    for _ in range(count):
        content = chance.choice(makers)(chance.choice(bodies))
        hostile.put(path, content)
        with hostile.listening() as heard:
            try:
                assert read_tensor(path).nbytes <= len(content)
            except ValueError as error:
                refused += type(error) is ValueError
        assert heard <= HARMLESS and not hostile.songs
    assert count / 2 < refused < count  # some damage only changes numbers
