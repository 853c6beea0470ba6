"""One switch between NumPy and CuPy. `ADF_BACKEND=numpy` (default) or `cupy`, read once, when adf is imported.

Everything else in the numeric core says `xp` and never names a library, so one code runs on a CPU and on a GPU.
Random numbers are drawn on the host, by `default_rng`, and are therefore the same on both.
"""

import functools
import os

import numpy

ELEMENTWISE_BLOCK = 1 << 16  # elements: small enough for the cache, long enough to keep two threads off the same lock


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
COLUMN_BLOCK = 1 << 19 if name == "numpy" else 1 << 27  # elements of a convolution's columns: a CPU wants them in cache
default_rng = numpy.random.default_rng


def to_host(array):
    """The array as a NumPy array; no copy where it is one already."""
    return array if isinstance(array, numpy.ndarray | numpy.generic) else array.get()


def fused(function):
    """Makes one pass of an elementwise function of equally shaped arrays (array arguments first, then Python scalars).

    The function is written as plain array expressions and returns one array or a tuple of them. CuPy compiles it into
    one kernel. NumPy would send every intermediate result through main memory, so it is run block by block, each small
    enough for the cache.
    """
    return _fused_cupy(function) if name == "cupy" else _fused_numpy(function)


def _fused_numpy(function):
    @functools.wraps(function)
    def wrapper(*args):
        shape = args[0].shape
        flat = [a.reshape(-1) if isinstance(a, numpy.ndarray) else a for a in args]
        size = flat[0].size
        if size <= ELEMENTWISE_BLOCK:
            return function(*args)
        outputs = None
        for start in range(0, size, ELEMENTWISE_BLOCK):
            block = slice(start, start + ELEMENTWISE_BLOCK)
            results = function(*(a[block] if isinstance(a, numpy.ndarray) else a for a in flat))
            several = isinstance(results, tuple)
            results = results if several else (results,)
            if outputs is None:
                outputs = tuple(numpy.empty(size, r.dtype) for r in results)
            for output, result in zip(outputs, results, strict=True):
                output[block] = result
        outputs = tuple(output.reshape(shape) for output in outputs)
        return outputs if several else outputs[0]

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
