"""A lock on a folder: one owner at a time, and never a dead one.

The operating system ties it to an open file, so it ends with its process, whatever ends that. Where
neither `fcntl` nor `msvcrt` exists, or the file system knows no locks, every lock is granted.
"""

import contextlib
import errno
import os
import weakref
from pathlib import Path

from .opening import WITHOUT_WAITING, check_regular

try:
    import fcntl
except ImportError:
    fcntl = None
try:
    import msvcrt
except ImportError:
    msvcrt = None

NAME = ".adf-lock"
_held = weakref.WeakSet()


class Lock:
    """The lock on a folder, from its construction to `release()`, or until nobody has this object.

    Its file .adf-lock is there meanwhile; a killed owner leaves it behind, which keeps nobody out.
    Raises BlockingIOError where another owner has it, in this process or in another; ValueError
    where something else has that name; OSError where the folder is missing or may not be changed.
    """

    def __init__(self, folder):
        self._descriptor = None
        self.path = Path(folder) / NAME
        # A file that its owner removed while we waited to open it locks nothing: again, then.
        while self._descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | WITHOUT_WAITING, 0o666)
            try:
                _lock(descriptor, self.path)
                if _is_at(descriptor, self.path):
                    self._descriptor = descriptor
            finally:
                if self._descriptor is None:
                    os.close(descriptor)
        _held.add(self)

    def release(self):
        if self._descriptor is None:
            return
        # The file goes while it is locked, so it cannot be the next owner's. (Windows keeps it.)
        with contextlib.suppress(OSError):
            self.path.unlink()
        self._close()

    def _close(self):
        os.close(self._descriptor)
        self._descriptor = None

    def __del__(self):
        self.release()


def _lock(descriptor, path):
    """Locks an open file. Raises BlockingIOError where it is locked already."""
    check_regular(descriptor, path)
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        taken = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
        if error.errno in taken:
            raise BlockingIOError(error.errno, f"{path} is locked by another owner") from None
        # Any other error says that this file system has no locks.


def _is_at(descriptor, path):
    """Whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _leave_to_the_parent():
    """A forked process closes what it inherited: a lock must not outlive the owner in a child."""
    for lock in list(_held):
        if lock._descriptor is not None:
            lock._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
