"""Batch normalisation: its total variance, and its running averages.

Threads do not change them.
"""

import numpy as np
import pytest

import adf
from adf import Gaussian, montecarlo
from adf.backend import to_host, xp
from adf.layers.gradients import cast


def random_input(rng, shape=(4, 3, 6, 5)):
    return Gaussian(xp.asarray(rng.normal(size=shape)), xp.asarray(rng.random(shape)))


def test_a_batch_comes_out_with_mean_0_and_total_variance_1():
    y, _ = cast(adf.BatchNorm2d(3, eps=0.0), "float64").forward(
        random_input(np.random.default_rng(0))
    )
    mean, var = to_host(y.mean), to_host(y.var)
    np.testing.assert_allclose(mean.mean(axis=(0, 2, 3)), 0, atol=1e-14)  # (5.1)
    np.testing.assert_allclose(
        mean.var(axis=(0, 2, 3)) + var.mean(axis=(0, 2, 3)), 1, rtol=1e-12
    )  # (5.3)


def test_total_variance_is_what_samples_show():
    """The batch variance of samples of x is total - mean(v) / n on average.

    There are 20,000 samples; the bound is 6 standard errors.
    """
    rng, layer = np.random.default_rng(1), adf.BatchNorm2d(1, momentum=1)
    x = random_input(rng, (3, 1, 4, 4))
    layer.forward(x)
    mean, std = to_host(x.mean), np.sqrt(to_host(x.var))
    seen = (mean + std * rng.normal(size=(20_000, *mean.shape))).var(axis=(1, 2, 3, 4))
    want = float(layer.running_var.value[0]) - float(x.var.mean()) / mean.size  # (5.2)
    assert abs(seen.mean() - want) < montecarlo.bound(1) * seen.std() / np.sqrt(len(seen))


def test_running_averages():
    rng, layer = np.random.default_rng(2), adf.BatchNorm2d(3)
    x = random_input(rng)
    layer.forward(x)
    mean, var = to_host(x.mean), to_host(x.var)
    total = mean.var(axis=(0, 2, 3)) + var.mean(axis=(0, 2, 3))
    np.testing.assert_allclose(
        to_host(layer.running_mean.value), 0.1 * mean.mean(axis=(0, 2, 3)), rtol=1e-12
    )
    np.testing.assert_allclose(
        to_host(layer.running_var.value), 0.9 + 0.1 * total, rtol=1e-6
    )  # (5.5)
    assert len(layer.parameters()) == 2 and layer.statistics() == [
        layer.running_mean,
        layer.running_var,
    ]


def test_inference_divides_by_the_running_variance():
    """Public code scales the variance by scale**2 alone."""
    layer = cast(adf.BatchNorm2d(1, eps=0.5), "float64")
    layer.scale.value, layer.running_var.value = xp.asarray([3.0]), xp.asarray([1.5])
    y = layer.predict(Gaussian(xp.ones((1, 1, 1, 1)), xp.full((1, 1, 1, 1), 2.0)))
    assert float(y.var[0, 0, 0, 0]) == pytest.approx(9 * 2 / (1.5 + 0.5))


def test_float64_parameters_give_a_float64_layer():
    """So it is whatever the dtype of the running averages.

    running_var + eps must not be rounded to float32.
    """
    layer = cast(adf.BatchNorm2d(1, eps=1e-5), "float64")
    x = Gaussian(xp.ones((1, 1, 1, 1)), xp.ones((1, 1, 1, 1)))
    assert float(layer.predict(x).var[0, 0, 0, 0]) == pytest.approx(1 / (1 + 1e-5), rel=1e-15)


@pytest.mark.parametrize("noise_var", [1e-3, None])
def test_running_averages_of_a_step_are_those_of_its_micro_batches_in_order(noise_var, monkeypatch):
    rng, results = np.random.default_rng(3), []
    images, labels = rng.normal(size=(10, 1, 8, 8)), rng.integers(0, 2, (10, 8, 8))
    for threads in ("1", "2"):
        monkeypatch.setenv("ADF_THREADS", threads)
        model = adf.Segmenter(adf.UNet(1, 2, widths=(3, 4), norm=True), noise_var)
        alone = adf.Segmenter(adf.UNet(1, 2, widths=(3, 4), norm=True), noise_var)
        adf.train_step(model, adf.Adam(model.parameters()), images, labels)
        for start in (0, 4, 8):
            alone.loss(alone.input(images[start : start + 4]), labels[start : start + 4])
        for a, b in zip(model.network.statistics(), alone.network.statistics(), strict=True):
            np.testing.assert_allclose(to_host(a.value), to_host(b.value), rtol=1e-5, atol=1e-7)
            assert a.updates == b.updates == 3
        results.append([to_host(s.value) for s in model.network.statistics()])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_statistics_of_no_image_are_refused_in_training_alone():
    """And those of one value, as in torch: its running variance would say nothing."""
    layer = adf.BatchNorm2d(2)
    for shape in ((0, 2, 3, 3), (1, 2, 1, 1)):
        x = Gaussian(xp.ones(shape, "float32"), xp.ones(shape, "float32"))
        with pytest.raises(ValueError, match="more than one value per channel"):
            layer.forward(x)
        assert layer.predict(x).mean.shape == shape
    y, _ = layer.forward(Gaussian(*xp.ones((2, 2, 2, 1, 1), "float32")))
    assert not to_host(y.mean).any() and to_host(y.var) == pytest.approx(1, rel=1e-4)
