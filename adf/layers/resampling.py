"""Upsampling by an integer factor: the linear law with fixed weights."""

import math

from ..backend import xp
from ..gaussian import Gaussian
from .layer import Layer, check, pair


class Upsample(Layer):
    """y = A x, every pixel drawn out to scale_factor x scale_factor.  E[y] = A E[x],  Var[y] = A**2 Var[x].

    Exact for independent inputs; neighbouring outputs share inputs and are correlated, which the next layer takes no
    notice of. mode "nearest" copies the pixel; "bilinear" interpolates between pixel centres (half-pixel centres, edges
    replicate; weights that fall on one pixel are added before they are squared). A is one matrix along the rows and one
    along the columns. x: (N, C, H, W); y: (N, C, H f, W f). Raises ValueError on other axes, modes and factors.
    """

    def __init__(self, scale_factor, mode="bilinear"):
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f"Upsample expects mode 'nearest' or 'bilinear', got {mode!r}")
        self.scale_factor, self.mode = pair(self, "scale_factor", scale_factor, 1), mode

    def forward(self, x):
        check(self, x)
        height, width = x.mean.shape[2:]
        down = xp.asarray(weights(height, self.scale_factor[0], self.mode), x.mean.dtype)
        across = xp.asarray(weights(width, self.scale_factor[1], self.mode), x.mean.dtype)
        mean = xp.matmul(xp.matmul(down, x.mean), across.T)
        y = Gaussian(mean, None if x.var is None else xp.matmul(xp.matmul(down**2, x.var), (across**2).T))  # (2.8)

        def backward(dy):
            dmean = xp.matmul(xp.matmul(down.T, dy.mean), across)
            return Gaussian(dmean, None if dy.var is None else xp.matmul(xp.matmul((down**2).T, dy.var), across**2))

        return y, backward


def weights(size, factor, mode):
    """The matrix (size factor, size) of one direction, as nested lists: how much each output takes of each input."""
    rows = [[0.0] * size for _ in range(size * factor)]
    for output, row in enumerate(rows):
        if mode == "nearest":
            row[output // factor] = 1.0
            continue
        centre = (output + 0.5) / factor - 0.5
        left = math.floor(centre)
        for pixel, share in ((left, left + 1 - centre), (left + 1, centre - left)):
            row[min(max(pixel, 0), size - 1)] += share  # (2.7)
    return rows
