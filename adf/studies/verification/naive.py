"""The wrong rules of public ADF code, each written from its description in words: what `mistakes` and the tests show.

NumPy, in the floating point of the arguments, as their users have it. The moments return E[y] and Var[y], the other
rules a variance. What the right rules would be: adf.layers.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf, ndtr

from ...backend import to_host, xp
from ...gaussian import Gaussian

FLOOR = 1e-3


def phi(z):
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
    (up, up_var), (down, down_var) = relu(mean, sigma, cdf), relu(-mean, sigma, cdf)
    return up - slope * down, up_var + slope**2 * down_var + 2 * slope * up * down


def maximum(mean_a, var_a, mean_b, var_b, cdf=cdf_by_erf):
    """3. Clark's first and second moment of max(a, b), and Var as their E[y^2] - E[y]^2."""
    s = np.sqrt(var_a + var_b)
    d = (mean_a - mean_b) / s
    p, q = cdf(d), cdf(-d)
    first = mean_a * p + mean_b * q + s * phi(d)
    return first, (mean_a**2 + var_a) * p + (mean_b**2 + var_b) * q + (mean_a + mean_b) * s * phi(
        d
    ) - first**2


def floored(layers, x):
    """4. The usual cure of 1 to 3: after every layer, add a constant to every variance."""
    for layer in layers:
        y = layer.predict(x)
        x = Gaussian(y.mean, y.var + FLOOR)
    return x


def batch_norm(var, scale):
    """5. Times the weight squared, and never divided by (running variance + eps)."""
    return scale**2 * var


def average_pool(var, kernel, stride, padding, divisions=1):
    """6. The average of a window's variances, divided by the pixels of the image, (H, W); by some, twice."""
    windows = sliding_window_view(np.pad(var, padding), kernel)[::stride, ::stride]
    return windows.mean(axis=(2, 3)) / var.size**divisions


def upsample(layer, var):
    """7. Variances (H, W) interpolated as if they were means: weights that are not squared."""
    return to_host(layer.predict(Gaussian(xp.asarray(var)[None, None])).mean)[0, 0]


def softmax(mean, var):
    """8. Mean and variance of exp(x_k), log-normal, each divided by the sum of the means (squared)."""
    first, total = np.exp(mean + var / 2), np.exp(mean + var / 2).sum()
    return first / total, np.exp(2 * mean + var) * (np.exp(var) - 1) / total**2


def concentration(mean, var, c1, c2):
    """9. alpha = m / s with s = 1 / (c1 + c2 std): evidence that grows with the variance. Classes on axis 1."""
    m = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    return m / (1 / (c1 + c2 * np.sqrt(var)))


def dropout(var):
    """10. A mask that is all ones."""
    return var * np.ones_like(var) ** 2


def residual(out, shortcut):
    """10. `out += shortcut` on tuples (mean, variance), which concatenates; a reader takes the first two."""
    out += shortcut
    return out


def largest(mean, var):
    """11. Of many, axis 0: one after the other, every winner taken for a Gaussian; the pairs by SciPy's ndtr."""
    winner = mean[0], var[0]
    for entry in zip(mean[1:], var[1:], strict=True):
        winner = maximum(*winner, *entry, ndtr)
    return winner
