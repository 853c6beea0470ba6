"""Convolution on a GPU: plain.py's Correlation as one copy and one product of matrices (im2col).

Every window of the images becomes a column of a matrix, and the kernel is a matrix times it. That
reads and writes each pixel as often as the kernel has taps, for which a GPU has the bandwidth; what
it lacks is patience: a kernel launch costs the host some 10 microseconds, a convolution of a small
batch less. Here a convolution is four launches (padding, columns, product, order of the axes),
whatever its kernel. stacks.py, which saves copies by many small steps, takes ten times as many.
"""

import math

from ..backend import xp
from . import stacks
from .stacks import slices

BLOCK = 1 << 27  # elements of the columns that are there at once: 512 MiB in float32


class Correlation(stacks.Correlation):
    """The same geometry, and the same three maps. K = c kh kw, the taps of one output.

    At stride 1 the adjoint is the correlation by the turned kernel, as in stacks.py.
    """

    __slots__ = ()

    def apply(self, w, x):
        """y = A(w) x: the kernel's matrix times every window."""
        size = self.output_size(x.shape[2:], w.shape[2:])
        y = xp.empty((len(x), len(w), *size), xp.result_type(w, x))
        matrix = self._matrix(w)
        padded = self._padded(x)
        for images, rows in self._blocks(w.shape, len(x), size):
            columns = self._columns(padded[images], w.shape[2:], rows, size[1])
            y[images, :, rows] = self._images(_product(matrix, columns), y[images, :, rows].shape)
        return y  # (2.10)

    def _spread(self, w, y, shape):
        """The adjoint at any stride: every window's column goes back to its pixels, tap by tap."""
        x = xp.zeros(shape, xp.result_type(w, y))
        padded = self._padded(x)
        columns = _product(self._matrix(w).swapaxes(1, 2), self._flat(y))
        columns = columns.reshape(-1, *w.shape[2:], len(y), math.prod(y.shape[2:]))
        for i, j, window in self._taps(w.shape[2:], y.shape[2:]):
            pixels = padded[..., *window]
            pixels += columns[:, i, j].swapaxes(0, 1).reshape(pixels.shape)  # (2.13)
        top, left = self.padding
        return padded[..., top : top + shape[2], left : left + shape[3]]

    def weight_grad(self, x, dy, kernel_size):
        """dw, the gradient of sum(dy * A(w) x) by w: dy times the windows, over all pixels."""
        shape = (dy.shape[1], x.shape[1] // self.groups, *kernel_size)
        dw = 0
        padded = self._padded(x)
        for images, rows in self._blocks(shape, len(x), dy.shape[2:]):
            columns = self._columns(padded[images], kernel_size, rows, dy.shape[3])
            dw = dw + _product(self._flat(dy[images, :, rows]), columns.swapaxes(1, 2))
        return dw.reshape(shape)

    def _blocks(self, kernel, count, size):
        """Slices of images and of output rows whose columns fit into BLOCK."""
        row = max(1, self.groups * math.prod(kernel[1:]) * size[1])
        height = min(size[0], max(1, BLOCK // row))
        images = max(1, BLOCK // (row * height))
        return [(n, rows) for n in slices(count, images) for rows in slices(size[0], height)]

    def _columns(self, padded, kernel_size, rows, width):
        """(groups, K, N rows width): a view in which every tap has its own axis, copied once."""
        n, channels, _, _ = padded.shape
        image, channel, down, right = padded.strides
        # Of a group, a channel of it, the tap's two axes, an image, and the two axes of the output:
        strides = (
            channels // self.groups * channel,
            channel,
            self.dilation[0] * down,
            self.dilation[1] * right,
            image,
            self.stride[0] * down,
            self.stride[1] * right,
        )
        height = rows.stop - rows.start
        shape = (self.groups, channels // self.groups, *kernel_size, n, height, width)
        first = padded[:, :, rows.start * self.stride[0] :]
        windows = xp.lib.stride_tricks.as_strided(first, shape, strides)
        return xp.ascontiguousarray(windows).reshape(self.groups, -1, n * height * width)

    def _padded(self, x):
        """As plain.py's; xp.pad would fill the border side by side."""
        if self.padding == (0, 0):
            return x
        top, left = self.padding
        n, channels, height, width = x.shape
        padded = xp.zeros((n, channels, height + 2 * top, width + 2 * left), x.dtype)
        padded[:, :, top : top + height, left : left + width] = x
        return padded

    def _flat(self, y):
        """(groups, channels, N pixels) of images (N, groups channels, H, W)."""
        n, channels, height, width = y.shape
        y = y.swapaxes(0, 1)
        return y.reshape(self.groups, channels // self.groups, n * height * width)

    def _images(self, flat, shape):
        """Images of this shape (N, C, H, W) of what `_flat` gives; a view."""
        n, channels, height, width = shape
        return flat.reshape(channels, n, height, width).swapaxes(0, 1)

    def _matrix(self, w):
        """The kernel as (groups, O / groups, K)."""
        return w.reshape(self.groups, len(w) // self.groups, -1)


def _product(a, b):
    """a @ b, group by group. Of one group it is a product of two axes: CuPy copies no transpose."""
    return xp.matmul(a[0], b[0])[None] if len(a) == 1 else xp.matmul(a, b)
