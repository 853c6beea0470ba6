"""What a layer should give, by other means than the layer's: definitions and closed forms in 60-digit arithmetic.

Slow, for the verification alone (adf.verification); the only file of the package that imports mpmath.
"""

import mpmath
import numpy as np
from mpmath import mpf
from scipy.special import expit, ndtr

exactly = mpmath.workdps(60)


@exactly
def leaky_relu(mu, v, slope):
    """E[y] and Var[y] = E[y^2] - E[y]^2 of y = x for x > 0, else slope x, for x = N(mu, v)."""
    mu, v, a = mpf(mu), mpf(v), mpf(slope)
    sigma = mpmath.sqrt(v)
    cdf, pdf = mpmath.ncdf(mu / sigma), mpmath.npdf(mu / sigma)
    first, second = (
        mu * cdf + sigma * pdf,
        (mu * mu + v) * cdf + mu * sigma * pdf,
    )  # E[max(x,0)], E[max(x,0)^2]
    mean = a * mu + (1 - a) * first
    return mean, a * a * (mu * mu + v) + (1 - a * a) * second - mean**2


@exactly
def maximum(mu_a, v_a, mu_b, v_b):
    """E[y] and Var[y] of y = max(a, b): Clark, Operations Research 9, 1961, equations (2) and (3)."""
    mu_a, v_a, mu_b, v_b = mpf(mu_a), mpf(v_a), mpf(mu_b), mpf(v_b)
    s = mpmath.sqrt(v_a + v_b)
    d = (mu_a - mu_b) / s
    cdf, pdf = mpmath.ncdf(d), mpmath.npdf(d)
    mean = mu_a * cdf + mu_b * (1 - cdf) + s * pdf
    square = (mu_a**2 + v_a) * cdf + (mu_b**2 + v_b) * (1 - cdf) + (mu_a + mu_b) * s * pdf
    return mean, square - mean**2


def knockout(entries, pair):
    """What is left of a list by pairs, from left to right, an odd one moving up: the order of MaxPool2d."""
    while len(entries) > 1:
        winners = [pair(*entries[i : i + 2]) for i in range(0, len(entries) - 1, 2)]
        entries = winners + entries[2 * len(winners) :]
    return entries[0]


def maximum_of_many(mean, std, points=4001):
    """E[y] and Var[y] of the largest of n independent Gaussians, 1-D arrays: moments of the density d/dx prod Phi_i.

    The trapezoidal rule: for an analytic density that is 0 at both ends its error falls exponentially.
    """
    x, step = np.linspace((mean - 9 * std).max(), (mean + 9 * std).max(), points, retstep=True)
    z = (x - mean[:, None]) / std[:, None]  # above -9, so that no Phi is 0
    cdf = ndtr(z)
    density = cdf.prod(axis=0) * (
        np.exp(-z * z / 2) / (np.sqrt(2 * np.pi) * std[:, None] * cdf)
    ).sum(axis=0)
    y = step * (x * density).sum()
    return y, step * ((x - y) ** 2 * density).sum()


def logistic(mean, var, points=4001):
    """E[p] and Var[p] of p = 1 / (1 + exp(-x)) for x = N(mean, var), mean >= 0: the first of two softmax probabilities.

    The trapezoidal rule, for the small 1 - p, whose variance is the same.
    """
    e, step = np.linspace(-12, 12, points, retstep=True)
    density = step * np.exp(-e * e / 2) / np.sqrt(2 * np.pi)
    rest = expit(-mean - np.sqrt(var) * e)
    second = (rest * density).sum()
    return 1 - second, ((rest - second) ** 2 * density).sum()


@exactly
def linear(matrix, bias, mean, var):
    """E[y], Var[y] and sum |w_i x_i| + |b| of y = A x + b, and n, the largest number of terms; A of floats or mpf."""
    moments, terms = [], 0
    mean, var = [mpf(float(m)) for m in mean], [mpf(float(v)) for v in var]
    for row, b in zip(matrix, bias, strict=True):
        used = [(mpf(row[i]), mean[i], var[i]) for i in np.flatnonzero(row)]
        products = [w * m for w, m, _ in used] + [mpf(float(b))]
        size = mpmath.fsum(products, absolute=True)
        moments.append((mpmath.fsum(products), mpmath.fsum(w * w * v for w, _, v in used), size))
        terms = max(terms, len(used) + bool(b))
    return *zip(*moments, strict=True), terms


