"""Monte Carlo dropout (Gal & Ghahramani, ICML 2016), of whole channels."""

import copy

from ..layers import Concat, Conv2d, Dropout
from ..layers.checks import check, positive
from ..layers.dropout import scaled
from ..layers.paths import held


class Dropout2d(Dropout):
    """y = x m / (1 - p), m = 0 with probability p, else 1; as torch.nn.Dropout2d.

    E[y] = E[x],  Var[y] = (Var[x] + p E[x]**2) / (1 - p), over x and m: those of Dropout. In
    `forward` every image and channel has an m of its own. In `predict` all images and tiles have
    the m / (1 - p), (num_features,), in `mask`: a thinned network. Without one the moments are
    passed on, and a point mass stays as it is. Raises ValueError unless 0 <= p < 1, and on other
    shapes than (N, num_features, H, W). Source: Tompson et al., CVPR 2015 (SpatialDropout).
    """

    def __init__(self, num_features, p=0.5, *, rng=None):
        super().__init__(p, sample=True, rng=rng)
        (self.num_features,) = positive(self, num_features=num_features)
        self.mask = None

    def draw(self, rng, *images):
        """Masks for as many images, (*images, num_features)."""
        return (rng.random((*images, self.num_features)) >= self.p) / (1 - self.p)

    def forward(self, x):
        check(self, x, channels=self.num_features)
        return scaled(x, self.draw(self.rng, len(x.mean))[..., None, None])

    def predict(self, x):
        check(self, x, channels=self.num_features)
        if self.mask is None:
            return self._analytic(x)[0]
        return scaled(x, self.mask[None, :, None, None])[0]


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
