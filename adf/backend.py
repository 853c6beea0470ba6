"""One switch between NumPy and CuPy. `ADF_BACKEND=numpy` (default) or `cupy`, read once, when adf is imported.

Everything else in the numeric core says `xp` and never names a library, so one code runs on a CPU and on a GPU; but for
fusion.py, which is what `fused` is on a CPU.
Random numbers are drawn on the host, by `default_rng`, and are therefore the same on both.
"""

import functools
import os

import numpy

from . import memory
from .fusion import Program


class BackendError(ImportError):
    """The backend that was asked for cannot be had."""


def _load(name):
    if name not in ("numpy", "cupy"):
        raise BackendError(f"ADF_BACKEND={name!r} is unknown: expected 'numpy' (CPU) or 'cupy' (GPU)")
    if name == "numpy":
        import scipy.special

        return numpy, scipy.special
    try:
        import cupy
        import cupyx.scipy.special
    except ImportError as error:
        raise BackendError(
            f"ADF_BACKEND=cupy, but CuPy cannot be imported ({error}): install it with "
            "`pip install cupy-cuda13x[ctk]` (CUDA 13) or `cupy-cuda12x[ctk]` (CUDA 12), or set ADF_BACKEND=numpy"
        ) from None
    try:
        gpus, reason = cupy.cuda.runtime.getDeviceCount(), "the CUDA driver lists none"
    except Exception as error:  # the driver's own kinds of error, which differ between versions
        gpus, reason = 0, str(error)
    if gpus < 1:
        raise BackendError(
            f"ADF_BACKEND=cupy, but no GPU was found ({reason}): install NVIDIA's driver, or set ADF_BACKEND=numpy"
        )
    return cupy, cupyx.scipy.special


name = os.environ.get("ADF_BACKEND", "numpy")
xp, special = _load(name)
empty = memory.empty if name == "numpy" else xp.empty
STACK_BLOCK = 1 << 19 if name == "numpy" else 1 << 27  # elements of a stack of layers/correlate.py: 2 MiB, for a cache
SMALL_PRODUCT, LOW_TILE = 10**6, 32  # multiply-adds; rows of a tile, below which one call of BLAS is faster
TILE, LONG_TILE = 128, 1024  # columns of a product's tile; of a contraction's
host, default_rng = numpy, numpy.random.default_rng  # for what lies on the host, whatever the backend


def to_host(array):
    """The array as a NumPy array; no copy where it is one already."""
    return array if isinstance(array, numpy.ndarray | numpy.generic) else array.get()


def matmul(a, b, out=None):
    """a @ b, (..., M, K) by (..., K, P) with a long P; on a CPU in tiles.

    BLAS first copies its operands into an order that suits it, which for thin matrices costs as much as the product.
    OpenBLAS takes products of at most SMALL_PRODUCT multiply-adds as they lie: on one core with AVX-512 up to
    twice as fast for the shapes of a U-Net (benchmarks/kernels.py).
    """
    if out is None:
        out = empty((*b.shape[:-2], a.shape[-2], b.shape[-1]), xp.result_type(a, b))
    tall = _tile(a.shape[-2], SMALL_PRODUCT // (max(1, a.shape[-1]) * TILE))
    body = b.shape[-1] // TILE * TILE if name == "numpy" and tall >= min(a.shape[-2], LOW_TILE) else 0
    if body:
        left = a.reshape(*a.shape[:-2], -1, 1, tall, a.shape[-1])
        xp.matmul(left, _tiled(b, b.shape[-2], body, TILE), out=_tiled(out, tall, body, TILE))
    if body < b.shape[-1]:
        xp.matmul(a, b[..., body:], out=out[..., body:])
    return out


def contraction(a, b):
    """a @ b^T, (..., M, P) by (..., K, P) with a long P; on a CPU in tiles, whose products are summed."""
    tall, deep = _tile(a.shape[-2], 32), _tile(b.shape[-2], 24)
    body = a.shape[-1] // LONG_TILE * LONG_TILE if name == "numpy" and tall and deep else 0
    out = 0
    if body:
        left, right = _tiled(a, tall, body, LONG_TILE), _tiled(b, deep, body, LONG_TILE).swapaxes(-1, -2)
        out = xp.matmul(left[..., :, None, :, :, :], right[..., None, :, :, :, :]).sum(axis=-3)
        out = out.swapaxes(-2, -3).reshape(*a.shape[:-1], b.shape[-2])
    if body < a.shape[-1]:
        out = out + xp.matmul(a[..., body:], b[..., body:].swapaxes(-1, -2))
    return out


def _tile(length, most):
    """The largest divisor of a length that is at most `most`; 0 where the largest is far smaller."""
    most = min(length, most)
    return next((size for size in range(most, most // 4, -1) if length % size == 0), 0)


def _tiled(matrix, height, body, width):
    """The first `body` columns of (..., M, P) as tiles (..., M / height, body / width, height, width); a view."""
    rows, columns = matrix.shape[-2] // height, body // width
    return matrix[..., :body].reshape(*matrix.shape[:-2], rows, height, columns, width).swapaxes(-2, -3)


def fused(function):
    """Makes one pass of an elementwise function of equally shaped arrays (array arguments first, then Python scalars).

    The function is written as plain array expressions of ufuncs and returns one array or a tuple of them. CuPy compiles
    it into one kernel; on NumPy it becomes a Program (fusion.py), which runs in buffers that stay in the cache. The
    plain function is its `__wrapped__`.
    """
    return _fused_cupy(function) if name == "cupy" else _fused_numpy(function)


def _fused_numpy(function):
    programs = {}

    @functools.wraps(function)
    def wrapper(*args):
        arrays = tuple(a for a in args if isinstance(a, numpy.ndarray))
        scalars = args[len(arrays) :]
        key = arrays[0].dtype.char, len(arrays), scalars
        if key not in programs:
            programs[key] = Program(function, arrays[0].dtype, len(arrays), scalars)
        return programs[key].run(arrays)

    return wrapper


def _fused_cupy(function):
    kernels = {}

    @functools.wraps(function)
    def wrapper(*args):  # scalars are compiled in: passed as arguments they would promote float32 arrays to float64
        arrays = tuple(a for a in args if isinstance(a, xp.ndarray))
        scalars = args[len(arrays) :]
        if scalars not in kernels:
            kernels[scalars] = xp.fuse(kernel_name=function.__name__)(lambda *arrays: function(*arrays, *scalars))
        return kernels[scalars](*arrays)

    return wrapper
