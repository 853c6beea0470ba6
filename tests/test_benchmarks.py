"""The benchmarks still run, on tiny sizes and without PyTorch.

(Their figures are nobody's business here.)
"""

import subprocess
import sys
from pathlib import Path

import pytest

from adf import backend

COMPARE = Path(__file__).parents[1] / "benchmarks" / "compare.py"


@pytest.mark.slow
@pytest.mark.skipif(backend.name == "cupy", reason="measures the CPU")
@pytest.mark.parametrize("part", ["limit", "memory"])
def test_compare_runs(part):
    command = [
        sys.executable,
        COMPARE,
        "--quick",
        "--only",
        part,
        "--torch-python",
        "no-such-python",
    ]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    rows = [
        line for line in ran.stdout.splitlines() if line.startswith(("| training", "| inference"))
    ]
    ours = [float(row.split("|")[2]) for row in rows]
    assert "PyTorch is missing" in ran.stdout and len(ours) == 4 and min(ours) >= 0
