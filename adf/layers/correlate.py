"""Correlation (what deep learning calls convolution), its adjoint and its weight gradient, on plain arrays.

The windows of the padded image under the kernel are a strided view, (N, C, kh, kw, H_out, W_out): stride and dilation
only change the steps. Copied for a few output rows at a time, so that the copy stays in the cache, they are the columns
of one matrix product. Measured on 2 cores this is as fast as one product per kernel tap for 16 and more channels, 20
times faster for one channel, and one code for every stride, dilation and number of groups.
"""

import math
from typing import NamedTuple

from ..backend import COLUMN_BLOCK, xp


class Correlation(NamedTuple):
    """y[n, o, h, w] = sum over c, i, j of w[o, c, i, j] x[n, c, h stride + i dilation - padding, ...].

    x: (N, C, H, W); w: (O, C / groups, kh, kw); y: (N, O, H_out, W_out). Stride, padding and dilation are pairs.
    """

    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    dilation: tuple = (1, 1)
    groups: int = 1

    def apply(self, w, x):
        """y = A(w) x."""
        windows = self._windows(x, w.shape[2:])
        matrix = self._matrix(w)
        y = xp.empty((len(x), self.groups, matrix.shape[1], *windows.shape[-2:]), xp.result_type(w, x))
        for rows in self._blocks(windows.shape):
            product = xp.matmul(matrix, self._columns(windows, rows))
            y[..., rows, :] = product.reshape(*product.shape[:3], rows.stop - rows.start, y.shape[-1])
        return y.reshape(len(x), len(w), *y.shape[-2:])

    def adjoint(self, w, y, shape):
        """x = A(w)^T y, with x of this shape: every output spread back over its window."""
        turned = self._turned(w.shape[2:])
        if turned and turned.output_size(y.shape[2:], w.shape[2:]) == shape[2:]:
            return turned.apply(self._turn(w), y)
        n, c, height, width = shape
        padded = (height + 2 * self.padding[0], width + 2 * self.padding[1])
        x = xp.zeros((n, c, *padded), xp.result_type(w, y))
        targets = self._view(x, w.shape[2:])
        transposed = xp.ascontiguousarray(self._matrix(w).swapaxes(1, 2))
        y = self._grouped(y)
        targets = targets[..., : y.shape[-2], : y.shape[-1]]
        for rows in self._blocks(targets.shape):
            columns = xp.matmul(transposed, _flat(y[..., rows, :]))
            columns = columns.reshape(*targets.shape[:4], rows.stop - rows.start, y.shape[-1])
            for i in range(w.shape[2]):
                for j in range(w.shape[3]):  # within one tap no two windows share a pixel
                    targets[:, :, i, j, rows] += columns[:, :, i, j]
        top, left = self.padding
        return x[:, :, top : top + height, left : left + width]

    def weight_grad(self, x, y, kernel_size):
        """dw, the gradient of sum(y * A(w) x) by w."""
        windows = self._windows(x, kernel_size)[..., : y.shape[2], : y.shape[3]]
        dw = 0
        grouped = self._grouped(y)
        for rows in self._blocks(windows.shape):
            columns = self._columns(windows, rows)
            dw = dw + xp.matmul(_flat(grouped[..., rows, :]), columns.swapaxes(2, 3)).sum(axis=0)
        return dw.reshape(y.shape[1], x.shape[1] // self.groups, *kernel_size)

    def output_size(self, size, kernel_size):
        """(H_out, W_out) for an image of this size (H, W)."""
        return tuple(
            (length + 2 * p - d * (k - 1) - 1) // s + 1
            for length, k, s, p, d in zip(size, kernel_size, self.stride, self.padding, self.dilation, strict=True)
        )

    def _turned(self, kernel_size):
        """At stride 1 the adjoint is itself a correlation, with the kernel turned by 180 degrees: a third faster."""
        padding = tuple(d * (k - 1) - p for k, p, d in zip(kernel_size, self.padding, self.dilation, strict=True))
        return self._replace(padding=padding) if self.stride == (1, 1) and min(padding) >= 0 else None

    def _turn(self, w):
        o, c, kh, kw = w.shape
        swapped = w.reshape(self.groups, o // self.groups, c, kh, kw).swapaxes(1, 2)
        turned = xp.ascontiguousarray(swapped[..., ::-1, ::-1])  # BLAS takes no negative strides
        return turned.reshape(self.groups * c, o // self.groups, kh, kw)

    def _windows(self, x, kernel_size):
        (top, left), (height, width) = self.padding, x.shape[2:]
        if top or left:
            padded = xp.zeros((*x.shape[:2], height + 2 * top, width + 2 * left), x.dtype)
            padded[:, :, top : top + height, left : left + width] = x
            x = padded
        return self._view(x, kernel_size)

    def _view(self, x, kernel_size):
        """The windows of x as a view (N, C, kh, kw, H_out, W_out)."""
        (kh, kw), (sh, sw), (dh, dw) = kernel_size, self.stride, self.dilation
        n, c, h, w = x.strides
        rows, columns = Correlation(self.stride, (0, 0), self.dilation).output_size(x.shape[2:], kernel_size)
        return xp.lib.stride_tricks.as_strided(
            x, (*x.shape[:2], kh, kw, rows, columns), (n, c, dh * h, dw * w, sh * h, sw * w)
        )

    def _matrix(self, w):
        return w.reshape(self.groups, len(w) // self.groups, w[0].size)

    def _grouped(self, y):
        return y.reshape(len(y), self.groups, y.shape[1] // self.groups, *y.shape[2:])

    def _columns(self, windows, rows):
        n, c, kh, kw, _, width = windows.shape
        height = rows.stop - rows.start
        return windows[..., rows, :].reshape(n, self.groups, c // self.groups * kh * kw, height * width)

    def _blocks(self, shape):
        """Slices of output rows such that the columns of one slice fit into COLUMN_BLOCK."""
        *others, height, width = shape
        step = max(1, COLUMN_BLOCK // max(1, math.prod(others) * width))
        return [slice(start, min(start + step, height)) for start in range(0, height, step)]


def _flat(rows):
    return rows.reshape(*rows.shape[:-2], rows.shape[-2] * rows.shape[-1])
