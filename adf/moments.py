"""One Gaussian through a kink, two Gaussians through a maximum: the first two moments and their derivatives.

With x = N(mu, sigma^2), t = |mu| / sigma, phi and Phi the standard normal density and distribution, everything comes
from t >= 0 through

    R0 = Phi(-t) / phi(t)  (the Mills ratio),    R1 = 1 - t R0,    R2 = (R0 - t R1) / 2                        (3.2)

in which no difference of two nearly equal numbers is ever left alone, so no variance needs a floor or a clamp:

    P = phi R0 = Phi(-t),   G = phi R1 = E[max(-t + e, 0)],   V = phi (2 R2 - phi R1^2) = Var[max(-t + e, 0)]  (3.3)

for a standard normal e. sigma = 0 is a legal input and gives the deterministic function (t is set to CAP there).
The derivatives with respect to sigma^2 that are infinite at sigma = 0 are taken as 0.

Arguments and results are arrays of one shape and one dtype, float32 or float64.
Source of the moments: Gast & Roth, Lightweight Probabilistic Deep Networks, CVPR 2018, section 3; the form (3.2) to
(3.5), with (3.9), is derived in notebooks/03_leaky_relu.ipynb; (4.5), (4.7) in 04_max_pooling.ipynb.
"""

import math

from .backend import fused, xp

CAP = 64.0  # phi(64) is 0 in float64 as in float32: every t beyond it gives the same moments
TINY = {"f": 2.0**-120, "d": 2.0**-600}  # CAP TINY is nothing beside the least sigma, a root
SQRT_TAU = math.sqrt(2 * math.pi)

# R2(t) (1 + t/3)^3 as a polynomial in w = 2 / (1 + t/3) - 1, lowest power first: made by tests/fit_mills.py.
POLYNOMIAL = {
    "f": (  # float32: degree 12
        0.18361194840413184,
        0.28314597626608157,
        0.17495198438212164,
        0.017980433887616883,
        -0.03255815574119323,
        -0.007570090580195087,
        0.007434550607768719,
        0.0013452889308102013,
        -0.0020103360177221,
        -6.89575811205565e-05,
        0.0004858472607872007,
        -2.263977688152736e-05,
        -6.878870376737957e-05,
    ),
    "d": (  # float64: degree 28
        0.18361194840413184,
        0.2831460692583565,
        0.17495201612812755,
        0.017977788514527155,
        -0.032559036452500315,
        -0.0075480862561103325,
        0.007441425339160517,
        0.001264288108599752,
        -0.00203267539804902,
        8.413129948519792e-05,
        0.0005184805149941753,
        -0.0001782319938058365,
        -8.465887049260886e-05,
        8.321666302782468e-05,
        -9.460673116755167e-06,
        -2.070524852294808e-05,
        1.2707283942011017e-05,
        -5.120648085728795e-08,
        -4.040076895958613e-06,
        2.4738497521724512e-06,
        -2.1808575132936872e-08,
        -1.0817353222340504e-06,
        5.804904142882195e-07,
        2.1900230387183019e-07,
        -2.652837658065527e-07,
        -1.256438072199683e-08,
        5.890750701791788e-08,
        -1.8810729997057083e-09,
        -5.657488226340624e-09,
    ),
}


def mills(t):
    """R0, R1, R2 of (3.2) at t >= 0, each to a few units in the last place: R2 by its polynomial, R1 and R0 from it."""
    u = 3 / (3 + t)
    w = 2 * u - 1
    *others, r2 = POLYNOMIAL[t.dtype.char]
    for c in reversed(others):  # Horner's rule
        r2 = r2 * w + c
    r2 = r2 * (u * u * u)  # (3.8)
    r1 = (1 - t * (2 * r2)) / (1 + t * t)  # (3.2) solved for R1: (3.7)
    r0 = 2 * r2 + t * r1  # and for R0: (3.7)
    return r0, r1, r2


def divisor(sigma):
    """sigma, or TINY where that is 0."""
    return xp.maximum(sigma, TINY[sigma.dtype.char])


def tail(distance, sigma):
    """t = distance / sigma (CAP where sigma is 0), phi(t), and P, G, V of (3.3), for distance >= 0."""
    s = divisor(sigma)
    t = xp.minimum(distance + CAP * TINY[sigma.dtype.char], CAP * s) / s
    r0, r1, r2 = mills(t)
    pdf = xp.exp(-0.5 * (t * t)) / SQRT_TAU
    g = pdf * r1
    return t, pdf, pdf * r0, g, pdf * (2 * r2 - g * r1)  # (3.3)


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
    relu = xp.maximum(mean, 0)
    y_mean = relu + slope * (mean - relu) + b * sigma * g  # exactly y(mu) at sigma = 0
    half = slope * slope + (2 * slope * b) * p + (b * b) * v
    y_var = var * (half + (b * (1 + slope)) * (right * (1 - 2 * p)))  # both cases of (3.5) in one: no selection
    return y_mean, y_var  # (3.5)


@fused
def leaky_relu_derivatives(mean, var, slope):
    """dE/dmu, dVar/dmu, dE/dsigma^2 and dVar/dsigma^2 of y.

    With r = max(x, 0), b = 1 - slope, z = mu / sigma, by Stein's lemma Cov[x, r] = sigma^2 Phi(z):
    dE/dmu = slope + b Phi,  dE/dsigma^2 = b phi / (2 sigma),  dVar/dmu = 2 slope b sigma phi + 2 b^2 E[r] Phi(-z),
    dVar/dsigma^2 = slope^2 + slope b (2 Phi - z phi) + b^2 (Phi - E[r] phi / sigma).                            (3.9)
    """
    b = 1 - slope
    sigma = xp.sqrt(var)
    t, pdf, p, g, _ = tail(xp.abs(mean), sigma)
    right = (mean > 0).astype(mean.dtype)
    cdf = p + right * (1 - 2 * p)  # Phi(z)
    other = p + (1 - right) * (1 - 2 * p)  # Phi(-z), with its digits where it is small
    r = right * t + g  # E[r] / sigma
    z = (2 * right - 1) * t
    mean_by_mean = slope + b * cdf
    mean_by_var = (0.5 * b) * pdf / divisor(sigma)  # phi is 0 where sigma is
    var_by_mean = (2 * b) * sigma * (slope * pdf + b * (r * other))
    var_by_var = slope * slope + b * (slope * (2 * cdf - z * pdf) + b * (cdf - r * pdf))
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
