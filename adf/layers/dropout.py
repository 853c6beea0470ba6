"""Dropout as a source of variance: in closed form, or sampled, for Monte Carlo dropout."""

from ..backend import default_rng, xp
from ..gaussian import Gaussian
from .checks import check, positive
from .layer import Layer


class Dropout(Layer):
    """y = x m / (1 - p), m = 0 with probability p, else 1.

    E[y] = E[x],  Var[y] = (Var[x] + p E[x]**2) / (1 - p).  Exact moments of inverted dropout,
    whatever the distribution of x; that y is passed on as a Gaussian is ADF's approximation.

    Active in `forward` and `predict` alike: the variance is the point. A point mass passes
    unchanged, as in a deterministic network at inference. With sample=True masks are drawn instead
    (rng: a seed or a generator, on the host) and applied to mean and standard deviation: Monte
    Carlo dropout (Gal & Ghahramani, ICML 2016). Any shape. Raises ValueError unless 0 <= p < 1.
    A variance beyond the largest number of the dtype, as p E[x]**2 at 1e20 in float32, is infinite.
    """

    def __init__(self, p=0.5, sample=False, *, rng=None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout expects a probability p from 0 to below 1, got {p!r}")
        self.p = float(p)
        self.sample = sample
        self.rng = default_rng(rng)

    def forward(self, x):
        check(self, x, axes=None)
        return self._sampled(x) if self.sample else self._analytic(x)

    def _sampled(self, x):
        return scaled(x, (self.rng.random(x.mean.shape) >= self.p) / (1 - self.p))

    def _analytic(self, x):
        if x.var is None:
            return x, lambda dy: dy
        keep = 1 - self.p
        y = Gaussian(x.mean, (x.var + self.p * x.mean * x.mean) / keep)  # (5.12)

        def backward(dy):
            dvar = xp.zeros_like(dy.mean) if dy.var is None else dy.var
            dmean = dy.mean + (2 * self.p / keep) * x.mean * dvar
            return Gaussian(dmean, dvar / keep)  # (5.13)

        return y, backward


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


def scaled(x, mask):
    """x times a mask that was drawn on the host, and the way back."""
    mask = xp.asarray(mask, x.mean.dtype)

    def scale(g):
        return Gaussian(mask * g.mean, None if g.var is None else mask * mask * g.var)

    return scale(x), scale
