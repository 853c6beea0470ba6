"""One Gaussian through a kink, two Gaussians through a maximum: two moments and their derivatives.

With x = N(mu, sigma^2), t = |mu| / sigma, phi and Phi the standard normal density and distribution,
everything comes from t >= 0 through

    R0 = Phi(-t) / phi(t)  (the Mills ratio),    R1 = 1 - t R0,    R2 = R0 - t R1,             (3.2)

all positive. For a standard normal e and d = max(e - t, 0) they give

    P = phi R0 = Phi(-t),    G = phi R1 = E[d],    V = phi R2 - G^2 = Var[d].                  (3.3)

R1 and R2 cancel if they are computed so. Their ratio rho = R2 / R1 = E[d^2] / E[d] does not, and it
is the only special function (engine.rho). Then

    G = phi / (1 + t (t + rho)),    P = G (t + rho),    V = G (rho - G),                       (3.7)

where rho is at least twice G. Where two nearly equal numbers are subtracted (1 - 2 P near t = 0), a
larger positive term stands beside them, so no variance needs a floor or a clamp. sigma = 0 is a
legal input and gives the deterministic function: only divisors are kept from 0. The derivatives
with respect to sigma^2 that are infinite there are taken as 0.

Arguments and results are arrays of one shape and one dtype, float32 or float64.
Source of the moments: Gast & Roth, Lightweight Probabilistic Deep Networks, CVPR 2018, section 3.
The form (3.2) to (3.9) is derived in notebooks/03_leaky_relu.ipynb, (4.5) and (4.7) in
04_max_pooling.ipynb.
"""

import inspect
import math
from typing import Any, NamedTuple

from .backend import xp
from .engine import fused, rho

# The largest t used; phi is 0 there anyway. A power of 2, so that 1 / T_MAX is exact.
T_MAX = {"f": 16.0, "d": 64.0}
# Where log phi is below this (t > 12.3, t > 37.1), phi is taken as 0. Otherwise P, G or V would
# become subnormal numbers, which lose digits and take some processors a hundred times as long.
LOG_PDF_MIN = {"f": -76.0, "d": -690.0}
CLIFF = 2.0**20  # how steeply log phi falls from there on
# The largest distance used: that of two large means may overflow, and t is T_MAX long before.
MOST = {"f": 2.0**127, "d": 2.0**1023}
# Stands for a sigma of 0 in a divisor. Any other sigma is the root of a positive float, 2**-74.5 or
# 2**-537 at least, and so is larger than T_MAX times this.
LEAST_SIGMA = {"f": 2.0**-120, "d": 2.0**-600}
ROOT_TAU = math.sqrt(2 * math.pi)


class Tail(NamedTuple):
    """What a standard normal e has beyond t >= 0, with d = max(e - t, 0): the numbers of (3.3)."""

    t: Any
    pdf: Any  # phi(t)
    p: Any  # P = Phi(-t)
    g: Any  # G = E[d]
    v: Any  # V = Var[d]


def tail(distance, sigma):
    """The Tail beyond t = min(distance / sigma, T_MAX), for distance >= 0."""
    code = sigma.dtype.char
    distance = xp.minimum(xp.maximum(distance, LEAST_SIGMA[code]), MOST[code])  # no 0 / 0
    t = distance / xp.maximum(sigma, distance * (1 / T_MAX[code]))
    log_pdf = -0.5 * (t * t)  # but for a constant
    log_pdf = xp.minimum(log_pdf, CLIFF * (log_pdf - LOG_PDF_MIN[code]))
    pdf = xp.exp(log_pdf) * (1 / ROOT_TAU)
    r = rho(t)
    s = t + r  # P / G
    g = pdf / (1 + t * s)
    return Tail(t, pdf, g * s, g, g * (r - g))  # (3.7)


def divisor(sigma):
    """sigma, or LEAST_SIGMA where that is 0."""
    return xp.maximum(sigma, LEAST_SIGMA[sigma.dtype.char])


def with_derivatives(moments, derivatives):
    """One function with the results of both; the fast engine computes only once what they share."""

    def both(*args):
        return *inspect.unwrap(moments)(*args), *inspect.unwrap(derivatives)(*args)

    both.__name__ = moments.__name__ + "_with_derivatives"
    return fused(both)


@fused
def leaky_relu(mean, var, slope):
    """y = x for x > 0, else slope x: exact E[y] and Var[y] for a slope in [0, 1].

    With b = 1 - slope, E[y] = y(mu) + b sigma G, and Var[y] is
    sigma^2 (slope^2 + 2 slope b P + b^2 V) for mu <= 0, sigma^2 (1 - 2 b P + b^2 V) else.     (3.5)
    """
    b = 1 - slope
    sigma = xp.sqrt(var)
    beyond = tail(xp.abs(mean), sigma)
    is_positive = (mean > 0).astype(mean.dtype)
    below = slope * mean if slope else 0.0  # 0 times an infinite mean would be NaN
    y_mean = xp.maximum(mean, below) + b * sigma * beyond.g  # exactly y(mu) at sigma = 0
    # 1 - slope^2 or 0: this makes one expression of both cases of (3.5), without a selection.
    gain = (b * (1 + slope)) * is_positive
    y_var = var * (
        slope * slope + gain + (2 * slope * b - 2 * gain) * beyond.p + (b * b) * beyond.v
    )
    return y_mean, y_var  # (3.5)


