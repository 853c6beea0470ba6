"""Memory for arrays on a CPU: where it begins, and that it is kept."""

import ctypes
import functools
import math

import numpy

LINE = 64  # bytes of a cache line, and of the widest registers


def empty(shape, dtype):
    """numpy.empty, but beginning at a cache line: elementwise loops and products read whole lines, and where every read
    touches two of them, as it may with NumPy's own arrays, they take up to twice as long (benchmarks/kernels.py)."""
    dtype = numpy.dtype(dtype)
    memory = numpy.empty(math.prod(shape) * dtype.itemsize + LINE, numpy.uint8)
    return numpy.ndarray(shape, dtype, memory, offset=-memory.ctypes.data % LINE)


@functools.cache
def keep():
    """Has glibc keep what arrays leave behind, for the next ones: else the kernel clears every page again. Other C
    libraries have no such switch."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD, at its most: blocks up to 32 MiB come from memory that is kept
    mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD: up to 1 GiB of it
    mallopt(-8, 1)  # M_ARENA_MAX: all threads' arrays from one place, for what a thread has of its own is never kept