def correlation_matrix(w, size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """A of y = A(w) x for an image of this size (H, W): the definition of a convolution, one product at a time."""
    out, inner, *kernel = w.shape
    rows, columns = (
        (size[k] + 2 * padding[k] - dilation[k] * (kernel[k] - 1) - 1) // stride[k] + 1
        for k in (0, 1)
    )
    matrix = np.zeros((out, rows, columns, inner * groups, *size), object)
    for o, row, column, c, i, j in np.ndindex(out, rows, columns, inner, *kernel):
        y, x = (
            row * stride[0] + i * dilation[0] - padding[0],
            column * stride[1] + j * dilation[1] - padding[1],
        )
        if 0 <= y < size[0] and 0 <= x < size[1]:
            matrix[o, row, column, o // (out // groups) * inner + c, y, x] = w[o, c, i, j]
    return matrix.reshape(out * rows * columns, -1)


@exactly
def interpolation_matrix(size, factor, mode):
    """One direction of Upsample: the pixel, or the tent function about the pixel, at the output's centre."""
    matrix = np.zeros((size * factor, size), object)
    for output, pixel in np.ndindex(matrix.shape):
        centre = min(max((mpf(output) + 0.5) / factor - 0.5, 0), size - 1)  # edges replicate
        near = output // factor == pixel
        matrix[output, pixel] = (
            mpf(near) if mode == "nearest" else max(1 - abs(centre - pixel), mpf(0))
        )
    return matrix


@exactly
def dropout(mu, v, p):
    """E[y] and Var[y] = E[y^2] - E[y]^2 with y = x / (1 - p) of probability 1 - p, else 0."""
    mu, v, p = mpf(mu), mpf(v), mpf(p)
    return mu, (mu * mu + v) / (1 - p) - mu * mu


@exactly
def log_concentration(mu, v, raw1, raw2):
    """log alpha_k = mu_k - log sum exp(mu) - log s, s = c1 + c2 sqrt(sum m v), and the size of these terms."""
    mu, v, c1, c2 = (
        [mpf(m) for m in mu],
        [mpf(x) for x in v],
        *(mpmath.log(1 + mpmath.exp(mpf(r))) for r in (raw1, raw2)),
    )
    total = mpmath.fsum(mpmath.exp(m) for m in mu)
    q = mpmath.fsum(mpmath.exp(m) / total * x for m, x in zip(mu, v, strict=True))
    log_total, log_s = mpmath.log(total), mpmath.log(c1 + c2 * mpmath.sqrt(q))
    size = max(abs(m) for m in mu) + abs(log_total) + abs(log_s) + 1
    return [m - log_total - log_s for m in mu], size


@exactly
def concentration(mu, v, raw1, raw2):
    return [mpmath.exp(a) for a in log_concentration(mu, v, raw1, raw2)[0]]


@exactly
def dirichlet_nll(log_alpha, label, smoothing):
    """-log Dir(y; alpha) at the smoothed one-hot y, and the sum of the absolute values of its terms."""
    alpha, k = [mpmath.exp(mpf(a)) for a in log_alpha], len(log_alpha)
    y = [mpf(smoothing) / k + (1 - mpf(smoothing)) * (i == label) for i in range(k)]
    terms = [mpmath.loggamma(a) - (a - 1) * mpmath.log(p) for a, p in zip(alpha, y, strict=True)]
    sizes = [
        abs(mpmath.loggamma(a)) + abs((a - 1) * mpmath.log(p))
        for a, p in zip(alpha, y, strict=True)
    ]
    whole = mpmath.loggamma(mpmath.fsum(alpha))
    return mpmath.fsum(terms) - whole, mpmath.fsum(sizes) + abs(whole)


@exactly
def dirichlet_moments(alpha):
    """E[p_k] and Var[p_k] of a Dirichlet."""
    alpha = [mpf(a) for a in alpha]
    total = mpmath.fsum(alpha)
    return [a / total for a in alpha], [a * (total - a) / (total**2 * (total + 1)) for a in alpha]


@exactly
def batch_norm(mean, var, scale, shift, m, total, eps):
    """E[y], Var[y] of y = k (x - m) + shift, k = scale / sqrt(total + eps), for lists; and the size of these terms."""
    k, m, shift = mpf(scale) / mpmath.sqrt(mpf(total) + mpf(eps)), mpf(m), mpf(shift)
    sizes = [abs(k) * (abs(x) + abs(m)) + abs(shift) for x in mean]
    return [k * (x - m) + shift for x in mean], [k * k * v for v in var], sizes


@exactly
def total_variance(mean, var):
    """Mean and variance of a number drawn from one of these Gaussians, each as likely."""
    mean, var, n = [mpf(x) for x in mean], [mpf(v) for v in var], len(mean)
    m = mpmath.fsum(mean) / n
    return m, mpmath.fsum((x - m) ** 2 + v for x, v in zip(mean, var, strict=True)) / n
