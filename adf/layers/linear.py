"""The linear law, and the layers that learn under it.

y = A(w) x + b gives E[y] = A(w) E[x] + b and, for independent inputs, Var[y] = A(w**2) Var[x]: the same map with every
weight squared. One derivation serves every linear layer; each supplies only the map `apply`, its transpose `adjoint`
and, where it learns, `weight_grad`.
"""

import math

from ..backend import default_rng, xp
from ..gaussian import Gaussian
from .correlate import Correlation
from .layer import Layer, Parameter, check, check_window, pair, positive


class LinearLaw(Layer):
    """y = A(w) x for fixed weights w.  E[y] = A(w) E[x],  Var[y] = A(w**2) Var[x].  Exact for independent inputs."""

    def weights(self):
        raise NotImplementedError

    def apply(self, w, x):
        raise NotImplementedError

    def adjoint(self, w, dy, shape):
        raise NotImplementedError

    def check(self, x):
        check(self, x)

    def predict(self, x):
        self.check(x)
        w = self.weights()
        return Gaussian(self.apply(w, x.mean), None if x.var is None else self.apply(w * w, x.var))  # (2.4)

    def forward(self, x):
        w, y, shape = self.weights(), self.predict(x), x.mean.shape

        def backward(dy):
            dmean = self.adjoint(w, dy.mean, shape)
            return Gaussian(dmean, None if dy.var is None else self.adjoint(w * w, dy.var, shape))  # (2.11)

        return y, backward


class LearnedLinearLaw(LinearLaw):
    """y = A(w) x + b, learned w (`weight`) and b (`bias` or None).  E[y] = A(w) E[x] + b,  Var[y] = A(w**2) Var[x]."""

    channel_axis = 1

    def __init__(self, shape, fan_in, channels, bias, rng):
        """Kaiming (He et al., ICCV 2015): weights from N(0, 2 / fan_in), which keeps E[x^2] through a ReLU; bias 0."""
        values = default_rng(rng).normal(0, math.sqrt(2 / fan_in), shape)
        self.weight = Parameter(values.astype("float32"))
        self.bias = Parameter(xp.zeros(channels, "float32")) if bias else None

    def weights(self):
        return self.weight.value

    def weight_grad(self, x, dy):
        raise NotImplementedError

    def predict(self, x):
        y = super().predict(x)
        if self.bias is not None:
            shape = [1] * y.mean.ndim
            shape[self.channel_axis] = -1
            mean = y.mean  # of `apply`, so ours to write into
            mean += self.bias.value.reshape(shape)  # the bias of (2.4)
        return y

    def forward(self, x):
        y, back = super().forward(x)
        w = self.weight.value

        def backward(dy):
            dw = self.weight_grad(x.mean, dy.mean)
            if dy.var is not None:
                dw = dw + 2 * w * self.weight_grad(x.var, dy.var)  # (2.12)
            self.weight.grad += dw
            if self.bias is not None:
                axis = self.channel_axis % dy.mean.ndim
                self.bias.grad += dy.mean.sum(axis=tuple(a for a in range(dy.mean.ndim) if a != axis))
            return back(dy)

        return y, backward


class Linear(LearnedLinearLaw):
    """y = W x + b.  E[y] = W E[x] + b,  Var[y] = W**2 Var[x].  Exact for independent inputs.

    x: (N, in_features); y: (N, out_features); weight: (out_features, in_features). Raises ValueError on other shapes.
    Source: Gast & Roth, CVPR 2018, section 3.
    """

    def __init__(self, in_features, out_features, bias=True, *, rng=None):
        self.in_features, self.out_features = in_features, out_features
        positive(self, in_features=in_features, out_features=out_features)
        super().__init__((out_features, in_features), in_features, out_features, bias, rng)

    def check(self, x):
        check(self, x, "(N, features)", self.in_features)

    def apply(self, w, x):
        return xp.matmul(x, w.T)

    def adjoint(self, w, dy, shape):
        return xp.matmul(dy, w)

    def weight_grad(self, x, dy):
        return xp.matmul(dy.T, x)


