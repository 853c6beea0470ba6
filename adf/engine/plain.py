"""Every routine of the engine by its definition. The rest of engine/ computes the same, faster.

A convolution (deep learning's word for a correlation) is the linear map A(w) with

    y[n, o, h, w] = sum over c, i, j of
                    w[o, c, i, j] x[n, c, h stride + i dilation - padding, ...]                (2.9)

For one tap (i, j) of the kernel, the pixels that it reads, one for every output, are a strided view
of the padded image. So the map, its transpose (`adjoint`) and its weight gradient are three loops
over the taps with one matrix product inside: w x gives y, w^T dy gives dx, dy x^T gives dw. With
groups, c runs over the channels of one group. `xp` is NumPy or CuPy (backend.py).
"""

import math
from typing import NamedTuple

from ..backend import xp


def fused(function):
    """The elementwise function itself; the fast engine makes one pass of all its operations."""
    return function


def rho(t):
    """rho = R2 / R1 = E[d^2] / E[d] for d = max(e - t, 0), e standard normal, by its integrals.

    R_k is the integral of s^k exp(-s (t + s / 2)) over s > 0. With s = exp(v - exp(-v)) / (1 + t)
    it falls off doubly exponentially at either end of v, and the trapezoidal rule needs only 71
    nodes for 15 digits at every t from 0 to 64. Source: Takahasi & Mori, RIMS 9, 1974.
    """
    t64 = t.astype("float64")
    r1 = r2 = 0
    for node in range(-30, 41):
        v = node / 10
        s = math.exp(v - math.exp(-v)) / (1 + t64)
        weight = (1 + math.exp(-v)) * s * xp.exp(-s * (t64 + s / 2))  # ds = (1 + exp(-v)) s dv
        r1 = r1 + weight * s  # (3.1)
        r2 = r2 + weight * s * s
    return (r2 / r1).astype(t.dtype)


class Correlation(NamedTuple):
    """The geometry of a convolution. stride, padding, dilation: pairs (vertical, horizontal).

    x: (N, C, H, W); w: (O, C / groups, kh, kw); y: (N, O, H_out, W_out). Inside, the last two axes
    of an image are flat and its channels are split: (N, groups, C / groups, pixels).
    """

    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    dilation: tuple = (1, 1)
    groups: int = 1

    def apply(self, w, x):
        """y = A(w) x: every tap's pixels, times its weights, added up."""
        size = self.output_size(x.shape[2:], w.shape[2:])
        padded = self._padded(x)
        matrices = self._matrices(w)
        y = 0
        for i, j, window in self._taps(w.shape[2:], size):
            y = y + xp.matmul(matrices[..., i, j], self._columns(padded[..., *window]))  # (2.9)
        return y.reshape(len(x), len(w), *size)

    def adjoint(self, w, y, shape):
        """x = A(w)^T y, with x of this shape: every tap returns its share to the pixels it read."""
        columns = self._columns(y)
        matrices = self._matrices(w).swapaxes(1, 2)
        padded = self._padded(xp.zeros(shape, xp.result_type(w, y)))
        for i, j, window in self._taps(w.shape[2:], y.shape[2:]):
            pixels = padded[..., *window]
            pixels += xp.matmul(matrices[..., i, j], columns).reshape(pixels.shape)  # (2.13)
        top, left = self.padding
        return padded[..., top : top + shape[2], left : left + shape[3]]

    def weight_grad(self, x, dy, kernel_size):
        """dw, the gradient of sum(dy * A(w) x): a tap's pixels times the dy of what read them."""
        padded = self._padded(x)
        columns = self._columns(dy)
        dw = xp.zeros((dy.shape[1], x.shape[1] // self.groups, *kernel_size), xp.result_type(x, dy))
        for i, j, window in self._taps(kernel_size, dy.shape[2:]):
            products = xp.matmul(columns, self._columns(padded[..., *window]).swapaxes(-1, -2))
            dw[..., i, j] = products.sum(axis=0).reshape(dw.shape[:2])
        return dw

    def output_size(self, size, kernel_size):
        """(H_out, W_out) for an image of this size (H, W)."""
        axes = zip(size, kernel_size, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)

    def _taps(self, kernel_size, size):
        """For every tap (i, j), the rows and columns of the padded image that it reads."""
        axes = [
            [slice(i * d, i * d + s * (n - 1) + 1, s) for i in range(k)]
            for k, n, s, d in zip(kernel_size, size, self.stride, self.dilation, strict=True)
        ]
        rows, columns = axes
        return [(i, j, (r, c)) for i, r in enumerate(rows) for j, c in enumerate(columns)]

    def _padded(self, x):
        top, left = self.padding
        return xp.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))

    def _matrices(self, w):
        return w.reshape(self.groups, len(w) // self.groups, *w.shape[1:])

    def _columns(self, x):
        n, channels, height, width = x.shape
        return x.reshape(n, self.groups, channels // self.groups, height * width)
