"""From logits with variances to a Dirichlet per pixel; its likelihood; its uncertainties.

Head and likelihood work with log alpha and in float64: a concentration may underflow to 0 without
harm, and (7.14), which loses about log10(alpha) digits, has them to spare. lgamma is the logarithm
of the gamma function (special.gammaln), psi its derivative (special.digamma).
"""

import math
from typing import Any, NamedTuple

from .backend import special, xp
from .gaussian import Gaussian
from .layers import Layer, Parameter
from .layers.checks import check


class Dirichlet(NamedTuple):
    """The distribution of a pixel's class probabilities p. Classes lie on axis 1."""

    concentration: Any  # alpha, (N, K, H, W)

    @property
    def strength(self):
        """alpha_0 = sum_k alpha_k: how much evidence, (N, 1, H, W)."""
        return self.concentration.sum(axis=1, keepdims=True)

    @property
    def probabilities(self):
        """m_k = E[p_k] = alpha_k / alpha_0, (N, K, H, W)."""
        return self.concentration / self.strength  # (7.3)

    @property
    def class_std(self):
        """Standard deviation of p_k: sqrt(m_k (1 - m_k) / (alpha_0 + 1)), (N, K, H, W)."""
        return bernoulli_std(self.probabilities) / xp.sqrt(self.strength + 1)  # (7.4)

    @property
    def entropy(self):
        """Entropy of the mean, -sum_k m_k log m_k, nats, (N, H, W): all that is unsure."""
        return -xlogx(self.probabilities).sum(axis=1)

    @property
    def expected_entropy(self):
        """E[-sum_k p_k log p_k] = psi(alpha_0 + 1) - sum_k m_k psi(alpha_k + 1), (N, H, W)."""
        mean_psi = self.probabilities * special.digamma(self.concentration + 1)
        return special.digamma(self.strength + 1)[:, 0] - mean_psi.sum(axis=1)  # (7.6)

    @property
    def mutual_information(self):
        """entropy - expected_entropy, nats, (N, H, W): what knowing p would tell of the class."""
        return self.entropy - self.expected_entropy  # (7.7)


class DirichletHead(Layer):
    """y = log alpha, alpha = m / s, m = softmax(mu), s = c1 + c2 sqrt(sum_j m_j v_j).

    x: logits N(mu_k, v_k), (N, K, H, W). The larger their variance, the larger s, and the weaker
    the evidence alpha_0 = 1 / s. c1 and c2 are learned and positive: c = log(1 + exp(raw)). It is a
    deterministic map of the moments, so y, in float64, is a point mass; nothing is sampled. The
    derivative by v, infinite where the square root is 0, is taken as 0 where that is lost beside
    c1. The parameters hold the raw values, before the softplus.
    Raises ValueError on point masses and on a raw outside [-30, 30].
    Source: Gast & Roth, CVPR 2018, section 4.
    """

    def __init__(self, raw=-3.0):
        if not -30 <= raw <= 30:
            raise ValueError(f"DirichletHead expects a raw c1 and c2 from -30 to 30, got {raw!r}")
        self.c1 = Parameter(xp.full(1, raw, "float32"))
        self.c2 = Parameter(xp.full(1, raw, "float32"))

    def forward(self, x):
        self.check(x)
        # The letters of the paper, in float64; c1 and c2 by softplus, so that they are positive.
        mu = x.mean.astype("float64")
        v = x.var.astype("float64")
        raw1, raw2 = (c.value.astype("float64") for c in (self.c1, self.c2))
        c1 = xp.logaddexp(0, raw1)
        c2 = xp.logaddexp(0, raw2)
        log_m = log_softmax(mu)
        m = xp.exp(log_m)
        q = (m * v).sum(axis=1, keepdims=True)
        r = xp.sqrt(q)
        s = c1 + c2 * r  # (7.1)

        def backward(dy):
            total = dy.mean.sum(axis=1, keepdims=True)
            self.c1.grad -= (total / s).sum() * special.expit(raw1)  # softplus' derivative is expit
            self.c2.grad -= (total * r / s).sum() * special.expit(raw2)
            h = -total * c2 / (2 * s * (r + (r == 0))) * (s > c1)  # dL/dq (7.11)
            dmean = dy.mean - m * total + h * m * (v - q)  # (7.12)
            return Gaussian(dmean.astype(x.mean.dtype), (h * m).astype(x.var.dtype))

        return Gaussian(log_m - xp.log(s), None), backward

    def check(self, x):
        check(self, x)
        if x.mean.shape[1] == 0:
            raise ValueError(f"DirichletHead expects at least one class, got {x.mean.shape}")
        if x.var is None:
            raise ValueError("DirichletHead expects logits with a variance, got a point mass")


