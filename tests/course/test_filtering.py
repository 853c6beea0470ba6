"""The equations of lesson 12, each by means that share no formula with it.

Sums stand for integrals, differences for derivatives. tests/methods asks the same of the library's
own examples.
"""

import numpy as np
import pytest
from scipy.special import expit, log_expit
from scipy.stats import norm

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.calibration import linear_layers
from adf.layers.gaussian_weights import divergence, randomise
from adf.methods.pbp import PBP, tilted, with_precision
from adf.methods.weights import jensen_bound

NODES, SHARES = np.polynomial.hermite_e.hermegauss(40)
SHARES = SHARES / SHARES.sum()
STEP = 1e-3  # of differences


def tilt(likelihood, m, v):
    """Z, and mean and variance of N(m, v) times a likelihood, by sums over 24 sigma."""
    w = m + np.sqrt(v) * np.linspace(-12, 12, 4001)
    p = likelihood(w) * norm.pdf(w, m, np.sqrt(v))
    z = p.sum() * (w[1] - w[0])
    p /= p.sum()  # (12.4)
    return z, p @ w, p @ (w - p @ w) ** 2


def network(*laws):
    """In float64, with Gaussian weights of random variances."""
    rng = np.random.default_rng(1)
    made = adf.Sequential(*laws).to("float64")
    for law in linear_layers(made):
        randomise(law, 0.0)
        for p in (law.weight_var, law.bias_var):
            p.value = xp.asarray(rng.uniform(0.1, 0.5, p.value.shape))
    return made


def test_the_variance_of_a_product_and_of_a_sum_of_products():
    """By Gauss-Hermite sums over every weight and every input, exact for fourth powers."""
    law = network(adf.Linear(3, 1, rng=2))
    rng = np.random.default_rng(3)
    x = Gaussian(*(xp.asarray(f) for f in (rng.normal(size=(1, 3)), rng.uniform(0.1, 1, (1, 3)))))
    y = law.predict(x)
    (inner,) = linear_layers(law)
    numbers = inner.weight.value, inner.weight_var.value, *x
    mean = to_host(inner.bias.value).item()
    var = to_host(inner.bias_var.value).item()
    for m, v, mu, s in np.stack([to_host(n).ravel() for n in numbers], axis=1):
        products = np.outer(m + v**0.5 * NODES, mu + s**0.5 * NODES)
        first = SHARES @ products @ SHARES
        mean += first
        var += SHARES @ (products - first) ** 2 @ SHARES  # (12.1)
    assert (y.mean.item(), y.var.item()) == pytest.approx((mean, var), rel=1e-12)  # (12.2)


def test_one_hidden_layer_by_quadrature():
    hidden, last = adf.Linear(2, 4, rng=4), adf.Linear(4, 1, rng=5)
    net = network(hidden, adf.LeakyReLU(0), last)
    x = np.array([0.7, -1.2])
    y = net.predict(Gaussian(xp.asarray(x[None])))
    w, b, w_var, b_var = (
        to_host(p.value) for p in (hidden.weight, hidden.bias, hidden.weight_var, hidden.bias_var)
    )
    u, u_var = (to_host(p.value)[0] for p in (last.weight, last.weight_var))
    var = to_host(last.bias_var.value).item()
    for j in range(4):
        # The integrals of max(a, 0)**k over a Gaussian, by the trapezoid rule from 0 on.
        mean, std = w[j] @ x + b[j], np.sqrt(w_var[j] @ x**2 + b_var[j])
        a = np.linspace(0, abs(mean) + 12 * std, 200_001)
        first, second = (np.trapezoid(a**k * norm.pdf(a, mean, std), a) for k in (1, 2))
        var += (u[j] ** 2 + u_var[j]) * second - u[j] ** 2 * first**2  # (12.3)
    assert y.var.item() == pytest.approx(var, rel=1e-8)


@pytest.mark.parametrize("m, v", [(-1.0, 2.0), (0.5, 0.3), (-6.0, 4.0)])
def test_the_moments_are_derivatives_of_log_z_for_any_likelihood(m, v):
    """Of the logistic likelihood Z has no closed form; it comes from sums, too."""

    def log_z(m, v):
        return np.log(tilt(expit, m, v)[0])

    z, mean, var = tilt(expit, m, v)
    g = (log_z(m + STEP, v) - log_z(m - STEP, v)) / (2 * STEP)
    h = (log_z(m, v + STEP) - log_z(m, v - STEP)) / (2 * STEP)
    second = (log_z(m + STEP, v) - 2 * np.log(z) + log_z(m - STEP, v)) / STEP**2
    assert g == pytest.approx((mean - m) / v, rel=1e-5)
    assert h == pytest.approx((var + (mean - m) ** 2 - v) / (2 * v * v), rel=1e-4)  # (12.5)
    assert tilted(m, v, g, h) == pytest.approx((mean, var), rel=1e-4)  # (12.6)
    assert 2 * h - g * g == pytest.approx(second, rel=1e-4, abs=1e-7)  # (12.7)


