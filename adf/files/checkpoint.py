"""Checkpoints: named host arrays and settings in one file that is whole, or refused.

The file is an uncompressed .npz, so `numpy.load(path, allow_pickle=False)` reads it without adf.
Its first member, manifest.json, lists the settings and every array's shape, dtype and SHA-256; the
zip's comment is the SHA-256 of the manifest. So a checksum covers each byte that matters, and equal
input makes equal files (no dates inside).
"""

import hashlib
import json
import math
import os
import re
import struct
import zipfile

import numpy as np

from .atomic import atomic_write
from .opening import open_regular

FORMAT = "adf checkpoint"
VERSION = 2  # 1 numbered the arrays of a run; since 2 they are named by their path in the network
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 2**22  # bytes
MOST_AXES = 64  # of an array of NumPy
DIRECTORY_LIMIT = 2**24  # bytes of the zip's directory; an array takes less than 1,200 there
LIMIT = 2**30  # bytes of a checkpoint: the weights of 250 million parameters
PIECE = 2**20  # bytes that are read at a time
END = 22 + 64  # bytes of the zip's end with its comment
# What zipfile, json and a wrong manifest raise on bytes that nobody meant as a checkpoint.
UNREADABLE = (
    zipfile.BadZipFile,
    ValueError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
)
# The dtypes that an array may have in the file: little-endian, or of one byte.
DTYPES = {"<f4", "<f8", "|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8"}


def save(path, arrays, settings):
    """Writes `arrays` (name -> host array) and `settings` (what JSON holds) to `path`, atomically.

    Whatever fails, a checkpoint that was there before stays. Big-endian arrays are stored
    little-endian. Raises ValueError, before anything is written, for names, dtypes or settings that
    `load` would not give back equal (NaN, tuples, keys that are no strings), and OSError where the
    disk refuses.
    """
    arrays = {_checked_name(name): _storable(name, array) for name, array in arrays.items()}
    manifest = _manifest(arrays, settings)
    size = sum(array.nbytes for array in arrays.values())
    # Nothing is saved that load would refuse.
    if size > LIMIT - 2 * MANIFEST_LIMIT - DIRECTORY_LIMIT:
        raise ValueError(f"save expects arrays of less than {LIMIT} bytes, got {size}; a data set?")
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        _write_member(archive, MANIFEST, manifest)
        for name, array in arrays.items():
            header = _npy_header(array.shape, array.dtype.str)
            _write_member(archive, name + ".npy", header, _bytes_of(array))
        archive.comment = _sha256(manifest).encode()


def load(path, check=lambda settings, described: None):
    """Returns (arrays, settings) as `save` got them, every checksum verified.

    check(settings, described) is called before any array is read; what it raises is what is wrong
    with the file. described: name -> (shape, dtype). Nothing from the file is run. Raises
    ValueError, in one line, for a file that `save` did not write or that is not whole any more,
    before memory is taken for what it merely claims to hold; OSError where there is no file or the
    disk fails.
    """
    with open_regular(path) as file:
        try:
            _check_size(file)
            with zipfile.ZipFile(file) as archive:
                # The manifest vouches for every array, so it is checked before the first is read.
                manifest = _read_manifest(archive, os.fstat(file.fileno()).st_size)
                check(manifest["settings"], _described(archive, manifest["arrays"]))
                arrays = {
                    name: _read_array(archive, name, **about)
                    for name, about in manifest["arrays"].items()
                }
        except UNREADABLE as error:
            problem = " ".join(str(error).split())[:300] or type(error).__name__
            raise ValueError(
                f"{path}: expected a checkpoint of adf, but: {problem}; "
                "likely another kind of file, one of another adf, or one cut short or damaged"
            ) from error
    return arrays, manifest["settings"]


def _checked_name(name):
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_./-]{1,1000}", name):
        raise ValueError(
            f"save expects array names of up to 1000 letters, digits and _ . / -, got {name!r}"
        )
    return name


