"""Memory for arrays on a CPU: where it begins, and that freed memory is kept for the next array."""

import ctypes
import functools
import math

import numpy

from .. import backend

LINE = 64  # bytes of a cache line, and of the widest registers


def empty(shape, dtype):
    """xp.empty, but on a CPU the array begins at a cache line.

    Elementwise loops and products read whole lines. Where every read touches two of them, as it may
    in arrays that NumPy allocates, they take up to twice as long (benchmarks/kernels.py).
    """
    if backend.name == "cupy":
        return backend.xp.empty(shape, dtype)
    dtype = numpy.dtype(dtype)
    memory = numpy.empty(math.prod(shape) * dtype.itemsize + LINE, numpy.uint8)
    return numpy.ndarray(shape, dtype, memory, offset=-memory.ctypes.data % LINE)


@functools.cache
def keep():
    """Tells glibc to keep freed memory for the next array.

    Returned to the kernel, every page would have to be zeroed again. Other C libraries have no such
    switch; there this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD, at its most: blocks up to 32 MiB come from kept memory
    mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD: up to 1 GiB of it is kept
    mallopt(-8, 1)  # M_ARENA_MAX: all threads share one arena, for a thread's own is never kept
