"""The fuzzer finds nothing in the readers, and finds what is put there for it."""

import mmap
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import fuzz
import hostile
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_readers_stand_some_mutants_the_same_with_any_processes():
    command = [sys.executable, "tests/fuzz.py", "--mutants", "4000", "--seed", "7", "--processes"]
    environment = fuzz.os.environ | {"PYTHONPATH": str(ROOT)}
    tables = []
    for processes in ("1", "2"):
        run = subprocess.run(
            [*command, processes], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stdout
        tables.append([line.split("\t")[:-2] for line in run.stdout.splitlines()])
    assert tables[0] == tables[1]
    assert [row[0] for row in tables[0]] == ["kind", *fuzz.KINDS]
    for _, mutants, refused, *read, wrong, crashed in tables[0][1:]:
        assert int(mutants) == int(refused) + sum(map(int, read)) and int(mutants) >= 400
        assert int(refused) > 0 and sum(map(int, read)) > 0 and wrong == crashed == "0"


def fail(error):
    def reader(*_):
        raise error

    return reader


def chained(path, *_):
    try:
        raise MemoryError
    except MemoryError as error:
        raise ValueError(f"{path}: expected a picture") from error


def refusing_in_two_lines(path, *_):
    raise ValueError(f"{path}: expected\na picture")


def greedy(path, *_):
    # Of the system itself, for malloc may still hold what an earlier test has left.
    taken = np.frombuffer(mmap.mmap(-1, 2 * fuzz.MOST), np.uint8)
    taken[:] = 1
    return [taken]


def endless(*_):
    while True:
        pass


def singing(path, *_):
    eval("1")
    return [np.zeros(1)]


BROKEN = {
    "KeyError": fail(KeyError("x")),
    "AssertionError": fail(AssertionError()),
    "a refusal of nothing": fail(ValueError("expected a picture")),
    "two lines": refusing_in_two_lines,
    "MemoryError": chained,
    "too slow": endless,
    "too much": greedy,
    "runs code": singing,
    "wrong": lambda *_: [np.full((5, 7), 3.0)],
    "not finite": lambda *_: [np.full((5, 7), np.nan)],
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_reader_is_found_and_its_mutant_is_kept(monkeypatch, tmp_path, capsys, fault):
    kind = {"runs code": "tensor", "wrong": "npy"}.get(fault, "tiff")
    fuzz.expected(kind, *next(iter(fuzz.originals(kind).items())), False)
    monkeypatch.setattr(fuzz, "expected", lambda *_: None)
    monkeypatch.setattr(fuzz, "read", lambda kind, path, labels: BROKEN[fault](path))
    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    monkeypatch.setattr(fuzz.tempfile, "tempdir", str(tmp_path))
    before = signal.signal(signal.SIGPROF, fuzz.stop)
    try:
        tally = fuzz.tallied((kind, 0, 0, 4))
    finally:
        signal.signal(signal.SIGPROF, before)
    outcome = "wrong" if fault in ("wrong", "not finite") else "crashed"
    assert tally.outcomes == {outcome: 4}
    assert fuzz.told({kind: tally}, 0) == 4
    kept = {path.read_bytes() for path in tmp_path.glob("mutant-0-*")}
    assert kept == {failure[-1] for failure in tally.failures} and len(kept) == 4


def test_a_right_reading_is_known_as_such(tmp_path):
    warnings.simplefilter("ignore")  # of Pillow, on palettes
    for kind in fuzz.KINDS:
        for name, content in fuzz.originals(kind).items():
            path = tmp_path / name
            hostile.put(path, content)
            found = fuzz.expected(kind, name, content, False)
            if found is not None:
                assert fuzz.judged(kind, content, found, found, False) == "as it was"
                outcome = fuzz.judged(kind, content, found, None, False)
                assert outcome in ("as another reads it", "plausible")