def _storable(name, array):
    """The array in C order and little-endian, as it will lie in the file."""
    if not isinstance(array, np.ndarray | np.generic):
        raise ValueError(
            f"save expects host NumPy arrays, got {type(array).__name__} as {name!r}; "
            "arrays on the GPU go through to_host first"
        )
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in DTYPES:
        raise ValueError(
            f"save expects arrays of {', '.join(sorted(DTYPES))}, got {array.dtype} as {name!r}"
        )
    return np.asarray(array, dtype=dtype, order="C")


def _manifest(arrays, settings):
    """The bytes of manifest.json. Raises ValueError for settings that it cannot hold."""
    described = {
        name: {
            "shape": list(array.shape),
            "dtype": array.dtype.str,
            "sha256": _sha256(_bytes_of(array)),
        }
        for name, array in arrays.items()
    }
    _check_settings(settings)
    manifest = _encode(
        {"format": FORMAT, "version": VERSION, "settings": settings, "arrays": described}
    )
    # Of a hostile file, load reads no longer manifest than this: so save must not write one.
    if len(manifest) > MANIFEST_LIMIT:
        raise ValueError(
            f"save expects settings and names of at most {MANIFEST_LIMIT} bytes, "
            f"got {len(manifest)}; data belong in arrays"
        )
    return manifest


def _check_settings(settings):
    """Raises ValueError for settings that do not come back equal from JSON."""
    try:
        back = json.loads(_encode(settings))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"save expects settings that JSON holds, got {type(error).__name__}: {error}; "
            "likely a NaN, an infinity, an array or a NumPy number among them"
        ) from error
    # JSON turns tuples into lists and keys into strings without a word.
    if not isinstance(settings, dict) or back != settings:
        raise ValueError(
            "save expects settings that come back equal from JSON, got others; "
            "likely a tuple, or a key that is no string"
        )


def _encode(content):
    return json.dumps(content, allow_nan=False).encode()


def _sha256(octets):
    return hashlib.sha256(octets).hexdigest()


def _bytes_of(array):
    return array.reshape(-1).view(np.uint8)


def _npy_header(shape, dtype):
    """The .npy header of version 1.0.

    It is made here and not by NumPy, so that `load` can compare it and need not parse any.
    """
    text = repr({"descr": dtype, "fortran_order": False, "shape": tuple(shape)})
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def _write_member(archive, name, *parts):
    member = zipfile.ZipInfo(name)  # stored, and dated 1980
    # The size tells zipfile whether the member needs the 64-bit format.
    member.file_size = sum(len(part) for part in parts)
    with archive.open(member, "w") as file:
        for part in parts:
            file.write(part)


def _check_size(file):
    """Refuses a file, or a directory of the zip, that is larger than `save` writes it."""
    size = os.fstat(file.fileno()).st_size
    _require(size <= LIMIT, f"it has {size} bytes, at most {LIMIT} are read")
    file.seek(max(0, size - END))
    end = file.read(END)
    directory = int.from_bytes(end[12:16], "little")
    is_end = end[:4] == b"PK\x05\x06"
    _require(is_end, f"{MANIFEST} does not match its checksum, for the zip ends without one")
    _require(directory <= DIRECTORY_LIMIT, "it claims a larger directory")
    # The 64-bit format says the size again, before that: zipfile believes it.
    file.seek(max(0, size - END - 76))
    wide = file.read(76)
    wide_directory = int.from_bytes(wide[40:48], "little")
    is_wide = wide[:4] == b"PK\x06\x06" or wide[56:60] == b"PK\x06\x07"
    _require(not is_wide or wide_directory <= DIRECTORY_LIMIT, "it claims a larger directory")


def _require(condition, problem):
    if not condition:
        raise ValueError(problem)


def _read_manifest(archive, file_size):
    """The manifest, after the checks that need no array: members, sizes, checksum, format."""
    members = archive.infolist()
    _check_members(members, file_size)
    text = archive.read(members[0])
    _require(_sha256(text).encode() == archive.comment, f"{MANIFEST} does not match its checksum")
    manifest = json.loads(text)
    # A NaN or a key that comes twice is read by json, but not written again.
    _require(_encode(manifest) == text, f"{MANIFEST} is not as save writes it")
    _check_entries(manifest)
    _check_names([f"{name}.npy" for name in manifest["arrays"]], archive.namelist())
    return manifest


