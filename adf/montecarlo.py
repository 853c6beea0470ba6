"""Check the moments of any layer or network against samples pushed through it: for yours, too.

The samples go through the same layer as point masses.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from .backend import default_rng, to_host, xp
from .gaussian import Gaussian


class Comparison(NamedTuple):
    """Moments by ADF and by sampling, each an array of the shape of y; NumPy, float64."""

    mean: Any  # E[y] by ADF
    var: Any  # Var[y] (sigma^2) by ADF
    sampled_mean: Any
    sampled_var: Any  # unbiased
    mean_error: Any  # standard error of sampled_mean, from the sample itself
    var_error: Any  # standard error of sampled_var, from the fourth moment of the sample
    samples: int

    @property
    def mean_z(self):
        """(sampled_mean - mean) in standard errors; near N(0, 1) where ADF is exact."""
        return _z(self.sampled_mean - self.mean, self.mean_error)

    @property
    def var_z(self):
        """(sampled_var - var) in standard errors; near N(0, 1) where ADF is exact.

        That holds where the tail is well sampled.
        """
        return _z(self.sampled_var - self.var, self.var_error)


def compare(layer, x, samples=100_000, rng=0, chunk=1 << 22):
    """Pushes samples of x through layer.predict, beside layer.predict(x) -> Comparison.

    x: a Gaussian of shape (N, ...). samples: how many of each, at least 2. rng: a seed or a
    generator. chunk: how many numbers are drawn at once. The errors are estimated from the sample:
    for an event of probability p they mean little unless samples * p is some hundreds. Raises
    ValueError on a point mass, which has nothing to sample.
    """
    if x.var is None:
        raise ValueError(
            "montecarlo.compare expects a Gaussian with a variance, got a point mass (var=None)"
        )
    if samples < 2:
        raise ValueError(f"montecarlo.compare expects at least 2 samples, got {samples}")
    y = layer.predict(x).map(lambda field: to_host(field).astype("float64"))
    step = max(1, chunk // max(1, x.mean.size))
    # Powers are summed of what deviates from the first sample: what never varies deviates by 0.
    pivot = None
    sums = [np.zeros(y.mean.shape) for _ in range(4)]
    for out in _pushed(layer, x, samples, default_rng(rng), step):
        pivot = out[0] if pivot is None else pivot
        deviation = out - pivot
        power = 1
        for total in sums:
            power = power * deviation
            total += power.sum(axis=0)
    return _compare(y, pivot, [total / samples for total in sums], samples)


def bound(comparisons, false_alarm=1e-9):
    """The |z| that this many true comparisons exceed with probability false_alarm (Bonferroni)."""
    from scipy.special import ndtri

    return -float(ndtri(false_alarm / (2 * comparisons)))


def _pushed(layer, x, samples, rng, step):
    """Samples of the outputs, `step` at a time: (step, *shape of y), float64, on the host."""
    mean = to_host(x.mean)
    std = np.sqrt(to_host(x.var))
    for start in range(0, samples, step):
        count = min(step, samples - start)
        noise = rng.standard_normal((count, *mean.shape), dtype=mean.dtype)
        points = xp.asarray((mean + std * noise).reshape(-1, *mean.shape[1:]))
        out = to_host(layer.predict(Gaussian(points)).mean).astype("float64")
        yield out.reshape(count, len(mean), *out.shape[1:])


def _compare(y, pivot, moments, n):
    """From the first four moments of y - pivot to mean, variance and their standard errors.

    The pivot lies a few sigma from the mean at most.
    """
    m1, m2, m3, m4 = moments
    var = m2 - m1 * m1
    # At least var**2, but for rounding where y has two values.
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    return Comparison(
        mean=y.mean,
        var=y.var,
        sampled_mean=pivot + m1,
        sampled_var=var * n / (n - 1),
        mean_error=np.sqrt(var / n),
        var_error=np.sqrt(np.maximum(fourth - var**2, 0) / n),
        samples=n,
    )


def _z(difference, error):
    """difference / error; 0 / 0, where sampling and ADF agree on a certain value, counts as 0."""
    scale = np.where(error > 0, error, 1)
    is_impossible = (error == 0) & (difference != 0)
    return np.where(is_impossible, np.copysign(math.inf, difference), difference / scale)
