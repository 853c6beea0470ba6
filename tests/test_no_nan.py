"""Training from scratch never produces a NaN, whatever the learning rate and the noise variance.

The suite takes 60 steps of every combination; ADF_SLOW=1 takes the 300 that are promised.
"""

import functools
import os

import numpy as np
import pytest
from scipy.special import ndtr

import adf
from adf.backend import to_host, xp
from adf.data import synthetic

STEPS = 300 if os.environ.get("ADF_SLOW", "0") == "1" else 60
BATCH, CROP, IMAGES = 4, 32, 16
LEARNING_RATES = (1e-4, 1e-3, 1e-2, 1e-1)
NOISE_VARIANCES = (0.0, 1e-6, 1e-3, 1.0)


@functools.cache
def photographs():
    return synthetic.generate(IMAGES, seed=11)


def crops(step):
    """A batch of crops and their labels; which ones depends on the step alone."""
    images, labels = photographs()
    rng = np.random.default_rng((5, step))
    corners = rng.integers(images.shape[-1] - CROP + 1, size=(BATCH, 2))
    places = [
        (n, ..., slice(top, top + CROP), slice(left, left + CROP))
        for n, (top, left) in zip(rng.integers(IMAGES, size=BATCH), corners, strict=True)
    ]
    return np.stack([images[place] for place in places]), np.stack(
        [labels[place] for place in places]
    )


def train(norm, learning_rate, noise_var, steps=STEPS):
    """A small U-Net from scratch, and its loss at every step.

    train_step raises ValueError where a loss is not finite.
    """
    segmenter = adf.Segmenter(adf.UNet(1, 3, widths=(4, 8), norm=norm), noise_var=noise_var)
    optimizer = adf.Adam(segmenter.parameters(), learning_rate=learning_rate)
    return segmenter, [adf.train_step(segmenter, optimizer, *crops(step)) for step in range(steps)]


@pytest.mark.slow
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm"])
@pytest.mark.parametrize("learning_rate", LEARNING_RATES)
@pytest.mark.parametrize("noise_var", NOISE_VARIANCES)
def test_every_loss_is_finite(norm, learning_rate, noise_var):
    segmenter, losses = train(norm, learning_rate, noise_var)
    assert len(losses) == STEPS and np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < losses[0]  # a network that stands still is finite too
    # the last update no loss has seen: what it left must be finite too
    kept = [p.value for p in segmenter.parameters()] + [
        s.value for s in segmenter.network.statistics()
    ]
    assert all(np.isfinite(to_host(value)).all() for value in kept)
    images, _ = crops(STEPS)
    logits = segmenter.network.predict(segmenter.input(xp.asarray(images)))
    assert np.isfinite(to_host(logits.mean)).all()
    assert np.isfinite(to_host(logits.var)).all() and (to_host(logits.var) >= 0).all()
    assert all(np.isfinite(field).all() for field in adf.predict(segmenter, images))


def textbook_leaky_relu(mean, var, slope):
    """The same moments as E[y^2] - E[y]^2, in the dtype of the input.

    That is what public ADF code computes.
    """
    mean, var, b = to_host(mean), to_host(var), 1 - slope
    sigma = np.sqrt(var)
    z = mean / sigma
    cdf, pdf = ndtr(z), np.exp(-0.5 * z * z) / (2 * np.pi) ** 0.5
    # E[y] and E[y^2] of y = max(x, 0)
    first, second = mean * cdf + sigma * pdf, (mean * mean + var) * cdf + mean * sigma * pdf
    y_mean = slope * mean + b * first
    y_var = slope**2 * (mean * mean + var) + (2 * slope * b + b * b) * second - y_mean * y_mean
    return xp.asarray(y_mean), xp.asarray(y_var)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm"])
def test_the_textbook_variance_does_produce_one(norm, monkeypatch):
    """The control: with variances that cancel, and no floor, the training is stopped.

    A variance below 0 or a NaN stops it.
    """

    def textbook(mean, var, slope):
        return *textbook_leaky_relu(mean, var, slope), *adf.moments.leaky_relu_derivatives(
            mean, var, slope
        )

    monkeypatch.setattr(adf.moments, "leaky_relu_with_derivatives", textbook)
    with pytest.raises(ValueError, match=r"the loss is nan|variances of 0 or more"):
        train(norm, learning_rate=1e-3, noise_var=1e-6)