@fused
def leaky_relu_derivatives(mean, var, slope):
    """dE/dmu, dVar/dmu, dE/dsigma^2 and dVar/dsigma^2 of y.

    With r = max(x, 0), b = 1 - slope, z = mu / sigma, by Stein's lemma Cov[x, r] = sigma^2 Phi(z):
    dE/dmu = slope + b Phi,    dVar/dmu = 2 slope b sigma phi + 2 b^2 E[r] Phi(-z),
    dE/dsigma^2 = b phi / (2 sigma),
    dVar/dsigma^2 = slope^2 + (1 - slope^2) Phi - b phi E[y] / sigma.                          (3.9)
    """
    b = 1 - slope
    sigma = xp.sqrt(var)
    beyond = tail(xp.abs(mean), sigma)
    is_positive = (mean > 0).astype(mean.dtype)
    # P is the smaller one of Phi(z) and Phi(-z), and so both keep their digits where they are
    # small.
    cdf = beyond.p + is_positive * (1 - 2 * beyond.p)
    cdf_of_minus_z = beyond.p + (1 - is_positive) * (1 - 2 * beyond.p)
    max_z_0 = is_positive * beyond.t
    b_relu_over_sigma = b * (max_z_0 + beyond.g)  # b E[r] / sigma
    y_over_sigma = b_relu_over_sigma + slope * (2 * max_z_0 - beyond.t)  # E[y] / sigma
    mean_by_mean = slope + b * cdf
    mean_by_var = (0.5 * b) * beyond.pdf / divisor(sigma)  # phi is 0 where sigma is 0
    var_by_mean = (2 * b) * sigma * (slope * beyond.pdf + b_relu_over_sigma * cdf_of_minus_z)
    var_by_var = slope * slope + (b * (1 + slope)) * cdf - b * (y_over_sigma * beyond.pdf)
    return mean_by_mean, var_by_mean, mean_by_var, var_by_var  # (3.9)


leaky_relu_with_derivatives = with_derivatives(leaky_relu, leaky_relu_derivatives)


@fused
def maximum(mean_a, var_a, mean_b, var_b):
    """y = max(a, b): exact E[y] and Var[y] for independent a and b.

    With mu the larger mean (a's, of equal ones), v its variance, s^2 = sigma_a^2 + sigma_b^2 and
    t = |mu_a - mu_b| / s:  E[y] = mu + s G,    Var[y] = v (1 - 2 P) + s^2 V.                  (4.5)
    """
    var = var_a + var_b
    s = xp.sqrt(var)
    beyond = tail(xp.abs(mean_a - mean_b), s)
    a_is_larger = (mean_a >= mean_b).astype(mean_a.dtype)
    larger_var = a_is_larger * var_a + (1 - a_is_larger) * var_b
    return xp.maximum(mean_a, mean_b) + s * beyond.g, larger_var * (
        1 - 2 * beyond.p
    ) + var * beyond.v  # (4.5)


@fused
def maximum_derivatives(mean_a, var_a, mean_b, var_b):
    """dE/dmu_a, dVar/dmu_a, dE/dsigma_a^2, dVar/dsigma_a^2, dE/dmu_b and dVar/dsigma_b^2 of y.

    The other two are dVar/dmu_b = -dVar/dmu_a and dE/dsigma_b^2 = dE/dsigma_a^2. For l, the one
    with the larger mean, and k, the other, with q = sigma_l^2 / s^2 and c = phi (G + t q):
    dE/dmu_l = 1 - P,    dE/dmu_k = P,    dE/dsigma^2 = phi / (2 s),
    dVar/dmu_l = -dVar/dmu_k = 2 s (q phi - G (1 - P)),
    dVar/dsigma_l^2 = 1 - P - c,    dVar/dsigma_k^2 = P - c.                                   (4.7)
    """
    var = var_a + var_b
    s = xp.sqrt(var)
    beyond = tail(xp.abs(mean_a - mean_b), s)
    a_is_larger = (mean_a >= mean_b).astype(mean_a.dtype)
    q = (a_is_larger * var_a + (1 - a_is_larger) * var_b) / (var + (var == 0).astype(var.dtype))
    share_a = beyond.p + a_is_larger * (1 - 2 * beyond.p)  # the probability of a > b
    share_b = beyond.p + (1 - a_is_larger) * (1 - 2 * beyond.p)  # the probability of b > a
    c = beyond.pdf * (beyond.g + beyond.t * q)
    var_by_mean = (2 * s) * (q * beyond.pdf - beyond.g * (1 - beyond.p)) * (2 * a_is_larger - 1)
    mean_by_var = 0.5 * beyond.pdf / divisor(s)
    return share_a, var_by_mean, mean_by_var, share_a - c, share_b, share_b - c  # (4.7)


maximum_with_derivatives = with_derivatives(maximum, maximum_derivatives)


@fused
def vector_jacobian_product(dmean, dvar, mean_by_mean, var_by_mean, mean_by_var, var_by_var):
    """dL/dmu and dL/dsigma^2 of an input, from dL/dE[y], dL/dVar[y] and four derivatives."""
    dmu = dmean * mean_by_mean + dvar * var_by_mean
    dsigma2 = dmean * mean_by_var + dvar * var_by_var
    return dmu, dsigma2  # (6.1)
