"""What a layer should give, found by other means than the layer's own.

These are definitions and closed forms in 60-digit arithmetic, and two integrals in float64. They
are slow, and serve the verification (adf.studies.verification), the tests and the lessons.
"""

import mpmath
import numpy as np
from mpmath import mpf
from scipy.special import expit, ndtr

exactly = mpmath.workdps(60)  # a decorator, and a context: 60 digits within


@exactly
def leaky_relu(mu, v, slope):
    """E[y] and Var[y] = E[y^2] - E[y]^2 of y = x for x > 0, else slope x, for x = N(mu, v)."""
    mu = mpf(mu)
    v = mpf(v)
    a = mpf(slope)
    sigma = mpmath.sqrt(v)
    cdf = mpmath.ncdf(mu / sigma)
    pdf = mpmath.npdf(mu / sigma)
    first = mu * cdf + sigma * pdf  # E[max(x, 0)]
    second = (mu * mu + v) * cdf + mu * sigma * pdf  # E[max(x, 0)^2]
    mean = a * mu + (1 - a) * first
    return mean, a * a * (mu * mu + v) + (1 - a * a) * second - mean**2


@exactly
def maximum(mu_a, v_a, mu_b, v_b):
    """E[y] and Var[y] of y = max(a, b) for independent a = N(mu_a, v_a) and b = N(mu_b, v_b).

    Source: Clark, Operations Research 9, 1961, equations (2) and (3).
    """
    mu_a, v_a, mu_b, v_b = (mpf(number) for number in (mu_a, v_a, mu_b, v_b))
    s = mpmath.sqrt(v_a + v_b)
    d = (mu_a - mu_b) / s
    cdf = mpmath.ncdf(d)
    pdf = mpmath.npdf(d)
    mean = mu_a * cdf + mu_b * (1 - cdf) + s * pdf
    square = (mu_a**2 + v_a) * cdf + (mu_b**2 + v_b) * (1 - cdf) + (mu_a + mu_b) * s * pdf
    return mean, square - mean**2


def knockout(entries, pair):
    """The last entry of a list of which pairs are merged, round after round, by `pair`.

    A round goes from left to right, and an odd entry moves up: this is the order of MaxPool2d.
    """
    while len(entries) > 1:
        winners = [pair(*entries[i : i + 2]) for i in range(0, len(entries) - 1, 2)]
        entries = winners + entries[2 * len(winners) :]
    return entries[0]


def maximum_of_many(mean, std, points=4001):
    """E[y] and Var[y] of the largest of n independent Gaussians, given by 1-D arrays.

    They are the moments of the density d/dx prod Phi_i, by the trapezoidal rule: for an analytic
    density that is 0 at both ends its error falls exponentially.
    """
    x, step = np.linspace((mean - 9 * std).max(), (mean + 9 * std).max(), points, retstep=True)
    z = (x - mean[:, None]) / std[:, None]  # above -9, so that no Phi is 0
    cdf = ndtr(z)
    slopes = np.exp(-z * z / 2) / (np.sqrt(2 * np.pi) * std[:, None] * cdf)  # d/dx log Phi_i
    density = cdf.prod(axis=0) * slopes.sum(axis=0)
    y = step * (x * density).sum()
    return y, step * ((x - y) ** 2 * density).sum()


def logistic(mean, var, points=4001):
    """E[p] and Var[p] of p = 1 / (1 + exp(-x)) for x = N(mean, var), mean >= 0.

    This p is the first of two softmax probabilities. The trapezoidal rule is applied to the small
    1 - p, whose variance is the same.
    """
    e, step = np.linspace(-12, 12, points, retstep=True)
    density = step * np.exp(-e * e / 2) / np.sqrt(2 * np.pi)
    rest = expit(-mean - np.sqrt(var) * e)
    second = (rest * density).sum()
    return 1 - second, ((rest - second) ** 2 * density).sum()


@exactly
def linear(matrix, bias, mean, var):
    """E[y], Var[y] and sum |w_i x_i| + |b| of y = A x + b, and n, the largest number of terms.

    A is a matrix of floats or of mpf.
    """
    moments = []
    terms = 0
    mean = [mpf(float(m)) for m in mean]
    var = [mpf(float(v)) for v in var]
    # Most entries of a convolution's matrix are 0: they add nothing, and count as no term.
    for row, b in zip(matrix, bias, strict=True):
        used = [(mpf(row[i]), mean[i], var[i]) for i in np.flatnonzero(row)]
        products = [w * m for w, m, _ in used] + [mpf(float(b))]
        size = mpmath.fsum(products, absolute=True)
        moments.append((mpmath.fsum(products), mpmath.fsum(w * w * v for w, _, v in used), size))
        terms = max(terms, len(used) + bool(b))
    return *zip(*moments, strict=True), terms


