"""Several files that belong together: all of them are written, or none."""

import contextlib
import errno
import os
import secrets
import signal
import tempfile
import threading
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # that a user, or a scheduler, ends a program with


def write_together(contents):
    """Writes files in existing folders, path -> bytes: all, or, whatever goes wrong, none.

    SIGINT and SIGTERM wait until all are there. What a kill leaves behind are temporaries of the
    names that `atomic.remove_stale` knows. An OSError comes back in one line.
    """
    done = []
    with signals_held():
        # Everything is on the disk under other names before the first file gets its own.
        temporaries = {path: _temporary(path) for path in contents}
        path = None
        try:
            for path, content in contents.items():
                _write_through(temporaries[path], content)
            for path, temporary in temporaries.items():
                os.replace(temporary, path)
                done.append(path)
        except BaseException as error:
            for leftover in [*temporaries.values(), *done]:
                with contextlib.suppress(OSError):
                    leftover.unlink()
            if isinstance(error, OSError):
                raise _in_one_line(error, path) from error
            raise


@contextlib.contextmanager
def signals_held():
    """SIGINT and SIGTERM that come in the block take effect behind it (in the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # None stands for a handler that was not installed from Python.
    waiting = []
    before = {s: signal.signal(s, lambda number, frame: waiting.append(number)) for s in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in waiting:
            signal.raise_signal(number)


def check_writable(folder):
    """Raises OSError, in one line, where no file could be written into a folder.

    Nothing is left behind; a folder that is not there yet must be possible. It is asked before
    long work, whose result would be lost.
    """
    folder = Path(folder).absolute()
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise _in_one_line(error, folder) from error


def _temporary(path):
    """A name beside the path, which `atomic.remove_stale` removes if this process is killed."""
    return path.with_name(f".adf-{os.getpid()}-{secrets.token_hex(8)}.tmp")


def _write_through(path, content):
    """Writes a new file, up to the disk."""
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _in_one_line(error, path):
    return OSError(error.errno or errno.EIO, f"cannot write {path}: {error.strerror or error}")
