"""Upsampling and dropout: by hand, by definition, by sampling."""

import numpy as np
import pytest

import adf
from adf import Gaussian, montecarlo
from adf.backend import to_host, xp
from adf.layers.gradients import gradient_errors


def test_bilinear_by_hand():
    """Factor 2 of (0, 4) gives 0, 1, 3, 4.

    The variances by squared weights are 1, 9/16 + 1/16, ..., 1.
    """
    x = Gaussian(xp.asarray([[[[0.0, 4.0]]]]), xp.ones((1, 1, 1, 2)))
    y = adf.Upsample((1, 2)).predict(x)
    assert to_host(y.mean).ravel().tolist() == [0, 1, 3, 4]
    assert to_host(y.var).ravel().tolist() == [1, 0.625, 0.625, 1]


def test_unsquared_weights_would_be_2_56_times_too_large():
    """This is so in the interior at factor 2.

    The weights of an edge are added before they are squared: there the factor is 1.
    """
    var = to_host(
        adf.Upsample(2).predict(Gaussian(xp.zeros((1, 1, 8, 8)), xp.ones((1, 1, 8, 8)))).var
    )[0, 0]
    assert 1 / var[7, 7] == pytest.approx(2.56) and var[0, 0] == 1


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_bilinear_is_the_definition(factor):
    """np.interp between pixel centres, which replicates the edges, gives the same.

    It goes along the rows and then along the columns.
    """
    image = np.random.default_rng(0).normal(size=(6, 7))

    def stretch(rows):
        at = (np.arange(rows.shape[1] * factor) + 0.5) / factor - 0.5
        return np.stack([np.interp(at, np.arange(rows.shape[1]), row) for row in rows])

    y = adf.Upsample(factor).predict(Gaussian(xp.asarray(image[None, None])))
    np.testing.assert_allclose(
        to_host(y.mean)[0, 0], stretch(stretch(image).T).T, rtol=1e-12, atol=1e-12
    )  # (2.7)


def test_nearest_copies():
    image = np.arange(6.0).reshape(1, 1, 2, 3)
    y = adf.Upsample((2, 3), "nearest").predict(Gaussian(xp.asarray(image), xp.asarray(image)))
    for field in y:
        assert np.array_equal(to_host(field), image.repeat(2, axis=2).repeat(3, axis=3))


def test_dropout_against_sampled_dropout():
    """200,000 masks and inputs are drawn.

    |z| is within the bound of a false alarm of 1e-9 over all comparisons.
    """
    rng, n = np.random.default_rng(1), 200_000
    mean, var = np.array([-2.0, -0.1, 0.0, 0.5, 3.0]), np.array([0.5, 1.0, 2.0, 0.0, 0.1])
    y = adf.Dropout(0.3).predict(Gaussian(xp.asarray(mean), xp.asarray(var)))
    samples = xp.asarray(mean + np.sqrt(var) * rng.normal(size=(n, 5)))
    out = to_host(adf.Dropout(0.3, sample=True, rng=2).predict(Gaussian(samples)).mean)
    deviation = out - to_host(y.mean)
    for values, want in ((out, to_host(y.mean)), (deviation**2, to_host(y.var))):
        z = (values.mean(axis=0) - want) / (values.std(axis=0) / np.sqrt(n))
        assert np.abs(z).max() < montecarlo.bound(10), z


def test_sampled_dropout_goes_back_through_its_mask():
    layer = adf.Dropout(0.4, sample=True, rng=3)
    x = Gaussian(xp.ones((50, 50)), xp.ones((50, 50)))
    y, backward = layer.forward(x)
    dx = backward(x)
    assert bool((dx.mean == y.mean).all()) and bool((dx.var == y.var).all())
    assert abs(float((y.mean == 0).mean()) - 0.4) < 6 * np.sqrt(0.24 / 2500)
    assert not bool((layer.forward(x)[0].mean == y.mean).all())  # fresh masks


def test_dropout_of_nothing_is_the_identity():
    x = Gaussian(xp.ones((2, 3)), xp.ones((2, 3)))
    for layer in (adf.Dropout(0.0), adf.Dropout(0.0, sample=True)):
        assert bool((layer.predict(x).var == 1).all()) and gradient_errors(layer, x)["x"] < 1e-6


def test_sampled_dropout_scales_a_variance_by_its_mask_squared():
    """A number that is kept at p = 0.75 is 4 times as large, and its variance 16 times."""
    x = Gaussian(xp.full((10, 10), 3.0), xp.full((10, 10), 0.5))
    y = adf.Dropout(0.75, sample=True, rng=4).predict(x)
    kept = to_host(y.mean) != 0
    assert 0 < kept.sum() < 100
    assert set(to_host(y.mean)[kept]) == {12} and set(to_host(y.var)[kept]) == {8}
    assert not to_host(y.var)[~kept].any()
