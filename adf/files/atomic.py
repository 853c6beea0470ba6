"""Files that are either whole or not there: written under another name, and renamed when they are on the disk."""

import contextlib
import errno
import os
import re
import secrets
from pathlib import Path

_TEMPORARY = re.compile(r"\.adf-([0-9]{1,9})-[0-9a-f]{16}\.tmp")


@contextlib.contextmanager
def atomic_write(path):
    """Yield a new binary file that takes the place of `path` when the block ends without an exception.

    At every moment, a kill or a power cut included, `path` is the old file or the whole new one. An exception in
    the block, KeyboardInterrupt included, removes what was written and leaves the old file as it was; an OSError
    (disk full, no such folder) comes back as an OSError of one line. Two writers never disturb each other: the one
    that finishes last wins. What a killed writer leaves behind is for `remove_stale`.
    """
    path = Path(path)
    temporary = path.with_name(f".adf-{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the first error is the one to report
            temporary.unlink()
        if isinstance(error, OSError):
            reason = f"cannot write {path}: {error.strerror or error}; a file that was there before is intact"
            raise OSError(error.errno or errno.EIO, reason) from error
        raise
    _sync_folder(path.parent)


def remove_stale(folder):
    """Remove the temporaries that killed writers left in `folder`; return how many. Other files stay.

    A temporary whose writer still runs stays, too, unless it bears our own process id: call this at the start,
    before this process writes. A writer on another machine counts as dead; its write then fails with an OSError.
    Raises OSError where the folder is missing or may not be changed.
    """
    removed = 0
    for file in Path(folder).iterdir():
        name = _TEMPORARY.fullmatch(file.name)
        if name and file.is_file() and not _runs_elsewhere(int(name[1])):
            file.unlink(missing_ok=True)
            removed += 1
    return removed


def _runs_elsewhere(pid):
    if pid == os.getpid():
        return False
    if os.name == "nt":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, under another user
        return True
    return True


def _sync_folder(folder):
    """Make the rename outlive a power cut, where the file system can: Windows and some network folders cannot."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
