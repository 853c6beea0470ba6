"""The U-Net (Ronneberger, Fischer & Brox, MICCAI 2015) on Gaussians: composition only."""

from ..backend import default_rng
from ..layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Identity,
    LeakyReLU,
    MaxPool2d,
    Sequential,
)
from .network import NEGATIVE_SLOPE, Network, logits


class UNet(Network):
    """Images (N, in_channels, H, W) -> logits (N, classes, H, W), a Gaussian each.

    Between levels the image is halved; what the levels below found comes
    back beside the level's own features. Moments: those of its layers. widths: the channels of
    each level, the finest first. norm: batch norm behind every 3 x 3 convolution. rng: a seed or a
    generator for the weights, drawn on the host. `reach`: how far a pixel sees at most, in pixels;
    each 3 x 3 convolution and each pooling window adds a pixel of its level. Raises ValueError
    where H or W is no multiple of `multiple` = 2**(levels - 1).
    """

    def __init__(self, in_channels, classes, widths=(16, 32, 64, 128), norm=False, rng=0):
        if len(widths) < 1:
            raise ValueError("UNet expects at least one width, got none")
        rng = default_rng(rng)
        last = logits(widths[0], classes, rng)
        levels = level(in_channels, *widths, norm=norm, rng=rng)
        super().__init__(in_channels, classes, 2 ** (len(widths) - 1), levels, last)
        # 4 convolutions and a pooling window at steps 1, 2, ..., M / 2 and 2 convolutions at M.
        self.reach = 7 * self.multiple - 5


def level(in_channels, width, *below, norm, rng):
    """Two convolutions; then, where there are widths below, down to them and back, and two more."""
    # The lowest level has nothing below; any other joins its features with what comes back.
    if not below:
        return convolutions(in_channels, width, norm, rng)
    return Sequential(
        convolutions(in_channels, width, norm, rng),
        Concat(
            Identity(),
            Sequential(
                MaxPool2d(2),
                level(width, *below, norm=norm, rng=rng),
                ConvTranspose2d(below[0], width, 2, stride=2, rng=rng),
            ),
        ),
        convolutions(2 * width, width, norm, rng),
    )


def convolutions(in_channels, width, norm, rng):
    """Two 3 x 3 convolutions that keep the size, each with its kink."""
    layers = []
    for channels in (in_channels, width):
        layers.append(Conv2d(channels, width, 3, padding=1, bias=not norm, rng=rng))
        layers += [BatchNorm2d(width)] if norm else []
        layers.append(LeakyReLU(NEGATIVE_SLOPE))
    return Sequential(*layers)
