"""Opening a file that may be none: a pipe would wait for its writer, a device may never end."""

import os
import stat

WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # flags of os.open
KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device"}


def open_regular(path):
    """The file, open to be read in binary. Raises ValueError at once where it is no regular one."""
    descriptor = os.open(path, os.O_RDONLY | WITHOUT_WAITING)
    try:
        check_regular(descriptor, path)
    except ValueError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def check_regular(descriptor, path):
    """Raises ValueError unless the open file is a regular one."""
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        found = KINDS.get(stat.S_IFMT(mode), "something else")
        raise ValueError(f"{path}: expected a regular file, got {found}")
