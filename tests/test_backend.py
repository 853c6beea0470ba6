"""The switch between NumPy and CuPy, and who may name an array library."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adf import backend

PACKAGE = Path(backend.__file__).parent
# The theory, but for the two files that name an array library on purpose.
CORE = [
    *(
        path
        for path in PACKAGE.glob("[a-z]*.py")
        if path.name not in ("backend.py", "montecarlo.py")
    ),
    *(PACKAGE / "layers").glob("*.py"),
    *(PACKAGE / "models").glob("*.py"),
    PACKAGE / "engine" / "plain.py",
    PACKAGE / "engine" / "stacks.py",
    PACKAGE / "engine" / "products.py",
    PACKAGE / "engine" / "columns.py",
    PACKAGE / "engine" / "mills.py",
    PACKAGE / "engine" / "threads.py",
    PACKAGE / "engine" / "micro_batches.py",
]


def test_the_numeric_core_names_no_array_library():
    imports = re.compile(r"^\s*(import|from)\s+(numpy|cupy|scipy)|\bnp\.", re.MULTILINE)
    assert len(CORE) > 15
    for path in CORE:
        assert not imports.search(path.read_text()), path


def test_to_host():
    for array in (backend.xp.arange(3), np.arange(3)):
        assert isinstance(backend.to_host(array), np.ndarray)


def test_an_unknown_backend_says_what_is_known():
    with pytest.raises(ImportError, match=r"expected 'numpy'.*or 'cupy'"):
        backend._load("jax")


def test_importing_adf_is_light():
    code = "import sys, adf; sys.exit('matplotlib' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0
