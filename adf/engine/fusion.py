"""One pass of an elementwise function: one kernel on a GPU, a program of ufuncs on a CPU."""

import functools

import numpy

from ..backend import name, xp
from .program import Program
from .trace import Trace

# Of one function: of each dtype and slope in use. So a sweep over slopes keeps no more than these.
MOST_PROGRAMS = 64


def fused(function):
    """Makes one pass of an elementwise function of equally shaped arrays.

    Array arguments come first, then Python scalars. The function is written as plain array
    expressions of ufuncs and returns one array or a tuple of them. CuPy compiles it into one
    kernel; on NumPy it is traced once and becomes a Program, whose buffers stay in the cache. The
    plain function is its `__wrapped__`.
    """
    return _fused_cupy(function) if name == "cupy" else _fused_numpy(function)


def _fused_numpy(function):
    @functools.lru_cache(MOST_PROGRAMS)
    def program(dtype, count, scalars):
        return Program(Trace(function, dtype, count, scalars))

    @functools.wraps(function)
    def wrapper(*args):
        arrays = tuple(a for a in args if isinstance(a, numpy.ndarray))
        scalars = args[len(arrays) :]
        return program(arrays[0].dtype, len(arrays), scalars).run(arrays)

    return wrapper


def _fused_cupy(function):
    @functools.lru_cache(MOST_PROGRAMS)
    def kernel(scalars):
        # Scalars are compiled in: as arguments they would promote float32 arrays to float64.
        fuse = xp.fuse(kernel_name=function.__name__)
        return fuse(lambda *arrays: function(*arrays, *scalars))

    @functools.wraps(function)
    def wrapper(*args):
        arrays = tuple(a for a in args if isinstance(a, xp.ndarray))
        return kernel(args[len(arrays) :])(*arrays)

    return wrapper
