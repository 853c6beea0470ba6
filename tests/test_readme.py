"""The README keeps its promises: short, links that lead somewhere, Python that runs."""

import re
from pathlib import Path

import numpy as np

import adf

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_is_short():
    assert len(TEXT.split()) < 900


def test_links_and_files_exist():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    files = re.findall(r"`((?:adf|notebooks|tests)/[\w./]*)`", TEXT)
    assert links and files
    for path in (*links, *files):
        assert (ROOT / path).exists(), path


READING = """
adf/gaussian.py adf/engine/plain.py adf/moments.py
adf/layers/layer.py adf/layers/linear.py adf/layers/activation.py adf/layers/pooling.py
adf/layers/normalization.py adf/layers/compose.py
adf/dirichlet.py adf/models/network.py adf/models/unet.py adf/segmenter.py adf/training.py
""".split()


def test_the_theory_can_be_read_in_an_afternoon():
    """The list has these files in this order, their lines to the nearest ten, at most 1,500."""
    rows = re.findall(r"^\[`(adf/[\w/]+\.py)`\]\(\1\) \| (\d+) \|.*\]\((.+)\)$", TEXT, re.MULTILINE)
    assert [path for path, _, _ in rows] == READING
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in READING}
    for path, stated, lesson in rows:
        assert abs(lines[path] - int(stated)) <= 5, f"{path} has {lines[path]} lines"
        assert (ROOT / lesson).exists()
    assert sum(lines.values()) <= 1500


def blocks():
    return re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_python_runs(capsys):
    """Every block by itself; the training of the first is cut to two steps."""
    assert len(blocks()) == 2
    for block in blocks():
        exec(block.replace("range(100)", "range(2)"), {})
    assert "(8, 128, 128)" in capsys.readouterr().out


def test_the_check_condemns_no_right_layer():
    """The second block holds what it prints."""
    names = {}
    exec(blocks()[1], names)
    assert np.nanmax(abs(names["z"])) < adf.montecarlo.bound(names["z"].size)
    assert np.isfinite(names["z"]).mean() > 0.8
