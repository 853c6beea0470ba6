"""The one switch between NumPy and CuPy: ADF_BACKEND=numpy (default) or cupy, read at import.

Theory says `xp` and names no array library, so one code runs on a CPU and on a GPU. Random numbers
are drawn on the host, by `default_rng`, and are therefore the same on both.
"""

import os

import numpy
from numpy.random import Generator, default_rng

__all__ = [
    "Generator",
    "SwitchError",
    "as_array",
    "default_rng",
    "name",
    "special",
    "to_host",
    "xp",
]


class SwitchError(ImportError):
    """What ADF_BACKEND or ADF_ENGINE asks for is unknown, or is not to be had here."""


def _load(name):
    """The array library of that name, and its special functions."""
    if name not in ("numpy", "cupy"):
        raise SwitchError(
            f"ADF_BACKEND={name!r} is unknown: expected 'numpy' (CPU) or 'cupy' (GPU)"
        )
    if name == "numpy":
        import scipy.special

        return numpy, scipy.special
    # CuPy may be missing, or be there without a driver or a GPU: each has its own way out.
    try:
        import cupy
        import cupyx.scipy.special
    except ImportError as error:
        raise SwitchError(
            f"ADF_BACKEND=cupy, but CuPy cannot be imported ({error}): install it with "
            "`pip install cupy-cuda13x[ctk]` (CUDA 13) or `cupy-cuda12x[ctk]` (CUDA 12), "
            "or set ADF_BACKEND=numpy"
        ) from None
    _check_gpu(cupy)
    return cupy, cupyx.scipy.special


def _check_gpu(cupy):
    """Raises SwitchError where CuPy finds no GPU."""
    reason = "the CUDA driver lists none"
    try:
        gpus = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # the driver has kinds of error of its own, which differ by version
        gpus = 0
        reason = str(error)
    if gpus < 1:
        raise SwitchError(
            f"ADF_BACKEND=cupy, but no GPU was found ({reason}): "
            "install NVIDIA's driver, or set ADF_BACKEND=numpy"
        )


name = os.environ.get("ADF_BACKEND", "numpy")
xp, special = _load(name)


def to_host(array):
    """The array as a NumPy array; nothing is copied where it is one already."""
    return array if isinstance(array, numpy.ndarray | numpy.generic) else array.get()


def as_array(values):
    """The values as an array that lies where they lie: the backend's own stay, all else is NumPy's.

    So a check of what a caller handed over reads it on the host, and does not wait for a GPU.
    """
    return values if isinstance(values, xp.ndarray) else numpy.asarray(values)
