"""One Gaussian through a kink, two Gaussians through a maximum: the first two moments and their derivatives.

With x = N(mu, sigma^2), t = |mu| / sigma, phi and Phi the standard normal density and distribution, everything comes
from t >= 0 through

    R0 = Phi(-t) / phi(t)  (the Mills ratio),    R1 = 1 - t R0,    R2 = R0 - t R1,                             (3.2)

all positive: for a standard normal e and d = max(e - t, 0),

    P = phi R0 = Phi(-t),   G = phi R1 = E[d],   V = phi R2 - G^2 = Var[d].                                    (3.3)

Only rho = R2 / R1 = E[d^2] / E[d] is approximated, by a ratio of two polynomials with positive coefficients. Then

    G = phi / (1 + t (t + rho)),   P = G (t + rho),   V = G (rho - G),                                         (3.7)

where rho is at least twice G: no difference of two nearly equal numbers is ever left alone, so no variance needs a
floor or a clamp. Where phi is so small that P, G or V would leave the range of full precision, it is taken as 0: below
exp(-76), t > 12.3, in float32; exp(-690), t > 37.1, in float64. Smaller (subnormal) numbers lose their digits, and some
processors take a hundred times as long for each. sigma = 0 is a legal input and gives the deterministic function (t is
CAP there). The derivatives with respect to sigma^2 that are infinite at sigma = 0 are taken as 0.

Arguments and results are arrays of one shape and one dtype, float32 or float64.
Source of the moments: Gast & Roth, Lightweight Probabilistic Deep Networks, CVPR 2018, section 3; the form (3.2) to
(3.9) is derived in notebooks/03_leaky_relu.ipynb; (4.5), (4.7) in 04_max_pooling.ipynb.
"""

import math

from .backend import fused, xp

CAP = {"f": 16.0, "d": 64.0}  # powers of 2; every t beyond is as far as this one, where phi is 0
VANISHING = {"f": -76.0, "d": -690.0}  # where -t^2 / 2 is below, phi is taken as 0
STEEP = 2.0**20
TINY = {"f": 2.0**-120, "d": 2.0**-600}  # nothing beside CAP times the least sigma, a root
ROOT_TAU = math.sqrt(2 * math.pi)

# rho(t): a polynomial of degree 4 (float32) or 10 (float64) over one of a degree more, lowest power first. Made by
# tests/fit_mills.py.
RATIO = {
    "f": (
        (1.253314154194885, 0.7015111262635073, 0.20969008308194778, 0.0351121827950951, 0.002863913535019417),
        (1.0, 0.9021805741862378, 0.40546285380840064, 0.10901792083982839, 0.01756037368787323, 0.0014318920092502717),
    ),
    "d": (
        (
            1.2533141373155003,
            1.534090639359895,
            0.9654814728307457,
            0.4006844109483662,
            0.11986691592643423,
            0.026818619321393657,
            0.004530470424729315,
            0.0005706467670655211,
            5.146729010102441e-05,
            3.0250206908553954e-06,
            8.938429906690549e-08,
        ),
        (
            1.0,
            1.5664822203076878,
            1.2359960782643384,
            0.6380757265083297,
            0.23730972053703292,
            0.06642518196050351,
            0.014247129831543281,
            0.00234189983836803,
            0.000289860914624887,
            2.5867721498488326e-05,
            1.5125103454318617e-06,
            4.4692149533440305e-08,
        ),
    ),
}


def polynomial(coefficients, t):
    """Horner's rule, lowest power first."""
    *others, y = coefficients
    for c in reversed(others):
        y = y * t + c
    return y


def ratio(t):
    """rho of (3.7) for t from 0 to CAP, right to a few units in the last place: all that is summed is positive."""
    numerator, denominator = (polynomial(coefficients, t) for coefficients in RATIO[t.dtype.char])
    return numerator / denominator  # (3.8)


def divisor(sigma):
    """sigma, or TINY where that is 0."""
    return xp.maximum(sigma, TINY[sigma.dtype.char])


def tail(distance, sigma):
    """t = distance / sigma (at most CAP, and CAP where sigma is 0), phi(t), and P, G, V of (3.3), for distance >= 0."""
    code = sigma.dtype.char
    distance = xp.maximum(distance, TINY[code])
    t = distance / xp.maximum(sigma, distance * (1 / CAP[code]))
    exponent = -0.5 * (t * t)
    exponent = xp.minimum(exponent, STEEP * (exponent - VANISHING[code]))  # a cliff from there on
    pdf = xp.exp(exponent) * (1 / ROOT_TAU)
    rho = ratio(t)
    s = t + rho  # P / G
    g = pdf / (1 + t * s)
    return t, pdf, g * s, g, g * (rho - g)  # (3.7)


def together(moments, derivatives):
    """The results of both, for a training step: what they have in common is computed once."""

    def both(*args):
        return *moments.__wrapped__(*args), *derivatives.__wrapped__(*args)

    both.__name__ = moments.__name__ + "_with_derivatives"
    return fused(both)


