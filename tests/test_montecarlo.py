"""The public check of layers: what it returns, and that it tells what is right from wrong."""

import math

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


def random_input(seed, spread=3.0, shape=(10, 20)):
    rng = np.random.default_rng(seed)
    mean, std = xp.asarray(rng.normal(size=shape)), xp.asarray(rng.normal(size=shape) / spread)
    return Gaussian(mean, std * std)


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0, 1e-4, 0.01, 0.05, 0.2, 1])
def test_no_false_alarm_where_events_are_rare(slope):
    """Over 10 seeds and means up to 20 sigma from the kink, at the bound of all comparisons."""
    worst, told = 0, []
    for seed in range(10):
        c = montecarlo.compare(adf.LeakyReLU(slope), random_input(seed), samples=10_000, rng=seed)
        z = np.abs([c.mean_z, c.var_z])
        worst = max(worst, np.nanmax(z))
        told.append(np.isfinite(z).mean())
    assert worst < montecarlo.bound(10 * z.size) and np.mean(told) > 0.4, (worst, np.mean(told))
    assert slope < 0.2 or np.mean(told) == 1


@pytest.mark.parametrize("samples", [1000, 20_000])
@pytest.mark.parametrize("slope", [0, 0.001, 0.01])
def test_what_a_sample_has_missed_is_not_held_against_a_layer(slope, samples):
    """A kink some sigma away: the mean number of samples beyond it is 20, 3, 0.3 and less."""
    from scipy.special import ndtri

    t = -ndtri(np.array([20, 3, 0.3, 0.03, 0.001]) / samples)
    x = Gaussian(xp.asarray(np.tile(-t, (40, 1))), xp.ones((40, 5)))
    c = montecarlo.compare(adf.LeakyReLU(slope), x, samples=samples)
    z = np.abs([c.mean_z, c.var_z])
    assert not (z > montecarlo.bound(z.size)).any()
    assert slope or np.isnan(z).all()  # all of the variance lies beyond
    assert np.isfinite(c.var_error).all() and (c.events <= samples).all()


def test_a_single_pixel_that_is_never_seen():
    """The example of a report: Gaussian([-6.], [1.]) gave infinity."""
    x = Gaussian(xp.asarray([[-6.0]]), xp.asarray([[1.0]]))
    c = montecarlo.compare(adf.LeakyReLU(0), x, samples=10_000)
    assert np.isnan(c.mean_z).all() and np.isnan(c.var_z).all() and c.events.tolist() == [[0]]


@pytest.mark.parametrize("layer", [adf.LeakyReLU(0.2), adf.LeakyReLU(0), adf.Identity()])
def test_a_variance_5_percent_too_large_is_found_where_events_are_common(layer):
    class Wrong(adf.Identity):
        def predict(self, x):
            y = layer.predict(x)
            return y if x.var is None else Gaussian(y.mean, 1.05 * y.var)

    x = Gaussian(xp.asarray([[1.0, 0.5, 2.0, 3.0]]), xp.ones((1, 4)))
    for of, is_found in ((Wrong(), True), (layer, False)):
        c = montecarlo.compare(of, x, samples=200_000)
        assert ((np.abs(c.var_z) > montecarlo.bound(8)) == is_found).all(), c.var_z


def test_events_of_gaussians_are_a_third_of_the_samples():
    x = Gaussian(xp.zeros((1, 50)), xp.ones((1, 50)))
    c = montecarlo.compare(adf.Identity(), x, samples=30_000)
    np.testing.assert_allclose(c.events, 10_000, rtol=0.1)


def test_no_power_of_a_large_deviation_overflows():
    for scale in (1e-30, 1e30):
        x = Gaussian(xp.asarray([[0.3 * scale]]), xp.asarray([[scale**2]]))
        c = montecarlo.compare(adf.LeakyReLU(), x, samples=10_000)
        assert 0 < abs(c.var_z.item()) < montecarlo.bound(1) and np.isfinite(c.events).all()


def test_the_moments_beyond_a_threshold_are_those_of_quadrature():
    from scipy.integrate import quad

    for t in (0.0, 1.5, 6.0):
        for order in (1, 2, 4, 8):

            def density(e, t=t, order=order):
                return (e - t) ** order * math.exp(-e * e / 2) / math.sqrt(2 * math.pi)

            exact = quad(density, t, t + 12, epsabs=0, epsrel=1e-10)[0]
            assert float(montecarlo._beyond(np.array(t), order)) == pytest.approx(exact, rel=1e-2)


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


# The rival: a Prediction by samples


def segmenter(noise_var=0.05):
    return adf.Segmenter(adf.UNet(1, 3, widths=(3, 4), rng=2), noise_var)


def one_image():
    return np.random.default_rng(0).normal(size=(1, 1, 16, 16))


@pytest.mark.parametrize("patterns", ["independent", "orthogonal"])
def test_a_linear_network_is_predicted_alike_by_samples_and_by_adf(patterns):
    """One convolution: ADF is exact there, and 4,096 samples are right within their errors."""
    model = adf.Segmenter(adf.Conv2d(1, 3, 3, padding=1, rng=1), 0.2)
    images = np.random.default_rng(1).normal(size=(2, 1, 8, 8))
    by_adf = adf.predict(model, images)
    sampled = montecarlo.sampled(model, images, 4096, rng=3, patterns=patterns)
    assert type(sampled) is type(by_adf)
    for a, b in zip(by_adf[1:], sampled[1:], strict=True):
        assert a.dtype == b.dtype and isinstance(b, np.ndarray)
        np.testing.assert_allclose(b, a, rtol=0.3, atol=0.02)
    assert (sampled.labels == by_adf.labels).mean() > 0.9