def correlation_matrix(w, size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """A of y = A(w) x for an image of this size (H, W).

    It follows the definition of a convolution, one product at a time.
    """
    out, inner, *kernel = w.shape
    rows, columns = (
        (size[k] + 2 * padding[k] - dilation[k] * (kernel[k] - 1) - 1) // stride[k] + 1
        for k in (0, 1)
    )
    matrix = np.zeros((out, rows, columns, inner * groups, *size), object)
    for o, row, column, c, i, j in np.ndindex(out, rows, columns, inner, *kernel):
        y = row * stride[0] + i * dilation[0] - padding[0]
        x = column * stride[1] + j * dilation[1] - padding[1]
        # A weight that falls on the padding meets a 0 there, so it has no entry.
        if 0 <= y < size[0] and 0 <= x < size[1]:
            matrix[o, row, column, o // (out // groups) * inner + c, y, x] = w[o, c, i, j]
    return matrix.reshape(out * rows * columns, -1)


@exactly
def interpolation_matrix(size, factor, mode):
    """The matrix (size * factor, size) of Upsample in one direction.

    A weight is 1 at the pixel that holds the output's centre (nearest), or the height of the tent
    function about the pixel at that centre (bilinear).
    """
    matrix = np.zeros((size * factor, size), object)
    for output, pixel in np.ndindex(matrix.shape):
        centre = min(max((mpf(output) + 0.5) / factor - 0.5, 0), size - 1)  # edges replicate
        if mode == "nearest":
            matrix[output, pixel] = mpf(output // factor == pixel)
        else:
            matrix[output, pixel] = max(1 - abs(centre - pixel), mpf(0))
    return matrix


@exactly
def dropout(mu, v, p):
    """E[y] and Var[y] = E[y^2] - E[y]^2 with y = x / (1 - p) of probability 1 - p, else 0."""
    mu, v, p = (mpf(number) for number in (mu, v, p))
    return mu, (mu * mu + v) / (1 - p) - mu * mu


@exactly
def log_concentration(mu, v, raw1, raw2):
    """log alpha_k = mu_k - log sum exp(mu) - log s, and the size of these terms.

    s = c1 + c2 sqrt(sum m v) with m = softmax(mu) and c = log(1 + exp(raw)).
    """
    mu = [mpf(m) for m in mu]
    v = [mpf(x) for x in v]
    c1, c2 = (mpmath.log(1 + mpmath.exp(mpf(raw))) for raw in (raw1, raw2))
    total = mpmath.fsum(mpmath.exp(m) for m in mu)
    mean_var = mpmath.fsum(mpmath.exp(m) / total * x for m, x in zip(mu, v, strict=True))
    log_total = mpmath.log(total)
    log_s = mpmath.log(c1 + c2 * mpmath.sqrt(mean_var))
    size = max(abs(m) for m in mu) + abs(log_total) + abs(log_s) + 1
    return [m - log_total - log_s for m in mu], size


@exactly
def concentration(mu, v, raw1, raw2):
    """alpha_k of `log_concentration`."""
    return [mpmath.exp(a) for a in log_concentration(mu, v, raw1, raw2)[0]]


@exactly
def dirichlet_nll(log_alpha, label, smoothing):
    """-log Dir(y; alpha) at the smoothed one-hot y, and the size of its terms.

    The size is the sum of their absolute values.
    """
    alpha = [mpmath.exp(mpf(a)) for a in log_alpha]
    k = len(log_alpha)
    y = [mpf(smoothing) / k + (1 - mpf(smoothing)) * (i == label) for i in range(k)]
    normalisers = [mpmath.loggamma(a) for a in alpha]
    powers = [(a - 1) * mpmath.log(p) for a, p in zip(alpha, y, strict=True)]
    pairs = list(zip(normalisers, powers, strict=True))
    whole = mpmath.loggamma(mpmath.fsum(alpha))
    value = mpmath.fsum(normaliser - power for normaliser, power in pairs) - whole
    size = mpmath.fsum(abs(normaliser) + abs(power) for normaliser, power in pairs) + abs(whole)
    return value, size


@exactly
def dirichlet_moments(alpha):
    """E[p_k] and Var[p_k] of a Dirichlet."""
    alpha = [mpf(a) for a in alpha]
    total = mpmath.fsum(alpha)
    return [a / total for a in alpha], [a * (total - a) / (total**2 * (total + 1)) for a in alpha]


@exactly
def batch_norm(mean, var, scale, shift, m, total, eps):
    """E[y] and Var[y] of y = k (x - m) + shift, and the size of these terms: three lists.

    k = scale / sqrt(total + eps); `mean` and `var` are lists.
    """
    k = mpf(scale) / mpmath.sqrt(mpf(total) + mpf(eps))
    m = mpf(m)
    shift = mpf(shift)
    sizes = [abs(k) * (abs(x) + abs(m)) + abs(shift) for x in mean]
    return [k * (x - m) + shift for x in mean], [k * k * v for v in var], sizes


@exactly
def total_variance(mean, var):
    """Mean and variance of a number drawn from one of these Gaussians, each as likely."""
    mean = [mpf(x) for x in mean]
    var = [mpf(v) for v in var]
    n = len(mean)
    m = mpmath.fsum(mean) / n
    return m, mpmath.fsum((x - m) ** 2 + v for x, v in zip(mean, var, strict=True)) / n
