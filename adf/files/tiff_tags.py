"""The first directory of a TIFF, whose claims are compared with limits before tifffile reads it."""

import io
import struct

from .limits import METADATA_BYTES, Refusal

SEGMENTS = 2**20  # strips or tiles
# Bytes of one value, by the type of a tag.
VALUE_BYTES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
# What decides how pixels are read: description, geometry, compression, samples, planes.
DECISIVE = {
    256,
    257,
    258,
    259,
    262,
    266,
    270,
    273,
    274,
    277,
    278,
    279,
    284,
    317,
    322,
    323,
    324,
    325,
} | {332, 338, 339, 347, 530, 32997, 32998, 33629}
OFFSETS = (273, 279, 324, 325)
# Width, height, depth, samples, and those of strips and tiles. Python would multiply a text or a
# list, too: by repeating it.
FACTORS = {256, 257, 277, 278, 322, 323, 32997, 32998}
UNSIGNED = (1, 3, 4, 13, 16, 18)  # types of tags


class TiffHead(io.FileIO):
    """A file that gives away at most `limit` bytes at a time, whoever asks for what.

    tifffile follows claims of the file without comparing them with anything.
    """

    limit = METADATA_BYTES

    def read(self, size=-1, /):
        self._check(size)
        return super().read(size)

    def readinto(self, buffer, /):
        self._check(memoryview(buffer).nbytes)
        return super().readinto(buffer)

    def _check(self, size):
        if not 0 <= size <= self.limit:
            raise Refusal(f"at most {self.limit} bytes of metadata, got {size}; hostile?")


def directory(file) -> tuple[set[int], bool]:
    """(the decisive tags that are there, whether another directory follows) of the first one.

    Raises Refusal where a tag claims more than any picture needs.
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    version, *_ = struct.unpack(order + "H", head[2:4])
    if version not in (42, 43):
        raise Refusal(f"a TIFF of version 42 or 43, got {version}; another format?")
    # Counts and offsets are wider in a BigTIFF.
    is_big = version == 43
    count_of_tags = struct.Struct(order + ("Q" if is_big else "H"))
    offset = struct.Struct(order + ("Q" if is_big else "I"))
    tag = struct.Struct(order + ("HHQ8x" if is_big else "HHI4x"))
    # A directory is a count, its tags, and the place of the next directory.
    file.seek(*offset.unpack_from(head, 8 if is_big else 4))
    (count,) = count_of_tags.unpack(file.read(count_of_tags.size))
    tags = list(tag.iter_unpack(file.read(count * tag.size)))
    (following,) = offset.unpack(file.read(offset.size))
    for code, kind, values in tags:
        _check_claim(code, kind, values)
    return {code for code, _, _ in tags if code in DECISIVE}, following != 0


def _check_claim(code: int, kind: int, values: int):
    size = values * (VALUE_BYTES[kind] if kind < len(VALUE_BYTES) else 0)
    if size > METADATA_BYTES or (code in OFFSETS and values > SEGMENTS):
        raise Refusal(
            f"a tag of at most {METADATA_BYTES} bytes, got {size} for tag {code}; hostile?"
        )
    if code in FACTORS and (values != 1 or kind not in UNSIGNED):
        raise Refusal(f"one number in tag {code}, got {values} of type {kind}; damaged?")
