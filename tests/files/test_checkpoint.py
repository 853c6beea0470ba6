"""A checkpoint comes back as it was, or is refused.

The one before it survives whatever happens to its successor.
"""

import errno
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from adf.files import atomic, checkpoint, manifest

DTYPES = ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
SETTINGS = {
    "system": "adf-unet",
    "widths": [16, 32],
    "rate": 2e-3,
    "norm": False,
    "best": None,
    "é": {"step": 7},
}


def example(rng=0):
    rng = np.random.default_rng(rng)
    return {
        "down/0.weight": rng.standard_normal((3, 1, 2, 2)).astype("f4"),
        "step": np.array(12),
        "nothing": np.zeros((0, 4)),
        "mask": rng.random(9) < 0.5,
    }


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path, example(), SETTINGS)
    return path


def refusal(path):
    """What load says is wrong with the file, in a message of one line that names it."""
    with pytest.raises(ValueError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    start, end = f"{path}: expected a checkpoint of adf, but: ", "; likely another kind of file"
    assert message.startswith(start) and end in message
    assert len(message.splitlines()) == 1 and len(message) < 600
    return message.removeprefix(start).partition(end)[0]


# ---- What comes back


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", DTYPES)
def test_every_dtype_and_shape_comes_back(tmp_path, code, order):
    rng = np.random.default_rng(1)
    arrays = {
        f"a{i}": rng.integers(0, 100, shape).astype(np.dtype(code).newbyteorder(order))
        for i, shape in enumerate([(), (1,), (0,), (5,), (2, 0, 3), (2, 3, 4, 5), (1,) * 20])
    }
    arrays["strided"] = arrays["a5"][:, ::-2, 1:, ::3]
    arrays["fortran"] = np.asfortranarray(arrays["a5"])
    checkpoint.save(tmp_path / "c.npz", arrays, {})
    found, settings = checkpoint.load(tmp_path / "c.npz")
    assert_same(found, arrays)
    assert settings == {}
    assert all(array.flags.writeable and array.flags.c_contiguous for array in found.values())


def test_odd_floats_come_back_bit_for_bit(tmp_path):
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324], "f8")
    checkpoint.save(tmp_path / "c.npz", {"odd": odd, "scalar": np.float32(0.1)}, {})
    arrays, _ = checkpoint.load(tmp_path / "c.npz")
    assert arrays["odd"].tobytes() == odd.tobytes()
    assert arrays["scalar"].shape == () and arrays["scalar"] == np.float32(0.1)


def test_settings_come_back(path):
    _, settings = checkpoint.load(path)
    assert settings == SETTINGS and list(settings) == list(SETTINGS)


def test_no_arrays_at_all(tmp_path):
    checkpoint.save(tmp_path / "c.npz", {}, SETTINGS)
    assert checkpoint.load(tmp_path / "c.npz") == ({}, SETTINGS)


def test_numpy_reads_the_file(path):
    with np.load(path, allow_pickle=False) as file:
        assert_same({name: file[name] for name in example()}, example())
        manifest = json.loads(file["manifest.json"])
    assert manifest["settings"] == SETTINGS
    weight = manifest["arrays"]["down/0.weight"]
    assert weight["sha256"] == hashlib.sha256(example()["down/0.weight"].tobytes()).hexdigest()


@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (10, 11, 12, 13), (1,) * 32])
@pytest.mark.parametrize("code", DTYPES)
def test_the_header_is_the_one_of_numpy(code, shape):
    array, file = (
        np.zeros((0,), code),
        io.BytesIO(manifest.npy_header(shape, np.dtype(code).str)),
    )
    assert np.lib.format.read_magic(file) == (1, 0)
    assert np.lib.format.read_array_header_1_0(file) == (shape, False, array.dtype)
    assert file.read() == b"" and file.tell() % 64 == 0


def test_equal_input_makes_equal_files(path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 2e9)
    checkpoint.save(path.with_name("again.npz"), example(), SETTINGS)
    assert path.read_bytes() == path.with_name("again.npz").read_bytes()


def test_members_of_gigabytes_use_the_64_bit_format(path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    checkpoint.save(path, example(1), SETTINGS)
    assert_same(checkpoint.load(path)[0], example(1))


# ---- What save refuses


@pytest.mark.parametrize(
    "value",
    [
        np.array([None]),
        np.array(["text"]),
        np.zeros(2, "c8"),
        np.zeros(2, "f2"),
        np.zeros(2, "M8[s]"),
        np.zeros(2, [("a", "f4")]),
        [1.0, 2.0],
        3.0,
        None,
    ],
)
def test_other_values_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match=r"save expects .*'w'"):
        checkpoint.save(tmp_path / "c.npz", {"w": value}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "a b", "a\0b", "ü", "a\\b", "x" * 1001, 3])
