"""How many samples is a variance worth?

A variance v that is estimated from K samples of a Gaussian scatters around the true one: log v has
the variance psi'((K - 1) / 2), trigamma, which is near 2 / (K - 1). So variances by any other means
whose log(v / true) has this variance over the outputs are worth K samples. A factor that they all
have in common does not count: it is the median that tells of it.
"""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma


def log_bias(samples):
    """How much too low the logarithm of a variance from so many samples is, on average."""
    if samples == math.inf:
        return 0.0
    half = (samples - 1) / 2
    return float(math.log(half) - digamma(half))


def log_scatter(samples):
    """The variance of the logarithm of a variance from so many samples of a Gaussian."""
    return 0.0 if samples == math.inf else float(polygamma(1, (samples - 1) / 2))


def worth(ratio, samples=math.inf):
    """How many samples variances are worth, by their ratios to the true ones.

    samples: of how many the true variances were estimated; their own scatter is taken off. Infinite
    where nothing is left: the truth is too rough to tell. NaN for fewer than 2 ratios.
    """
    if len(ratio) < 2:
        return math.nan
    scatter = np.var(np.log(ratio), ddof=1) - log_scatter(samples)
    return from_scatter(scatter)


def from_scatter(scatter):
    """The number of samples K of which a variance has log_scatter(K) = scatter."""
    if scatter < 1e-9:
        return math.inf  # to all that rounding lets one tell
    # 1 / x < psi'(x) < 1 / x + 1 / x**2, which encloses x = (K - 1) / 2.
    low = 1 / scatter
    high = (1 + math.sqrt(1 + 4 * scatter)) / (2 * scatter)
    return 1 + 2 * brentq(lambda x: polygamma(1, x) - scatter, low, high)  # (9.18)
