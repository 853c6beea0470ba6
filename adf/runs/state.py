"""The arrays that a training changes, by their path in the network, so that files can name them."""

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
    """Sets them all. Raises ValueError, with nothing changed, where names or shapes are others."""
    check_shapes(arrays, state(segmenter))
    for name, holder in holders(segmenter).items():
        holder.value = xp.asarray(arrays[name])


def check_shapes(arrays, expected):
    """Raises ValueError, naming the first, unless both have the same names and shapes."""
    found = {name: array.shape for name, array in arrays.items()}
    wanted = {name: array.shape for name, array in expected.items()}
    if found != wanted:
        name = sorted(found.items() ^ wanted.items())[0][0]
        raise ValueError(f"expected {name} of shape {wanted.get(name)}, got {found.get(name)}")