@fused
def leaky_relu(mean, var, slope):
    """y = x for x > 0, else slope x: exact E[y] and Var[y] for a slope in [0, 1].

    With b = 1 - slope:  E[y] = y(mu) + b sigma G,
    Var[y] = sigma^2 (slope^2 + 2 slope b P + b^2 V) for mu <= 0,  sigma^2 (1 - 2 b P + b^2 V) for mu > 0.      (3.5)
    """
    b = 1 - slope
    sigma = xp.sqrt(var)
    _, _, p, g, v = tail(xp.abs(mean), sigma)
    right = (mean > 0).astype(mean.dtype)
    y_mean = xp.maximum(mean, slope * mean) + b * sigma * g  # exactly y(mu) at sigma = 0
    gain = (b * (1 + slope)) * right  # 1 - slope^2 or 0: both cases of (3.5) in one, no selection
    y_var = var * (slope * slope + gain + (2 * slope * b - 2 * gain) * p + (b * b) * v)
    return y_mean, y_var  # (3.5)


@fused
def leaky_relu_derivatives(mean, var, slope):
    """dE/dmu, dVar/dmu, dE/dsigma^2 and dVar/dsigma^2 of y.

    With r = max(x, 0), b = 1 - slope, z = mu / sigma, by Stein's lemma Cov[x, r] = sigma^2 Phi(z):
    dE/dmu = slope + b Phi,  dE/dsigma^2 = b phi / (2 sigma),  dVar/dmu = 2 slope b sigma phi + 2 b^2 E[r] Phi(-z),
    dVar/dsigma^2 = slope^2 + (1 - slope^2) Phi - b phi E[y] / sigma.                                            (3.9)
    """
    b = 1 - slope
    sigma = xp.sqrt(var)
    t, pdf, p, g, _ = tail(xp.abs(mean), sigma)
    right = (mean > 0).astype(mean.dtype)
    cdf = p + right * (1 - 2 * p)  # Phi(z)
    other = p + (1 - right) * (1 - 2 * p)  # Phi(-z), with its digits where it is small
    positive = right * t  # max(z, 0)
    relu = b * (positive + g)  # b E[r] / sigma
    y = relu + slope * (2 * positive - t)  # E[y] / sigma
    mean_by_mean = slope + b * cdf
    mean_by_var = (0.5 * b) * pdf / divisor(sigma)  # phi is 0 where sigma is
    var_by_mean = (2 * b) * sigma * (slope * pdf + relu * other)
    var_by_var = slope * slope + (b * (1 + slope)) * cdf - b * (y * pdf)
    return mean_by_mean, var_by_mean, mean_by_var, var_by_var  # (3.9)


leaky_relu_with_derivatives = together(leaky_relu, leaky_relu_derivatives)


@fused
def maximum(mean_a, var_a, mean_b, var_b):
    """y = max(a, b): exact E[y] and Var[y] for independent a and b; of equal means a counts as the larger.

    With mu the larger mean, v its variance, s^2 = sigma_a^2 + sigma_b^2 and t = |mu_a - mu_b| / s:
    E[y] = mu + s G,  Var[y] = v (1 - 2 P) + s^2 V.                                                              (4.5)
    """
    var = var_a + var_b
    s = xp.sqrt(var)
    _, _, p, g, v = tail(xp.abs(mean_a - mean_b), s)
    first = (mean_a >= mean_b).astype(mean_a.dtype)
    larger_var = first * var_a + (1 - first) * var_b
    return xp.maximum(mean_a, mean_b) + s * g, larger_var * (1 - 2 * p) + var * v  # (4.5)


@fused
def maximum_derivatives(mean_a, var_a, mean_b, var_b):
    """dE/dmu_a, dVar/dmu_a, dE/dsigma_a^2, dVar/dsigma_a^2, dE/dmu_b and dVar/dsigma_b^2 of y.

    The other two are dVar/dmu_b = -dVar/dmu_a and dE/dsigma_b^2 = dE/dsigma_a^2. For l, the one with the larger mean,
    and k, the other, with q = sigma_l^2 / s^2:  dE/dmu_l = 1 - P,  dE/dmu_k = P,
    dE/dsigma^2 = phi / (2 s),  dVar/dmu_l = -dVar/dmu_k = 2 s (q phi - G (1 - P)),
    dVar/dsigma_l^2 = 1 - P - c,  dVar/dsigma_k^2 = P - c,  c = phi (G + t q).                                   (4.7)
    """
    var = var_a + var_b
    s = xp.sqrt(var)
    t, pdf, p, g, _ = tail(xp.abs(mean_a - mean_b), s)
    first = (mean_a >= mean_b).astype(mean_a.dtype)
    q = (first * var_a + (1 - first) * var_b) / (var + (var == 0).astype(var.dtype))
    share_a, share_b = p + first * (1 - 2 * p), p + (1 - first) * (1 - 2 * p)  # P(a > b), P(b > a)
    c = pdf * (g + t * q)
    var_by_mean = (2 * s) * (q * pdf - g * (1 - p)) * (2 * first - 1)
    return share_a, var_by_mean, 0.5 * pdf / divisor(s), share_a - c, share_b, share_b - c  # (4.7)


maximum_with_derivatives = together(maximum, maximum_derivatives)


@fused
def vector_jacobian_product(dmean, dvar, mean_by_mean, var_by_mean, mean_by_var, var_by_var):
    """dL/dmu and dL/dsigma^2 of an input from dL/dE[y], dL/dVar[y] and the four derivatives of E[y] and Var[y]."""
    return dmean * mean_by_mean + dvar * var_by_mean, dmean * mean_by_var + dvar * var_by_var  # (6.1)
