"""The message between layers: an independent Gaussian per activation."""

from typing import Any, NamedTuple


class Gaussian(NamedTuple):
    """Independent Gaussians, one per element: arrays `mean` (mu) and `var` (sigma^2) of one shape and dtype.  (1.1)

    `var=None` is a point mass: the layers then run as the ordinary deterministic network, at the ordinary cost. The
    same type carries gradients back: `dy.mean` is dL/dE[y] and `dy.var` is dL/dVar[y].
    """

    mean: Any
    var: Any = None

    def __add__(self, other):
        """The sum of independent Gaussians, and the sum of two gradients. A point mass adds no variance."""
        if self.var is None or other.var is None:
            var = other.var if self.var is None else self.var
        else:
            var = self.var + other.var
        return Gaussian(self.mean + other.mean, var)

    __radd__ = None  # sum() would start from 0, which is no Gaussian
