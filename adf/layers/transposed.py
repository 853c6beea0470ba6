"""Transposed convolution: the linear law with a convolution's adjoint for its map."""

import math

from . import checks
from .linear import Conv2d


class ConvTranspose2d(Conv2d):
    """y = A(w)^T x + b, A(w) a Conv2d.  E[y] = A(w)^T E[x] + b,  Var[y] = A(w**2)^T Var[x].

    Exact for independent inputs. x: (N, in_channels, H, W); weight, laid out as in torch.nn:
    (in_channels, out_channels / groups, kh, kw); y: (N, out_channels, H_out, W_out) with
    H_out = (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1. Raises ValueError
    on other shapes, and unless output_padding is smaller than stride or dilation.
    Source: Gast & Roth, CVPR 2018, section 3.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0,
        groups=1, bias=True, dilation=1, *, rng=None,
    ):  # fmt: skip
        self._configure(in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        self.output_padding = checks.pair(self, "output_padding", output_padding, 0)
        checks.check_output_padding(self.output_padding, self.map)
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        taps = in_channels // groups * math.prod(self.kernel_size)
        fan_in = max(1, taps // math.prod(self.map.stride))  # an output meets every stride-th tap
        self._learn(shape, fan_in, out_channels, bias, rng)

    def output_size(self, size):
        """(H_out, W_out) for an image of this size (H, W)."""
        m = self.map
        extras = self.output_padding
        sizes = zip(size, self.kernel_size, m.stride, m.padding, m.dilation, extras, strict=True)
        return tuple(
            (n - 1) * s - 2 * p + d * (k - 1) + extra + 1 for n, k, s, p, d, extra in sizes
        )

    def check(self, x):
        checks.check(self, x, channels=self.in_channels)
        checks.check_transposed_size(self.output_size(x.mean.shape[2:]), x.mean.shape[2:], self.map)

    def apply(self, w, x):
        shape = (len(x), self.out_channels, *self.output_size(x.shape[2:]))
        return self.map.adjoint(w, x, shape)  # (2.6)

    def adjoint(self, w, dy, shape):
        return self.map.apply(w, dy)[:, :, : shape[2], : shape[3]]  # output_padding can add rows

    def weight_grad(self, x, dy):
        return self.map.weight_grad(dy, x, self.kernel_size)
