"""The head and its likelihood: by SciPy, by gradient, at the extremes.

The uncertainties are tested by sampling.
"""

import numpy as np
import pytest
from scipy import stats

from adf import Dirichlet, DirichletHead, Gaussian
from adf.backend import to_host, xp
from adf.dirichlet import cross_entropy, dirichlet_nll
from adf.layers.gradients import random_like

SMOOTHING = 0.01


def logits(rng, shape=(2, 3, 4, 5), dtype="float64"):
    return Gaussian(
        *(xp.asarray(f.astype(dtype)) for f in (3 * rng.normal(size=shape), 2 * rng.random(shape)))
    )


def head(raw1=-1.0, raw2=0.5):
    layer = DirichletHead()
    layer.c1.value, layer.c2.value = xp.full(1, raw1, "float64"), xp.full(1, raw2, "float64")
    return layer


def test_concentration_is_the_formula():
    x = logits(np.random.default_rng(0))
    alpha = np.exp(to_host(head().predict(x).mean))
    mu, v = (to_host(f) for f in x)
    m = np.exp(mu) / np.exp(mu).sum(axis=1, keepdims=True)
    s = np.log1p(np.exp(-1)) + np.log1p(np.exp(0.5)) * np.sqrt((m * v).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(alpha, m / s, rtol=1e-13)  # (7.1)


def test_evidence_falls_with_the_variance():
    """alpha_0 = 1 / s: one published script has it the other way round."""
    x = logits(np.random.default_rng(0))
    low, high = (
        xp.exp(head().predict(Gaussian(x.mean, k * x.var)).mean).sum(axis=1) for k in (1, 4)
    )
    assert bool((high < low).all())


def test_likelihood_is_that_of_scipy():
    rng = np.random.default_rng(1)
    alpha, labels = rng.gamma(2.0, size=(2, 3, 4, 5)) + 0.01, rng.integers(0, 3, (2, 4, 5))
    loss, _ = dirichlet_nll(xp.log(xp.asarray(alpha)), xp.asarray(labels), SMOOTHING)
    target = (1 - SMOOTHING) * np.eye(3) + SMOOTHING / 3  # (7.9)
    want = sum(
        -stats.dirichlet(alpha[n, :, i, j]).logpdf(target[labels[n, i, j]])
        for n, i, j in np.ndindex(labels.shape)
    )
    np.testing.assert_allclose(float(loss), want, rtol=1e-12)  # (7.8)


def test_cross_entropy_is_that_of_scipy():
    rng = np.random.default_rng(1)
    mu, labels = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    loss, backward = cross_entropy(xp.asarray(mu), xp.asarray(labels))
    p = np.exp(mu) / np.exp(mu).sum(axis=1, keepdims=True)
    picked = np.take_along_axis(p, labels[:, None], axis=1)
    np.testing.assert_allclose(float(loss), -np.log(picked).sum(), rtol=1e-12)
    want = 0.7 * (p - np.moveaxis(np.eye(3)[labels], -1, 1))
    np.testing.assert_allclose(to_host(backward(0.7)), want, rtol=1e-12, atol=1e-14)


def test_gradient_of_head_and_likelihood():
    """Random directions through both; the upstream gradient of a loss is a number, drawn too."""
    rng = np.random.default_rng(2)
    layer, x, labels = head(), logits(rng), xp.asarray(rng.integers(0, 3, (2, 4, 5)))

    def loss(x):
        return 0.37 * float(dirichlet_nll(layer.predict(x).mean, labels, SMOOTHING)[0])

    log_alpha, back = layer.forward(x)
    dx = back(Gaussian(dirichlet_nll(log_alpha.mean, labels, SMOOTHING)[1](0.37)))
    step = 1e-6
    for field in (0, 1):
        d = random_like(rng, x)[field]
        up, down = (loss(x._replace(**{x._fields[field]: x[field] + h * d})) for h in (step, -step))
        np.testing.assert_allclose(
            (up - down) / (2 * step), float((dx[field] * d).sum()), rtol=1e-6
        )  # (7.14)
    for p in layer.parameters():
        p.value = p.value + step
        up = loss(x)
        p.value = p.value - 2 * step
        down = loss(x)
        p.value = p.value + step
        np.testing.assert_allclose((up - down) / (2 * step), float(p.grad[0]), rtol=1e-6)


def test_gradient_of_the_head_alone():
    """dy random: a likelihood as the only upstream gradient could hide an error."""
    rng = np.random.default_rng(3)
    layer, x = head(), logits(rng)
    y, back = layer.forward(x)
    dy = Gaussian(xp.asarray(rng.normal(size=y.mean.shape)))
    dx, direction, step = back(dy), random_like(rng, x), 1e-6
    up, down = (
        float(
            (
                layer.predict(
                    Gaussian(*(f + h * d for f, d in zip(x, direction, strict=True)))
                ).mean
                * dy.mean
            ).sum()
        )
        for h in (step, -step)
    )
    analytic = sum(float((f * d).sum()) for f, d in zip(dx, direction, strict=True))
    np.testing.assert_allclose((up - down) / (2 * step), analytic, rtol=1e-6)  # (7.11), (7.12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("raw", [-20.0, -7.0, -3.0, 5.0])
def test_finite_at_the_extremes(raw, dtype):
    """Loss, gradients and the printed quantities are finite.

    Logits go to +-1e4, variances from 0 to 1e6, and any label occurs.
    """
    values = np.array([-1e4, -200, -85, -1, 0, 85, 1e4])
    a, b, c = (g.ravel() for g in np.meshgrid(values, values, values))
    for var in ((0, 0, 0), (1e-12, 1e-12, 1e-12), (0, 1e-12, 1), (0, 1e6, 1e6), (1e6, 1e6, 1e6)):
        mean = xp.asarray(np.stack([a, b, c])[None, :, None, :].astype(dtype))
        x = Gaussian(
            mean, xp.zeros_like(mean) + xp.asarray(np.array(var, dtype).reshape(1, 3, 1, 1))
        )
        layer = DirichletHead(raw)
        for label in range(3):
            log_alpha, back = layer.forward(x)
            loss, loss_back = dirichlet_nll(
                log_alpha.mean, xp.full((1, 1, a.size), label), SMOOTHING
            )
            dx = back(Gaussian(loss_back(1.0)))
            assert np.isfinite(float(loss)) and all(bool(xp.isfinite(f).all()) for f in dx)
            assert dx.mean.dtype == dx.var.dtype == dtype
            assert all(bool(xp.isfinite(p.grad).all()) for p in layer.parameters())
        d = Dirichlet(xp.exp(log_alpha.mean))
        for field in (
            d.probabilities,
            d.class_std,
            d.entropy,
            d.expected_entropy,
            d.mutual_information,
        ):
            assert bool(xp.isfinite(field).all())


def test_two_classes_are_equally_uncertain():
    """p_2 = 1 - p_1: where p_1 is nearly 1, 1 - p_1 must keep its digits."""
    for gap in (1, 20, 34, 38, 300):
        alpha = np.exp(np.array([0.0, -gap])) / 0.05
        std = to_host(Dirichlet(xp.asarray(alpha.reshape(1, 2, 1, 1))).class_std).ravel()
        assert std[0] > 0 and std[0] == pytest.approx(std[1], rel=1e-13)


def test_likelihood_where_every_concentration_underflows():
    log_alpha = xp.full((1, 3, 1, 1), -800.0)
    loss, backward = dirichlet_nll(log_alpha, xp.zeros((1, 1, 1), "int64"), SMOOTHING)
    assert np.isfinite(float(loss)) and bool(xp.isfinite(backward(1.0)).all())  # (7.13)


def test_bad_head_input():
    with pytest.raises(ValueError, match="-30 to 30"):
        DirichletHead(-800.0)
    with pytest.raises(ValueError, match="a point mass"):
        head().predict(Gaussian(xp.zeros((1, 3, 1, 1))))


def test_uncertainties_against_samples():
    """200,000 are drawn of each of four Dirichlets.

    The bound is 6 standard errors of each quantity (2e-9 two-sided).
    """
    rng, n = np.random.default_rng(4), 200_000
    alpha = np.array([[0.3, 0.5, 0.2], [1, 1, 1], [2, 5, 9], [100, 150, 50]])
    d = Dirichlet(xp.asarray(alpha.T[None, :, None, :]))
    for i, a in enumerate(alpha):
        p = rng.dirichlet(a, n)
        entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1)
        for got, sample in (
            (d.probabilities[0, :, 0, i], p),  # (7.3)
            (d.class_std[0, :, 0, i] ** 2, (p - p.mean(axis=0)) ** 2),  # (7.4)
            (d.expected_entropy[0, 0, i], entropy),  # (7.6)
        ):
            error = sample.std(axis=0) / np.sqrt(n)
            assert np.all(np.abs(to_host(got) - sample.mean(axis=0)) < 6 * error)
    m = alpha / alpha.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(to_host(d.entropy)[0, 0], -(m * np.log(m)).sum(axis=1), rtol=1e-12)
    information = to_host(d.mutual_information)[0, 0]
    np.testing.assert_allclose(information, to_host(d.entropy - d.expected_entropy)[0, 0])  # (7.7)
    # more evidence, less left to learn
    assert np.all(np.diff(information[1:]) < 0) and np.all(information > 0)


