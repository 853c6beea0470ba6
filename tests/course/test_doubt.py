"""Lesson 11: its equations of a line through points, and the networks that it brings."""

import itertools

import members
import numpy as np
import pytest

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.data.synthetic import generate
from adf.methods.dropout import Dropout2d
from adf.methods.mixture import Mixture
from adf.montecarlo import bound
from adf.runs.state import flat


def line():
    """Features (1, x) of five points, and their targets."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 3, 5)
    return np.stack([np.ones(5), x], axis=1), rng.normal(size=5) + x


def test_the_posterior_is_what_lines_of_the_prior_leave_that_are_accepted():
    """Accepted with the probability of their data: m, covariance, doubt at x = 4, each bounded."""
    phi, t = line()
    noise_var, prior_var = 0.5, 2.0
    covariance = np.linalg.inv(phi.T @ phi / noise_var + np.eye(2) / prior_var)
    m = covariance @ phi.T @ t / noise_var  # (11.5)
    doubt = np.array([1, 4]) @ covariance @ np.array([1, 4])  # (11.6)
    rng = np.random.default_rng(1)
    w = np.sqrt(prior_var) * rng.normal(size=(1_000_000, 2))
    squares = ((t - w @ phi.T) ** 2).sum(axis=1) / noise_var
    w = w[rng.random(len(w)) < np.exp(-(squares - squares.min()) / 2)]
    n = len(w)
    limit = bound(6)
    assert n > 10_000 and (doubt, -covariance[0, 1]) > (0.5, 0.05)
    diagonal = np.diag(covariance)
    assert (abs(w.mean(axis=0) - m) < limit * np.sqrt(diagonal / n)).all()
    spread = np.sqrt((np.outer(diagonal, diagonal) + covariance**2) / n)
    assert (abs(np.cov(w.T) - covariance) < limit * spread).all()
    assert abs((w @ [1, 4]).var() / doubt - 1) < limit * np.sqrt(2 / n)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_a_line_behind_dropout(p):
    """Over all masks of the layer: the variance of a line, and the line of the least squares."""
    phi, t = line()
    k, gram = p / (1 - p), phi.T @ phi
    w = np.linalg.solve(gram + k * np.diag(np.diag(gram)), phi.T @ t)
    layer = Dropout2d(2, p)
    kept = np.array(list(itertools.product((0, 1), repeat=2)))
    chance = np.prod(np.where(kept, 1 - p, p), axis=1)

    def lines(w):
        found = []
        for layer.mask in kept / (1 - p):
            features = layer.predict(Gaussian(xp.asarray(phi[..., None, None]))).mean
            found.append(to_host(features)[..., 0, 0] @ w)
        return np.array(found)

    y = lines(w)
    mean = chance @ y
    np.testing.assert_allclose(mean, phi @ w, rtol=1e-13)
    np.testing.assert_allclose(chance @ (y - mean) ** 2, k * phi**2 @ w**2, rtol=1e-12)  # (11.11)

    def squares(w):
        return chance @ ((lines(w) - t) ** 2).sum(axis=1)

    for step in np.eye(2) * 1e-4:
        slope = (squares(w + step) - squares(w - step)) / 2e-4
        assert abs(slope) < 1e-7 < abs(squares(w + 1e3 * step) - squares(w))  # (11.12)


def test_the_networks_of_the_lesson_segment_images_that_none_has_seen():
    images, labels = generate(4, seed=98)
    mean, sigma = members.bayes()
    five = members.ensemble()
    for segmenter in (*five, members.dropped(), mean):
        assert (adf.predict(segmenter, images).labels == labels).mean() > 0.75
    together = adf.predict(Mixture(five), images)
    assert (together.labels == labels).mean() > 0.8 and together.mutual_information.mean() > 0.005
    assert len({tuple(flat(one.network.parameters())) for one in five}) == 5
    weights = flat(mean.network.parameters())
    assert sigma.shape == weights.shape and (sigma >= 0).all()
    assert 0 < (sigma == 0).mean() < 0.1  # batch norm's scales and shifts are points


def test_batches_are_crops_of_the_same_images():
    one, again, other = (next(members.batches(seed)) for seed in (1, 1, 2))
    assert one[0].shape == (4, 1, 64, 64) and one[1].shape == (4, 64, 64)
    assert (one[0] == again[0]).all() and (one[0] != other[0]).any()
