"""Textbook assumed density filtering in PyTorch: moments of the papers, gradients by autograd.

Variances are E[y^2] - E[y]^2, as public ADF code has them, so rounding may leave less than nothing:
`floor` holds every such variance above 0, without which the square root of the next layer gives
NaN. All is written from the formulas of Gast & Roth, Lightweight Probabilistic Deep Networks, CVPR
2018, and Clark, Operations Research 9, 1961. A message is a tuple (mean, var); var=None is the
deterministic network, which uses PyTorch's own layers.
"""

import math

import torch
import torch.nn.functional as F


def pdf(z):
    return torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def cdf(z):
    return 0.5 * (1 + torch.erf(z / math.sqrt(2)))


def linear(map, x, weight, bias, **options):
    """E[y] = A(w) E[x] + b, Var[y] = A(w^2) Var[x], for map = F.conv2d or F.conv_transpose2d."""
    mean, var = x
    y = map(mean, weight, bias, **options)
    return y, None if var is None else map(var, weight * weight, None, **options)


def leaky_relu(x, slope, floor):
    """y = x for x > 0, else slope x: E[y] and E[y^2] from the moments of x on either side of 0."""
    mean, var = x
    if var is None:
        return F.leaky_relu(mean, slope), None
    std = torch.sqrt(var)
    z = mean / std
    right, bell = cdf(z), std * pdf(z)
    first = mean * right + bell  # E[max(x, 0)]
    second = (mean * mean + var) * right + mean * bell  # E[max(x, 0)^2]
    y = slope * mean + (1 - slope) * first
    square = slope**2 * (mean * mean + var) + (1 - slope**2) * second
    return y, (square - y * y).clamp(min=floor)


def maximum(a, b, floor):
    """y = max(a, b) of two independent Gaussians: Clark's equations (2) to (4)."""
    (mean_a, var_a), (mean_b, var_b) = a, b
    theta = torch.sqrt(var_a + var_b)
    alpha = (mean_a - mean_b) / theta
    first, bell = cdf(alpha), theta * pdf(alpha)
    last = 1 - first
    y = mean_a * first + mean_b * last + bell
    square_a, square_b = mean_a * mean_a + var_a, mean_b * mean_b + var_b
    square = square_a * first + square_b * last + (mean_a + mean_b) * bell
    return y, (square - y * y).clamp(min=floor)


def max_pool(x, floor):
    """The maximum of every 2 x 2 window: of the pairs in its rows, then of the two winners."""
    mean, var = x
    if var is None:
        return F.max_pool2d(mean, 2), None
    left, right = ((mean[..., i::2], var[..., i::2]) for i in (0, 1))
    mean, var = maximum(left, right, floor)
    top, bottom = ((mean[..., i::2, :], var[..., i::2, :]) for i in (0, 1))
    return maximum(top, bottom, floor)


def dirichlet(mean, var, raw1, raw2, floor):
    """alpha = m / s, m = softmax(mean), s = c1 + c2 sqrt(sum_j m_j var_j), c = softplus(raw).

    Classes are on axis 1.
    """
    m = torch.softmax(mean, dim=1)
    s = F.softplus(raw1) + F.softplus(raw2) * torch.sqrt((m * var).sum(dim=1, keepdim=True))
    return (m / s).clamp(min=floor)  # a class of probability 0 would have lgamma(0) = inf


def dirichlet_nll(alpha, labels, smoothing):
    """-log Dir(y; alpha) of the smoothed one-hot label y, mean over pixels."""
    classes = alpha.shape[1]
    y = (1 - smoothing) * F.one_hot(labels, classes).movedim(-1, 1).to(
        alpha.dtype
    ) + smoothing / classes
    nll = (
        torch.lgamma(alpha).sum(dim=1)
        - torch.lgamma(alpha.sum(dim=1))
        - ((alpha - 1) * torch.log(y)).sum(dim=1)
    )
    return nll.mean()