def test_other_names_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="save expects array names"):
        checkpoint.save(tmp_path / "c.npz", {name: np.zeros(1)}, {})


@pytest.mark.parametrize(
    "settings",
    [
        {"rate": float("nan")},
        {"deep": [{"rate": float("inf")}]},
        {"n": np.int64(1)},
        {"w": np.zeros(2)},
        {"w": (1, 2)},
        {1: "one"},
        {"x": {1, 2}},
        ["no", "dictionary"],
        None,
        {"long": "x" * 2**22},
    ],
)
def test_settings_that_would_not_come_back_are_refused(path, settings):
    with pytest.raises(ValueError, match="save expects settings") as caught:
        checkpoint.save(path, {}, settings)
    assert len(str(caught.value).splitlines()) == 1
    assert checkpoint.load(path)[1] == SETTINGS


# ---- What load refuses


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none.npz")


def test_a_flipped_bit_is_refused_or_changes_nothing(path):
    """Every byte of the file, headers and manifest and data, with a bit that moves along."""
    whole, inert = path.read_bytes(), []
    contents = {whole.index(data) + i for data in unpack(path).values() for i in range(len(data))}
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position * 5 % 8)
        path.write_bytes(damaged)
        try:
            arrays, settings = checkpoint.load(path)
        except ValueError:
            continue
        assert_same(arrays, example())
        assert settings == SETTINGS
        inert.append(position)
    assert len(contents) > 1000 and contents.isdisjoint(inert)
    assert 0 < len(inert) < len(whole) / 7  # dates, versions and attributes of the zip


