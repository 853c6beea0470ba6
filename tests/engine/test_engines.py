"""The fast engine against the plain one: every kernel on random inputs, then layers and networks.

tests/engine/test_kernels.py looks at how the fast kernels work; here only what they compute counts.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, make

import adf
from adf import backend, engine
from adf.backend import to_host, xp
from adf.engine import columns, mills, plain, products, stacks
from adf.layers.gradients import cast, random_like

ROOT = Path(adf.__file__).parents[1]
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}
GEOMETRIES = 200


def geometry(rng, engine):
    """A convolution of random shape: (plain, fast, x, w, the size of y)."""
    while True:
        groups = int(rng.integers(1, 4))
        kernel = tuple(int(k) for k in rng.integers(1, 5, 2))
        stride, dilation = (tuple(int(k) for k in rng.integers(1, 4, 2)) for _ in range(2))
        padding = tuple(int(k) for k in rng.integers(0, 4, 2))
        n, height, width = (int(k) for k in rng.integers(1, (4, 13, 13)))
        channels, outputs = (groups * int(k) for k in rng.integers(1, (6, 9)))
        slow = plain.Correlation(stride, padding, dilation, groups)
        size = slow.output_size((height, width), kernel)
        if min(size) >= 1:
            fast = engine.Correlation(stride, padding, dilation, groups)
            shape_of_x = (n, channels, height, width)
            return slow, fast, shape_of_x, (outputs, channels // groups, *kernel), size


def assert_equal(got, want, dtype):
    """Equal within rounding, relative to the largest entry."""
    assert got.dtype == want.dtype == dtype and got.shape == want.shape
    scale = max(1.0, float(abs(want).max()) if want.size else 0.0)
    assert float(abs(got - want).max() if want.size else 0.0) <= TOLERANCE[dtype] * scale


@pytest.mark.parametrize("block", [60, 1 << 19], ids=["many blocks", "one block"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "engine, limit", [(stacks, "STACK_BLOCK"), (columns, "BLOCK")], ids=["stacks", "columns"]
)
def test_convolutions(engine, limit, dtype, block, monkeypatch):
    """apply, adjoint and weight_grad for random shapes, strides, paddings, dilations and groups."""
    monkeypatch.setattr(engine, limit, block)
    rng = np.random.default_rng(0)
    for _ in range(GEOMETRIES):
        slow, fast, shape, kernel, size = geometry(rng, engine)
        x, w, y = (
            xp.asarray(rng.normal(size=s).astype(dtype))
            for s in (shape, kernel, (shape[0], kernel[0], *size))
        )
        assert fast.output_size(shape[2:], kernel[2:]) == size
        assert_equal(fast.apply(w, x), slow.apply(w, x), dtype)  # (2.9), (2.10)
        assert_equal(fast.adjoint(w, y, shape), slow.adjoint(w, y, shape), dtype)  # (2.13)
        by_fast, by_slow = (m.weight_grad(x, y, kernel[2:]) for m in (fast, slow))
        assert_equal(by_fast, by_slow, dtype)


@pytest.mark.parametrize("engine", [stacks, columns])
def test_a_wrong_kernel_is_found(engine):
    """A padding that is off by one is told from the right one."""
    rng = np.random.default_rng(1)
    x, w = (xp.asarray(rng.normal(size=s)) for s in ((1, 2, 6, 6), (3, 2, 3, 3)))
    right = plain.Correlation(padding=(1, 1)).apply(w, x)
    wrong = engine.Correlation(padding=(1, 0)).apply(w, xp.pad(x, ((0, 0), (0, 0), (0, 0), (2, 0))))
    with pytest.raises(AssertionError):
        assert_equal(wrong, right, "float64")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rho(dtype):
    """The ratio of polynomials against the integrals: 8 units in the last place."""
    t = np.linspace(0, {"float32": 16, "float64": 64}[dtype], 2001).astype(dtype)
    fast, slow = (to_host(f(xp.asarray(t))) for f in (mills.rho, plain.rho))
    assert fast.dtype == slow.dtype == dtype
    assert (abs(fast - slow) <= 8 * np.finfo(dtype).eps * slow).all()  # (3.1), (3.8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products(dtype):
    """Random shapes, of which many leave rows or columns outside the tiles."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        m, k, p = (int(n) for n in rng.integers(1, (130, 200, 3000)))
        a, b, c = (
            xp.asarray(rng.normal(size=s).astype(dtype)) for s in ((m, k), (2, k, p), (2, m, p))
        )
        assert_equal(products.matmul(a, b), xp.matmul(a, b), dtype)
        contracted = xp.matmul(c, b.swapaxes(1, 2))
        assert_equal(products.contraction(c, b), contracted, dtype)


