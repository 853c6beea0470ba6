"""The error budget of a network: how far ADF's variances are from the true ones, by layer, and why.

ADF hands every layer a product of Gaussians. What really comes in is neither Gaussian nor
independent, and the errors of the layers before have come with it. Between ADF's variance of an
output and the true one lie these steps; each variance below is that of the layer's output, for the
input named:

    ADF       the moments that ADF hands over                     through the layer's closed form
    M         the true moments                                    through the layer's closed form
    P         the true moments                                    through that of plain ADF
    L         samples of a product of Gaussians, moments true     each through the layer
    S         true samples, shuffled one by one: independent      each through the layer
    true      true samples, that is images pushed from the input  each through the layer

ADF / M is inherited, P / L the layer's own approximation, L / S the Gaussian assumption (the
shape), S / true the independence assumption; M / P, which is 1 unless the layer has learned weights
for its variance, is what they put in the place of that assumption, so the two make one cause.
Their product is ADF / true: the books balance.    (9.5)
"""

from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ...backend import default_rng, to_host, xp
from ...engine.threads import map_ordered
from ...gaussian import Gaussian
from ...layers import Layer
from ...layers.fold import fold
from ...layers.noise import white
from .plain import plain

CHUNK = 16  # samples pushed at once
COLUMNS = 64  # elements shuffled at once: as many as stay in the cache
CAUSES = ("inherited", "own approximation", "not Gaussian", "not independent")  # the four steps


class Stage(NamedTuple):
    """One layer of a network, its outputs (C, H, W) by ADF and by sampling; NumPy."""

    layer: Layer
    adf: Any  # Gaussian: E[y], Var[y] as ADF has them
    true: Any  # Gaussian: as sampled from the input of the network
    # (4,), one for each of CAUSES: the geometric mean over the outputs of a ratio of variances.
    factors: Any
    plain: Any = None  # the Stage of the same layer where no variance has learned weights

    @property
    def ratio(self):
        """ADF's variance over the true one, of every output where both are positive: 1-D."""
        positive = (self.adf.var > 0) & (self.true.var > 0)
        return self.adf.var[positive] / self.true.var[positive]

    @property
    def mean_error(self):
        """|E[y] by ADF - true| in true standard deviations: 1-D.

        It leaves out the outputs whose true variance is 0.
        """
        positive = self.true.var > 0
        return abs(self.adf.mean - self.true.mean)[positive] / np.sqrt(self.true.var[positive])


def measure(network, x, samples=256, rng=0, noise=white):
    """Pushes samples of one image x through a network  -> list of Stage, one per layer.

    x: Gaussian (1, C, H, W); noise(rng, var) draws its noise (layers/noise.py). The stages are in
    the order of computation. Sequential, Concat and Add are walked into, and where branches join is
    a stage too; every other layer is a stage (Identity is none). Memory grows with `samples`, for
    all of them lie in memory where they are needed (256 for the default U-Net on 128 x 128: 2 GiB).
    A sampled variance is off by about sqrt(2 / samples) of itself, a mean over many outputs by much
    less. Raises ValueError on a point mass, on more than one image, and on fewer than 2 samples.
    """
    if x.var is None or len(x.mean) != 1:
        raise ValueError(
            f"budget.measure expects one image with a variance, got shape {x.mean.shape}"
            + (" without one (a point mass)" if x.var is None else "")
        )
    if samples < 2:
        raise ValueError(f"budget.measure expects at least 2 samples, got {samples}")
    # `fold` goes through the network once; the walk collects the stages on the way.
    with tqdm(total=_count(network), unit=" layers", desc="budget") as bar:
        walk = Walk(default_rng(rng), bar)
        signal = Signal(x, x, copies(x, samples, walk.rng, noise))
        fold(network, signal, walk.leaf, walk.join)
    return walk.stages


class Signal(NamedTuple):
    """What one layer hands to the next, three times: by ADF, by plain ADF, and as samples."""

    adf: Gaussian  # (1, C, H, W)
    plain: Gaussian
    samples: Any  # (n, C, H, W) on the host