def test_a_new_head_is_moderately_sure():
    """Logits without variance have alpha_0 = 1 / log(1 + exp(-3)) = 20.6, whatever their means."""
    x = Gaussian(
        xp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 4))), xp.zeros((2, 3, 4, 4))
    )
    alpha = to_host(xp.exp(DirichletHead().predict(x).mean))
    np.testing.assert_allclose(alpha.sum(axis=1), 1 / np.log1p(np.exp(-3)), rtol=1e-12)


def test_raw_numbers_end_at_thirty():
    """There c is 1e-13, or 30: alpha_0 is 1e13 or 1/30, and all is finite."""
    x = Gaussian(xp.zeros((1, 2, 1, 1)), xp.zeros((1, 2, 1, 1)))
    for raw, strength in ((-30, 1.0686e13), (30, 1 / 30)):
        alpha = to_host(xp.exp(DirichletHead(raw).predict(x).mean))
        assert alpha.sum() == pytest.approx(strength, rel=1e-4)
        for beyond in (1.001 * raw, raw * np.inf):
            with pytest.raises(ValueError, match="from -30 to 30"):
                DirichletHead(beyond)


def test_a_head_of_no_class_is_refused_and_one_of_no_image_is_not():
    with pytest.raises(ValueError, match="at least one class"):
        DirichletHead().predict(Gaussian(xp.zeros((2, 0, 3, 3)), xp.zeros((2, 0, 3, 3))))
    none = Gaussian(xp.zeros((0, 2, 3, 3)), xp.zeros((0, 2, 3, 3)))
    assert DirichletHead().predict(none).mean.shape == (0, 2, 3, 3)
