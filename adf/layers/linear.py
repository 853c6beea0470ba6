"""The linear law, and the layers that learn under it.

y = A(w) x + b gives E[y] = A(w) E[x] + b and, for independent inputs, Var[y] = A(w**2) Var[x]: the
same map with every weight squared. One derivation serves every linear layer. Each supplies only the
map `apply`, its transpose `adjoint` and, where it learns, `weight_grad`. Transposed convolution,
averages and upsampling follow the same law: transposed.py, resampling.py.
"""

import math

from ..backend import default_rng, xp
from ..engine import Correlation
from ..gaussian import Gaussian
from . import checks, free_variance
from .layer import Layer, Parameter


class LinearLaw(Layer):
    """y = A(w) x + b.  E[y] = A(w) E[x] + b,  Var[y] = A(w**2) Var[x].

    Exact for independent inputs. A subclass supplies apply(w, x) = A(w) x, adjoint(w, dy, shape) =
    A(w)^T dy of the shape of x, and check(x). If it learns, it has a `weight`, perhaps a `bias`
    (one per channel, axis 1), and weight_grad(x, dy), the gradient of sum(dy * A(w) x) by w. If
    not, `weights(x)` are fixed.
    """

    weight = None
    bias = None
    log_gain = loading = gate = drift = None  # Parameters where variances are free: free_variance

    def weights(self, x):
        """w in the dtype of y: float32 weights are squared in float64 where x is of float64."""
        return self.weight.value.astype(xp.result_type(self.weight.value, x.mean), copy=False)

    def predict(self, x):
        self.check(x)
        if self.loading is not None and x.var is not None:
            return free_variance.predict(self, x)
        w = self.weights(x)
        y = Gaussian(self.apply(w, x.mean), None if x.var is None else self.apply(w * w, x.var))
        if self.bias is not None:
            mean = y.mean  # `apply` has made it, so it is ours to write into
            mean += self.bias.value.reshape(-1, *[1] * (mean.ndim - 2))
        return y  # (2.4)

    def forward(self, x):
        if self.loading is not None and x.var is not None:
            return free_variance.forward(self, x)
        y = self.predict(x)
        w = self.weights(x)
        shape = x.mean.shape
        inputs = None if self.weight is None else x  # fixed weights need no input on the way back

        # dy goes back through the transposed maps. A weight stands in both, as w and as w**2.
        def backward(dy):
            if self.weight is not None:
                dw = self.weight_grad(inputs.mean, dy.mean)
                if dy.var is not None:
                    dw = dw + 2 * w * self.weight_grad(inputs.var, dy.var)
                self.weight.grad += dw  # (2.12)
            if self.bias is not None:
                self.bias.grad += dy.mean.sum(axis=(0, *range(2, dy.mean.ndim)))
            dmean = self.adjoint(w, dy.mean, shape)
            dvar = None if dy.var is None else self.adjoint(w * w, dy.var, shape)
            return Gaussian(dmean, dvar)  # (2.11)

        return y, backward

    def _learn(self, shape, fan_in, channels, bias, rng):
        """Gives the layer its parameters: weights from N(0, 2 / fan_in), and a bias of 0.

        That variance keeps E[x^2] through a ReLU. Source: He et al., ICCV 2015 (Kaiming).
        """
        self.fan_in = fan_in
        values = default_rng(rng).normal(0, math.sqrt(2 / fan_in), shape)
        self.weight = Parameter(values.astype("float32"))
        self.bias = Parameter(xp.zeros(channels, "float32")) if bias else None


class Linear(LinearLaw):
    """y = W x + b.  E[y] = W E[x] + b,  Var[y] = W**2 Var[x].  Exact for independent inputs.

    x: (N, in_features); y: (N, out_features); weight: (out_features, in_features). Raises
    ValueError on other shapes. Source: Gast & Roth, CVPR 2018, section 3.
    """

    def __init__(self, in_features, out_features, bias=True, *, rng=None):
        self.in_features, self.out_features = checks.positive(
            self, in_features=in_features, out_features=out_features
        )
        self._learn((out_features, in_features), in_features, out_features, bias, rng)

    def check(self, x):
        checks.check(self, x, "(N, features)", self.in_features)

    def apply(self, w, x):
        return xp.matmul(x, w.T)

    def adjoint(self, w, dy, shape):
        return xp.matmul(dy, w)

    def weight_grad(self, x, dy):
        return xp.matmul(dy.T, x)


class Conv2d(LinearLaw):
    """y = A(w) x + b, a correlation.  E[y] = A(w) E[x] + b,  Var[y] = A(w**2) Var[x].  As torch.nn.

    Exact for independent inputs. Outputs whose windows overlap are correlated, which the next layer
    takes no notice of: that is ADF's approximation. Sizes are an int or a pair.
    x: (N, in_channels, H, W); weight: (out_channels, in_channels / groups, kh, kw);
    y: (N, out_channels, H_out, W_out),
    H_out = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1.
    Raises ValueError on other shapes and on an image smaller than the kernel.
    Source: Gast & Roth, CVPR 2018, section 3.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
        bias=True, *, rng=None,
    ):  # fmt: skip
        self._configure(in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self._learn(shape, math.prod(shape[1:]), out_channels, bias, rng)

    def _configure(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups):
        """Checks and keeps the sizes, the geometry as the Correlation `map`."""
        self.in_channels, self.out_channels, groups = checks.positive(
            self, in_channels=in_channels, out_channels=out_channels, groups=groups
        )
        checks.check_groups(self, in_channels, out_channels, groups)
        # The geometry, in the names of torch.nn, is what the engine takes.
        self.kernel_size = checks.pair(self, "kernel_size", kernel_size, 1)
        self.map = Correlation(
            checks.pair(self, "stride", stride, 1),
            checks.pair(self, "padding", padding, 0),
            checks.pair(self, "dilation", dilation, 1),
            groups,
        )

    def check(self, x):
        checks.check(self, x, channels=self.in_channels)
        checks.check_window(self, self.map, x.mean.shape[2:], self.kernel_size)

    def apply(self, w, x):
        return self.map.apply(w, x)

    def adjoint(self, w, dy, shape):
        return self.map.adjoint(w, dy, shape)

    def weight_grad(self, x, dy):
        return self.map.weight_grad(x, dy, self.kernel_size)