def test_every_flipped_bit_of_the_data_is_refused(path):
    whole = path.read_bytes()
    data = example()["down/0.weight"].tobytes()
    start = whole.index(data)
    for bit in range(8 * len(data)):
        damaged = bytearray(whole)
        damaged[start + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        refusal(path)


def test_the_checksum_holds_where_the_crc_of_the_zip_is_forged(path):
    members = unpack(path)
    members["mask.npy"] = members["mask.npy"][:-1] + bytes([members["mask.npy"][-1] ^ 1])
    assert "'mask' does not match its checksum" in refusal(repack(path, members, seal=True))


def test_every_truncation_is_refused(path):
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refusal(path)


def foreign_files():
    array = np.arange(3.0)
    npz, npy, other_zip, empty_zip = (io.BytesIO() for _ in range(4))
    np.savez(npz, weight=array)
    np.save(npy, array)
    with zipfile.ZipFile(other_zip, "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    zipfile.ZipFile(empty_zip, "w").close()
    streams = {"npz": npz, "npy": npy, "zip": other_zip, "empty zip": empty_zip}
    return {name: stream.getvalue() for name, stream in streams.items()} | {
        "empty": b"",
        "text": b"not a checkpoint\n" * 100,
        "png": b"\x89PNG\r\n\x1a\n" + bytes(500),
        "pickle": b"\x80\x04K\x01.",
        "zeros": bytes(5000),
        "noise": np.random.default_rng(0).bytes(5000),
    }


@pytest.mark.parametrize("kind", foreign_files())
def test_foreign_files_are_refused(tmp_path, kind):
    (tmp_path / "c.npz").write_bytes(foreign_files()[kind])
    refusal(tmp_path / "c.npz")


def unpack(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repack(path, members, seal=False, compression=zipfile.ZIP_STORED):
    """Writes members, a dictionary or pairs, as a forger would.

    With `seal`, the manifest's checksum is right.
    """
    pairs = list(members.items() if isinstance(members, dict) else members)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of a name that comes twice
        for name, data in pairs:
            archive.writestr(name, data)
        archive.comment = (
            hashlib.sha256(dict(pairs)["manifest.json"]).hexdigest().encode() if seal else b""
        )
    return path


def forge(path, change):
    """A file whose manifest says otherwise, with a right checksum."""
    members = unpack(path)
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    members["manifest.json"] = json.dumps(manifest).encode()
    return repack(path, members, seal=True)


def test_the_forger_of_these_tests_can_make_a_good_file(path):
    checkpoint.load(forge(path, lambda manifest: None))


def test_a_manifest_without_its_checksum_is_refused(path):
    assert "does not match its checksum" in refusal(repack(path, unpack(path)))


def test_missing_extra_twice_and_swapped_members_are_refused(path):
    good = list(unpack(path).items())
    assert "mask.npy" in refusal(repack(path, good[:-1], seal=True))
    assert "more.npy" in refusal(repack(path, [*good, ("more.npy", b"")], seal=True))
    assert "twice" in refusal(repack(path, [*good, good[-1]], seal=True))
    assert "order" in refusal(repack(path, [good[0], *good[:0:-1]], seal=True))
    assert "first" in refusal(repack(path, good[::-1], seal=True))


def test_compressed_members_are_refused_unread(path):
    bomb = dict(unpack(path), bomb=bytes(10**7))
    assert "compressed" in refusal(repack(path, bomb, seal=True, compression=zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(format="other"),
        lambda m: m.update(version=1),
        lambda m: m.pop("version"),
        lambda m: m.update(more=1),
        lambda m: m.pop("settings"),
        lambda m: m.update(settings=[1]),
        lambda m: m.update(arrays=None),
        lambda m: m["arrays"].update(step=None),
        lambda m: m["arrays"].pop("step"),
        lambda m: m["settings"].update(rate=float("nan")),
        lambda m: m["arrays"]["step"].update(dtype="|O"),
        lambda m: m["arrays"]["step"].update(dtype=["<f8"]),
        lambda m: m["arrays"]["step"].update(dtype="<f8"),
        lambda m: m["arrays"]["step"].update(shape=[1]),
        lambda m: m["arrays"]["step"].update(shape=[2]),
        lambda m: m["arrays"]["step"].update(shape=["1"]),
        lambda m: m["arrays"]["step"].update(shape=[True]),
        lambda m: m["arrays"]["step"].update(shape=[-1, -1]),
        lambda m: m["arrays"]["step"].update(shape=None),
        lambda m: m["arrays"]["step"].update(shape=[1] * 50000),
        lambda m: m["arrays"]["nothing"].update(shape=[0, 2**62]),
        lambda m: m["arrays"]["step"].update(sha256="0" * 64),
        lambda m: m["arrays"]["step"].pop("sha256"),
        lambda m: m["arrays"]["step"].update(offset=0),
    ],
)
def test_a_manifest_that_lies_is_refused(path, change):
    refusal(forge(path, change))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b"[" * 10**5,
        b"9" * 10**4,
        b'{"settings": {}, "settings": {}}',
        b"\xff",
    ],
)
def test_a_manifest_that_is_none_is_refused(path, text):
    refusal(repack(path, dict(unpack(path), **{"manifest.json": text}), seal=True))


def test_a_long_manifest_is_refused_unread(path):
    assert "longer" in refusal(
        repack(path, dict(unpack(path), **{"manifest.json": b" " * 2**23}), seal=True)
    )


@pytest.mark.parametrize(
    "shape, dtype, problem",
    [
        ([], "|O", "dtype"),
        ([], "<M8[s]", "dtype"),
        ([4], "<f2", "dtype"),
        ([], ">i8", "dtype"),
        ([True], "<i8", "shape"),
        ([-1, -1], "<i8", "shape"),
        ([1.0], "<i8", "shape"),
    ],
)
def test_a_manifest_and_a_header_that_lie_alike_are_refused(path, shape, dtype, problem):
    forge(path, lambda manifest: manifest["arrays"]["step"].update(shape=shape, dtype=dtype))
    members = unpack(path)
    members["step.npy"] = manifest.npy_header(shape, dtype) + members["step.npy"][-8:]
    assert f"'step' has the {problem} " in refusal(repack(path, members, seal=True))


def test_a_terabyte_that_is_only_claimed_is_not_allocated(path):
    whole = path.read_bytes()

    def claim(manifest):
        manifest["arrays"]["step"].update(shape=[2**37])

    tracemalloc.start()
    try:
        assert f"should take {2**40 + 128} bytes" in refusal(forge(path, claim))
        # in the zip's directory: both sizes of the member at 20
        entry = whole.rindex(b"step.npy") - 46
        sizes = struct.pack("<LL", 2**32 - 2, 2**32 - 2)
        path.write_bytes(whole[: entry + 20] + sizes + whole[entry + 28 :])
        assert "claim more bytes than the file has" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


# ---- What the old checkpoint survives


KILLED_WRITERS = """
import os, random, signal, sys, time
import numpy as np
from adf.files import atomic, checkpoint
path, rounds = sys.argv[1], int(sys.argv[2])
def arrays(step):
    return {"step": np.array(step), "w": np.full(300_000, step, "f4")}
checkpoint.save(path, arrays(0), {})
random.seed(0)
steps = []
for _ in range(rounds):
    start, before = int(checkpoint.load(path)[0]["step"]), os.stat(path)
    child = os.fork()
    if child == 0:
        for step in range(start + 1, start + 10_000):
            checkpoint.save(path, arrays(step), {})
        os._exit(0)
    while os.stat(path) == before:  # until the first new one is there, however slow the disk
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found, _ = checkpoint.load(path)
    assert (found["w"] == found["step"]).all()
    steps.append(int(found["step"]))
left = len(os.listdir(os.path.dirname(path))) - 1
print(steps[-1], left, atomic.remove_stale(os.path.dirname(path)), \
os.listdir(os.path.dirname(path)))
"""


def run(script, *arguments):
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1")
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_writers_leave_a_whole_checkpoint(tmp_path):
    steps, left, removed, names = run(KILLED_WRITERS, tmp_path / "c.npz", 20).split(maxsplit=3)
    assert int(steps) >= 20  # every writer did write,
    assert int(left) >= 3  # and some were killed in the middle of it
    assert removed == left and names.strip() == "['c.npz']"


FULL_DISK = """
import os, resource, sys
import numpy as np
from adf.files import atomic, checkpoint
path = sys.argv[1]
checkpoint.save(path, {"w": np.zeros(10)}, {"old": True})
for limit in (0, 1, 100, 5000, 9000, 100_000, 799_999, 800_600):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        checkpoint.save(path, {"w": np.zeros(100_000)}, {"old": False})
    except OSError as error:
        assert str(path) in str(error) and "intact" in str(error) \
and len(str(error).splitlines()) == 1, error
    else:
        raise SystemExit("saved beyond the limit")
    assert checkpoint.load(path)[1] == {"old": True}
    assert os.listdir(os.path.dirname(path)) == ["c.npz"]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
checkpoint.save(path, {"w": np.zeros(100_000)}, {"old": False})
assert checkpoint.load(path)[1] == {"old": False}
print("done")
"""


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path):
    pytest.importorskip("resource")
    assert run(FULL_DISK, tmp_path / "c.npz") == "done\n"


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_failure_at_the_last_moment_keeps_the_old_checkpoint(path, monkeypatch, call, error):
    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, call, fail)
        with pytest.raises(type(error)):
            checkpoint.save(path, {"w": np.zeros(3)}, {})
    assert_same(checkpoint.load(path)[0], example())
    assert os.listdir(path.parent) == [path.name]


