"""One pass of an elementwise function: one kernel on a GPU, a program of ufuncs on a CPU."""

import functools

import numpy

from ..backend import name, xp
from .program import Program
from .trace import Trace


def fused(function):
    """Makes one pass of an elementwise function of equally shaped arrays.

    Array arguments come first, then Python scalars. The function is written as plain array
    expressions of ufuncs and returns one array or a tuple of them. CuPy compiles it into one
    kernel; on NumPy it is traced once and becomes a Program, whose buffers stay in the cache. The
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
            programs[key] = Program(Trace(function, arrays[0].dtype, len(arrays), scalars))
        return programs[key].run(arrays)

    return wrapper


def _fused_cupy(function):
    kernels = {}

    @functools.wraps(function)
    def wrapper(*args):
        arrays = tuple(a for a in args if isinstance(a, xp.ndarray))
        scalars = args[len(arrays) :]
        if scalars not in kernels:
            # Scalars are compiled in: as arguments they would promote float32 arrays to float64.
            fuse = xp.fuse(kernel_name=function.__name__)
            kernels[scalars] = fuse(lambda *arrays: function(*arrays, *scalars))
        return kernels[scalars](*arrays)

    return wrapper
