"""Noise as it is drawn: its covariance, exactly, for it is linear in the white noise behind it."""

import numpy as np
import pytest

from adf.backend import to_host, xp
from adf.layers.noise import correlated, white

SIZE = (5, 6)


class Basis:
    """In the place of a generator: its draws are the unit vectors, one for every number."""

    def standard_normal(self, shape):
        return np.eye(shape[0]).reshape(shape)


def covariance(rho, var):
    """Of the noise of every two pixels, (H W, H W), for variances (H, W)."""
    behind = (SIZE[0] + 2) * (SIZE[1] + 2)
    var = xp.broadcast_to(xp.asarray(var), (behind, 1, *SIZE))
    rows = to_host(correlated(rho)(Basis(), var)).reshape(behind, -1)
    return rows.T @ rows


@pytest.mark.parametrize("rho", [-0.7, -0.2, 0.0, 0.1, 0.45, 0.7])
def test_neighbours_correlate_and_every_pixel_has_its_variance(rho):
    """At borders and corners, too; along rows as along columns; with variances of every size."""
    var = 10 ** np.random.default_rng(1).uniform(-2, 2, SIZE)
    found = covariance(rho, var)
    np.testing.assert_allclose(np.diag(found), var.ravel(), rtol=1e-13)
    found = found / np.sqrt(np.outer(var, var))
    y, x = (np.abs(np.subtract.outer(p, p)) for p in np.indices(SIZE).reshape(2, -1))
    s = rho / (1 + np.sqrt(1 - 2 * rho**2))
    along = np.array([1, rho, s * rho / 2, 0, 0, 0])
    np.testing.assert_allclose(found, along[y] * along[x], atol=1e-13)


def test_what_is_drawn_is_gaussian_of_the_dtype_of_its_variance():
    """Mean, variance and fourth moment of 400,000 numbers, within 5 standard errors.

    Correlated numbers are worth fewer, a fourth: 1 + 2 (rho + s rho / 2) is 2 along either axis.
    """
    for noise in (white, correlated(0.45)):
        var = xp.full((100, 1, 40, 100), 4.0, "float32")
        found = noise(np.random.default_rng(0), var)
        assert found.dtype == "float32" and found.shape == var.shape
        z = to_host(found).astype("float64") / 2
        n = z.size / 4
        assert abs(z.mean()) < 5 / np.sqrt(n)
        assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / n)
        assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)


def test_no_variance_draws_no_noise():
    for noise in (white, correlated(0.3)):
        assert not to_host(noise(np.random.default_rng(0), xp.zeros((2, 1, 3, 3)))).any()


@pytest.mark.parametrize("rho", [0.71, -0.71, float("nan"), float("inf")])
def test_a_correlation_that_cannot_be_is_refused(rho):
    with pytest.raises(ValueError, match=r"expected a correlation of neighbours from -0.7 to 0.7"):
        correlated(rho)
