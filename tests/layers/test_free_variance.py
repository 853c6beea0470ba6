"""What the weights of a free variance mean."""

import numpy as np
import pytest

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.layers import free_variance
from adf.layers.gradients import gradient_errors

LAYERS = {
    "Linear": (lambda: adf.Linear(5, 3, rng=1), (4, 5)),
    "Conv2d": (lambda: adf.Conv2d(2, 3, 3, padding=1, rng=1), (2, 2, 5, 4)),
    "ConvTranspose2d": (lambda: adf.ConvTranspose2d(2, 3, 2, stride=2, rng=1), (2, 2, 3, 4)),
}
layers = pytest.mark.parametrize("name", LAYERS)


def made(name, loading=0.0, dtype="float64"):
    """The layer, plain and freed with all that there is, and an input."""
    build, shape = LAYERS[name]
    plain, freed = build().to(dtype), build().to(dtype)
    free_variance.free(freed, loading, is_last=True)
    fields = np.random.default_rng(2).random((2, *shape))
    return plain, freed, Gaussian(*(xp.asarray(field.astype(dtype)) for field in fields))


def scrambled(layer, scale=0.4):
    """The layer with random weights for its variance."""
    rng = np.random.default_rng(4)
    for p in (layer.log_gain, layer.loading, layer.gate, layer.drift):
        p.value = xp.asarray(rng.normal(0, scale, p.value.shape).astype(p.value.dtype.name))
    return layer


@layers
@pytest.mark.parametrize("loading", [None, 0.0])
def test_it_begins_as_the_law_of_independent_inputs(name, loading):
    plain, freed, x = made(name, loading, dtype="float32")
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
    for p in (freed.log_gain, freed.loading, freed.gate, freed.drift):
        assert not to_host(p.grad).any()


@layers
@pytest.mark.parametrize("is_last", [False, True])
def test_gradients_are_those_of_differences(name, is_last):
    """With means on both sides of where a gate stops reading."""
    build, shape = LAYERS[name]
    layer, rng = build().to("float64"), np.random.default_rng(6)
    free_variance.free(layer, 0.3, is_last)
    for p in layer.parameters():
        p.value = p.value + xp.asarray(rng.normal(0, 0.4, p.value.shape))
    x = Gaussian(*(xp.asarray(f) for f in (rng.normal(0, 3, shape), rng.uniform(0.2, 2, shape))))
    for error in gradient_errors(layer, x).values():
        assert error < 1e-6  # (9.16), (9.17)


@layers
def test_float32_gradients_are_near_those_of_float64(name):
    results = []
    for dtype in ("float32", "float64"):
        _, layer, x = made(name, dtype=dtype)
        scrambled(layer)
        y, backward = layer.forward(x)
        rng = np.random.default_rng(7)
        dy = Gaussian(*(xp.asarray(rng.normal(size=y.mean.shape).astype(dtype)) for _ in range(2)))
        dx = backward(dy)
        assert y.var.dtype == dx.mean.dtype == dx.var.dtype == dtype
        results.append([*dx, *(p.grad for p in layer.parameters())])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(to_host(a), to_host(b), rtol=1e-4, atol=1e-5)


@layers
def test_where_only_the_mean_is_asked_for_the_drift_still_learns(name):
    """Without an upstream gradient of the variance it is that of a variance gradient of 0."""
    found = []
    for has_variance in (True, False):
        _, layer, x = made(name)
        scrambled(layer)
        y, backward = layer.forward(x)
        dmean = xp.asarray(np.random.default_rng(8).normal(size=y.mean.shape))
        dx = backward(Gaussian(dmean, xp.zeros_like(dmean) if has_variance else None))
        assert to_host(dx.var).any() and to_host(layer.drift.grad).any()
        found.append([*dx, *(p.grad for p in layer.parameters())])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(to_host(a), to_host(b))


@layers
def test_a_gate_scales_the_variance_by_the_means(name):
    """As much as a plain layer of its weights says, for means that end at -3 and 3."""
    plain, layer, x = made(name, 0.3)
    x = Gaussian(12 * x.mean - 6, x.var)
    before = to_host(layer.predict(x).var)
    layer.gate.value = plain.weight.value / 2
    plain.bias.value = 0 * plain.bias.value
    f = xp.clip(x.mean, -3, 3) / x.mean.shape[1] ** 0.5
    exponent = plain.predict(Gaussian(f / 2)).mean
    np.testing.assert_allclose(
        to_host(layer.predict(x).var), np.exp(to_host(exponent)) * before, rtol=1e-12
    )


@layers
def test_a_drift_of_an_input_is_told_in_its_standard_deviations(name):
    """Inputs that are all off by half of theirs move the output as if they were where they are."""
    plain, layer, x = made(name, 0.3)
    layer.drift.value = xp.full_like(layer.drift.value, 0.5)
    moved = plain.predict(Gaussian(x.mean + 0.5 * xp.sqrt(x.var)))
    np.testing.assert_allclose(
        to_host(layer.predict(x).mean), to_host(moved.mean), rtol=1e-12, atol=1e-14
    )


@layers
def test_without_noise_there_is_no_variance_and_no_drift(name):
    plain, layer, x = made(name, 0.3)
    scrambled(layer)
    y, backward = layer.forward(Gaussian(x.mean, 0 * x.var))
    np.testing.assert_array_equal(to_host(y.mean), to_host(plain.predict(x).mean))
    assert not to_host(y.var).any()
    assert all(np.isfinite(to_host(field)).all() for field in backward(y))


def test_one_common_cause_is_no_approximation():
    """Inputs x_i = std_i (k_i f + sqrt(1 - k_i**2) e_i), f and all e_i independent, unit normal."""
    _, layer, x = made("Linear")
    k = np.random.default_rng(3).uniform(-1, 1, 5)
    shape = layer.weight.value.shape
    layer.loading.value = xp.asarray(np.broadcast_to(k, shape).copy())
    layer.log_gain.value = xp.asarray(np.broadcast_to(np.log(1 - k * k), shape).copy())
    w, std = to_host(layer.weight.value), np.sqrt(to_host(x.var))
    correlation = np.outer(k, k) + np.diag(1 - k * k)
    exact = [np.diag(w @ (np.outer(s, s) * correlation) @ w.T) for s in std]  # (9.8)
    np.testing.assert_allclose(to_host(layer.predict(x).var), exact, rtol=1e-12)  # (9.9)


@layers
def test_the_variance_follows_the_weights_and_the_noise(name):
    """c times the weights gives c**2 times the variance, weights of 0 none; c times the noise c."""
    _, layer, x = made(name, 0.3)
    scrambled(layer)
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
    scrambled(layer, 5)
    assert (to_host(layer.predict(x).var) >= 0).all()


def test_a_freed_network_learns_in_train_step_too():
    model = adf.Segmenter(adf.UNet(1, 2, widths=(3, 4), rng=1), 0.1)
    for layer in (model.network.layers[0].layers[0].layers[0], model.network.layers[1]):
        free_variance.free(layer, 0.3, is_last=True)
    before = [to_host(p.value).copy() for p in model.parameters()]
    rng = np.random.default_rng(5)
    images, labels = rng.normal(size=(2, 1, 8, 8)), rng.integers(0, 2, (2, 8, 8))
    adf.train_step(model, adf.Adam(model.parameters()), images, labels)
    for p, value in zip(model.parameters(), before, strict=True):
        assert (to_host(p.value) != value).any()
