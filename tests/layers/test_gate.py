"""Means that scale variances, alone and behind a batch norm."""

import numpy as np
import pytest

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.layers.frozen import frozen
from adf.layers.gate import Gate
from adf.layers.gradients import FOURTH_ORDER, cast, gradient_errors


def gaussian(scale=3.0, shape=(2, 3, 4, 5)):
    rng = np.random.default_rng(0)
    return Gaussian(xp.asarray(rng.normal(0, scale, shape)), xp.asarray(rng.uniform(0.2, 2, shape)))


def random(gate):
    gate.weight.value = xp.asarray(np.random.default_rng(1).normal(0, 0.4, gate.weight.value.shape))
    return gate


def gated_norm():
    return adf.Sequential(cast(adf.BatchNorm2d(3), "float64"), random(Gate(3)))


def test_at_first_it_is_the_identity():
    x = gaussian()
    y, backward = cast(Gate(3), "float64").forward(x)
    for a, b in zip((*y, *backward(x)), (*x, *x), strict=True):
        np.testing.assert_array_equal(to_host(a), to_host(b))


def test_a_mean_beyond_the_limit_says_no_more():
    gate, x = random(Gate(3)), gaussian()
    far = Gaussian(xp.where(abs(x.mean) > 3, 100 * x.mean, x.mean), x.var)
    np.testing.assert_array_equal(to_host(gate.predict(far).var), to_host(gate.predict(x).var))
    assert (to_host(far.mean) != to_host(x.mean)).any()


def test_the_variance_by_hand():
    """Of four channels alike: f is half the mean, which is 2, -1, 0 or beyond the limit of 3."""
    gate = Gate(4)
    gate.weight.value = xp.full((4, 4, 1, 1), np.log(2.0) / 4)
    mean = np.array([2.0, -1, 0, 30]).reshape(1, 1, 1, 4).repeat(4, axis=1)
    x = Gaussian(xp.asarray(mean), xp.full((1, 4, 1, 4), 8.0))
    expected = [16, 8 / 2**0.5, 8, 8 * 2**1.5]
    var = to_host(gate.predict(x).var)[0, 0, 0]
    np.testing.assert_allclose(var, expected, rtol=1e-12)  # (9.10)


def test_a_point_mass_passes_and_teaches_nothing():
    norm, x = gated_norm(), Gaussian(gaussian().mean)
    y, backward = norm.forward(x)
    assert y.var is None and backward(y).var is None
    assert not to_host(norm.layers[1].weight.grad).any()


@pytest.mark.parametrize("mode", ["training", "as in predict"])
def test_gradients_behind_a_batch_norm(mode):
    norm = gated_norm()
    layer = norm if mode == "training" else frozen(norm)
    errors = gradient_errors(layer, gaussian(0.7), stencil=FOURTH_ORDER)
    assert "layers.1.weight" in errors
    assert max(errors.values()) < 1e-6, errors


def test_frozen_it_is_what_predict_sees():
    norm, x = gated_norm(), gaussian()
    norm.forward(x)
    for a, b in zip(frozen(norm).forward(x)[0], norm.predict(x), strict=True):
        np.testing.assert_allclose(to_host(a), to_host(b), rtol=1e-12)
