"""DeepLabv3+ (Chen et al., ECCV 2018) on Gaussians: composition only."""

from ..backend import default_rng
from ..layers import (
    Add,
    BatchNorm2d,
    Concat,
    Conv2d,
    GlobalAvgPool2d,
    Identity,
    LeakyReLU,
    Sequential,
    Upsample,
)
from .network import NEGATIVE_SLOPE, Network, logits

# Windows of 5, 9 and 13 pixels on the 16 x 16 left of 128 x 128; wider ones see mostly padding.
RATES = (2, 4, 6)
# Channels of the skips at full and half size: few, so that they refine and do not decide.
FINE = 8
HALF = 16


class DeepLabV3Plus(Network):
    """Images (N, in_channels, H, W) -> logits (N, classes, H, W), a Gaussian each.

    A residual encoder goes down to an eighth of the size, then atrous convolutions at several rates
    side by side (a spatial pyramid), then back up in two steps, each beside finer features. The
    paper has one such skip, at a quarter of the size; here they are at half and full size, for the
    outline of a cell is a pixel wide. Moments: those of its layers.
    widths: the channels at half, a quarter and an eighth of the size. pyramid: of each of its
    branches, and half that behind them. decoder: of each step up. The default has 428,003
    parameters for one channel and three classes, 11 % fewer than UNet(1, 3, norm=True) with
    482,483. rng: a seed or a generator for the weights, drawn on the host. Raises ValueError where
    H or W is no multiple of `multiple` = 8, and unless there are three widths.
    Source: Chen et al., Encoder-decoder with atrous separable convolution, ECCV 2018, section 3.
    """

    def __init__(self, in_channels, classes, widths=(24, 96, 192), pyramid=128, decoder=16, rng=0):
        if len(widths) != 3:
            raise ValueError(f"DeepLabV3Plus expects three widths, got {widths!r}")
        rng = default_rng(rng)
        last = logits(decoder, classes, rng)
        coarse = half(in_channels, *widths, pyramid, decoder, rng)
        fine = convolution(in_channels, FINE, 3, rng=rng)
        join = separable(decoder + FINE, decoder, rng=rng)
        super().__init__(in_channels, classes, 8, Concat(coarse, fine), join, last)


def half(in_channels, fine, middle, coarse, pyramid, out_channels, rng):
    """Features at half the size, beside what comes back from an eighth; up to the full size."""
    return Sequential(
        convolution(in_channels, fine, 3, stride=2, rng=rng),
        residual(fine, fine, rng=rng),
        Concat(eighth(fine, middle, coarse, pyramid, rng), convolution(fine, HALF, 1, rng=rng)),
        separable(pyramid // 2 + HALF, out_channels, rng=rng),
        Upsample(2),
    )


def eighth(fine, middle, coarse, pyramid, rng):
    """From half the size to an eighth, through the pyramid, and back: what is roughly where."""
    return Sequential(
        residual(fine, middle, stride=2, rng=rng),
        residual(middle, coarse, stride=2, rng=rng),
        residual(coarse, coarse, dilation=2, rng=rng),
        residual(coarse, coarse, dilation=4, rng=rng),
        atrous_pyramid(coarse, pyramid, pyramid // 2, rng),
        Upsample(4),
    )


def atrous_pyramid(in_channels, width, out_channels, rng):
    """Every pixel by itself, its surroundings at every rate, the image's average; then mixed."""
    # Behind the average stands no batch norm, for a micro-batch of 4 images has only 4 values per
    # channel. And no bias: where all 4 fall on one side of the kink, it would be a constant, which
    # the batch norm behind the mixing takes away again.
    average = Conv2d(in_channels, width, 1, bias=False, rng=rng)
    pooling = Sequential(GlobalAvgPool2d(), average, LeakyReLU(NEGATIVE_SLOPE))
    atrous = [separable(in_channels, width, dilation=rate, rng=rng) for rate in RATES]
    branches = [convolution(in_channels, width, 1, rng=rng), *atrous, pooling]
    return Sequential(
        Concat(*branches), convolution(len(branches) * width, out_channels, 1, rng=rng)
    )


def residual(in_channels, out_channels, stride=1, dilation=1, *, rng):
    """Two separable convolutions beside a shortcut, which changes the shape where they do."""
    shortcut = Identity()
    if stride > 1 or in_channels != out_channels:
        projection = Conv2d(in_channels, out_channels, 1, stride, bias=False, rng=rng)
        shortcut = Sequential(projection, BatchNorm2d(out_channels))
    first = separable(in_channels, out_channels, stride, dilation, rng=rng)
    return Add(
        Sequential(first, separable(out_channels, out_channels, 1, dilation, rng=rng)), shortcut
    )


def separable(in_channels, out_channels, stride=1, dilation=1, *, rng):
    """A 3 x 3 convolution in two: depthwise, a channel by itself, then 1 x 1 across channels."""
    return Sequential(
        convolution(in_channels, in_channels, 3, stride, dilation, groups=in_channels, rng=rng),
        convolution(in_channels, out_channels, 1, rng=rng),
    )


def convolution(in_channels, out_channels, kernel_size, stride=1, dilation=1, groups=1, *, rng):
    """Convolution, batch norm, leaky ReLU; padded so that stride 1 keeps the size."""
    padding = dilation * (kernel_size // 2)
    conv = Conv2d(
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, False, rng=rng
    )
    return Sequential(conv, BatchNorm2d(out_channels), LeakyReLU(NEGATIVE_SLOPE))
