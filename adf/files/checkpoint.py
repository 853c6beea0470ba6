"""Checkpoints: named host arrays and settings in one file that is whole, or refused.

The file is an uncompressed .npz, so `numpy.load(path, allow_pickle=False)` reads it without adf.
Its first member, manifest.json, lists the settings and every array's shape, dtype and SHA-256; the
zip's comment is the SHA-256 of the manifest. So a checksum covers each byte that matters, and equal
input makes equal files (no dates inside).
"""

import hashlib
import os
import re
import struct
import zipfile

import numpy as np

from .atomic import atomic_write
from .manifest import (
    DTYPES,
    MANIFEST,
    MANIFEST_LIMIT,
    bytes_of,
    described,
    manifest_of,
    npy_header,
    parsed,
    require,
    sha256,
)
from .opening import open_regular

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


def save(path, arrays, settings):
    """Writes `arrays` (name -> host array) and `settings` (what JSON holds) to `path`, atomically.

    Whatever fails, a checkpoint that was there before stays. Big-endian arrays are stored
    little-endian. Raises ValueError, before anything is written, for names, dtypes or settings that
    `load` would not give back equal (NaN, tuples, keys that are no strings), and OSError where the
    disk refuses.
    """
    arrays = {_checked_name(name): _storable(name, array) for name, array in arrays.items()}
    manifest = manifest_of(arrays, settings)
    size = sum(array.nbytes for array in arrays.values())
    # Nothing is saved that load would refuse.
    if size > LIMIT - 2 * MANIFEST_LIMIT - DIRECTORY_LIMIT:
        raise ValueError(f"save expects arrays of less than {LIMIT} bytes, got {size}; a data set?")
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        _write_member(archive, MANIFEST, manifest)
        for name, array in arrays.items():
            header = npy_header(array.shape, array.dtype.str)
            _write_member(archive, name + ".npy", header, bytes_of(array))
        archive.comment = sha256(manifest).encode()


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
    require(size <= LIMIT, f"it has {size} bytes, at most {LIMIT} are read")
    file.seek(max(0, size - END))
    end = file.read(END)
    directory = int.from_bytes(end[12:16], "little")
    is_end = end[:4] == b"PK\x05\x06"
    require(is_end, f"{MANIFEST} does not match its checksum, for the zip ends without one")
    require(directory <= DIRECTORY_LIMIT, "it claims a larger directory")
    # The 64-bit format says the size again, before that: zipfile believes it.
    file.seek(max(0, size - END - 76))
    wide = file.read(76)
    wide_directory = int.from_bytes(wide[40:48], "little")
    is_wide = wide[:4] == b"PK\x06\x06" or wide[56:60] == b"PK\x06\x07"
    require(not is_wide or wide_directory <= DIRECTORY_LIMIT, "it claims a larger directory")


def _read_manifest(archive, file_size):
    """The manifest, after the checks that need no array: members, sizes, checksum, format."""
    members = archive.infolist()
    _check_members(members, file_size)
    manifest = parsed(archive.read(members[0]), archive.comment)
    _check_names([f"{name}.npy" for name in manifest["arrays"]], archive.namelist())
    return manifest


def _described(archive, arrays):
    """name -> (shape, dtype) of the arrays, all of which can be in this archive."""
    sizes = {name: archive.getinfo(name + ".npy").file_size for name in arrays}
    return described(arrays, sizes)


def _check_members(members, file_size):
    """Refuses a wrong archive by the list of its members, without reading any of them."""
    require(members and members[0].filename == MANIFEST, f"{MANIFEST} is not its first member")
    stored = all(
        m.compress_type == zipfile.ZIP_STORED and m.compress_size == m.file_size for m in members
    )
    require(stored, "a member is compressed, all should be stored")
    # A stored member takes as many bytes of the file as it claims.
    there = sum(m.file_size for m in members) <= file_size and all(
        0 <= m.header_offset < file_size for m in members
    )
    require(there, "its members claim more bytes than the file has")
    require(
        members[0].file_size <= MANIFEST_LIMIT, f"{MANIFEST} is longer than {MANIFEST_LIMIT} bytes"
    )


def _check_names(arrays, members):
    """Refuses an archive that has other members than its manifest lists, or in another order."""
    listed = [MANIFEST, *arrays]
    differing = sorted(set(listed) ^ set(members))[:3] or "twice, or in another order"
    require(
        listed == members,
        f"{MANIFEST} lists {len(listed)} members, the file has {len(members)} "
        f"(differ: {differing})",
    )


def _read_array(archive, name, shape, dtype, sha256):
    """One array, of which `_described` knows that its size is there."""
    header = npy_header(shape, dtype)
    # The bytes are compared with their checksum before memory is taken for them, then read again.
    with archive.open(name + ".npy") as file:
        is_same = file.read(len(header)) == header
        require(is_same, f"array {name!r} has another header than {MANIFEST} says")
        digest = hashlib.sha256()
        while piece := file.read(PIECE):
            digest.update(piece)
        require(digest.hexdigest() == sha256, f"array {name!r} does not match its checksum")
    array = np.empty(shape, dtype)
    with archive.open(name + ".npy") as file:
        file.read(len(header))
        _fill(bytes_of(array), file)
    return array


def _fill(octets, file):
    """Reads from `file` until `octets` are full."""
    position = 0
    while position < len(octets):
        count = file.readinto(octets[position : position + PIECE])
        require(count, "a member became shorter while it was read")
        position += count
