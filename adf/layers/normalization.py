"""Batch normalisation of uncertain activations."""

from ..backend import xp
from ..gaussian import Gaussian
from .checks import check, positive
from .layer import Layer, Parameter, Statistic


class BatchNorm2d(Layer):
    """y = k (x - m) + shift, k = scale / sqrt(total + eps).

    E[y] = k (E[x] - m) + shift,  Var[y] = k**2 Var[x].  Exact for given m and total; that they are
    uncertain themselves is left out.

    In `forward`, m and total are the mean and variance of a channel over batch and pixels, of the
    random x itself: by the law of total variance, total = Var of the means + mean of the variances
    (biased: divided by n). In `predict` they are running averages of these. x: (N, num_features, H,
    W). Parameters: scale, shift. Raises ValueError on other shapes, and `forward` on one value per
    channel (N H W = 1), which has no variance to divide by.
    Source: Ioffe & Szegedy, ICML 2015, for point masses; the moments follow from the linear law.
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        (self.num_features,) = positive(self, num_features=num_features)
        self.eps = float(eps)  # a NumPy float would make float64 of float32
        momentum = float(momentum)
        self.scale = Parameter(xp.ones(num_features, "float32"))
        self.shift = Parameter(xp.zeros(num_features, "float32"))
        self.running_mean = Statistic(xp.zeros(num_features, "float32"), momentum)
        self.running_var = Statistic(xp.ones(num_features, "float32"), momentum)

    def predict(self, x):
        check(self, x, channels=self.num_features)
        dtype = xp.result_type(self.scale.value, x.mean)  # in which k is squared
        m = self.running_mean.value.astype(dtype)
        total = self.running_var.value.astype(dtype)
        k = self.scale.value.astype(dtype) / xp.sqrt(total + self.eps)
        return normalised(x, m, k, self.shift.value)

    def forward(self, x):
        check(self, x, channels=self.num_features)
        n = x.mean.size // self.num_features
        if n < 2:
            raise ValueError(
                "BatchNorm2d.forward expects more than one value per channel, "
                f"got an array of shape {x.mean.shape}"
            )
        # The statistics of the random x: its variance is that of the means and that of the noise.
        m = over_pixels(x.mean) / n  # (5.1)
        centred = x.mean - per_channel(m)
        total = over_pixels(centred * centred) / n
        if x.var is not None:
            total = total + over_pixels(x.var) / n  # (5.2)
        self.running_mean.update(m)
        self.running_var.update(total)
        k = self.scale.value / xp.sqrt(total + self.eps)  # (5.3)

        def backward(dy):
            return self._backward(dy, x, centred, total, k, n)

        return normalised(x, m, k, self.shift.value), backward

    def _backward(self, dy, x, centred, total, k, n):
        """dx, through m and total as well; the gradients of scale and shift."""
        # k scales means and variances, and goes back to `scale` and, through total, to every x.
        dk = over_pixels(dy.mean * centred)
        if dy.var is not None:
            dk = dk + 2 * k * over_pixels(dy.var * x.var)  # (5.6)
        dshift = over_pixels(dy.mean)
        self.scale.grad += dk / xp.sqrt(total + self.eps)  # (5.7)
        self.shift.grad += dshift
        dtotal = -0.5 * dk * k / (total + self.eps)  # (5.8)
        dmean = per_channel(k) * (dy.mean - per_channel(dshift / n))
        dmean = dmean + per_channel(2 * dtotal / n) * centred  # (5.9)
        if x.var is None:
            return Gaussian(dmean, None)
        dvar = xp.zeros_like(x.var) if dy.var is None else per_channel(k * k) * dy.var
        return Gaussian(dmean, dvar + per_channel(dtotal / n))  # (5.10)


def normalised(x, m, k, shift):
    mean = per_channel(k) * (x.mean - per_channel(m)) + per_channel(shift)
    return Gaussian(mean, None if x.var is None else per_channel(k * k) * x.var)  # (5.4)


def over_pixels(array):
    return array.sum(axis=(0, 2, 3))


def per_channel(values):
    return values.reshape(1, -1, 1, 1)
