"""Max pooling: the largest of a window, two Gaussians at a time."""

from .. import moments
from ..backend import xp
from ..engine import Correlation
from ..gaussian import Gaussian
from .checks import check, check_window, pair
from .layer import Layer


class MaxPool2d(Layer):
    """y = max over a window, by a tree of pairwise maxima.  Moments of a pair: moments.maximum.

    Each pairwise maximum is exact for two independent Gaussians. That its result enters the next
    one as a Gaussian is an approximation, so the order matters: the entries of a row are paired
    from left to right, the winners again, until one is left, an odd one moving up; then the
    winners of the rows likewise, from top to bottom. Of equal point masses the first wins. Sizes
    are an int or a pair; stride defaults to kernel_size; windows may overlap. x: (N, C, H, W);
    y: (N, C, H_out, W_out) with H_out = (H - kernel) // stride + 1. Raises ValueError on other axes
    and on an image smaller than the window. Source: Gast & Roth, CVPR 2018, section 3; the moments
    of a pair: Clark, Operations Research 9, 1961.
    """

    def __init__(self, kernel_size, stride=None):
        self.kernel_size = pair(self, "kernel_size", kernel_size, 1)
        self.map = Correlation(
            self.kernel_size if stride is None else pair(self, "stride", stride, 1)
        )

    def predict(self, x):
        return self._largest(x, lambda a, b: (maximum_of_pair(a, b), None))[0]

    def forward(self, x):
        y, backward_of_rows = self._largest(x, maximum)
        entries = [entry for row in self._entries(x) for entry in row]
        shape = x.mean.shape
        dtype = x.mean.dtype
        is_point_mass = x.var is None

        # Windows may overlap, so a pixel may get more than one share.
        def backward(dy):
            var = None if is_point_mass else xp.zeros(shape, dtype)
            dx = Gaussian(xp.zeros(shape, dtype), var)
            for entry, share in zip(entries, backward_of_rows(dy), strict=True):
                dx.mean[entry] += share.mean
                if var is not None:
                    var[entry] += share.var
            return dx

        return y, backward

    def _largest(self, x, maximum):
        """The largest entry of every window, and the way back to the gradient of every entry."""
        rows = [
            largest([x.map(lambda field, entry=entry: field[entry]) for entry in row], maximum)
            for row in self._entries(x)
        ]
        y, backward_of_winners = largest([winner for winner, _ in rows], maximum)  # (4.8)
        backward_of_row = [backward for _, backward in rows]

        def backward(dy):
            for back, share in zip(backward_of_row, backward_of_winners(dy), strict=True):
                yield from back(share)

        return y, backward

    def _entries(self, x):
        """For every row of the window, for every entry: the slices that pick it in every window."""
        check(self, x)
        size = x.mean.shape[2:]
        check_window(self, self.map, size, self.kernel_size)
        counts = self.map.output_size(size, self.kernel_size)
        rows, columns = (
            [slice(i, i + stride * (count - 1) + 1, stride) for i in range(kernel)]
            for kernel, stride, count in zip(self.kernel_size, self.map.stride, counts, strict=True)
        )
        return [[(..., row, column) for column in columns] for row in rows]


def largest(entries, maximum):
    """The largest of a list of Gaussians, two at a time -> (y, backward).

    Neighbours are paired, the winners again, until one is left, an odd one moving up. maximum(a, b)
    is (y, backward(dy) -> (da, db)); backward(dy) here yields the gradient of every entry in turn.
    """
    # The recursion is on the winners; on the way back theirs is shared out in the same pairs.
    if len(entries) == 1:
        return entries[0], lambda dy: iter((dy,))
    pairs = [maximum(a, b) for a, b in zip(entries[0::2], entries[1::2], strict=False)]
    odd = entries[2 * len(pairs) :]
    y, backward_of_winners = largest([winner for winner, _ in pairs] + odd, maximum)
    backward_of_pair = [backward for _, backward in pairs]

    def backward(dy):
        shares = backward_of_winners(dy)
        for back in backward_of_pair:
            yield from back(next(shares))
        yield from shares

    return y, backward


def maximum_of_pair(a, b):
    """y = max(a, b) of two Gaussians."""
    if a.var is None:
        return Gaussian(xp.maximum(a.mean, b.mean), None)
    return Gaussian(*moments.maximum(*a, *b))  # (4.5)


def maximum(a, b):
    """y = max(a, b) of two Gaussians -> (y, backward), backward(dy) -> (da, db)."""
    # Of point masses the larger one gets all of dy, of Gaussians each gets its share.
    if a.var is None:
        a_is_larger = a.mean >= b.mean

        def backward_of_point_masses(dy):
            da = Gaussian(dy.mean * a_is_larger, None)
            return da, Gaussian(dy.mean * ~a_is_larger, None)

        return maximum_of_pair(a, b), backward_of_point_masses
    mean, var, *derivatives = moments.maximum_with_derivatives(*a, *b)

    def backward(dy):
        dvar = xp.zeros_like(dy.mean) if dy.var is None else dy.var
        mean_by_a, var_by_a, mean_by_var, var_by_var_a, mean_by_b, var_by_var_b = derivatives
        jacobian_a = (mean_by_a, var_by_a, mean_by_var, var_by_var_a)
        jacobian_b = (mean_by_b, -var_by_a, mean_by_var, var_by_var_b)
        return tuple(
            Gaussian(*moments.vector_jacobian_product(dy.mean, dvar, *jacobian))
            for jacobian in (jacobian_a, jacobian_b)
        )  # (4.7)

    return Gaussian(mean, var), backward  # (4.5)
