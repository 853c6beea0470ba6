"""What Gaussian weights mean, beyond what every layer of the table is asked."""

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import norm

import adf
from adf import Gaussian, montecarlo
from adf.backend import to_host, xp
from adf.layers.gaussian_weights import divergence, randomise
from adf.layers.gradients import gradient_errors
from adf.layers.linear import LinearLaw
from adf.layers.paths import held

LAYERS = {
    "Linear": (lambda: adf.Linear(5, 3, rng=1), (4, 5)),
    "Conv2d": (lambda: adf.Conv2d(2, 3, 3, padding=1, rng=1), (2, 2, 5, 4)),
    "ConvTranspose2d": (lambda: adf.ConvTranspose2d(2, 3, 2, stride=2, rng=1), (2, 2, 3, 4)),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


def made(name, var, bias=True):
    """The layer, plain and with weights of this variance, and an input; float64."""
    build, shape = LAYERS[name]
    plain, layer = build().to("float64"), build().to("float64")
    if not bias:
        plain.bias = layer.bias = None
    randomise(layer, var)
    fields = np.random.default_rng(2).random((2, *shape))
    return plain, layer, Gaussian(*(xp.asarray(field) for field in fields))


@each_layer
@pytest.mark.parametrize("bias", [True, False])
def test_certain_weights_are_the_linear_law(name, bias):
    """Forward and backward, to the bit; of a point mass the variance is 0."""
    plain, layer, x = made(name, 0.0, bias)
    for given in (x, Gaussian(x.mean)):
        (a, a_backward), (b, b_backward) = plain.forward(given), layer.forward(given)
        dy = Gaussian(*(xp.asarray(np.random.default_rng(3).normal(size=(2, *a.mean.shape)))))
        da = a_backward(Gaussian(dy.mean) if a.var is None else dy)
        db = b_backward(dy)
        assert (a.var is None and not b.var.any()) or bool((a.var == b.var).all())
        assert bool((a.mean == b.mean).all()) and bool((da.mean == db.mean).all())
        assert da.var is db.var is None or bool((da.var == db.var).all())
        assert bool((plain.weight.grad == layer.weight.grad).all())
        assert not bias or bool((plain.bias.grad == layer.bias.grad).all())


@each_layer
def test_without_a_bias_it_has_a_way_back_too(name):
    _, layer, x = made(name, 0.1, bias=False)
    assert len(layer.parameters()) == 2
    for given in (x, Gaussian(x.mean)):
        assert max(gradient_errors(layer, given).values()) < 1e-6


@each_layer
def test_a_gradient_of_the_mean_alone_asks_nothing_of_the_variances(name):
    plain, layer, x = made(name, 0.1)
    y, backward = layer.forward(x)
    dx = backward(Gaussian(y.mean))
    assert dx.var is None and not layer.weight_var.grad.any() and not layer.bias_var.grad.any()
    expected = plain.forward(x)[1](Gaussian(y.mean))
    np.testing.assert_array_equal(to_host(dx.mean), to_host(expected.mean))
    np.testing.assert_array_equal(to_host(layer.weight.grad), to_host(plain.weight.grad))


@pytest.mark.parametrize("units", [10, 50])
def test_one_hidden_layer_is_exact(units):
    """Hidden units have weights of their own, so given x they are independent: no approximation.

    Mean and variance agree with 200,000 networks drawn, to the bound of a false alarm of 1e-9.
    """
    rng = np.random.default_rng(units)
    first, last = adf.Linear(3, units, rng=1), adf.Linear(units, 1, rng=2)
    network = adf.Sequential(first, adf.LeakyReLU(0), last).to("float64")
    for layer in (first, last):
        randomise(layer, 0.0)
        for p in (layer.weight_var, layer.bias_var):
            p.value = xp.asarray(rng.uniform(0.1, 0.6, p.value.shape) / p.value.size)
    x = rng.normal(size=3)
    y = network.predict(Gaussian(xp.asarray(x[None])))

    def draws(p, var, count):
        mean, var = (to_host(q.value).reshape(-1) for q in (p, var))
        return mean + np.sqrt(var) * rng.standard_normal((count, mean.size))

    samples = []
    for _ in range(20):
        w = draws(first.weight, first.weight_var, 10_000).reshape(-1, units, 3)
        hidden = np.maximum(w @ x + draws(first.bias, first.bias_var, 10_000), 0)
        w = draws(last.weight, last.weight_var, 10_000)
        samples.append((w * hidden).sum(axis=1) + draws(last.bias, last.bias_var, 10_000)[:, 0])
    samples = np.concatenate(samples)
    squares = (samples - samples.mean()) ** 2
    for values, expected in ((samples, y.mean.item()), (squares, y.var.item())):
        error = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - expected) < montecarlo.bound(4) * error


