"""What the weights of a free variance mean."""

import numpy as np
import pytest

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.layers import free_variance

LAYERS = {
    "Linear": (lambda: adf.Linear(5, 3, rng=1), (4, 5)),
    "Conv2d": (lambda: adf.Conv2d(2, 3, 3, padding=1, rng=1), (2, 2, 5, 4)),
    "ConvTranspose2d": (lambda: adf.ConvTranspose2d(2, 3, 2, stride=2, rng=1), (2, 2, 3, 4)),
}
layers = pytest.mark.parametrize("name", LAYERS)


def made(name, loading=0.0, dtype="float64"):
    """The layer, plain and freed, and an input."""
    build, shape = LAYERS[name]
    plain, freed = build().to(dtype), build().to(dtype)
    free_variance.free(freed, loading)
    fields = np.random.default_rng(2).random((2, *shape))
    return plain, freed, Gaussian(*(xp.asarray(field.astype(dtype)) for field in fields))


@layers
def test_it_begins_as_the_law_of_independent_inputs(name):
    plain, freed, x = made(name, dtype="float32")
    for a, b in zip(plain.predict(x), freed.predict(x), strict=True):
        np.testing.assert_array_equal(to_host(a), to_host(b))
    dy = plain.predict(x)
    for a, b in zip(plain.forward(x)[1](dy), freed.forward(x)[1](dy), strict=True):
        np.testing.assert_allclose(to_host(a), to_host(b), rtol=1e-6)


@layers
def test_a_point_mass_passes_as_ever_and_asks_nothing_of_the_variance(name):
    plain, freed, x = made(name, 0.3)
    point = Gaussian(x.mean)
    y, backward = freed.forward(point)
    np.testing.assert_array_equal(to_host(y.mean), to_host(plain.predict(point).mean))
    assert y.var is None and backward(y).var is None
    assert not to_host(freed.log_gain.grad).any() and not to_host(freed.loading.grad).any()


def test_one_common_cause_is_no_approximation():
    """Inputs x_i = std_i (k_i f + sqrt(1 - k_i**2) e_i), f and all e_i independent, unit normal."""
    _, layer, x = made("Linear")
    k = np.random.default_rng(3).uniform(-1, 1, 5)
    shape = layer.weight.value.shape
    layer.loading.value = xp.asarray(np.broadcast_to(k, shape).copy())
    layer.log_gain.value = xp.asarray(np.broadcast_to(np.log(1 - k * k), shape).copy())
    w, std = to_host(layer.weight.value), np.sqrt(to_host(x.var))
    correlation = np.outer(k, k) + np.diag(1 - k * k)
    exact = [np.diag(w @ (np.outer(s, s) * correlation) @ w.T) for s in std]
    np.testing.assert_allclose(to_host(layer.predict(x).var), exact, rtol=1e-12)


@layers
def test_the_variance_follows_the_weights_and_the_noise(name):
    """c times the weights gives c**2 times the variance, weights of 0 none; c times the noise c."""
    _, layer, x = made(name, 0.3)
    once = to_host(layer.predict(x).var)
    noisier = to_host(layer.predict(Gaussian(x.mean, 4 * x.var)).var)
    np.testing.assert_allclose(noisier, 4 * once, rtol=1e-12)
    weight = layer.weight.value
    for c in (-3, 0):
        layer.weight.value = c * weight
        np.testing.assert_allclose(to_host(layer.predict(x).var), c * c * once, rtol=1e-12)


@layers
def test_no_variance_is_negative_whatever_the_weights(name):
    _, layer, x = made(name)
    rng = np.random.default_rng(4)
    for p in (layer.log_gain, layer.loading):
        p.value = xp.asarray(rng.normal(0, 5, p.value.shape))
    assert (to_host(layer.predict(x).var) >= 0).all()


def test_a_freed_network_learns_in_train_step_too():
    model = adf.Segmenter(adf.UNet(1, 2, widths=(3, 4), rng=1), 0.1)
    for layer in (model.network.layers[0].layers[0].layers[0], model.network.layers[1]):
        free_variance.free(layer, 0.3)
    before = [to_host(p.value).copy() for p in model.parameters()]
    rng = np.random.default_rng(5)
    images, labels = rng.normal(size=(2, 1, 8, 8)), rng.integers(0, 2, (2, 8, 8))
    adf.train_step(model, adf.Adam(model.parameters()), images, labels)
    for p, value in zip(model.parameters(), before, strict=True):
        assert (to_host(p.value) != value).any()
