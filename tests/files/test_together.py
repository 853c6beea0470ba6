"""Files that belong together: all are written or none, whatever ends it."""

import errno
import os
import signal
import threading

import pytest

from adf.files import together
from adf.files.atomic import remove_stale
from adf.files.together import check_writable, signals_held, write_together

NAMES = ("a", "b", "c")


@pytest.fixture
def contents(tmp_path):
    return {tmp_path / name: name.encode() for name in NAMES}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_all_are_written(contents, tmp_path):
    for _ in range(2):
        write_together(contents)
        assert names(tmp_path) == [*NAMES]
        assert all(path.read_bytes() == content for path, content in contents.items())


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), MemoryError(), ValueError()]
)
def test_none_are_written_where_one_fails(contents, tmp_path, monkeypatch, at, function, error):
    calls = []
    real = getattr(os, function)

    def fail(*args):
        calls.append(args)
        if len(calls) == at + 1:
            raise error
        return real(*args)

    monkeypatch.setattr(together.os, function, fail)
    with pytest.raises(type(error)) as caught:
        write_together(contents)
    assert names(tmp_path) == []
    assert not isinstance(error, OSError) or NAMES[at] in str(caught.value)


@pytest.mark.parametrize("number", together.SIGNALS)
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_signal_waits_until_all_are_written(contents, tmp_path, monkeypatch, number, function):
    class Ended(BaseException):
        pass

    def end(*_):
        raise Ended

    real = getattr(os, function)
    monkeypatch.setattr(
        together.os, function, lambda *args: signal.raise_signal(number) or real(*args)
    )
    before = signal.signal(number, end)
    try:
        with pytest.raises(Ended):
            write_together(contents)
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
    assert names(tmp_path) == [*NAMES]


def test_other_threads_write_too(contents, tmp_path):
    thread = threading.Thread(target=write_together, args=[contents])
    thread.start()
    thread.join()
    assert names(tmp_path) == [*NAMES]


def test_no_signal_no_change():
    before = [signal.getsignal(number) for number in together.SIGNALS]
    with signals_held():
        assert [signal.getsignal(number) for number in together.SIGNALS] != before
    assert [signal.getsignal(number) for number in together.SIGNALS] == before


def test_the_leftovers_of_a_killed_writer_are_known_by_their_names(tmp_path):
    temporary = together._temporary(tmp_path / "a")
    temporary.write_bytes(b"half")
    assert remove_stale(tmp_path) == 1 and names(tmp_path) == []


def test_what_cannot_be_written_is_known_before(tmp_path):
    check_writable(tmp_path)
    check_writable(tmp_path / "new" / "folder")
    assert names(tmp_path) == []
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place in (tmp_path / "file", tmp_path / "file" / "folder", tmp_path / "link" / "x"):
        with pytest.raises(OSError, match=f"cannot write {place}"):
            check_writable(place)
