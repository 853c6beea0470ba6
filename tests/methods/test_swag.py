"""SWAG: what it draws, what SGD scatters, and the running averages of its members."""

import math

import numpy as np
import pytest

import adf
from adf import montecarlo
from adf.backend import to_host, xp
from adf.layers import Parameter
from adf.methods.swag import SGD, Swag
from adf.runs.learners import renew_statistics
from adf.runs.state import flat, put


def collected(iterates, rank=20):
    swag = Swag(iterates.shape[1], rank)
    for weights in iterates:
        swag.collect(weights)
    return swag


def test_moments_and_deviations_are_those_of_the_definitions():
    """Seven iterates; the deviations, each from the mean of its time, are the last three."""
    theta = 100 + np.random.default_rng(0).normal(size=(7, 5))
    swag = collected(theta, rank=3)
    np.testing.assert_allclose(swag.mean, theta.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(swag.squares / 7, theta.var(axis=0), rtol=1e-10)
    off = {tuple(np.float32(theta[i] - theta[: i + 1].mean(axis=0))) for i in (4, 5, 6)}
    kept = sorted(map(tuple, swag.deviations))
    np.testing.assert_allclose(kept, sorted(off), rtol=1e-5, atol=1e-6)


def test_draws_have_the_mean_and_the_whole_covariance():
    """100,000 draws of four weights in two layers, K = 3: 4 means and 10 covariances, bounded."""
    rng, count = np.random.default_rng(1), 100_000
    swag = Swag(4, 3)
    swag.n, swag.mean = 3, rng.normal(size=4)
    swag.squares, swag.deviations = (
        3 * rng.uniform(0.1, 2, 4),
        (1 + rng.normal(size=(3, 4))).astype("f4"),
    )
    draws = np.array([swag.draw(rng) for _ in range(count)])
    d = swag.deviations.astype(float)
    expected = np.diag(swag.squares / 3) / 2 + d.T @ d / (2 * 2)  # (11.14)
    off = draws - swag.mean
    z = off.mean(axis=0) / np.sqrt(np.diag(expected) / count)
    spread = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / count)
    z_covariance = (off.T @ off / count - expected) / spread
    bound = montecarlo.bound(14)
    assert abs(z).max() < bound and abs(z_covariance).max() < bound
    assert abs(expected[0, 1:]).min() > 2 * bound * spread.max()
    assert (swag.draw(rng, scale=0) == swag.mean).all()


def test_a_path_that_stands_still_has_no_width():
    weights = np.random.default_rng(2).normal(size=6)
    swag = collected(np.array([weights] * 5))
    assert (swag.draw(np.random.default_rng(0)) == weights).all()
    one = collected(weights[None])
    assert (one.draw(np.random.default_rng(0)) == weights).all()


def test_of_independent_iterates_it_keeps_that_share_of_the_variance():
    """Of N(0, Sigma), T = K = 20: E[d] = 19 / 20, E[D D^T / 19] = (20 - H_20) / 19 = 0.863.

    50,000 pairs of weights with covariance 0.6; standard errors are those of the pairs.
    """
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 20, 50_000))
    swag = collected(np.concatenate([a, 0.6 * a + 0.8 * b], axis=1))
    d = (swag.squares / swag.n).reshape(2, -1)
    D = swag.deviations.astype(float).reshape(20, 2, -1)
    share = (20 - sum(1 / k for k in range(1, 21))) / 19
    assert share == pytest.approx(0.863, abs=5e-4)
    found = [
        (d[0], 0.95),
        (d[1], 0.95),
        ((D[:, 0] ** 2).sum(axis=0) / 19, share),
        ((D[:, 0] * D[:, 1]).sum(axis=0) / 19, 0.6 * share),
    ]
    z = [(x.mean() - want) / (x.std() / math.sqrt(x.size)) for x, want in found]
    assert np.abs(z).max() < montecarlo.bound(4)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_scatters_as_its_rate_says(momentum):
    """20,000 weights under the same noisy quadratic loss, after 400 steps.

    Var = e C (1 + m) / (h (1 - m) (2 (1 + m) - e h)); at m = 0 that is e^2 C / (1 - (1 - e h)^2).
    """
    e, h, c, count = 0.1, 2.0, 0.2, 20_000
    rng, p = np.random.default_rng(4), Parameter(np.zeros(count))
    optimizer = SGD([p], e, momentum)
    for _ in range(400):
        p.grad = xp.asarray(h * to_host(p.value) + math.sqrt(c) * rng.normal(size=count))
        optimizer.step()
    m = momentum
    expected = e * c * (1 + m) / (h * (1 - m) * (2 * (1 + m) - e * h))
    if m == 0:
        assert expected == pytest.approx(e**2 * c / (1 - (1 - e * h) ** 2), rel=1e-12)  # (11.13)
    z = (float((p.value**2).mean()) / expected - 1) / math.sqrt(2 / count)
    assert abs(z) < montecarlo.bound(1)


def network():
    return adf.Segmenter(adf.UNet(1, 3, (2, 3), norm=True, rng=0), None)


def test_running_averages_are_the_plain_mean_of_the_batches():
    rng, segmenter = np.random.default_rng(5), network()
    batches = [rng.normal(size=(2, 1, 8, 8)) * scale for scale in rng.uniform(1, 3, 7)]
    each = []
    for batch in batches:
        one = network()
        for statistic in one.network.statistics():
            statistic.momentum = 1.0
        one.network.forward(one.input(batch))
        each.append(flat(one.network.statistics()))
    renew_statistics(segmenter, batches)
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(flat(segmenter.network.statistics()), mean, rtol=1e-5, atol=1e-6)
    assert abs(np.array(each) - mean).max() > 1e-3


def test_flat_and_put_are_inverse():
    segmenter = network()
    values = np.random.default_rng(6).normal(size=len(flat(segmenter.parameters())))
    put(segmenter.parameters(), values)
    assert (flat(segmenter.parameters()) == values.astype("float32")).all()
    shapes = [p.value.shape for p in network().parameters()]
    assert [p.value.shape for p in segmenter.parameters()] == shapes
