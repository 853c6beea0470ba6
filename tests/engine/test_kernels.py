"""The fast kernels one by one: programs of ufuncs, products in tiles, memory on cache lines."""

import tracemalloc

import numpy as np
import pytest

from adf import Conv2d, Gaussian, LeakyReLU, backend
from adf.backend import xp
from adf.engine import fusion, memory, products, program
from adf.engine.fusion import fused
from adf.engine.program import Program
from adf.engine.trace import Trace


def product(a, b):  # with a name: CuPy calls its kernel by it
    return a * b


def test_fused_is_the_plain_function():
    """The bits are the same for several blocks or one, and for one result or several.

    They are the same for arrays that are not contiguous, too.
    """

    def plain(a, b, scale):
        large = (a > b).astype(a.dtype)
        return a * scale + large * b, abs(a * scale) - xp.exp(-(b * b))

    rng = np.random.default_rng(0)
    for shape in ((3,), (2, 5, 7), (program.BLOCK + 1,), (2, program.BLOCK)):
        a, b = (
            backend.xp.asarray(rng.normal(size=(*shape, 2)).astype("float32"))[..., 0]
            for _ in range(2)
        )
        for got, want in zip(fused(plain)(a, b, 0.5), plain(a, b, 0.5), strict=True):
            assert got.shape == want.shape and got.dtype == "float32" and bool((got == want).all())
        assert bool((fused(product)(a, b) == a * b).all())


@pytest.mark.parametrize(
    "shape",
    [(16, 48, 2048 + 7), (3, 9, 130), (5, 7, 3), (128, 384, 256), (127, 900, 128), (2, 8000, 128)],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_in_tiles(shape, dtype):
    """matmul and contraction agree with one product in float64.

    The shapes give tiles, what is left beside them, and no tiles at all.
    """
    (m, k, p), rng = shape, np.random.default_rng(0)
    a, b, c = (rng.normal(size=s).astype(dtype) for s in ((m, k), (2, k, p), (2, m, p)))
    exact, tolerance = np.float64, 1e-5 if dtype == "float32" else 1e-14
    got = backend.to_host(products.matmul(xp.asarray(a), xp.asarray(b)))
    want = a.astype(exact) @ b.astype(exact)
    assert got.dtype == dtype
    np.testing.assert_allclose(
        got, want, rtol=0, atol=tolerance * (abs(a.astype(exact)) @ abs(b.astype(exact))).max()
    )
    out = xp.zeros((2, m, p + 5), dtype)
    products.matmul(xp.asarray(a), xp.asarray(b), out=out[..., :p])
    assert bool((out[..., :p] == xp.asarray(got)).all()) and bool((out[..., p:] == 0).all())
    got = backend.to_host(products.contraction(xp.asarray(c), xp.asarray(b)))
    want = c.astype(exact) @ b.astype(exact).swapaxes(1, 2)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * p)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 5), (1000, 1001)])
@pytest.mark.parametrize("dtype", ["bool", "float32", "float64"])
def test_memory_begins_at_a_cache_line(shape, dtype):
    arrays = [memory.empty(shape, dtype) for _ in range(4)]
    for number, array in enumerate(arrays):
        assert (
            array.shape == shape
            and array.dtype == dtype
            and array.flags.c_contiguous
            and array.flags.writeable
        )
        assert array.ctypes.data % 64 == 0
        array[...] = number % 2
    assert all((array == number % 2).all() for number, array in enumerate(arrays))  # nobody else's


@pytest.mark.skipif(backend.name != "numpy", reason="of what fused and matmul return on a CPU")
def test_results_begin_at_a_cache_line():
    for n in range(1, 20):  # NumPy's own arrays of these sizes begin at any multiple of 16 bytes
        a = np.ones((n, 33), "float32")
        assert (
            fused(product)(a, a).ctypes.data % 64 == products.matmul(a, a.T).ctypes.data % 64 == 0
        )
        y = Conv2d(n, n, 3, padding=1, rng=0).predict(Gaussian(np.ones((1, n, 5, 5), "float32")))
        assert y.mean.ctypes.data % 64 == 0


def test_a_program_takes_no_more_than_it_needs():
    """Equal expressions are computed once.

    What is no ufunc, and what is no result of one, is refused.
    """

    def power(x):
        y = x * x + 1
        return (x * x) * y * y * y * y

    traced = Program(Trace(power, np.dtype("float32"), 1, ()))
    assert len(traced.steps) == 6 and traced.buffers <= 2
    x = np.linspace(0, 2, 9, dtype="float32")
    assert (traced.run([x]) == power(x)).all()
    for wrong in (
        lambda x: np.where(x > 0, x, 0),
        lambda x: x,
        lambda x: (x + 1, x + 1),
        lambda x: np.add.reduce(x),
    ):
        with pytest.raises(TypeError, match="a fused function"):
            Trace(wrong, np.dtype("float32"), 1, ())


@pytest.mark.skipif(backend.name != "numpy", reason="of programs on a CPU")
def test_a_sweep_over_slopes_keeps_few_programs():
    """Each takes 20 KiB; a program that is not used any more goes, and comes back the same."""
    x = Gaussian(np.linspace(-2, 2, 9, dtype="float32"), np.ones(9, "float32"))
    before = LeakyReLU(0.5).predict(x)
    tracemalloc.start()
    try:
        taken = []
        for slope in np.linspace(0, 1, 3 * fusion.MOST_PROGRAMS):
            LeakyReLU(slope).predict(x)
            taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    first, later = taken[fusion.MOST_PROGRAMS] - taken[0], taken[-1] - taken[fusion.MOST_PROGRAMS]
    assert later < first / 2  # twice as many programs
    after = LeakyReLU(0.5).predict(x)
    assert (after.mean == before.mean).all() and (after.var == before.var).all()
