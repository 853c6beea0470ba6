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


def normalise(images):
    """Mean 0 and standard deviation 1 for every image, in float64.

    images: (N, C, H, W), or one image (C, H, W) or (H, W); all its channels share mean and
    standard deviation. So 8-bit, 16-bit and float images look
    alike to a network, and a noise variance means the same for all: it is in units of the image's
    own variance. A constant image becomes zeros; no finite image overflows, since it is scaled
    first. NumPy and CuPy arrays stay what they are.
    """
    axes = tuple(range(max(0, images.ndim - 3), images.ndim))
    x = images.astype("float64")
    x = x / _nonzero(abs(x).max(axis=axes, keepdims=True))
    x = x - x.min(axis=axes, keepdims=True)  # exactly 0 where the image is constant
    x = x - x.mean(axis=axes, keepdims=True)
    return x / _nonzero(x.std(axis=axes, keepdims=True))


def _nonzero(scale):
    """The scale, or 1 where it is 0."""
    return scale + (scale == 0)
