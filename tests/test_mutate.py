"""The mutation tester makes the mutants that it says, and says which the tests do not notice."""

import subprocess
import sys
from pathlib import Path

import pytest
from mutate import mutants

SOURCE = '''
def f(x: int = 3) -> "0":
    """Text 7."""
    x += 1.5
    check(x)
    if not x < 1 or x.any(axis=0):
        raise ValueError(f"got {x + 2}")
    return min(-x, True)
'''


def test_every_mutant_differs_in_one_place_and_is_a_program():
    found = list(mutants(SOURCE))
    assert [(line, was, now) for line, was, now, _ in found if "3" in was] == [
        (2, "3", "4"),
        (2, "3", "2"),
    ]
    changes = {(was, now) for _, was, now, _ in found}
    assert changes == {
        ("3", "4"),
        ("3", "2"),
        ("x += 1.5", "x -= 1.5"),
        ("x += 1.5", "pass"),
        ("1.5", "3.0"),
        ("1.5", "2.5"),
        ("check(x)", "pass"),
        ("not x < 1 or x.any(axis=0)", "not x < 1 and x.any(axis=0)"),
        ("not x < 1", "x < 1"),
        ("x < 1", "x <= 1"),
        ("1", "2"),
        ("1", "0"),
        ("x.any", "x.all"),
        ("0", "1"),
        ("0", "-1"),
        ("min", "max"),
        ("-x", "x"),
        ("True", "False"),
    }
    sources = {source for *_, source in found}
    assert len(sources) == len(found) and all(compile(source, "", "exec") for source in sources)
    assert not any("got" in was or "Text" in was for _, was, *_ in found)


@pytest.mark.slow
def test_a_survivor_is_told(tmp_path):
    """In a repository of one module, whose test knows one of its two numbers."""
    for name, text in {
        "two.py": "a = 1\nb = 5\n",
        "test_two.py": "import two\n\n\ndef test_a():\n    assert two.a == 1\n",
        "tests/mutate.py": (Path(__file__).parent / "mutate.py").read_text(),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    command = [sys.executable, "tests/mutate.py", "two.py", "test_two.py"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        "two.py:2: 5  ->  6",
        "two.py:2: 5  ->  4",
        "two.py: 2 of 4 noticed, 0 of them hung",
    ]
