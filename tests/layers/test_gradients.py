"""The gradient check, which all other tests of derivatives rely on, is itself checked."""

import math

import numpy as np
import pytest

import adf
from adf import Gaussian, gradients
from adf.backend import to_host, xp
from adf.layers.gradients import FOURTH_ORDER, SECOND_ORDER, cast, gradient_errors, slopes


class Cubic(adf.Layer):
    """y = p x^3 of a point mass, with a factor on its derivative: 1 is right."""

    def __init__(self, factor=1.0):
        self.p = adf.Parameter(xp.full(1, 2.0))
        self.factor = factor

    def forward(self, x):
        def backward(dy):
            self.p.grad += (dy.mean * x.mean**3).sum()
            return Gaussian(self.factor * dy.mean * self.p.value * 3 * x.mean**2)

        return Gaussian(self.p.value * x.mean**3), backward


def point():
    return Gaussian(xp.asarray(np.random.default_rng(0).normal(size=(2, 3))))


def test_names_what_it_checks():
    layer = adf.Sequential(cast(adf.Linear(3, 2, rng=0), "float64"), adf.LeakyReLU())
    x = Gaussian(point().mean, xp.ones((2, 3)))
    errors = gradient_errors(layer, x)
    assert list(errors) == ["x", "layers.0.weight", "layers.0.bias"]
    assert max(errors.values()) < 1e-7


@pytest.mark.parametrize("factor", [0, -1, 1.001, 1 + 1e-5])
def test_refuses_a_wrong_backward(factor):
    assert max(gradient_errors(Cubic(), point()).values()) < 1e-7
    errors = gradient_errors(Cubic(factor), point())
    assert errors["x"] == pytest.approx(abs(factor - 1), rel=0.1 if factor >= 0 else 1)
    assert errors["p"] < 1e-7


class Broken(adf.Linear):
    """A linear layer whose backward is changed by a function of dx."""

    def __init__(self, change, weight=1.0):
        super().__init__(3, 2, rng=0)
        self.change = change
        self.factor = weight

    def forward(self, x):
        y, backward = super().forward(x)
        return y, lambda dy: self.change(backward(dy))

    def weight_grad(self, x, dy):
        return self.factor * super().weight_grad(x, dy)


@pytest.mark.parametrize(
    "change, weight",
    [
        (lambda dx: dx, math.nan),
        (lambda dx: Gaussian(dx.mean), 1.0),
        (lambda dx: Gaussian(dx.mean, math.nan * dx.var), 1.0),
        (lambda dx: Gaussian(math.nan * dx.mean, dx.var), 1.0),
    ],
    ids=["NaN by weights", "no dL/dVar", "NaN by variances", "NaN by means"],
)
def test_refuses_what_is_missing_or_no_number(change, weight):
    x = Gaussian(point().mean, xp.ones((2, 3)))
    right = cast(Broken(lambda dx: dx), "float64")
    assert max(gradient_errors(right, x).values()) < 1e-7
    errors = gradient_errors(cast(Broken(change, weight), "float64"), x)
    assert max(errors.values()) > 0.5 and not any(math.isnan(error) for error in errors.values())


def test_wants_float64():
    with pytest.raises(ValueError, match="float64"):
        gradient_errors(adf.Identity(), Gaussian(xp.ones((1, 2), "float32")))


def test_orders_of_the_differences():
    """With step h the second order is wrong by a factor of h^2, the fourth order not for cubics."""
    layer, x, rng = Cubic(), point(), np.random.default_rng(1)
    dy = gradients.random_like(rng, layer.forward(x)[0])
    exact = gradients.gradients(layer, x, dy)
    for stencil, largest in ((SECOND_ORDER, None), (FOURTH_ORDER, 1e-11)):  # (6.6), (6.7)
        wrong = [
            abs(
                np.subtract(
                    *next(slopes(layer, x, dy, exact, np.random.default_rng(2), h, stencil))
                )
            )
            for h in (1e-2, 2e-2)
        ]
        if largest is None:
            assert math.isclose(wrong[1] / wrong[0], 4, rel_tol=1e-3)
        else:
            assert max(wrong) < largest


def test_leaves_the_parameters_as_they_were():
    layer = Cubic()
    gradient_errors(layer, point())
    assert to_host(layer.p.value).tolist() == [2.0]
