"""Monte Carlo dropout (Gal & Ghahramani, ICML 2016), of whole channels."""

import copy

from ..layers import Concat, Conv2d
from ..layers.dropout import Dropout2d
from ..layers.paths import held


def add_dropout(unet, p):
    """Puts dropout behind the last activation of the lowest level and the one above, both ways."""
    # These central units serve best: Kendall et al., BMVC 2017.
    level = unet.layers[0]
    blocks = [level]
    while isinstance(level.layers[1], Concat):
        blocks = [level.layers[0], level.layers[2]]
        level = level.layers[1].branches[1].layers[1]
        blocks.append(level)
    for block in blocks:
        channels = [conv for conv in block.layers if isinstance(conv, Conv2d)][-1].out_channels
        block.layers = (*block.layers, Dropout2d(channels, p))


def thinned(segmenter, rng):
    """A copy of the segmenter whose masks are drawn once: a function out of its posterior."""
    twin = copy.deepcopy(segmenter)
    for layer in held(twin.network, Dropout2d):
        layer.mask = layer.draw(rng)
    return twin