def dirichlet_nll(log_concentration, labels, smoothing):
    """-log Dir(y; alpha) of the smoothed one-hot label y, summed over pixels -> (loss, backward).

    y_k = (1 - smoothing) [k = label] + smoothing / K lies inside the simplex, where the density is
    finite: NLL = sum_k lgamma(alpha_k) - lgamma(alpha_0) - sum_k (alpha_k - 1) log y_k.       (7.8)
    log_concentration: (N, K, H, W) float64; labels: (N, H, W) integers. backward(dloss) returns
    dL/dlog alpha. Finite wherever alpha does not overflow: lgamma(alpha) = lgamma(1 + alpha) - log
    alpha and alpha psi(alpha) = alpha psi(1 + alpha) - 1 hold where alpha underflows to 0.
    Source: Gast & Roth, CVPR 2018, section 4.
    """
    # log alpha_0 = log sum_k alpha_k is what log_softmax subtracts, without an overflow.
    a = log_concentration
    classes = a.shape[1]
    log_m = log_softmax(a)
    a_0 = (a - log_m)[:, :1]  # log alpha_0
    alpha = xp.exp(a)
    alpha_0 = xp.exp(a_0)
    rest = math.log(smoothing / classes)
    of_label = math.log1p(smoothing / classes - smoothing)
    log_y = rest + (of_label - rest) * one_hot(labels, classes)  # (7.9)
    loss = (special.gammaln(1 + alpha) - a - (alpha - 1) * log_y).sum()
    loss = loss - (special.gammaln(1 + alpha_0) - a_0).sum()

    def backward(dloss):
        psi = special.digamma(1 + alpha) - special.digamma(1 + alpha_0)  # (7.13)
        return dloss * (alpha * (psi - log_y) + xp.exp(log_m) - 1)  # (7.14)

    return loss, backward


def cross_entropy(logits, labels):
    """Softmax and cross-entropy, -log m_label, summed over pixels -> (loss, backward).

    logits: (N, K, H, W) of point masses; labels: (N, H, W) integers. backward(dloss) is dL/dlogits.
    """
    log_m = log_softmax(logits.astype("float64"))
    target = one_hot(labels, logits.shape[1])

    def backward(dloss):
        return (dloss * (xp.exp(log_m) - target)).astype(logits.dtype)

    return -(log_m * target).sum(), backward


def log_softmax(mu):
    """mu_k - log sum_j exp(mu_j), shifted by the largest mu so that nothing overflows."""
    shifted = mu - mu.max(axis=1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))


def bernoulli_std(p):
    """sqrt(p_k (1 - p_k)), with 1 - p_k as the sum of the others, exact where p_k is nearly 1."""
    others = 1 - xp.eye(p.shape[1])
    flat = p.reshape(*p.shape[:2], math.prod(p.shape[2:]))
    return xp.sqrt(p * xp.matmul(others, flat).reshape(p.shape))


def xlogx(p):
    """p log p, with its limit 0 at p = 0."""
    return p * xp.log(p + (p == 0))


def one_hot(labels, classes):
    return (labels[:, None] == xp.arange(classes).reshape(1, -1, 1, 1)).astype("float64")