def answers():
    """Name -> array: every layer of the table, forward and backward, and a training step."""
    found = {}
    for name in CASES:
        for point in (False, True):
            layer, x, _ = make(name, point=point)
            y, backward = layer.forward(x)
            dx = backward(random_like(np.random.default_rng(1), y))
            arrays = [*y, *dx, *layer.predict(x), *(p.grad for p in layer.parameters())]
            kept = [to_host(array) for array in arrays if array is not None]
            found |= {f"{name} {point} {i}": array for i, array in enumerate(kept)}
    rng = np.random.default_rng(3)
    model = adf.Segmenter(adf.UNet(1, 3, (4, 6), norm=True), 0.1)
    for holder in (model.network, model.head):
        cast(holder, "float64")
    images, labels = rng.normal(size=(6, 1, 16, 16)), rng.integers(0, 3, (6, 16, 16))
    optimizer = adf.Adam(model.parameters())
    found["losses"] = np.array([adf.train_step(model, optimizer, images, labels) for _ in range(3)])
    fields = zip(adf.Prediction._fields, adf.predict(model, images), strict=True)
    return found | {f"prediction, {name}": field for name, field in fields}


def under(name, code, *arguments):
    """A Python process with this engine, at the root of the repository."""
    environment = {**os.environ, "ADF_ENGINE": name}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(backend.name != "numpy", reason="of the two engines on a CPU")
def test_all_layers_and_a_training_step_agree(tmp_path):
    code = "import sys; sys.path[:0] = ['tests', 'tests/engine']; import numpy, test_engines; "
    code += "assert test_engines.engine.fused is test_engines.plain.fused; "
    code += "numpy.savez(sys.argv[1], **test_engines.answers())"
    done = under("plain", code, tmp_path / "plain.npz")
    assert done.returncode == 0, done.stderr
    slow, fast = np.load(tmp_path / "plain.npz"), answers()
    assert set(slow.files) == set(fast) and len(fast) > 300
    for name, want in slow.items():
        close = (
            {"rtol": 1e-6, "atol": 1e-6}
            if want.dtype == "float32"
            else {"rtol": 1e-9, "atol": 1e-9}
        )
        np.testing.assert_allclose(fast[name], want, **close, err_msg=name)


@pytest.mark.slow
def test_the_table_of_layers_holds_under_the_plain_engine():
    code = "import sys, pytest; "
    code += "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'tests/layers']))"
    done = under("plain", code)
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout[-2000:]


def test_the_plain_engine_loads_nothing_else():
    code = "import sys, adf; inside = {m for m in sys.modules if m.startswith('adf.engine.')}; "
    code += "print(sorted(m.rsplit('.', 1)[1] for m in inside))"
    files = under("plain", code).stdout
    assert files == "['memory', 'micro_batches', 'plain', 'threads']\n"


def test_an_unknown_engine_is_one_line():
    done = under("jax", "import runpy, sys; sys.argv[:] = ['-m']; runpy.run_module('adf')")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "ADF_ENGINE='jax' is unknown: expected 'plain'" in done.stderr
    with pytest.raises(ImportError, match="expected 'plain'"):
        engine._load("jax")