class Walk:
    """The way through a network, layer by layer, with ADF and the samples side by side."""

    def __init__(self, rng, bar):
        self.rng = rng
        self.bar = bar
        self.stages = []

    def leaf(self, layer, x):
        twin = plain(layer)
        return self.stage(
            layer, lambda inputs: layer.predict(*inputs), lambda inputs: twin.predict(*inputs), [x]
        )

    def join(self, layer, branches):
        return self.stage(layer, layer.join, layer.join, branches)

    def stage(self, layer, apply, apply_plain, inputs):
        """Adds the Stage of a layer  -> its Signal.

        apply, apply_plain: from the list of incoming Gaussians to the outgoing one.
        """
        samples = [x.samples for x in inputs]
        adf = apply([x.adf for x in inputs])
        by_plain = apply_plain([x.plain for x in inputs])
        # Without variances, both are one map.
        points = _push(apply, samples)
        true = moments(points)
        incoming = [moments(s) for s in samples]
        closed, closed_plain = (_closed_form(f, incoming, samples) for f in (apply, apply_plain))
        rest = (*self._sampled(apply, samples, incoming), true.var)
        variances = on_host(by_plain).var, closed_plain, closed_plain, *rest
        without = Stage(layer, on_host(by_plain), true, _factors(*variances))
        variances = on_host(adf).var, closed, closed_plain, *rest
        self.stages.append(Stage(layer, on_host(adf), true, _factors(*variances), without))
        self.bar.update()
        return Signal(adf, by_plain, points)

    def _sampled(self, apply, samples, incoming):
        """The output's variances L and S."""
        # L: samples of independent Gaussians with these moments.
        product = [
            normal(m, len(s), self.rng, s.dtype) for m, s in zip(incoming, samples, strict=True)
        ]
        of_product = moments(_push(apply, product)).var
        del product  # it is as large as the samples, and the shuffled ones come on top
        # S: the true samples, each element in another order.
        of_shuffled = moments(_push(apply, [shuffled(s, self.rng) for s in samples])).var
        return of_product, of_shuffled


def _closed_form(apply, incoming, samples):
    """The output's variances M or P: the true moments through a closed form."""
    given = [
        Gaussian(*(xp.asarray(field[None].astype(s.dtype)) for field in m))
        for m, s in zip(incoming, samples, strict=True)
    ]
    return on_host(apply(given)).var


def _factors(adf, closed, closed_plain, product, shuffled, true):
    """The four causes, each the geometric mean of its ratio of variances over the outputs."""
    variances = adf, closed, closed_plain, product, shuffled, true
    # An output that is certain by any of the six has no logarithm, so all six leave it out.
    positive = np.min(variances, axis=0) > 0
    adf, closed, closed_plain, product, shuffled, true = (
        np.log(v[positive]).mean() for v in variances
    )
    inherited = adf - closed
    approximation = closed_plain - product
    shape = product - shuffled
    independence = (shuffled - true) + (closed - closed_plain)
    return np.exp([inherited, approximation, shape, independence])  # (9.5)


def _push(apply, samples):
    """Samples (n, C, H, W) behind a layer, from the list of the incoming ones, as point masses."""

    def push(start):
        points = [Gaussian(xp.asarray(s[start : start + CHUNK])) for s in samples]
        return to_host(apply(points).mean)

    return np.concatenate(map_ordered(push, range(0, len(samples[0]), CHUNK)))


def moments(samples):
    """Mean and unbiased variance over the first axis, in float64.

    They are sums over what deviates from the first sample, so little cancels.
    """
    first = samples[0].astype("float64")
    sums = [0.0, 0.0]
    for start in range(0, len(samples), CHUNK):
        deviation = samples[start : start + CHUNK] - first
        sums = [total + (deviation**power).sum(axis=0) for power, total in enumerate(sums, 1)]
    n = len(samples)
    return Gaussian(first + sums[0] / n, (sums[1] - sums[0] ** 2 / n) / (n - 1))


def copies(x, samples, rng, noise):
    """Samples (n, C, H, W) of an input (1, C, H, W) with noise of this kind."""
    if noise is white:
        return normal(on_host(x), samples, rng, x.mean.dtype)
    return to_host(x.mean + noise(rng, xp.broadcast_to(x.var, (samples, *x.var.shape[1:]))))


def normal(x, samples, rng, dtype):
    """Samples (n, C, H, W) of the product of Gaussians x, of shape (C, H, W)."""
    mean = x.mean.astype(dtype)
    std = np.sqrt(x.var).astype(dtype)
    return mean + std * rng.standard_normal((samples, *mean.shape), dtype=dtype)


def shuffled(samples, rng):
    """Every element of (n, C, H, W) in an order of its own: the marginals stay, dependence goes."""
    flat = samples.reshape(len(samples), -1)
    out = np.empty_like(flat)
    for start in range(0, flat.shape[1], COLUMNS):
        out[:, start : start + COLUMNS] = rng.permuted(flat[:, start : start + COLUMNS], axis=0)
    return out.reshape(samples.shape)


def on_host(x):
    """A Gaussian (1, C, H, W) as (C, H, W) in float64 on the host."""
    return Gaussian(*(to_host(field)[0].astype("float64") for field in x))


def _count(network):
    """How many stages a network has."""
    stages = []
    fold(network, None, lambda *_: stages.append(1), lambda *_: stages.append(1))
    return len(stages)