def scatter(model, x, samples, patterns, seed):
    """log(variance / the exact one) of all outputs of a linear network."""
    exact = to_host(model.predict(x).var)
    return np.log(to_host(montecarlo.sampled_output(model, x, samples, seed, patterns).var) / exact)


def linear_case(kernel, side=32):
    x = np.random.default_rng(1).normal(size=(1, 1, side, side))
    var = xp.asarray(np.random.default_rng(2).uniform(0.1, 0.3, x.shape))
    return adf.Conv2d(1, 2, kernel, rng=1), Gaussian(xp.asarray(x), var)


@pytest.mark.parametrize("samples, kernel", [(4, (1, 2)), (16, 3), (16, (3, 4)), (64, (8, 7))])
@pytest.mark.parametrize("seed", [0, 1])
def test_orthogonal_patterns_are_exact_where_windows_are_small(samples, kernel, seed):
    """No two pixels of a window have a colour: mean and variance are those of a linear law."""
    model, x = linear_case(kernel)
    y = montecarlo.sampled_output(model, x, samples, seed, "orthogonal")
    exact = model.predict(x)
    np.testing.assert_allclose(to_host(y.var), to_host(exact.var), rtol=1e-6)
    np.testing.assert_allclose(to_host(y.mean), to_host(exact.mean), rtol=1e-6, atol=1e-6)
    independent = scatter(model, x, samples, "independent", seed)
    assert np.std(independent) > 0.8 * np.sqrt(2 / (samples - 1))


@pytest.mark.parametrize("patterns", ["independent", "orthogonal"])
def test_variances_are_unbiased_where_windows_are_large(patterns):
    """Windows of 7 x 7, 4 and 16 samples: the mean of 200 seeds, within 6 standard errors."""
    model, x = linear_case(7, side=8)
    exact = to_host(model.predict(x).var)
    for samples in (4, 16):
        found = np.array(
            [
                to_host(montecarlo.sampled_output(model, x, samples, seed, patterns).var) / exact
                for seed in range(200)
            ]
        )
        error = found.std(axis=0) / np.sqrt(len(found))
        assert (abs(found.mean(axis=0) - 1) < 6 * error).all(), samples


def test_orthogonal_patterns_scatter_less_where_windows_are_larger():
    """Of n pixels of equal weight, ordered pairs of one colour alone scatter: by 2 pairs / n**2.

    81 pixels have 15 * 5 + 6 or 63 + 18: 15 colours make 6 * 6 * 5 + 9 * 5 * 4 pairs, 63 make 36.
    """
    model, x = linear_case(9)
    model.weight.value = xp.ones_like(model.weight.value)
    x = Gaussian(x.mean, xp.full_like(x.var, 0.2))
    for samples, pairs in ((16, 360), (64, 36)):
        independent, orthogonal = (
            np.mean([np.std(scatter(model, x, samples, patterns, seed)) for seed in range(4)])
            for patterns in ("independent", "orthogonal")
        )
        assert independent == pytest.approx(np.sqrt(2 / (samples - 1)), rel=0.2)
        assert orthogonal == pytest.approx(np.sqrt(2 * pairs) / 81, rel=0.2)


def test_neither_threads_nor_batches_change_the_samples(monkeypatch):
    model, images = segmenter(), one_image()
    once = montecarlo.sampled(model, images, 16, 3)
    monkeypatch.setenv("ADF_THREADS", "3")
    monkeypatch.setattr(montecarlo, "COPIES", 5)
    again = montecarlo.sampled(model, images, 16, 3)
    for a, b in zip(once, again, strict=True):
        assert (a == b).all()


def test_samples_by_hand():
    """Mean and variance of the logits of copies that are drawn here, too."""
    model, images = segmenter(), one_image()
    rng = np.random.default_rng(7)
    x = model.input(images)
    noise = [np.sqrt(0.05) * rng.standard_normal(images.shape) for _ in range(5)]
    copies = [Gaussian(x.mean + xp.asarray(n.astype("float32"))) for n in noise]
    logits = np.array([to_host(model.network.predict(c).mean) for c in copies])
    expected = model.read(
        Gaussian(xp.asarray(logits.mean(axis=0)), xp.asarray(logits.var(axis=0, ddof=1)))
    )
    found = montecarlo.sampled(model, images, 5, rng=7)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, to_host(b), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize(
    "noise_var, samples, patterns",
    [
        (None, 16, "independent"),
        (0.1, 1, "independent"),
        (0.1, 8, "orthogonal"),
        (0.1, 9, "orthogonal"),
        (0.1, 36, "orthogonal"),
        (0.1, 16, "random"),
    ],
)
def test_what_cannot_be_sampled_is_refused(noise_var, samples, patterns):
    with pytest.raises(ValueError, match=r"montecarlo\.sampled expects"):
        montecarlo.sampled(segmenter(noise_var), one_image(), samples, patterns=patterns)
