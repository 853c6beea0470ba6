"""The one table of layers: what tests check each of, and what `adf verify` compares it with.

A row for a layer buys it every test of tests/layers. With an exact law it is verified, too, on
two kinds of input: `wide` ones reach far into every tail, to compare with exact arithmetic; `near`
ones are sampled and differentiated, so they allow no event so rare that a million samples do not
show it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ... import layers
from ...dirichlet import DirichletHead
from ...models import UNet
from . import expected, probes, reference


class Case(NamedTuple):
    """A layer, the shape of what it takes, and how its moments are checked."""

    name: str
    build: Callable  # () -> layer
    shape: tuple = None  # of the input that tests give it; None: not for them
    # Are its moments exact for a Gaussian input? None: it adds a variance that no input has.
    is_exact: bool = True
    wide: Callable = None  # rng -> (mean, var)
    near: Callable = None  # rng -> (mean, var)
    exact: Callable = None  # (layer, x on the host) -> Exact; None: not verified
    law: Callable = None  # of an approximation: (mean, std) of a window -> its true mean, variance
    sampled: bool = True  # whether `adf verify` compares it with samples,
    differentiated: bool = True  # and its gradients with differences


def uniform(shape, low, high, decades):
    """Draws (mean, var) with log10(sigma) within `decades` and mu / sigma from low to high."""

    def draw(rng):
        sigma = 10 ** rng.uniform(*decades, shape)
        return sigma * rng.uniform(low, high, shape), sigma**2

    return draw


def kink_grid(rng):
    """Both sides of all branch points of adf.moments, and far beyond; sigma from 1e-6 to 1e6."""
    z = np.unique([*np.linspace(-10, 10, 81), -1e-3, 0, 1e-3, -1.72, 30, 63.9, 64, 64.1, 100, 1000])
    z, sigma = (g.ravel() for g in np.meshgrid(z, 10.0 ** np.arange(-6, 7)))
    return z * sigma, sigma**2


def windows(*kernel):
    """Draws windows of Gaussians about as large as each other; some lie a thousand sigma from 0."""

    def draw(rng):
        unit = 10 ** rng.uniform(-6, 6, (600 // math.prod(kernel) * 2, 1, 1, 1))
        sigma = unit * 10 ** rng.uniform(-1, 1, (len(unit), 1, *kernel))
        middle = rng.normal(size=unit.shape) * unit * rng.choice([0, 1, 1000], unit.shape)
        return middle + sigma * rng.uniform(-5, 5, sigma.shape), sigma**2

    return draw


def elementwise(name, build, exact, shape=None):
    """A layer that maps every element by itself."""
    near = uniform((1, 24), -3, 4, (-1, 0.3))
    return Case(name, build, shape, wide=kink_grid, near=near, exact=exact)


def linear(name, build, matrix, shape, near):
    """A linear layer: mu and sigma range over many orders of magnitude, all under one exact law."""
    return Case(
        name,
        lambda: probes.with_bias(build()),
        shape,
        wide=uniform(shape, -10, 10, (-6, 6)),
        near=uniform(near, -3, 4, (-1, 0.3)),
        exact=expected.affine(matrix),
    )


def free(name, build, matrix, shape, near):
    """A linear layer with weights of its own for the variance, exact only of its own law."""
    case = linear(name, build, matrix, shape, near)
    exact = expected.free_affine(matrix)
    return case._replace(
        build=lambda: probes.freed(build()), is_exact=False, exact=exact, sampled=False
    )


def randomised(name, build, matrix, shape, near):
    """A linear layer with Gaussian weights: to be tested as it is, verified with weights drawn."""
    yield Case(name, lambda: probes.randomised(build()), shape, None)
    yield Case(
        f"{name}, drawn",
        lambda: probes.DrawnWeights(probes.randomised(build())),
        wide=uniform(shape, -10, 10, (-6, 6)),
        near=uniform(near, -3, 4, (-1, 0.3)),
        exact=expected.gaussian_affine(matrix),
    )


def pooling(*kernel, shape):
    """A max pooling; its `near` inputs have mu / sigma within 1.

    So even the weakest entry of a window wins some 770 of a million times.
    """
    is_exact = math.prod(kernel) <= 2
    # Of three or more inputs the pairs are an approximation: samples are compared with the law.
    return Case(
        f"MaxPool2d {kernel[0]} x {kernel[1]}",
        lambda: layers.MaxPool2d(kernel),
        shape,
        is_exact,
        wide=windows(*kernel),
        near=uniform((24 // math.prod(kernel), 1, *kernel), -1, 1, (-1, 0.3)),
        exact=expected.pool,
        law=None if is_exact else reference.maximum_of_many,
    )


def normalisation(name, kind, of_batch):
    """A batch norm, with the statistics of the batch or the running ones."""
    # Running statistics are constants, so any input will do; a batch's have its own magnitude.
    spread = (-2, 4, (-2, 0.5)) if of_batch else (-10, 10, (-6, 6))
    return Case(
        name,
        lambda: probes.batch_norm(kind),
        wide=uniform((4, 3, 3, 5), *spread),
        near=uniform((2, 3, 2, 2), -3, 4, (-1, 0.3)),
        exact=expected.normalised(of_batch),
        differentiated=of_batch,
    )


def head(name, kind, exact, **checks):
    """A Dirichlet head of three classes, or what is behind it."""
    return Case(
        f"Dirichlet {name}",
        kind,
        wide=uniform((100, 3, 1, 1), -10, 10, (-3, 1)),
        near=uniform((4, 3, 1, 1), -2, 2, (-1, 0)),
        exact=exact,
        **checks,
    )


CASES = [
    linear("Linear", lambda: layers.Linear(6, 4, rng=1), expected.dense, (20, 6), (3, 6)),
    Case("Linear, no bias", lambda: layers.Linear(1, 1, bias=False, rng=1), (1, 1)),
    linear(
        "Conv2d 3 x 3",
        lambda: layers.Conv2d(3, 4, 3, padding=1, rng=1),
        expected.convolution,
        (2, 3, 6, 5),
        (1, 3, 3, 2),
    ),
    Case("Conv2d 1 x 1", lambda: layers.Conv2d(3, 4, 1, bias=False, rng=1), (2, 3, 4, 5)),
    linear(
        "Conv2d, strided, dilated, 2 groups",
        lambda: layers.Conv2d(4, 6, (3, 2), (2, 3), (1, 2), (2, 1), 2, rng=1),
        expected.convolution,
        (2, 4, 9, 8),
        (1, 4, 4, 3),
    ),
    Case(
        "Conv2d, depthwise",
        lambda: layers.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4, rng=1),
        (1, 4, 7, 7),
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
    Case(
        "ConvTranspose2d, dilated",
        lambda: layers.ConvTranspose2d(2, 3, 3, output_padding=1, dilation=2, rng=1),
        (1, 2, 4, 3),
    ),
    free(
        "Linear, free variance",
        lambda: layers.Linear(6, 4, rng=1),
        expected.dense,
        (20, 6),
        (3, 6),
    ),
    free(
        "Conv2d 3 x 3, free variance",
        lambda: layers.Conv2d(4, 6, 3, padding=1, groups=2, rng=1),
        expected.convolution,
        (2, 4, 6, 5),
        (1, 4, 3, 2),
    ),
    free(
        "ConvTranspose2d 2 x 2, free variance",
        lambda: layers.ConvTranspose2d(3, 4, 2, stride=2, rng=1),
        expected.transposed,
        (2, 3, 4, 5),
        (1, 3, 1, 2),
    ),
    *randomised(
        "Linear, Gaussian weights",
        lambda: layers.Linear(6, 4, rng=1),
        expected.dense,
        (20, 6),
        (3, 6),
    ),
    *randomised(
        "Conv2d 3 x 3, Gaussian weights",
        lambda: layers.Conv2d(1, 3, 3, padding=1, rng=1),
        expected.convolution,
        (2, 1, 6, 5),
        (1, 1, 3, 2),
    ),
    *randomised(
        "ConvTranspose2d 2 x 2, Gaussian weights",
        lambda: layers.ConvTranspose2d(2, 3, 2, stride=2, rng=1),
        expected.transposed,
        (2, 2, 4, 5),
        (1, 2, 1, 2),
    ),
    linear(
        "AvgPool2d 2 x 2", lambda: layers.AvgPool2d(2), expected.average, (2, 3, 6, 6), (1, 2, 4, 4)
    ),
    Case("AvgPool2d 2 x 2, odd width", lambda: layers.AvgPool2d(2), (2, 3, 6, 5)),
    linear(
        "AvgPool2d 3 x 2, padded, overlapping",
        lambda: layers.AvgPool2d((3, 2), 2, (1, 0)),
        expected.average,
        (2, 3, 7, 6),
        (1, 2, 4, 4),
    ),
    linear(
        "GlobalAvgPool2d",
        lambda: layers.GlobalAvgPool2d(),
        expected.average,
        (4, 6, 4, 5),
        (1, 4, 2, 3),
    ),
    pooling(1, 2, shape=(2, 3, 4, 6)),
    pooling(2, 2, shape=(2, 3, 6, 5)),
    pooling(3, 3, shape=(2, 2, 7, 7)),
    Case("MaxPool2d 3 x 3, overlapping", lambda: layers.MaxPool2d(3, 2), (2, 2, 7, 7), False),
    elementwise("LeakyReLU, slope 0", lambda: layers.LeakyReLU(0), expected.kink, (4, 30)),
    elementwise("LeakyReLU, slope 0.01", lambda: layers.LeakyReLU(), expected.kink, (2, 3, 4, 5)),
    elementwise("LeakyReLU, slope 0.2", lambda: layers.LeakyReLU(0.2), expected.kink, (4, 5)),
    elementwise("LeakyReLU, slope 1", lambda: layers.LeakyReLU(1), expected.kink, (4, 5)),
    normalisation("BatchNorm2d, statistics of the batch", probes.BatchStatistics, True),
    normalisation("BatchNorm2d, running statistics", layers.BatchNorm2d, False),
    Case("BatchNorm2d", lambda: probes.batch_norm(layers.BatchNorm2d), (4, 3, 3, 5)),
    Case(
        "Gate",
        probes.gate,
        (4, 3, 3, 5),
        is_exact=False,
        wide=uniform((4, 3, 3, 5), -10, 10, (-6, 6)),
        near=uniform((2, 3, 2, 2), -3, 4, (-1, 0.3)),
        exact=expected.gated,
        sampled=False,
    ),
    linear(
        "Upsample 2, nearest",
        lambda: layers.Upsample(2, "nearest"),
        expected.upsampling,
        (2, 2, 4, 5),
        (1, 1, 2, 3),
    ),
    linear(
        "Upsample 3 x 2, bilinear",
        lambda: layers.Upsample((3, 2)),
        expected.upsampling,
        (2, 2, 4, 5),
        (1, 1, 2, 3),
    ),
    Case("Upsample, one pixel", lambda: layers.Upsample(4), (1, 2, 1, 1)),
    elementwise("Dropout, p 0.3", lambda: probes.DroppedSamples(0.3, rng=4), expected.dropped),
    Case("Dropout", lambda: layers.Dropout(0.3), (3, 4, 5), None),
    Case("Identity", layers.Identity, (2, 3, 4, 5)),
    Case(
        "Sequential",
        lambda: layers.Sequential(layers.Conv2d(2, 3, 3, rng=1), layers.LeakyReLU()),
        (1, 2, 5, 4),
        False,
    ),
    linear(
        "Concat",
        lambda: layers.Concat(layers.Identity(), layers.Conv2d(2, 3, 1, rng=1)),
        expected.concatenated,
        (2, 2, 6, 5),
        (1, 2, 2, 2),
    ),
    Case(
        "Concat, one pixel spread",
        lambda: layers.Concat(layers.GlobalAvgPool2d(), layers.Identity()),
        (2, 2, 3, 4),
    ),
    linear(
        "Add, branches that share no input",
        probes.disjoint,
        expected.added,
        (2, 2, 6, 5),
        (1, 2, 2, 3),
    ),
    Case(
        "Add",
        lambda: layers.Add(layers.LeakyReLU(0.3), layers.Conv2d(2, 2, 1, rng=1)),
        (2, 2, 3, 4),
        False,
    ),
    Case("UNet", lambda: UNet(1, 3, widths=(3, 4, 5)), (1, 1, 8, 12), False),
    Case("UNet, batch norm", lambda: UNet(1, 3, widths=(3, 4), norm=True), (3, 1, 4, 6), False),
    head("head: log α", lambda: DirichletHead(-1.0), expected.log_concentration, sampled=False),
    head("likelihood", lambda: probes.Likelihood(-1.0), expected.likelihood, sampled=False),
    head("E[p], Var[p]", probes.Probabilities, expected.probabilities, differentiated=False),
]
VERIFIED = [case for case in CASES if case.exact]  # those of `adf verify`
TESTED = [case for case in CASES if case.shape]  # those of tests/layers