def test_a_network_of_gaussian_weights_has_a_right_way_back():
    network = adf.UNet(1, 2, widths=(3, 4), norm=True, rng=1)
    for law in held(network, LinearLaw):
        if law.weight is not None:
            randomise(law, 0.05)
    rng = np.random.default_rng(5)
    x = Gaussian(xp.asarray(rng.normal(size=(2, 1, 4, 4))))
    assert max(gradient_errors(network.to("float64"), x, rng).values()) < 1e-5


def test_what_cannot_be_randomised_is_refused():
    with pytest.raises(ValueError, match="a layer that learns weights"):
        randomise(adf.AvgPool2d(2), 0.1)
    for var in (-1e-3, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a variance of 0 or more"):
            randomise(adf.Linear(2, 3), var)


def test_the_divergence_is_that_of_quadrature():
    law = adf.Linear(2, 1).to("float64")
    randomise(law, 0.0)
    values = {law.weight: (0.3, -1.2), law.weight_var: (0.2, 1.5), law.bias: 0.1, law.bias_var: 0.4}
    for p, value in values.items():
        p.value = xp.asarray(np.reshape(value, p.value.shape), "float64")
    total = 0
    for m, v in ((0.3, 0.2), (-1.2, 1.5), (0.1, 0.4)):
        q = norm(m, v**0.5)
        total += integrate.quad(
            lambda w, q=q: q.pdf(w) * (q.logpdf(w) - norm.logpdf(w)), m - 12, m + 12
        )[0]  # the fan_in is 2, so that the prior is N(0, 1)
    assert float(divergence([law])[0]) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("bias", [True, False])
def test_the_gradient_of_the_divergence_is_that_of_differences(bias):
    laws = [made(name, 0.3, bias)[1] for name in LAYERS]
    rng = np.random.default_rng(3)
    divergence(laws)[1](1.7)
    for p in [p for law in laws for p in law.parameters()]:
        value = p.value
        direction = xp.asarray(rng.normal(size=value.shape))
        found = []
        for step in (1e-5, -1e-5):
            p.value = value + step * direction
            found.append(1.7 * float(divergence(laws)[0]))
        p.value = value
        slope = float((p.grad * direction).sum())
        assert (found[0] - found[1]) / 2e-5 == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_a_posterior_that_is_the_prior_has_no_divergence_and_no_gradient():
    laws = [made(name, 0.0)[1] for name in LAYERS]
    for law in laws:
        law.weight.value = 0 * law.weight.value
        randomise(law, 2 / law.fan_in)
    found, backward = divergence(laws)
    backward(1.0)
    assert float(found) == pytest.approx(0, abs=1e-12)
    assert all(abs(p.grad).max() < 1e-12 for law in laws for p in law.parameters())


@pytest.mark.parametrize(
    "layer",
    [
        adf.Linear(300, 40, rng=1),
        adf.Conv2d(24, 48, 3, groups=2, rng=1),
        adf.ConvTranspose2d(48, 24, 4, stride=2, rng=1),
    ],
)
def test_the_prior_is_what_weights_are_drawn_from(layer):
    assert float((layer.weight.value**2).mean()) == pytest.approx(2 / layer.fan_in, rel=0.06)