def test_the_folder_is_synced_after_the_file_has_its_name(path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(
        atomic.os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor))
    )
    monkeypatch.setattr(
        atomic.os, "replace", lambda *names: (calls.append("replace"), replace(*names))
    )
    checkpoint.save(path, {}, {})
    assert calls == ["fsync", "replace", "fsync"]


def test_a_missing_folder_is_one_clear_line(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"cannot write .*c\.npz: No such file or directory"
    ):
        checkpoint.save(tmp_path / "none" / "c.npz", {}, {})


def test_two_writers_share_nothing(tmp_path):
    path = tmp_path / "file"
    with atomic.atomic_write(path) as first, atomic.atomic_write(path) as second:
        first.write(b"first")
        second.write(b"second")
        assert len(list(tmp_path.iterdir())) == 2 and not path.exists()
    assert path.read_bytes() == b"first"  # its block ended last
    assert list(tmp_path.iterdir()) == [path]


def test_stale_temporaries_are_removed_and_nothing_else(path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stale = [f".adf-{pid}-{'0' * 16}.tmp" for pid in (dead.pid, os.getpid())]
    kept = [
        f".adf-{os.getppid()}-{'0' * 16}.tmp",
        f".adf-{dead.pid}-0.tmp",
        f"adf-{dead.pid}-{'0' * 16}.tmp",
        f".adf-{dead.pid}-{'0' * 16}.tmp.png",
        ".other.tmp",
    ]
    for name in stale + kept:
        (path.parent / name).touch()
    folder = path.parent / f".adf-{dead.pid}-{'1' * 16}.tmp"
    folder.mkdir()
    assert atomic.remove_stale(path.parent) == len(stale)
    assert sorted(os.listdir(path.parent)) == sorted([*kept, path.name, folder.name])


def test_the_temporary_of_another_users_writer_stays(tmp_path, monkeypatch):
    """The system does not let us signal it, so it runs."""
    names = [f".adf-{pid}-{'0' * 16}.tmp" for pid in (123456, 123457)]
    for name in names:
        (tmp_path / name).touch()

    def kill(pid, sent):
        assert sent == 0
        raise PermissionError if pid == 123456 else ProcessLookupError

    monkeypatch.setattr(atomic.os, "kill", kill)
    assert atomic.remove_stale(tmp_path) == 1 and os.listdir(tmp_path) == names[:1]
