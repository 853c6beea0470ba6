"""A lock on a folder has one owner, and never a dead one; what is no file is refused at once."""

import errno
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import adf
from adf.files import checkpoint, lock
from adf.files.lock import NAME, Lock
from adf.files.opening import open_regular

ROOT = Path(adf.__file__).parents[1]
HOLD = """
import os, sys, time
from adf.files.lock import Lock
held = Lock(sys.argv[1])
child = os.fork() if sys.argv[2:] else None
if not child:  # a child says so, since it has left the lock to its parent by then
    print("held", "" if child is None else os.getpid(), flush=True)
time.sleep(120)
"""


def owner(folder, *more):
    """A process that has the lock."""
    command = [sys.executable, "-c", HOLD, str(folder), *more]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    words = process.stdout.readline().split()
    assert words[0] == "held"
    return process, [int(word) for word in words[1:]]


def test_one_owner_at_a_time(tmp_path):
    first = Lock(tmp_path)
    with pytest.raises(BlockingIOError, match="locked by another"):
        Lock(tmp_path)
    first.release()
    first.release()
    assert not list(tmp_path.iterdir())  # nothing stays behind
    second = Lock(tmp_path)
    del second
    gc.collect()
    Lock(tmp_path).release()


def test_a_dead_process_owns_nothing(tmp_path):
    process, _ = owner(tmp_path)
    with pytest.raises(BlockingIOError):
        Lock(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    Lock(tmp_path).release()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_does_not_own_what_its_dead_parent_did(tmp_path):
    process, children = owner(tmp_path, "fork")
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        Lock(tmp_path).release()
    finally:
        os.kill(children[0], signal.SIGKILL)
        process.communicate()


def test_a_file_that_its_owner_removed_meanwhile_locks_nothing(tmp_path, monkeypatch):
    """It was opened, and then removed by its owner before it could be locked."""
    try_to_lock, calls = lock._lock, []

    def after_the_owner_went(descriptor, path):
        if not calls:
            path.unlink()
        calls.append(descriptor)
        try_to_lock(descriptor, path)

    monkeypatch.setattr(lock, "_lock", after_the_owner_went)
    held = Lock(tmp_path)
    with pytest.raises(BlockingIOError):
        Lock(tmp_path)
    assert len(calls) == 3
    held.release()


def test_where_there_are_no_locks_every_lock_is_granted(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", none)
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.release()
    second.release()


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


KINDS = {pipe: "a pipe", device: "a device", Path.mkdir: "a folder"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_what_is_no_file_is_refused_at_once(make, tmp_path):
    path = tmp_path / "file"
    make(path)
    for read in (open_regular, checkpoint.load):
        with pytest.raises(ValueError, match=f"expected a regular file, got {KINDS[make]}"):
            read(path)
    if make is not Path.mkdir:
        path.rename(tmp_path / NAME)
        with pytest.raises(ValueError, match="expected a regular file"):
            Lock(tmp_path)
