"""A kink replaces every Gaussian by the Gaussian with the moments of what comes out."""

from .. import moments
from ..backend import xp
from ..gaussian import Gaussian
from .checks import check
from .layer import Layer


class LeakyReLU(Layer):
    """y = x for x > 0, else negative_slope x.  E[y] and Var[y] in closed form: moments.leaky_relu.

    The moments are exact for a Gaussian input; that y is passed on as a Gaussian is ADF's
    approximation. Any shape. A negative_slope of 0 is ReLU, 1 the identity; outside [0, 1] raises
    ValueError. Source: Gast & Roth, CVPR 2018, section 3 (ReLU); the leaky case follows by
    y = s x + (1 - s) max(x, 0) for the slope s.
    """

    def __init__(self, negative_slope=0.01):
        if not 0 <= negative_slope <= 1:
            raise ValueError(
                f"LeakyReLU expects a negative_slope from 0 to 1, got {negative_slope!r}"
            )
        self.negative_slope = float(negative_slope)

    def predict(self, x):
        check(self, x, axes=None)
        if x.var is None:
            below = self.negative_slope * x.mean if self.negative_slope else 0.0
            return Gaussian(xp.maximum(x.mean, below), None)
        return Gaussian(*moments.leaky_relu(x.mean, x.var, self.negative_slope))  # (3.5)

    def forward(self, x):
        check(self, x, axes=None)
        if x.var is None:
            return self._forward_of_a_point_mass(x)
        slope = self.negative_slope
        mean, var, *derivatives = moments.leaky_relu_with_derivatives(x.mean, x.var, slope)

        def backward(dy):
            dvar = xp.zeros_like(dy.mean) if dy.var is None else dy.var
            return Gaussian(*moments.vector_jacobian_product(dy.mean, dvar, *derivatives))  # (3.9)

        return Gaussian(mean, var), backward

    def _forward_of_a_point_mass(self, x):
        y = self.predict(x)

        def backward(dy):
            # This is faster than a selection by the sign of x.
            gain = xp.maximum((x.mean > 0).astype(dy.mean.dtype), self.negative_slope)
            return Gaussian(dy.mean * gain, None)

        return y, backward
