"""What is verified: for every layer its inputs and what should come out.

Two kinds of input: `wide` ones, far into every tail, to compare with exact arithmetic; and `near` ones to sample and to
differentiate, where no event is so rare that a million samples do not show it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import layers
from . import expected, probes, reference


class Case(NamedTuple):
    name: str
    build: Callable  # () -> layer
    wide: Callable  # rng -> (mean, var)
    near: Callable  # rng -> (mean, var)
    exact: Callable  # (layer, x on the host) -> Exact
    law: Callable = None  # of an approximation: (mean, std) of a window -> its true mean and variance
    sampled: bool = True
    differentiated: bool = True


def uniform(shape, low, high, decades):
    """sigma over these decades, mu / sigma from low to high."""

    def draw(rng):
        sigma = 10 ** rng.uniform(*decades, shape)
        return sigma * rng.uniform(low, high, shape), sigma**2

    return draw


def kink_grid(rng):
    """Both sides of every branch point of adf.moments, and far beyond; sigma 1e-6 to 1e6."""
    z = np.unique([*np.linspace(-10, 10, 81), -1e-3, 0, 1e-3, -1.72, 30, 63.9, 64, 64.1, 100, 1000])
    z, sigma = (g.ravel() for g in np.meshgrid(z, 10.0 ** np.arange(-6, 7)))
    return z * sigma, sigma**2


def windows(*kernel):
    """Windows of Gaussians about as large as each other; some a thousand times their spread away from 0."""

    def draw(rng):
        unit = 10 ** rng.uniform(-6, 6, (600 // math.prod(kernel) * 2, 1, 1, 1))
        sigma = unit * 10 ** rng.uniform(-1, 1, (len(unit), 1, *kernel))
        middle = rng.normal(size=unit.shape) * unit * rng.choice([0, 1, 1000], unit.shape)
        return middle + sigma * rng.uniform(-5, 5, sigma.shape), sigma**2

    return draw


def elementwise(name, build, exact):
    return Case(name, build, kink_grid, uniform((1, 24), -3, 4, (-1, 0.3)), exact)


def linear(name, build, matrix, wide, near):
    """mu and sigma over many orders of magnitude: the law is exact for all of them."""
    spread = uniform(wide, -10, 10, (-6, 6))
    near = uniform(near, -3, 4, (-1, 0.3))
    return Case(name, lambda: probes.with_bias(build()), spread, near, expected.affine(matrix))


def pooling(*kernel):
    """mu / sigma within 1: even the weakest entry of a window wins some 770 of a million times."""
    many = math.prod(kernel) > 2
    near = uniform((24 // math.prod(kernel), 1, *kernel), -1, 1, (-1, 0.3))
    law = reference.maximum_of_many if many else None
    name = f"MaxPool2d {kernel[0]} x {kernel[1]}"
    return Case(name, lambda: layers.MaxPool2d(kernel), windows(*kernel), near, expected.pool, law)


def normalisation(name, kind, of_batch):
    """Running statistics are constants, so any input will do; those of the batch are of its own order of magnitude."""
    wide = uniform((4, 3, 3, 5), -2, 4, (-2, 0.5)) if of_batch else uniform((4, 3, 3, 5), -10, 10, (-6, 6))
    near, exact = uniform((2, 3, 2, 2), -3, 4, (-1, 0.3)), expected.normalised(of_batch)
    return Case(name, lambda: probes.batch_norm(kind), wide, near, exact, differentiated=of_batch)


def head(name, kind, exact, **checks):
    logits = uniform((100, 3, 1, 1), -10, 10, (-3, 1))
    return Case(f"Dirichlet {name}", kind, logits, uniform((4, 3, 1, 1), -2, 2, (-1, 0)), exact, **checks)


CASES = [
    linear("Linear", lambda: layers.Linear(6, 4, rng=1), expected.dense, (20, 6), (3, 6)),
    linear(
        "Conv2d 3 x 3",
        lambda: layers.Conv2d(3, 4, 3, padding=1, rng=1),
        expected.convolution,
        (2, 3, 6, 5),
        (1, 3, 3, 2),
    ),
    linear(
        "Conv2d, strided, dilated, 2 groups",
        lambda: layers.Conv2d(4, 6, (3, 2), (2, 3), (1, 2), (2, 1), 2, rng=1),
        expected.convolution,
        (2, 4, 9, 8),
        (1, 4, 4, 3),
    ),
    linear(
        "ConvTranspose2d 2 x 2, stride 2",
        lambda: layers.ConvTranspose2d(3, 4, 2, stride=2, rng=1),
        expected.transposed,
        (2, 3, 4, 5),
        (1, 3, 1, 2),
    ),
    linear(
        "ConvTranspose2d, padded, 2 groups",
        lambda: layers.ConvTranspose2d(4, 6, (3, 2), (2, 3), 1, (1, 2), groups=2, rng=1),
        expected.transposed,
        (2, 4, 4, 3),
        (1, 4, 1, 2),
    ),
    linear("AvgPool2d 2 x 2", lambda: layers.AvgPool2d(2), expected.average, (2, 3, 6, 6), (1, 2, 4, 4)),
    linear(
        "AvgPool2d 3 x 2, padded, overlapping",
        lambda: layers.AvgPool2d((3, 2), 2, (1, 0)),
        expected.average,
        (2, 3, 7, 6),
        (1, 2, 4, 4),
    ),
    linear("GlobalAvgPool2d", lambda: layers.GlobalAvgPool2d(), expected.average, (4, 6, 4, 5), (1, 4, 2, 3)),
    pooling(1, 2),
    pooling(2, 2),
    pooling(3, 3),
    *(
        elementwise(f"LeakyReLU, slope {slope}", lambda slope=slope: layers.LeakyReLU(slope), expected.kink)
        for slope in (0, 0.01, 0.2, 1)
    ),
    normalisation("BatchNorm2d, statistics of the batch", probes.BatchStatistics, True),
    normalisation("BatchNorm2d, running statistics", layers.BatchNorm2d, False),
    linear(
        "Upsample 2, nearest", lambda: layers.Upsample(2, "nearest"), expected.upsampling, (2, 2, 4, 5), (1, 1, 2, 3)
    ),
    linear(
        "Upsample 3 x 2, bilinear", lambda: layers.Upsample((3, 2)), expected.upsampling, (2, 2, 4, 5), (1, 1, 2, 3)
    ),
    elementwise("Dropout, p 0.3", lambda: probes.DroppedSamples(0.3, rng=4), expected.dropped),
    linear(
        "Concat",
        lambda: layers.Concat(layers.Identity(), layers.Conv2d(2, 3, 1, rng=1)),
        expected.concatenated,
        (2, 2, 6, 5),
        (1, 2, 2, 2),
    ),
    linear("Add, branches that share no input", probes.disjoint, expected.added, (2, 2, 6, 5), (1, 2, 2, 3)),
    head("head: log α", probes.Head, expected.log_concentration, sampled=False),
    head("likelihood", probes.Likelihood, expected.likelihood, sampled=False),
    head("E[p], Var[p]", probes.Probabilities, expected.probabilities, differentiated=False),
]
