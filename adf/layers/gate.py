"""Means that scale variances: what kinks that are open have in common is another at every pixel.

The last layer of a calibrated network has such a gate inside (free_variance.py). Behind batch norms
it bought little: `adf variants` measures that.
"""

from ..backend import xp
from ..engine import Correlation, fused
from ..gaussian import Gaussian
from .checks import check, positive
from .layer import Layer, Parameter

LIMIT = 3.0  # of the means that are read


class Gate(Layer):
    """E[y] = E[x],  Var[y] = Var[x] exp(A(weight) f),  f = E[x] / sqrt(channels).

    A(weight) is a 1 x 1 convolution: the channels of a pixel say how much more, or less, its
    variances are than is thought. A mean beyond -3 or 3 counts as one there. The gate is learned
    (calibration.py), alike fast for any number of channels, and stands behind a batch norm, which
    puts means on one scale. x: (N, channels, H, W); weight: (channels, channels, 1, 1), at first 0,
    where y is x. A point mass passes. Raises ValueError on other shapes.
    """

    def __init__(self, channels):
        (self.channels,) = positive(self, channels=channels)
        self.map = Correlation()
        self.weight = Parameter(xp.zeros((channels, channels, 1, 1), "float32"))

    def predict(self, x):
        check(self, x, channels=self.channels)
        return x if x.var is None else self._opened(x)[0]

    def forward(self, x):
        check(self, x, channels=self.channels)
        if x.var is None:
            return x, lambda dy: dy
        y, w, f = self._opened(x)

        # d exp(z) = exp(z) dz.
        def backward(dy):
            if dy.var is None:
                return dy
            dz = y.var * dy.var
            self.weight.grad += self.map.weight_grad(f, dz, (1, 1))
            df = self.map.adjoint(w, dz, f.shape)
            gain = xp.exp(self.map.apply(w, f))
            return Gaussian(dy.mean + of_means(df, x.mean), gain * dy.var)

        return y, backward

    def _opened(self, x):
        w = self.weight.value.astype(x.mean.dtype, copy=False)
        f = features(x.mean)
        return Gaussian(x.mean, scaled(x.var, self.map.apply(w, f))), w, f


def features(mean):
    """f, what a gate reads of the means."""
    return limited(mean, mean.shape[1] ** -0.5)


def of_means(df, mean):
    """dmean of df: beyond the limit f stays as it is."""
    return df * (abs(mean) < LIMIT) * mean.shape[1] ** -0.5


@fused
def limited(mean, scale):
    return xp.minimum(xp.maximum(mean, -LIMIT), LIMIT) * scale


@fused
def scaled(var, z):
    return var * xp.exp(z)  # (9.10)
