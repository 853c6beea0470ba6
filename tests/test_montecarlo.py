"""The public check of layers: what it returns, and that it tells what is right from wrong."""

import numpy as np
import pytest

import adf
from adf import Gaussian, montecarlo
from adf.backend import to_host, xp


def test_standard_errors_are_those_of_repetition():
    """Over 200 repetitions of 1,000 samples the estimates scatter as reported.

    The reported standard errors are right within 25 %.
    """
    x = Gaussian(xp.asarray([[0.3, -1.0]]), xp.asarray([[1.0, 2.0]]))
    runs = [
        montecarlo.compare(adf.LeakyReLU(0.1), x, samples=1000, rng=seed) for seed in range(200)
    ]
    for value, error in (("sampled_mean", "mean_error"), ("sampled_var", "var_error")):
        scatter = np.std([getattr(run, value) for run in runs], axis=0)
        reported = np.mean([getattr(run, error) for run in runs], axis=0)
        np.testing.assert_allclose(scatter, reported, rtol=0.25)
    z = np.concatenate([np.ravel(run.mean_z) for run in runs])
    assert len(z) == 400 and abs(z.mean()) < 5 / 20 and abs(z.std() - 1) < 0.2


def test_chunks_do_not_change_the_samples():
    x = Gaussian(xp.asarray([[0.3, -1.0]]), xp.asarray([[1.0, 2.0]]))
    a, b = (
        montecarlo.compare(adf.LeakyReLU(), x, samples=1000, rng=1, chunk=chunk)
        for chunk in (14, 1 << 20)
    )
    np.testing.assert_allclose(a.sampled_var, b.sampled_var, rtol=1e-12)


def test_certainty_is_no_surprise():
    """Variance 0: sampling and ADF agree to the bit, and z is 0, not NaN."""
    x = Gaussian(xp.asarray([[0.3, -1.0]]), xp.asarray([[0.0, 2.0]]))
    c = montecarlo.compare(adf.LeakyReLU(), x, samples=1000)
    assert c.mean_z[0, 0] == 0 and c.var_z[0, 0] == 0 and c.sampled_var[0, 0] == 0


def test_a_wrong_mean_of_a_certain_value_is_infinitely_wrong():
    class Wrong(adf.Identity):
        def predict(self, x):
            return x if x.var is None else Gaussian(x.mean + 1, x.var)

    c = montecarlo.compare(Wrong(), Gaussian(xp.zeros((1, 2)), xp.zeros((1, 2))), samples=10)
    assert np.isinf(c.mean_z).all()


def test_bound_is_that_of_bonferroni():
    from scipy.stats import norm

    assert montecarlo.bound(1, 0.05) == pytest.approx(1.959964, abs=1e-6)
    assert 2 * norm.sf(montecarlo.bound(1000)) * 1000 == pytest.approx(1e-9)


def test_bad_arguments():
    x = Gaussian(xp.zeros((1, 2)))
    with pytest.raises(ValueError, match="point mass"):
        montecarlo.compare(adf.Identity(), x)
    with pytest.raises(ValueError, match="at least 2"):
        montecarlo.compare(adf.Identity(), Gaussian(x.mean, x.mean), samples=1)


def test_a_whole_network():
    """In a U-Net, ADF neglects correlations.

    The comparison shows it: some |z| is large, the means are near.
    """
    rng = np.random.default_rng(0)
    mean = xp.asarray(rng.normal(size=(1, 1, 8, 8)))
    c = montecarlo.compare(
        adf.UNet(1, 2, widths=(3, 4)), Gaussian(mean, xp.full_like(mean, 0.1)), samples=5000
    )
    assert np.abs(c.var_z).max() > montecarlo.bound(c.var.size)
    assert np.corrcoef(c.mean.ravel(), c.sampled_mean.ravel())[0, 1] > 0.99
    assert to_host(mean).shape == (1, 1, 8, 8) and c.samples == 5000


def test_a_sampled_variance_is_unbiased():
    """20,000 of two samples each: their mean is within 6 standard errors of the variance.

    The variance of two samples of N(0, v) has the standard deviation sqrt(2) v.
    """
    x = Gaussian(xp.zeros((1, 20_000)), xp.full((1, 20_000), 3.0))
    found = montecarlo.compare(adf.Identity(), x, samples=2).sampled_var
    assert abs(found.mean() - 3) < 6 * 3 * np.sqrt(2 / 20_000)
