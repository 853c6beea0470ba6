"""The zip archive of a `.pt` file: its claims are compared with what is there before it is read."""

import io
import struct
import zipfile
from contextlib import contextmanager

from .opcodes import demand

ZIP_MEMBERS = 64  # torch needs 7
TAIL_BYTES = 2**16  # of the file, in which the directory lies
EXTRA_BYTES = 2**16  # of a member that holds no numbers: version, byteorder, ...


def unzipped(file) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """The archive, and name below the top folder -> member; none is read."""
    file_bytes = file.seek(0, io.SEEK_END)
    file.seek(max(0, file_bytes - TAIL_BYTES))
    tail = file.read()
    demand(
        tail[-22:-18] == b"PK\x05\x06",
        "a zip archive without its end, or with bytes behind it; cut short?",
    )
    # Every entry of the directory starts with these bytes: the number of entries is bounded before
    # zipfile makes objects of them, and the directory before zipfile reads it.
    demand(
        tail.count(b"PK\x01\x02") <= ZIP_MEMBERS and _directory_bytes(tail) <= TAIL_BYTES // 2,
        "a zip archive of too many members; not a tensor alone?",
    )
    with _unzipping():
        archive = zipfile.ZipFile(file)
        return archive, _checked_members(archive.infolist(), file_bytes)


def _directory_bytes(tail: bytes) -> int:
    """The size that the end of a zip archive claims for its directory.

    torch writes it twice: 98 bytes before the end in the 64-bit format, and 22 before in the other.
    """
    sizes = [int.from_bytes(tail[-10:-6], "little")]
    if tail[-42:-38] == b"PK\x06\x07":
        demand(tail[-98:-94] == b"PK\x06\x06", "a zip archive with another end; hostile?")
        sizes.append(int.from_bytes(tail[-58:-50], "little"))
    return max(size for size in sizes if size != 2**32 - 1)


def unzip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with _unzipping():
        return archive.read(member)


@contextmanager
def _unzipping():
    try:
        yield
    except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as error:
        raise ValueError(f"a damaged zip archive ({str(error)[:80]}); cut short?") from error


def _checked_members(infos: list[zipfile.ZipInfo], file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Name below the top folder -> member, after checks of their names and sizes."""
    # Nothing is unpacked to the disk, but torch writes no names that would leave a folder there.
    members = {info.filename.partition("/")[2]: info for info in infos}
    parts = [part for info in infos for part in info.filename.removesuffix("/").split("/")]
    demand(
        ".." not in parts and "" not in parts,
        "a zip archive whose names leave its folder; hostile?",
    )
    one_top = len({info.filename.partition("/")[0] for info in infos}) == 1
    demand(
        one_top and len(members) == len(infos),
        "a zip archive with a name twice or two folders; hostile?",
    )
    _check_sizes(members, file_bytes)
    return members


def _check_sizes(members: dict[str, zipfile.ZipInfo], file_bytes: int):
    """Refuses members that add up to more than the file, before any of them is read."""
    infos = members.values()
    stored = all(
        info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1 for info in infos
    )
    demand(stored, "a compressed or encrypted zip archive; packed again by another program?")
    inside = all(0 <= info.header_offset < file_bytes for info in infos)
    demand(
        inside and sum(info.file_size for info in infos) < file_bytes,
        "a zip archive that claims more than it has; hostile?",
    )
    # Members that hold no numbers are a few bytes each in the file of a single tensor.
    other_bytes = [info.file_size for name, info in members.items() if not name.startswith("data/")]
    demand(
        max(other_bytes, default=0) <= EXTRA_BYTES,
        "a zip archive with more than a tensor in it; a whole model?",
    )