class Conv2d(LearnedLinearLaw):
    """y = w * x + b (a correlation, as in torch.nn).  E[y] = w * E[x] + b,  Var[y] = w**2 * Var[x].

    Exact for independent inputs; outputs whose windows overlap are correlated, which the next layer takes no notice of:
    that is ADF's approximation. Sizes are an int or a pair. x: (N, in_channels, H, W); weight: (out_channels,
    in_channels / groups, kh, kw); y: (N, out_channels, H_out, W_out) with
    H_out = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1. Raises ValueError on other shapes and on an image
    smaller than the kernel. Source: Gast & Roth, CVPR 2018, section 3.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, *, rng=None
    ):
        self._configure(in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        super().__init__(shape, math.prod(shape[1:]), out_channels, bias, rng)

    def _configure(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups):
        positive(self, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{type(self).__name__} expects groups to divide in_channels and out_channels, "
                f"got {groups} for {in_channels} and {out_channels}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = pair(self, "kernel_size", kernel_size, 1)
        self.map = Correlation(
            pair(self, "stride", stride, 1),
            pair(self, "padding", padding, 0),
            pair(self, "dilation", dilation, 1),
            groups,
        )

    def check(self, x):
        check(self, x, channels=self.in_channels)
        check_window(self, self.map, x.mean.shape[2:], self.kernel_size)

    def apply(self, w, x):
        return self.map.apply(w, x)

    def adjoint(self, w, dy, shape):
        return self.map.adjoint(w, dy, shape)

    def weight_grad(self, x, dy):
        return self.map.weight_grad(x, dy, self.kernel_size)


class ConvTranspose2d(Conv2d):
    """y = A(w)^T x + b, the transpose of the map of a Conv2d.  E[y] = A(w)^T E[x] + b,  Var[y] = A(w**2)^T Var[x].

    Exact for independent inputs. x: (N, in_channels, H, W); weight, laid out as in torch.nn: (in_channels,
    out_channels / groups, kh, kw); y: (N, out_channels, H_out, W_out) with
    H_out = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1. Raises ValueError on other shapes, and
    unless output_padding is smaller than stride or dilation. Source: Gast & Roth, CVPR 2018, section 3.
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        *,
        rng=None,
    ):
        self._configure(in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.output_padding = pair(self, "output_padding", output_padding, 0)
        steps = zip(self.output_padding, self.map.stride, self.map.dilation, strict=True)
        if any(extra >= max(s, d) for extra, s, d in steps):
            raise ValueError(
                f"ConvTranspose2d expects output_padding to be smaller than stride or dilation, "
                f"got {self.output_padding} for {self.map.stride} and {self.map.dilation}"
            )
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        fan_in = max(1, in_channels // groups * math.prod(self.kernel_size) // math.prod(self.map.stride))
        LearnedLinearLaw.__init__(self, shape, fan_in, out_channels, bias, rng)

    def output_size(self, size):
        """(H_out, W_out) for an image of this size (H, W)."""
        m = self.map
        sizes = zip(size, self.kernel_size, m.stride, m.padding, m.dilation, self.output_padding, strict=True)
        return tuple((length - 1) * s - 2 * p + d * (k - 1) + extra + 1 for length, k, s, p, d, extra in sizes)

    def check(self, x):
        check(self, x, channels=self.in_channels)
        if min(self.output_size(x.mean.shape[2:])) < 1:
            raise ValueError(
                f"ConvTranspose2d expects an image that its padding {self.map.padding} leaves something of, "
                f"got {x.mean.shape[2:]}"
            )

    def apply(self, w, x):
        shape = (len(x), self.out_channels, *self.output_size(x.shape[2:]))
        return self.map.adjoint(w, x, shape)  # (2.6)

    def adjoint(self, w, dy, shape):
        return self.map.apply(w, dy)[:, :, : shape[2], : shape[3]]  # output_padding can add rows

    def weight_grad(self, x, dy):
        return self.map.weight_grad(dy, x, self.kernel_size)
