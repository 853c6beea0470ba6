"""Errors of public code about the doubt about weights, each on a stated input.

A function gives the truth, what the naive rule makes of the input, and what this library does, as
those of `mistakes` do; tests/studies/test_known_errors_of_weights.py says what harm they do.
"""

import numpy as np
from scipy.special import entr, softmax

from ... import layers
from ...backend import to_host, xp
from ...gaussian import Gaussian
from ...methods.dropout import Dropout2d
from ...methods.mixture import pooled
from .contrast import Found


def pool(maps):
    """Mean, standard deviation, mutual information of maps (members, N, K, H, W), on the host."""
    return [to_host(field) for field in pooled(xp.asarray(p) for p in maps)]


def logits_averaged():
    """The probabilities of two members that contradict each other, logits (4, 0, 0), (-4, 0, 0)."""
    logits = np.array([[4.0, 0, 0], [-4, 0, 0]])
    truth = [np.exp(4) / (np.exp(4) + 2) / 2 + np.exp(-4) / (np.exp(-4) + 2) / 2]
    ours = pool(softmax(logits, axis=1).reshape(2, 1, 3, 1, 1))[0]
    return Found(truth, softmax(logits.mean(axis=0))[:1], ours.ravel()[:1])


def entropies_subtracted(size=1e-4):
    """Mutual information of 5 members that nearly agree, 10,000 pixels, float32.

    Their logits differ by `size`. The truth is the same difference in long double.
    """
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(3, 10_000)) + size * rng.normal(size=(5, 3, 10_000))
    p = softmax(logits, axis=1).astype("float32")
    ours = pool(p[:, None, :, :, None])[2].ravel()
    return Found(_disagreement(p.astype("longdouble")), _by_entropies(p), ours)


def _by_entropies(p):
    return entr(p.mean(axis=0)).sum(axis=0) - entr(p).sum(axis=1).mean(axis=0)


def _disagreement(p):
    return (p * np.log(p / p.mean(axis=0))).sum(axis=1).mean(axis=0)


def dropout_off():
    """Var[y] over members, y the sum of 6 channels N(0, 1) behind dropout of p = 0.3.

    The naive rule leaves dropout out in prediction, as frameworks do unless they are told.
    """
    x = np.random.default_rng(1).normal(size=6)
    truth = 0.3 / 0.7 * np.sum(x**2)
    layer = Dropout2d(6, 0.3)
    rng = np.random.default_rng(2)
    masks = [None] * 20_000, [layer.draw(rng) for _ in range(20_000)]
    return Found([truth], *([_variance(layer, own, x)] for own in masks))


def _variance(layer, masks, x):
    point = Gaussian(xp.asarray(x.reshape(1, 6, 1, 1)))
    found = []
    for mask in masks:
        layer.mask = mask
        found.append(float(layer.predict(point).mean.sum()))
    return np.var(np.array(found) - found[0])


def training_mode():
    """What batch norm makes of an image of zeros, alone and beside an image of tens.

    The naive rule switches the whole network to training for its dropout, so batch norm takes the
    statistics of the images that it is tested on. The truth is that of the running averages 0, 1.
    """
    norm = layers.BatchNorm2d(1)
    zeros = np.zeros((1, 1, 4, 4), "float32")
    zeros[0, 0, 0, 0] = 1
    beside = np.concatenate([zeros, zeros + 10])
    batches = [Gaussian(xp.asarray(x)) for x in (zeros, beside)]
    ours, theirs = (
        [to_host(y.mean)[0].max() for y in map(apply, batches)]
        for apply in (norm.predict, lambda x: layers.BatchNorm2d(1).forward(x)[0])
    )
    return Found([1, 1], theirs, ours)


def masks_of_pixels():
    """Variance of the mean of a 5 x 5 window of ones behind dropout of p = 0.3.

    The naive rule draws a mask for every pixel, where neighbours say the same: 25 masks average
    out. The truth is that of a channel that is there or not.
    """
    x = Gaussian(xp.ones((20_000, 1, 5, 5)))
    rules = layers.Dropout(0.3, sample=True, rng=0), Dropout2d(1, 0.3, rng=0)
    means = ([to_host(rule.forward(x)[0].mean).mean(axis=(1, 2, 3)).var()] for rule in rules)
    return Found([0.3 / 0.7], *means)
