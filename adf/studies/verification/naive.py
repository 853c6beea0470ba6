"""The wrong rules of public ADF code, each written from its description in words.

`mistakes` and the tests show what they give; the right rules are in adf.layers. A wrong rule works
in NumPy, in the floating point of its arguments, as its users have it. The rules for moments return
E[y] and Var[y], the other rules a variance.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf, ndtr

from ...backend import to_host, xp
from ...gaussian import Gaussian

FLOOR = 1e-3  # what rule 4 adds to every variance


def phi(z):
    """The density of N(0, 1)."""
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def cdf_by_erf(z):
    """Phi, without digits in the lower tail."""
    return (1 + erf(z / math.sqrt(2))) / 2


def relu(mean, sigma, cdf=cdf_by_erf):
    """1. y = max(x, 0), with Var as E[y^2] - E[y]^2."""
    z = mean / sigma
    first = mean * cdf(z) + sigma * phi(z)
    return first, (mean**2 + sigma**2) * cdf(z) + mean * sigma * phi(z) - first**2


def leaky_relu(mean, sigma, slope, cdf=cdf_by_erf):
    """2. y = max(x, 0) - slope max(-x, 0): each part as above, and their covariance."""
    up, up_var = relu(mean, sigma, cdf)
    down, down_var = relu(-mean, sigma, cdf)
    return up - slope * down, up_var + slope**2 * down_var + 2 * slope * up * down


def maximum(mean_a, var_a, mean_b, var_b, cdf=cdf_by_erf):
    """3. Clark's first and second moment of max(a, b), and Var as their E[y^2] - E[y]^2."""
    s = np.sqrt(var_a + var_b)
    d = (mean_a - mean_b) / s
    p = cdf(d)
    q = cdf(-d)
    first = mean_a * p + mean_b * q + s * phi(d)
    second = (mean_a**2 + var_a) * p + (mean_b**2 + var_b) * q + (mean_a + mean_b) * s * phi(d)
    return first, second - first**2


def floored(layers, x):
    """4. The usual cure of 1 to 3: after every layer, add a constant to every variance."""
    for layer in layers:
        y = layer.predict(x)
        x = Gaussian(y.mean, y.var + FLOOR)
    return x


def batch_norm(var, scale):
    """5. The variance times the weight squared, never divided by (running variance + eps)."""
    return scale**2 * var


def average_pool(var, kernel, stride, padding, divisions=1):
    """6. The average of a window's variances, divided by the pixels of the image, (H, W).

    Some public code divides twice: divisions = 2.
    """
    windows = sliding_window_view(np.pad(var, padding), kernel)[::stride, ::stride]
    return windows.mean(axis=(2, 3)) / var.size**divisions


def upsample(layer, var):
    """7. Variances (H, W) interpolated as if they were means: with weights that are not squared."""
    return to_host(layer.predict(Gaussian(xp.asarray(var)[None, None])).mean)[0, 0]


def softmax(mean, var):
    """8. Mean and variance of exp(x_k), log-normal, divided by the sum of the means (squared)."""
    first = np.exp(mean + var / 2)
    total = first.sum()
    return first / total, np.exp(2 * mean + var) * (np.exp(var) - 1) / total**2


def concentration(mean, var, c1, c2):
    """9. alpha = m / s with s = 1 / (c1 + c2 std): evidence that grows with the variance.

    The classes are on axis 1.
    """
    m = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    return m / (1 / (c1 + c2 * np.sqrt(var)))


def dropout(var):
    """10. A mask that is all ones."""
    return var * np.ones_like(var) ** 2


def residual(out, shortcut):
    """10. `out += shortcut` on tuples (mean, variance).

    This concatenates them, and a reader takes the first two.
    """
    out += shortcut
    return out


def largest(mean, var):
    """11. The largest of many, on axis 0: one after the other, every winner taken for a Gaussian.

    The pairs are computed with SciPy's ndtr.
    """
    winner = (mean[0], var[0])
    for entry in zip(mean[1:], var[1:], strict=True):
        winner = maximum(*winner, *entry, ndtr)
    return winner
