"""The equations that state moments.

Each is tested against quadrature or sums that share no formula with it, and against samples.

notebooks/equations.py puts TABLE into notebooks/EQUATIONS.md.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import norm

import adf
from adf import Gaussian
from adf.layers.gradients import cast
from adf.studies.verification.probes import DroppedSamples, Probabilities, batch_norm, with_bias
from adf.studies.verification.reference import maximum_of_many

EXACT = 1e-9  # the relative error of what is exact, in float64


class Equation(NamedTuple):
    """An equation of the course, and how to find what it states by other means."""

    tag: str
    layer: Any  # maps a Gaussian by the equation, and a point mass as the map that it is about
    x: Gaussian
    truth: Callable  # (layer, x) -> E[y] and Var[y] of every output, flat
    exact: bool = True  # False: the equation is an approximation, of which the error is the size
    samples: int = 1_000_000  # as EQUATIONS.md says


def random(*shape):
    """sigma from 0.3 to 2, mu / sigma from -2 to 2.

    So a million samples show what happens on both sides of a kink.
    """
    rng = np.random.default_rng(5)
    sigma = 10 ** rng.uniform(-0.5, 0.3, shape)
    return Gaussian(sigma * rng.uniform(-2, 2, shape), sigma**2)


def by_impulses(layer, x):
    """The moments of an affine layer, by sums over its matrix.

    The matrix has one column for every unit vector pushed through the layer.
    """
    units = np.eye(x.mean.size).reshape(-1, *x.mean.shape[1:])
    bias = layer.predict(Gaussian(0 * units[:1])).mean.ravel()
    matrix = layer.predict(Gaussian(units)).mean.reshape(len(units), -1).T - bias[:, None]
    mean, var = (
        [math.fsum(row) for row in terms]
        for terms in (matrix * x.mean.ravel(), matrix**2 * x.var.ravel())
    )
    return np.array(mean) + bias, np.array(var)


def by_quadrature(layer, x):
    """The moments of a function of each input alone.

    They are integrals of y and of (y - E[y])**2 over the normal density, cut at the kink.
    """

    def expected(function, mean, sigma):
        cuts = [e for e in (-mean / sigma,) if abs(e) < 12]
        return integrate.quad(
            lambda e: function(mean + sigma * e) * norm.pdf(e), -12, 12, points=cuts, epsabs=1e-13
        )[0]

    def moments(mean, var):
        def y(value):
            return layer.predict(Gaussian(np.array([[value]]))).mean.item()

        first = expected(y, mean, math.sqrt(var))
        return first, expected(lambda value: (y(value) - first) ** 2, mean, math.sqrt(var))

    return np.array([moments(*pair) for pair in zip(x.mean.ravel(), x.var.ravel(), strict=True)]).T


def by_density(layer, x):
    """The largest of the pixels of an image, by its density."""
    images = zip(x.mean.reshape(len(x.mean), -1), x.var.reshape(len(x.var), -1), strict=True)
    return np.array([maximum_of_many(mean, np.sqrt(var)) for mean, var in images]).T


def by_cases(layer, x):
    """The moments of dropout: x / (1 - p) with probability 1 - p, else 0.

    E[y^2] is by Gauss-Hermite quadrature, which is exact for a square.
    """
    e, weight = np.polynomial.hermite_e.hermegauss(3)
    values = (x.mean.ravel()[:, None] + np.sqrt(x.var.ravel())[:, None] * e) / (1 - layer.p)
    first, second = (
        (1 - layer.p) * (values**k * weight).sum(axis=1) / weight.sum() for k in (1, 2)
    )
    return first, second - first**2


def by_marginals(layer, x):
    """The moments of each p_k of a Dirichlet, by its density, which is not normalised.

    The density is p^(alpha_k - 1) (1 - p)^(the others - 1).
    """
    layer.predict(x)
    alpha = layer.alpha[:, :, 0, 0]
    shapes = np.stack([alpha, alpha.sum(axis=1, keepdims=True) - alpha], axis=-1).reshape(-1, 2) - 1

    def moments(shape):
        whole, first, second = (
            integrate.quad(
                lambda p, k=k: p**k, 0, 1, weight="alg", wvar=tuple(shape), epsabs=0, epsrel=1e-13
            )[0]
            for k in range(3)
        )
        return first / whole, second / whole - (first / whole) ** 2

    return np.array([moments(shape) for shape in shapes]).T


def conv(layer):
    return cast(with_bias(layer), "float64")


TABLE = [
    Equation("1.4", conv(adf.Conv2d(1, 1, 2, rng=1)), random(1, 1, 3, 3), by_impulses),  # (1.4)
    Equation("1.5", adf.LeakyReLU(0), random(1, 4), by_quadrature),  # (1.5)
    Equation(
        "2.4", conv(adf.Conv2d(2, 2, 3, padding=1, rng=1)), random(1, 2, 3, 3), by_impulses
    ),  # (2.4)
    Equation("2.5", adf.AvgPool2d(2), random(1, 2, 4, 4), by_impulses),  # (2.5)
    Equation(
        "2.6", conv(adf.ConvTranspose2d(2, 2, 2, stride=2, rng=1)), random(1, 2, 2, 2), by_impulses
    ),  # (2.6)
    Equation("2.8", adf.Upsample(2), random(1, 1, 3, 3), by_impulses),  # (2.8)
    Equation(
        "3.3",
        adf.LeakyReLU(0),
        Gaussian(-np.array([[0.0, 0.5, 2.0]]), np.ones((1, 3))),
        by_quadrature,
    ),  # (3.3)
    Equation("3.5", adf.LeakyReLU(0.2), random(1, 6), by_quadrature),  # (3.5)
    Equation("3.6", adf.LeakyReLU(0), random(1, 6), by_quadrature),  # (3.6)
    Equation("4.5", adf.MaxPool2d((1, 2)), random(4, 1, 1, 2), by_density),  # (4.5)
    Equation("4.8", adf.MaxPool2d(2), random(4, 1, 2, 2), by_density, exact=False),  # (4.8)
    Equation(
        "5.4", cast(batch_norm(adf.BatchNorm2d), "float64"), random(1, 3, 2, 2), by_impulses
    ),  # (5.4)
    Equation("5.12", DroppedSamples(0.3, rng=4), random(1, 6), by_cases),  # (5.12)
    Equation("7.3", Probabilities(), random(2, 3, 1, 1), by_marginals),  # (7.3)
    Equation("7.4", Probabilities(), random(2, 3, 1, 1), by_marginals),  # (7.4)
]


def error(equation):
    """The largest error of any output.

    That of E[y] is in true standard deviations, that of Var[y] relative to the truth.
    """
    y, (mean, var) = equation.layer.predict(equation.x), equation.truth(equation.layer, equation.x)
    return max(
        (abs(y.mean.ravel() - mean) / np.sqrt(var)).max(), abs(y.var.ravel() / var - 1).max()
    )


def sampling(equation):
    """(comparison, limit): samples through the layer, and how far off any output may be.

    The limit counts standard errors.
    """
    # draws from (1.1)
    c = adf.montecarlo.compare(equation.layer, equation.x, equation.samples, chunk=1 << 18)
    return c, adf.montecarlo.bound(2 * c.mean.size * len(TABLE))


@pytest.mark.slow
@pytest.mark.parametrize("equation", TABLE, ids=lambda equation: equation.tag)
def test_moments(equation):
    """Quadrature and samples agree, and the equation with them, unless it is an approximation."""
    mean, var = equation.truth(equation.layer, equation.x)
    c, limit = sampling(equation)
    assert np.all(abs(c.sampled_mean.ravel() - mean) < limit * c.mean_error.ravel())
    assert np.all(abs(c.sampled_var.ravel() - var) < limit * c.var_error.ravel())
    if equation.exact:
        assert error(equation) < EXACT
    else:
        assert 1e-3 < error(equation) < 0.2


def test_a_wrong_equation_is_refused():
    """Weights that are not squared; the sampling sees it, too."""

    class Wrong(adf.Conv2d):
        def predict(self, x):
            y = super().predict(x)
            return (
                y if x.var is None else Gaussian(y.mean, self.apply(abs(self.weight.value), x.var))
            )

    wrong = next(equation for equation in TABLE if equation.tag == "2.4")
    wrong = wrong._replace(layer=conv(Wrong(2, 2, 3, padding=1, rng=1)), samples=10_000)
    c, limit = sampling(wrong)
    assert error(wrong) > 0.1 and abs(c.var_z).max() > limit
