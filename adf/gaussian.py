"""Assumed density filtering (ADF) passes one message between layers: a Gaussian per activation."""

from typing import Any, NamedTuple

FLOATS = ("float32", "float64")  # the dtypes of everything here


class Gaussian(NamedTuple):
    """Independent Gaussians, one per element: arrays mean (mu) and var (sigma^2), one shape.  (1.1)

    `var=None` is a point mass: the layers then run as the ordinary deterministic network, at the
    ordinary cost. The same type carries the gradients of a loss L back: `dy.mean` is dL/dE[y] and
    `dy.var` is dL/dVar[y], None where L does not depend on the variances. Both have one dtype.
    """

    mean: Any
    var: Any = None

    def __add__(self, other):
        """The sum of independent Gaussians, and of two gradients. A point mass adds no variance."""
        if not isinstance(other, Gaussian):
            self._refuse(other)
        if self.var is None or other.var is None:
            var = other.var if self.var is None else self.var
        else:
            var = self.var + other.var
        return Gaussian(self.mean + other.mean, var)

    # A tuple would be repeated and joined, and NumPy would make one array of both fields.
    def _refuse(self, other):
        raise TypeError(
            f"a Gaussian only adds to a Gaussian, got {type(other).__name__}; "
            "scaled by c it is Gaussian(c * x.mean, c**2 * x.var)"
        )

    __radd__ = __mul__ = __rmul__ = _refuse
    __array_ufunc__ = None

    def map(self, function):
        """Applies the function to mean and to var; a variance that is None stays None."""
        return Gaussian(function(self.mean), None if self.var is None else function(self.var))
