"""The arrays that a training changes, by their path in the network, so that files can name them."""

import numpy as np

from ..backend import to_host, xp
from ..layers import Parameter, Statistic
from ..layers.paths import named


def holders(segmenter):
    """name -> Parameter or Statistic: value/head.c1, value/network.layers.0.weight, statistic/.."""
    found = {f"value/{path}": p for path, p in named(segmenter, Parameter).items()}
    return found | {f"statistic/{path}": s for path, s in named(segmenter, Statistic).items()}


def state(segmenter):
    """The arrays of all these, on the host."""
    return {name: to_host(holder.value) for name, holder in holders(segmenter).items()}


def restore(segmenter, arrays):
    """Sets them all. Raises ValueError, with nothing changed, on arrays that are not of it."""
    check_shapes(describe(arrays), describe(state(segmenter)))
    check_numbers(arrays)
    for name, holder in holders(segmenter).items():
        holder.value = xp.asarray(arrays[name])


def describe(arrays):
    """name -> (shape, dtype), as files.checkpoint describes arrays before it reads them."""
    return {n: (array.shape, array.dtype.newbyteorder("<").str) for n, array in arrays.items()}


def check_shapes(found, wanted):
    """Raises ValueError, naming the first, unless both have the same names, shapes and dtypes."""
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            what = f"{name[:100]} of shape and dtype"
            raise ValueError(f"expected {what} {wanted.get(name)}, got {found.get(name)}")


def check_numbers(arrays):
    """Raises ValueError, naming the first, on arrays that no training leaves behind."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"expected finite numbers, got NaN or infinity in {name}")
        # Running variances, and the squares of gradients that Adam remembers.
        is_square = name.endswith("running_var") or name.startswith("v/")
        if is_square and (array < 0).any():
            raise ValueError(f"expected numbers of 0 or more, got {array.min()} in {name}")


def is_finite(segmenter):
    """Whether all these arrays are finite: one answer from the device, however many there are."""
    checks = [xp.isfinite(holder.value).all() for holder in holders(segmenter).values()]
    return bool(xp.stack(checks).all())


def flat(holders):
    """The values of Parameters or Statistics in a row, float64, on the host."""
    return np.concatenate([to_host(h.value).ravel() for h in holders]).astype("float64")


def put(holders, values):
    """Sets them to what `flat` gave."""
    start = 0
    for h in holders:
        part = values[start : start + h.value.size].reshape(h.value.shape)
        h.value = xp.asarray(part.astype(h.value.dtype))
        start += h.value.size
