"""Files that are either whole or not there.

They are written under another name, and get their own once they are on the disk.
"""

import contextlib
import errno
import os
import re
import secrets
from pathlib import Path

_TEMPORARY = re.compile(r"\.adf-([0-9]{1,9})-[0-9a-f]{16}\.tmp")


@contextlib.contextmanager
def atomic_write(path):
    """Yields a new binary file that replaces `path` if the block ends without an exception.

    At every moment, a kill or a power cut included, `path` is the old file or the whole new one.
    An exception in the block, KeyboardInterrupt included, removes what was written and leaves the
    old file as it was; an OSError (disk full, no such folder) comes back as an OSError of one line.
    Two writers never disturb each other: the one that finishes last wins. `remove_stale` removes
    what a killed writer leaves behind.
    """
    path = Path(path)
    temporary = path.with_name(f".adf-{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            # The content must be on the disk before the name: a power cut may fall between them.
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        # The first error is the one to report, not one in the removal.
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise _in_one_line(error, path) from error
        raise
    _sync_folder(path.parent)


def _in_one_line(error, path):
    """The OSError that says what could not be written, and why."""
    reason = error.strerror or error
    return OSError(
        error.errno or errno.EIO,
        f"cannot write {path}: {reason}; a file that was there before is intact",
    )


def remove_stale(folder):
    """Removes the temporaries that killed writers left in `folder`; returns how many.

    Other files stay. A temporary whose writer still runs stays, too, unless it bears our own
    process id: call this at the start, before this process writes. A writer on another machine
    counts as dead; its write then fails with an OSError. Raises OSError where the folder is missing
    or may not be changed.
    """
    removed = 0
    for file in Path(folder).iterdir():
        name = _TEMPORARY.fullmatch(file.name)
        if name and file.is_file() and not _runs_elsewhere(int(name[1])):
            file.unlink(missing_ok=True)
            removed += 1
    return removed


def _runs_elsewhere(pid):
    """Whether another process than this one runs under the id, as far as can be told."""
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
    """Makes the rename outlive a power cut, where the file system can.

    Windows and some network folders cannot.
    """
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
