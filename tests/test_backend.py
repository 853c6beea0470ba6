"""The switch between NumPy and CuPy, and who may name an array library."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adf import backend, fusion
from adf.backend import xp

PACKAGE = Path(backend.__file__).parent
CORE = [
    *(PACKAGE / f"{name}.py" for name in ("gaussian", "moments", "dirichlet", "normalise", "segmenter", "training")),
    *(PACKAGE / f"{name}.py" for name in ("optim", "parallel")),
    *(PACKAGE / "layers").glob("*.py"),
    *(PACKAGE / "models").glob("*.py"),
]


def test_the_numeric_core_names_no_array_library():
    imports = re.compile(r"^\s*(import|from)\s+(numpy|cupy|scipy)|\bnp\.", re.MULTILINE)
    assert len(CORE) > 15
    for path in CORE:
        assert not imports.search(path.read_text()), path


def product(a, b):  # with a name: CuPy calls its kernel by it
    return a * b


def test_fused_is_the_plain_function():
    """Several blocks or one, one result or several, arrays that are not contiguous: the same bits."""

    def plain(a, b, scale):
        large = (a > b).astype(a.dtype)
        return a * scale + large * b, abs(a * scale) - xp.exp(-(b * b))

    rng = np.random.default_rng(0)
    for shape in ((3,), (2, 5, 7), (fusion.BLOCK + 1,), (2, fusion.BLOCK)):
        a, b = (backend.xp.asarray(rng.normal(size=(*shape, 2)).astype("float32"))[..., 0] for _ in range(2))
        for got, want in zip(backend.fused(plain)(a, b, 0.5), plain(a, b, 0.5), strict=True):
            assert got.shape == want.shape and got.dtype == "float32" and bool((got == want).all())
        assert bool((backend.fused(product)(a, b) == a * b).all())


def test_to_host():
    for array in (backend.xp.arange(3), np.arange(3)):
        assert isinstance(backend.to_host(array), np.ndarray)


def test_an_unknown_backend_says_what_is_known():
    with pytest.raises(ImportError, match=r"expected 'numpy'.*or 'cupy'"):
        backend._load("jax")


def test_importing_adf_is_light():
    code = "import sys, adf; sys.exit('matplotlib' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0
