"""Convolution on stacks of shifted copies: plain.py's Correlation with fewer and thicker products.

The taps of one kernel row see the same image, each shifted along the row. These copies, stacked as
channels, are made for a few output rows at a time, so that they stay in the cache. The next kernel
row sees the same stack some rows further down, and needs no copy of its own. So a kernel of kh x kw
taps costs kh matrix products and kw copies, at every stride, dilation and number of groups; its
windows as columns (im2col) would be kh kw copies. Where channels are few, products would be thin
and copies cheap: there the kernel rows are stacked too, and one product is left.
"""

import math

from ..backend import xp
from . import plain
from .memory import empty
from .products import contraction, matmul

STACK_BLOCK = 1 << 19  # elements of a stack: 2 MiB, for a cache
THIN = 16  # channels of a stack below which the kernel rows are stacked too


class Correlation(plain.Correlation):
    """The same geometry, and the same three maps."""

    __slots__ = ()

    def apply(self, w, x):
        """y = A(w) x, a block of output rows at a time."""
        x = self._grouped(x)
        stacks = Stacks(self, w.shape)
        size = self.output_size(x.shape[3:], w.shape[2:])
        y = empty((len(x), self.groups, len(w) // self.groups, *size), xp.result_type(w, x))
        first, *others = stacks.matrices(w)
        for images, rows in stacks.blocks(len(x), size):
            stack = stacks.filled(x[images], rows, size[1])
            target = flat(y[images, ..., rows, :])
            matmul(first, flat(stacks.window(stack, 0, rows)), out=target)  # a kernel row of (2.10)
            for i, matrix in enumerate(others, 1):
                target += matmul(matrix, flat(stacks.window(stack, i, rows)))
        return y.reshape(len(x), len(w), *size)

    def adjoint(self, w, y, shape):
        """x = A(w)^T y, with x of this shape: every output spread back over its window."""
        turned = self._turned(w.shape[2:])
        if turned and turned.output_size(y.shape[2:], w.shape[2:]) == shape[2:]:
            return turned.apply(self._turn(w), y)
        return self._spread(w, y, shape)

    def _spread(self, w, y, shape):
        """The adjoint at any stride."""
        # Every product is what a window gave, and is added to the pixels it came from.
        stacks = Stacks(self, w.shape)
        y = self._grouped(y)
        grouped = (shape[0], self.groups, shape[1] // self.groups, *shape[2:])
        x = xp.zeros(grouped, xp.result_type(w, y))
        transposed = [xp.ascontiguousarray(matrix.swapaxes(1, 2)) for matrix in stacks.matrices(w)]
        for images, rows in stacks.blocks(len(x), y.shape[3:]):
            stack = stacks.empty(x[images], rows, y.shape[-1])
            stack[...] = 0
            for i, matrix in enumerate(transposed):
                window = stacks.window(stack, i, rows)
                window += matmul(matrix, flat(y[images, ..., rows, :])).reshape(window.shape)
            stacks.scatter(stack, x[images], rows)
        return x.reshape(shape)

    def weight_grad(self, x, dy, kernel_size):
        """dw, the gradient of sum(dy * A(w) x) by w."""
        x = self._grouped(x)
        dy = self._grouped(dy)
        stacks = Stacks(self, (dy.shape[1] * dy.shape[2], x.shape[2], *kernel_size))
        shape = (stacks.count, *dy.shape[1:3], stacks.copies * x.shape[2])
        matrices = xp.zeros(shape, xp.result_type(x, dy))
        for images, rows in stacks.blocks(len(x), dy.shape[3:]):
            stack = stacks.filled(x[images], rows, dy.shape[-1])
            part = flat(dy[images, ..., rows, :])
            for i in range(stacks.count):
                matrices[i] += contraction(part, flat(stacks.window(stack, i, rows))).sum(axis=0)
        return stacks.kernel(matrices)

    def _turned(self, kernel_size):
        """The correlation by the turned kernel that the adjoint is at stride 1; None elsewhere."""
        axes = zip(kernel_size, self.padding, self.dilation, strict=True)
        padding = tuple(d * (k - 1) - p for k, p, d in axes)
        if self.stride != (1, 1) or min(padding) < 0:
            return None
        return self._replace(padding=padding)  # (2.13)

    def _turn(self, w):
        o, c, kh, kw = w.shape
        swapped = w.reshape(self.groups, o // self.groups, c, kh, kw).swapaxes(1, 2)
        return swapped[..., ::-1, ::-1].reshape(self.groups * c, o // self.groups, kh, kw)

    def _grouped(self, x):
        return x.reshape(len(x), self.groups, x.shape[1] // self.groups, *x.shape[2:])


class Stacks:
    """Shifted copies of images under a kernel, as channels.

    Images are (N, groups, c, H, W), their stack is (N, groups, copies c, rows, W_out). The
    correlation is `count` products of matrices (groups, O / groups, copies c) with what each sees
    of the stack.
    """

    def __init__(self, map, shape):
        self.map = map
        self.shape = shape  # of the kernel: (O, c, kh, kw)
        _, c, kh, kw = shape
        self.stacked = kh if kw * c < THIN else 1  # kernel rows
        self.count = kh // self.stacked
        self.copies = self.stacked * kw

    def matrices(self, w):
        """The kernel as a list of matrices (groups, O / groups, copies c), one per product."""
        o, c, _, _ = self.shape
        w = w.reshape(o, c, self.count, self.copies).transpose(2, 0, 3, 1)
        groups = self.map.groups
        shape = (self.count, groups, o // groups, self.copies * c)
        return list(xp.ascontiguousarray(w).reshape(shape))

    def kernel(self, matrices):
        """The kernel of these matrices (count, groups, O / groups, copies c)."""
        o, c, _, _ = self.shape
        w = matrices.reshape(self.count, o, self.copies, c).transpose(1, 3, 0, 2)
        return xp.ascontiguousarray(w).reshape(self.shape)

    def empty(self, x, rows, width):
        """Memory for the stack of images x and these output rows, `width` pixels each."""
        height = self._rows(self.count - 1, rows).stop
        return empty((*x.shape[:2], self.copies * x.shape[2], height, width), x.dtype)

    def filled(self, x, rows, width):
        """The stack, zero where the image is padded."""
        stack = self.empty(x, rows, width)
        for copy, (down, right), pixels in self._shifts(stack, x, rows):
            copy[..., down, right] = pixels
            copy[..., : down.start, :] = 0
            copy[..., down.stop :, :] = 0
            copy[..., down, : right.start] = 0
            copy[..., down, right.stop :] = 0
        return stack

    def scatter(self, stack, x, rows):
        """Adds every copy to the pixels it was made of."""
        for copy, crop, pixels in self._shifts(stack, x, rows):
            pixels += copy[..., *crop]

    def window(self, stack, i, rows):
        """What the i-th matrix sees of the stack, for these output rows."""
        return stack[..., self._rows(i, rows), :]

    def blocks(self, count, size):
        """Slices of images and of output rows whose stack fits into STACK_BLOCK.

        They hold whole images if possible, else as many rows as fit, all blocks of one height.
        """
        row = self.map.groups * self.copies * self.shape[1] * size[1] * self.map.stride[0]
        height = max(1, STACK_BLOCK // max(1, row))
        height = -(-size[0] // max(1, -(-size[0] // height)))
        images = max(1, STACK_BLOCK // max(1, row * height))
        return [
            (image, rows) for image in slices(count, images) for rows in slices(size[0], height)
        ]

    def _rows(self, i, rows):
        start = i * self.map.dilation[0]
        step = self.map.stride[0]
        return slice(start, start + step * (rows.stop - rows.start - 1) + 1, step)

    def _shifts(self, stack, x, rows):
        """For every copy, a view of the stack: where in it are pixels, and which of x they are."""
        top, left = self.map.padding
        down, right = self.map.dilation
        n, groups, _, height, width = stack.shape
        stack = stack.reshape(n, groups, self.stacked, self.shape[3], x.shape[2], height, width)
        for i in range(self.stacked):
            offset = rows.start * self.map.stride[0] - top + i * down
            to_rows, from_rows = overlap(x.shape[3], offset, 1, height)
            for j in range(self.shape[3]):
                to, pixels = overlap(x.shape[4], j * right - left, self.map.stride[1], width)
                yield stack[:, :, i, j], (to_rows, to), x[..., from_rows, pixels]


def overlap(length, offset, step, count):
    """The slice of the k < count whose offset + k step is one of `length` pixels, and theirs."""
    first = max(0, -(offset // step))
    last = min(count, (length - 1 - offset) // step + 1)
    if first >= last:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(offset + first * step, offset + (last - 1) * step + 1, step)


def slices(length, step):
    """Consecutive slices of `step` that cover a length."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def flat(rows):
    """The last two axes as one: a view where the rows lie next to each other, else a copy."""
    return rows.reshape(*rows.shape[:-2], math.prod(rows.shape[-2:]))
