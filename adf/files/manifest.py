"""What a checkpoint says of itself: its settings, and the shape, dtype and SHA-256 of its arrays.

It is JSON, made here for `save` and, of a file that anyone may have made, checked for `load`.
"""

import hashlib
import json
import math
import struct

import numpy as np

FORMAT = "adf checkpoint"
VERSION = 2  # 1 numbered the arrays of a run; since 2 they are named by their path in the network
MANIFEST = "manifest.json"
MANIFEST_LIMIT = 2**22  # bytes
MOST_AXES = 64  # of an array of NumPy
# The dtypes that an array may have in the file: little-endian, or of one byte.
DTYPES = {"<f4", "<f8", "|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8"}


def manifest_of(arrays, settings):
    """The bytes of manifest.json. Raises ValueError for settings that it cannot hold."""
    listed = {
        name: {
            "shape": list(array.shape),
            "dtype": array.dtype.str,
            "sha256": sha256(bytes_of(array)),
        }
        for name, array in arrays.items()
    }
    _check_settings(settings)
    manifest = _encode(
        {"format": FORMAT, "version": VERSION, "settings": settings, "arrays": listed}
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


def sha256(octets):
    return hashlib.sha256(octets).hexdigest()


def bytes_of(array):
    return array.reshape(-1).view(np.uint8)


def npy_header(shape, dtype):
    """The .npy header of version 1.0.

    It is made here and not by NumPy, so that `load` can compare it and need not parse any.
    """
    text = repr({"descr": dtype, "fortran_order": False, "shape": tuple(shape)})
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def parsed(text, checksum):
    """What the bytes of manifest.json say, after the checks that need no array."""
    require(sha256(text).encode() == checksum, f"{MANIFEST} does not match its checksum")
    manifest = json.loads(text)
    # A NaN or a key that comes twice is read by json, but not written again.
    require(_encode(manifest) == text, f"{MANIFEST} is not as save writes it")
    _check_entries(manifest)
    return manifest


def _check_entries(manifest):
    """Refuses a manifest of another format or version, or with other entries than save's."""
    kind, version = (manifest.get(key) for key in ("format", "version"))
    require(
        (kind, version) == (FORMAT, VERSION),
        f"it is {kind!r} of version {version!r}, this adf reads {FORMAT!r} of version {VERSION} "
        "(a run of an older adf is trained anew, into another --out)",
    )
    require(
        manifest.keys() == {"format", "version", "settings", "arrays"},
        f"{MANIFEST} has other entries",
    )
    require(isinstance(manifest["settings"], dict), "its settings are no dictionary")


def described(arrays, sizes):
    """name -> (shape, dtype), where each of these arrays can be what the manifest says of it.

    sizes: name -> the bytes of its member.
    """
    for name, about in arrays.items():
        require(about.keys() == {"shape", "dtype", "sha256"}, f"array {name!r} has other entries")
        shape, dtype = (about[key] for key in ("shape", "dtype"))
        require(
            dtype in DTYPES, f"array {name!r} has the dtype {dtype!r}, which save does not write"
        )
        is_shape = len(shape) <= MOST_AXES and all(type(n) is int and n >= 0 for n in shape)
        require(is_shape, f"array {name!r} has the shape {shape!r}")
        # The size that is claimed must be there.
        size = len(npy_header(shape, dtype)) + math.prod(shape) * np.dtype(dtype).itemsize
        there = sizes[name]
        require(there == size, f"array {name!r} should take {size} bytes, there are {there}")
    return {name: (tuple(about["shape"]), about["dtype"]) for name, about in arrays.items()}


def require(condition, problem):
    if not condition:
        raise ValueError(problem)
