"""Errors of public code for probabilistic backpropagation, each with the harm that it does.

A test shows that the naive rule is wrong by its stated amount on a stated input, and that ours is
right on the same. The rules are written from their descriptions in words.
"""

import math

import numpy as np
import pytest
from scipy.stats import norm

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.methods.pbp import PBP, tilted
from adf.studies import regression
from adf.data.regression import Split

NOISE = 0.5  # variance, known


def one_weight(n=50):
    """t = 1.3 x + noise, n data; (x, t, mean and variance of w by Bayes' rule from N(0, 1))."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    t = 1.3 * x + math.sqrt(NOISE) * rng.normal(size=n)
    var = 1 / (1 + x @ x / NOISE)
    return x, t, var * (x @ t) / NOISE, var


def by_batches(size):
    """(m, v, how many updates were rejected): gradients are summed over a batch, then squared."""
    x, t, *_ = one_weight()
    m, v, rejected = 0.0, 1.0, 0
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        total = x[part] ** 2 * v + NOISE
        r = t[part] - m * x[part]
        g = (x[part] * r / total).sum()
        h = (x[part] ** 2 * (r * r / total - 1) / (2 * total)).sum()
        new = tilted(m, v, g, h)
        if new[1] > 0:
            m, v = new
        else:
            rejected += 1
    return m, v, rejected


def one_at_a_time():
    """Ours: the model that has met all data once."""
    x, t, *_ = one_weight()
    model = PBP(adf.Sequential(adf.Linear(1, 1, bias=False)))
    model.mean[:], model.var[:], model.noise = 0.0, 1.0, (1e15, 1e15 * NOISE)
    for datum, target in zip(x.tolist(), t.tolist(), strict=True):
        model.step(xp.asarray([[datum]]), target)
    return model


def test_1_the_gradients_of_a_batch_are_summed():
    """The square of a sum has cross terms that nothing cancels."""
    *_, mean, var = one_weight()
    model = one_at_a_time()
    assert model.rejected == 0
    assert model.mean.item() == pytest.approx(mean, rel=1e-9)
    assert model.var.item() == pytest.approx(var, rel=1e-9)
    print(by_batches(1), by_batches(2), by_batches(5), by_batches(10), by_batches(50), mean, var)


def test_2_a_guard_that_compares_with_nan_guards_nothing():
    assert float("nan") != float("nan")