def _check_members(members, file_size):
    """Refuses a wrong archive by the list of its members, without reading any of them."""
    _require(members and members[0].filename == MANIFEST, f"{MANIFEST} is not its first member")
    stored = all(
        m.compress_type == zipfile.ZIP_STORED and m.compress_size == m.file_size for m in members
    )
    _require(stored, "a member is compressed, all should be stored")
    # A stored member takes as many bytes of the file as it claims.
    there = sum(m.file_size for m in members) <= file_size and all(
        0 <= m.header_offset < file_size for m in members
    )
    _require(there, "its members claim more bytes than the file has")
    _require(
        members[0].file_size <= MANIFEST_LIMIT, f"{MANIFEST} is longer than {MANIFEST_LIMIT} bytes"
    )


def _check_entries(manifest):
    """Refuses a manifest of another format or version, or with other entries than save's."""
    kind, version = (manifest.get(key) for key in ("format", "version"))
    _require(
        (kind, version) == (FORMAT, VERSION),
        f"it is {kind!r} of version {version!r}, this adf reads {FORMAT!r} of version {VERSION} "
        "(a run of an older adf is trained anew, into another --out)",
    )
    _require(
        manifest.keys() == {"format", "version", "settings", "arrays"},
        f"{MANIFEST} has other entries",
    )
    _require(isinstance(manifest["settings"], dict), "its settings are no dictionary")


def _check_names(arrays, members):
    """Refuses an archive that has other members than its manifest lists, or in another order."""
    listed = [MANIFEST, *arrays]
    differing = sorted(set(listed) ^ set(members))[:3] or "twice, or in another order"
    _require(
        listed == members,
        f"{MANIFEST} lists {len(listed)} members, the file has {len(members)} "
        f"(differ: {differing})",
    )


def _described(archive, arrays):
    """name -> (shape, dtype), where every array can be what the manifest says of it."""
    for name, about in arrays.items():
        _require(about.keys() == {"shape", "dtype", "sha256"}, f"array {name!r} has other entries")
        shape, dtype = (about[key] for key in ("shape", "dtype"))
        _require(
            dtype in DTYPES, f"array {name!r} has the dtype {dtype!r}, which save does not write"
        )
        is_shape = len(shape) <= MOST_AXES and all(type(n) is int and n >= 0 for n in shape)
        _require(is_shape, f"array {name!r} has the shape {shape!r}")
        # The size that is claimed must be there.
        size = len(_npy_header(shape, dtype)) + math.prod(shape) * np.dtype(dtype).itemsize
        there = archive.getinfo(name + ".npy").file_size
        _require(there == size, f"array {name!r} should take {size} bytes, there are {there}")
    return {name: (tuple(about["shape"]), about["dtype"]) for name, about in arrays.items()}


def _read_array(archive, name, shape, dtype, sha256):
    """One array, of which `_described` knows that its size is there."""
    header = _npy_header(shape, dtype)
    # The bytes are compared with their checksum before memory is taken for them, then read again.
    with archive.open(name + ".npy") as file:
        is_same = file.read(len(header)) == header
        _require(is_same, f"array {name!r} has another header than {MANIFEST} says")
        digest = hashlib.sha256()
        while piece := file.read(PIECE):
            digest.update(piece)
        _require(digest.hexdigest() == sha256, f"array {name!r} does not match its checksum")
    array = np.empty(shape, dtype)
    with archive.open(name + ".npy") as file:
        file.read(len(header))
        _fill(_bytes_of(array), file)
    return array


def _fill(octets, file):
    """Reads from `file` until `octets` are full."""
    position = 0
    while position < len(octets):
        count = file.readinto(octets[position : position + PIECE])
        _require(count, "a member became shorter while it was read")
        position += count
