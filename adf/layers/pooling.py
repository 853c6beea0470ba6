"""Pooling: averages, which follow the linear law, and maxima, two Gaussians at a time."""

from .. import moments
from ..backend import xp
from ..gaussian import Gaussian
from .correlate import Correlation
from .layer import Layer, check, check_window, pair
from .linear import LinearLaw


class AvgPool2d(LinearLaw):
    """y = mean of the n pixels of a window.  E[y] = sum E[x] / n,  Var[y] = sum Var[x] / n**2.

    Exact for independent inputs. Sizes are an int or a pair; stride defaults to kernel_size; zeros from padding count
    as pixels. x: (N, C, H, W); y: (N, C, H_out, W_out) with H_out = (H + 2 padding - kernel) // stride + 1. Raises
    ValueError on other axes and on an image smaller than the window.
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        self.kernel_size = pair(self, "kernel_size", kernel_size, 1)
        stride = self.kernel_size if stride is None else pair(self, "stride", stride, 1)
        self.map = Correlation(stride, pair(self, "padding", padding, 0))

    def check(self, x):
        check(self, x)
        check_window(self, self.map, x.mean.shape[2:], self.kernel_size)

    def weights(self):
        return 1 / (self.kernel_size[0] * self.kernel_size[1])  # (2.5)

    def _kernel(self, w, x):
        return xp.full((1, 1, *self.kernel_size), w, x.dtype)

    def apply(self, w, x):
        n, c, height, width = x.shape
        y = self.map.apply(self._kernel(w, x), x.reshape(n * c, 1, height, width))
        return y.reshape(n, c, *y.shape[2:])

    def adjoint(self, w, dy, shape):
        n, c, height, width = shape
        dx = self.map.adjoint(self._kernel(w, dy), dy.reshape(n * c, 1, *dy.shape[2:]), (n * c, 1, height, width))
        return dx.reshape(shape)


class GlobalAvgPool2d(Layer):
    """y = mean of the n = H W pixels of a channel.  E[y] = sum E[x] / n,  Var[y] = sum Var[x] / n**2.

    Exact for independent inputs. x: (N, C, H, W); y: (N, C, 1, 1). Raises ValueError on other axes and no pixels.
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


class MaxPool2d(Layer):
    """y = max over a window, by a tree of pairwise maxima.  E[y] and Var[y] of each pair: adf.moments.maximum.

    Each pairwise maximum is exact for two independent Gaussians; that its result enters the next one as a Gaussian is
    an approximation, so the order matters: the entries of a row are paired from left to right, the winners again, until
    one is left, an odd one moving up; then the winners of the rows likewise, from top to bottom. A tie goes to the
    first. Sizes are an int or a pair; stride defaults to kernel_size; windows may overlap. x: (N, C, H, W); y: (N, C,
    H_out, W_out) with H_out = (H - kernel) // stride + 1. Raises ValueError on other axes and on an image smaller than
    the window.
    Source: Gast & Roth, CVPR 2018, section 3; the moments of a pair: Clark, Operations Research 9, 1961.
    """

    def __init__(self, kernel_size, stride=None):
        self.kernel_size = pair(self, "kernel_size", kernel_size, 1)
        self.map = Correlation(self.kernel_size if stride is None else pair(self, "stride", stride, 1))

    def predict(self, x):
        rows = [[_at(x, place) for place in row] for row in self._places(x)]
        return tree([tree(row, maximum) for row in rows], maximum)  # (4.8)

    def forward(self, x):
        rows = [[(_at(x, place), _adder(place)) for place in row] for row in self._places(x)]
        shape, dtype, certain = x.mean.shape, x.mean.dtype, x.var is None
        y, back = tree([tree(row, maximum_and_back) for row in rows], maximum_and_back)

        def backward(dy):
            dx = Gaussian(xp.zeros(shape, dtype), None if certain else xp.zeros(shape, dtype))
            back(dy, dx)
            return dx

        return y, backward

    def _places(self, x):
        """For every row of the window, for every entry, the slices that pick this entry of every window."""
        check(self, x)
        size = x.mean.shape[2:]
        check_window(self, self.map, size, self.kernel_size)
        heights, widths = (
            [slice(i, i + stride * (count - 1) + 1, stride) for i in range(kernel)]
            for kernel, stride, count in zip(
                self.kernel_size, self.map.stride, self.map.output_size(size, self.kernel_size), strict=True
            )
        )
        return [[(..., rows, columns) for columns in widths] for rows in heights]


def tree(entries, join):
    """One entry of a list: neighbours are joined in pairs, the results again, an odd one moving up."""
    while len(entries) > 1:
        pairs = zip(entries[0::2], entries[1::2], strict=False)
        entries = [join(*pair) for pair in pairs] + entries[len(entries) // 2 * 2 :]
    return entries[0]


def maximum(a, b):
    """y = max(a, b) of two Gaussians."""
    if a.var is None:
        return Gaussian(xp.maximum(a.mean, b.mean), None)
    return Gaussian(*moments.maximum(*a, *b))  # (4.5)


def maximum_and_back(entry_a, entry_b):
    """y = max(a, b), and back(dy, dx), which adds to dx what a and b had from it; an entry is such a pair (a, back)."""
    (a, back_a), (b, back_b) = entry_a, entry_b
    if a.var is None:
        first = a.mean >= b.mean

        def back(dy, dx):
            back_a(Gaussian(dy.mean * first, None), dx)
            back_b(Gaussian(dy.mean * ~first, None), dx)

        return maximum(a, b), back
    mean, var, *derivatives = moments.maximum_with_derivatives(*a, *b)

    def back(dy, dx):
        dvar = xp.zeros_like(dy.mean) if dy.var is None else dy.var
        mean_by_a, var_by_a, mean_by_var, var_by_var_a, mean_by_b, var_by_var_b = derivatives  # (4.7)
        jacobian_a, jacobian_b = (
            (mean_by_a, var_by_a, mean_by_var, var_by_var_a),
            (mean_by_b, -var_by_a, mean_by_var, var_by_var_b),
        )
        back_a(Gaussian(*moments.vector_jacobian_product(dy.mean, dvar, *jacobian_a)), dx)
        back_b(Gaussian(*moments.vector_jacobian_product(dy.mean, dvar, *jacobian_b)), dx)

    return Gaussian(mean, var), back  # (4.5)


def _at(x, place):
    return Gaussian(x.mean[place], None if x.var is None else x.var[place])


def _adder(place):
    """back(dy, dx) of the entry that lies at this place of x."""

    def back(dy, dx):
        for total, share in zip(dx, dy, strict=True):
            if total is not None:
                total[place] += share

    return back