def test_backward_gives_g_and_h_of_every_weight():
    """One backward from a target, against differences of its log density."""
    net = network(adf.Linear(2, 3, rng=6), adf.LeakyReLU(0), adf.Linear(3, 1, rng=7))
    x, t, noise = Gaussian(xp.asarray([[0.4, -1.1]])), 1.7, 0.6

    def log_z():
        y = net.predict(x)
        return norm.logpdf(t, y.mean.item(), np.sqrt(y.var.item() + noise))

    y, backward = net.forward(x)
    r, v = t - y.mean, y.var + noise
    backward(Gaussian(r / v, (r * r / v - 1) / (2 * v)))  # (12.8)
    rng = np.random.default_rng(8)
    for p in net.parameters():
        value, direction = p.value, xp.asarray(rng.normal(size=p.value.shape))
        slopes = []
        for sign in (1, -1):
            p.value = value + sign * 1e-5 * direction
            slopes.append(log_z())
        p.value = value
        exact = float((p.grad * direction).sum())
        assert (slopes[0] - slopes[1]) / 2e-5 == pytest.approx(exact, rel=1e-6)  # (12.9)


def test_the_gamma_has_the_moments_that_the_three_densities_give():
    alpha, beta, square, var = 9.0, 7.0, 1.3, 0.4
    z = [norm.pdf(square**0.5, 0, (var + beta / (alpha + i - 1)) ** 0.5) for i in range(3)]
    found = with_precision(alpha, beta, square, var)
    assert found[0] / found[1] == pytest.approx(alpha / beta * z[1] / z[0], rel=1e-12)
    second = alpha * (alpha + 1) / beta**2 * z[2] / z[0]
    assert found[0] * (found[0] + 1) / found[1] ** 2 == pytest.approx(second, rel=1e-12)  # (12.10)


def test_a_factor_that_is_read_again_replaces_its_older_reading():
    """Precisions add: what one datum has said, and the prior with another lambda, c = 1 / 2."""
    model = PBP(adf.Sequential(adf.Linear(1, 1, bias=False)))
    (law,) = linear_layers(model.network)
    law.weight.value = xp.zeros((1, 1))
    x, t = 1.5, 2.0
    s = x * x / (x * x * 0.6 + 1.2)  # the curvature of log Z at v = 0.6, c E[1 / lambda]
    model.step(xp.asarray([[x]]), t)
    cavity = 1 / (0.6 - 0.36 * s) - 1 / 0.6
    assert 1 / law.weight_var.value.item() - 1 / 0.6 == pytest.approx(cavity, rel=1e-12)
    model.refine_prior()
    model.prior = (model.prior[0] + 2, model.prior[1] + 1)  # without this weight: Gamma(8, 7)
    model.refine_prior()
    assert 1 / law.weight_var.value.item() == pytest.approx(cavity + 2, rel=1e-9)  # (12.11)


@pytest.mark.parametrize("size", [1, 4, 12])
def test_precisions_of_a_batch_add_up_to_the_exact_posterior(size):
    rng = np.random.default_rng(9)
    x, t = rng.normal(size=(2, 12))
    m, v = 0.4, 1.5
    exact = 1 / 1.5 + x @ x / 0.8
    for start in range(0, 12, size):
        part = slice(start, start + size)
        var, r = x[part] ** 2 * v + 0.8, t[part] - m * x[part]
        own = tilted(m, v, x[part] * r / var, x[part] ** 2 * (r * r / var - 1) / (2 * var))
        precision = 1 / v + (1 / own[1] - 1 / v).sum()
        m, v = (m / v + (own[0] / own[1] - m / v).sum()) / precision, 1 / precision  # (12.12)
    assert (m, v) == pytest.approx(((0.4 / 1.5 + x @ t / 0.8) / exact, 1 / exact), rel=1e-10)


def test_a_likelihood_of_the_mean_alone_takes_variance_from_a_surprise():
    """Where the likelihood is nearly exp(w) the truth keeps it, and the rule goes below zero."""
    m, v = -10.0, 4.0
    g = expit(-m)
    _, rule = tilted(m, v, g, 0.0)
    assert rule == v - v * v * g * g  # (12.13)
    assert rule < -10 and tilt(expit, m, v)[2] > 0.95 * v


def test_the_bound_lies_below_what_it_bounds_and_the_evidence():
    """Two classes by one layer with two weights: sums over both, 40 x 40 points, and the prior's.

    Of the prior N(0, 2) of both weights the difference is N(0, 4).
    """
    rng = np.random.default_rng(10)
    x = rng.normal(size=9)
    labels = (rng.random(9) < expit(2 * x)).astype(int)
    law = adf.Conv2d(1, 2, 1, bias=False).to("float64")
    law.weight.value = xp.asarray([-0.6, 0.6]).reshape(2, 1, 1, 1)
    randomise(law, 0.3)
    logits = law.predict(Gaussian(xp.asarray(x.reshape(9, 1, 1, 1))))
    bound = -float(jensen_bound(logits, xp.asarray(labels.reshape(9, 1, 1)))[0])

    def log_likelihood(difference):
        return log_expit((2 * labels - 1) * difference[..., None] * x).sum(axis=-1)

    weights = 0.3**0.5 * NODES
    mean = SHARES @ log_likelihood(1.2 + weights[:, None] - weights) @ SHARES
    d = np.linspace(-24, 24, 4801)
    evidence = np.log(np.exp(log_likelihood(d)) @ norm.pdf(d, 0, 2) * 0.01)
    kl = float(divergence([law])[0])
    assert mean - 1 < bound < mean - 0.05
    assert bound - kl < mean - kl < evidence  # (12.14)
