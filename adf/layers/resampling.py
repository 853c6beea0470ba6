"""The linear law with fixed weights: averages over windows or images, upsampling."""

import math

from ..backend import xp
from ..engine import Correlation
from ..gaussian import Gaussian
from .checks import check, check_window, pair
from .layer import Layer
from .linear import LinearLaw


class AvgPool2d(LinearLaw):
    """y = mean of the n pixels of a window.  E[y] = sum E[x] / n,  Var[y] = sum Var[x] / n**2.

    Exact for independent inputs. Sizes are an int or a pair; stride defaults to kernel_size; zeros
    from padding count as pixels. x: (N, C, H, W); y: (N, C, H_out, W_out) with
    H_out = (H + 2 padding - kernel) // stride + 1. Raises ValueError on other axes and on an image
    smaller than the window.
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        self.kernel_size = pair(self, "kernel_size", kernel_size, 1)
        stride = self.kernel_size if stride is None else pair(self, "stride", stride, 1)
        self.map = Correlation(stride, pair(self, "padding", padding, 0))

    def check(self, x):
        check(self, x)
        check_window(self, self.map, x.mean.shape[2:], self.kernel_size)

    def weights(self, x):
        return 1 / (self.kernel_size[0] * self.kernel_size[1])  # (2.5)

    def _kernel(self, w, x):
        return xp.full((1, 1, *self.kernel_size), w, x.dtype)

    def apply(self, w, x):
        n, c, height, width = x.shape
        y = self.map.apply(self._kernel(w, x), x.reshape(n * c, 1, height, width))
        return y.reshape(n, c, *y.shape[2:])

    def adjoint(self, w, dy, shape):
        n, c, height, width = shape
        dy = dy.reshape(n * c, 1, *dy.shape[2:])
        return self.map.adjoint(self._kernel(w, dy), dy, (n * c, 1, height, width)).reshape(shape)


class GlobalAvgPool2d(Layer):
    """y = mean of the n pixels of a channel.  E[y] = sum E[x] / n,  Var[y] = sum Var[x] / n**2.

    Exact for independent inputs; n = H W. x: (N, C, H, W); y: (N, C, 1, 1). Raises ValueError on
    other axes and where there are no pixels.
    """

    def forward(self, x):
        check(self, x)
        shape = x.mean.shape
        n = shape[2] * shape[3]
        var = None if x.var is None else x.var.sum(axis=(2, 3), keepdims=True) / n**2
        y = Gaussian(x.mean.sum(axis=(2, 3), keepdims=True) / n, var)  # (2.5)

        def backward(dy):
            dvar = None if dy.var is None else xp.broadcast_to(dy.var / n**2, shape)
            return Gaussian(xp.broadcast_to(dy.mean / n, shape), dvar)

        return y, backward


class Upsample(Layer):
    """y = A x, larger by scale_factor.  E[y] = A E[x],  Var[y] = A**2 Var[x].

    Exact for independent inputs; neighbouring outputs share inputs and are correlated, which the
    next layer takes no notice of. mode "nearest" copies the pixel. "bilinear" interpolates between
    pixel centres (half-pixel centres, edges replicate; weights that fall on one pixel are added
    before they are squared). A is one matrix along the rows and one along the columns. x: (N, C,
    H, W); y: (N, C, H f, W f). Raises ValueError on other axes, modes and factors.
    """

    def __init__(self, scale_factor, mode="bilinear"):
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f"Upsample expects mode 'nearest' or 'bilinear', got {mode!r}")
        self.scale_factor = pair(self, "scale_factor", scale_factor, 1)
        self.mode = mode

    def forward(self, x):
        check(self, x)
        # Along rows and along columns A is a matrix each, of shares that sum to 1.
        height, width = x.mean.shape[2:]
        down = xp.asarray(weights(height, self.scale_factor[0], self.mode), x.mean.dtype)
        across = xp.asarray(weights(width, self.scale_factor[1], self.mode), x.mean.dtype)
        mean = both_ways(down, x.mean, across.T)
        var = None if x.var is None else both_ways(down**2, x.var, (across**2).T)  # (2.8)

        def backward(dy):
            dmean = both_ways(down.T, dy.mean, across)
            dvar = None if dy.var is None else both_ways((down**2).T, dy.var, across**2)
            return Gaussian(dmean, dvar)

        return Gaussian(mean, var), backward


def both_ways(down, x, across):
    """The matrix `down` along the rows of every image, and `across` along its columns."""
    return xp.matmul(xp.matmul(down, x), across)


def weights(size, factor, mode):
    """The matrix (size factor, size) of one direction, as nested lists."""
    rows = [[0.0] * size for _ in range(size * factor)]
    for output, row in enumerate(rows):
        if mode == "nearest":
            row[output // factor] = 1.0
            continue
        # The centre of the output lies between two pixels; beyond an edge, both are the edge's.
        centre = (output + 0.5) / factor - 0.5
        left = math.floor(centre)
        for pixel, share in ((left, left + 1 - centre), (left + 1, centre - left)):
            row[min(max(pixel, 0), size - 1)] += share  # (2.7)
    return rows
