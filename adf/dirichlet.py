"""From logits with variances to a Dirichlet per pixel; its likelihood; its uncertainties.

Everything here works with logarithms and in float64: a concentration may underflow to 0 without harm, and
alpha psi(alpha), which cancels by a factor alpha near 1000, keeps its digits.
"""

import math
from typing import Any, NamedTuple

from .backend import special, xp
from .gaussian import Gaussian
from .layers import Parameter
from .layers.layer import check


class Dirichlet(NamedTuple):
    """The distribution of a pixel's class probabilities p. concentration: alpha, (N, K, H, W), classes on axis 1."""

    concentration: Any

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
        """Standard deviation (not variance) of p_k: sqrt(m_k (1 - m_k) / (alpha_0 + 1)), (N, K, H, W)."""
        return bernoulli_std(self.probabilities) / xp.sqrt(self.strength + 1)  # (7.4)

    @property
    def entropy(self):
        """Entropy of the mean, -sum_k m_k log m_k, in nats, (N, H, W): the total uncertainty of the class."""
        m = self.probabilities
        return -xlogx(m).sum(axis=1)

    @property
    def expected_entropy(self):
        """E[-sum_k p_k log p_k] = psi(alpha_0 + 1) - sum_k m_k psi(alpha_k + 1), in nats, (N, H, W)."""
        a = self.concentration
        mean_psi = (self.probabilities * special.digamma(a + 1)).sum(axis=1)
        return special.digamma(self.strength + 1)[:, 0] - mean_psi  # (7.6)

    @property
    def mutual_information(self):
        """Entropy of the mean minus expected entropy, in nats, (N, H, W): what knowing p would tell of the class."""
        return self.entropy - self.expected_entropy  # (7.7)


class DirichletHead:
    """Logits N(mu_k, v_k) -> alpha = m / s, m = softmax(mu), s = c1 + c2 sqrt(sum_j m_j v_j), as log alpha in float64.

    The larger the variance of the logits, the larger s and the weaker the evidence alpha_0 = 1 / s. c1 and c2 are
    learned and positive: c = log(1 + exp(raw)). logits: a Gaussian (N, K, H, W). A deterministic map of the moments; no
    sampling. The derivative by v, infinite where the square root is 0, is taken as 0 where c1 swallows it.
    Raises ValueError on a raw outside [-30, 30] and on point masses. Source: Gast & Roth, CVPR 2018, section 4.
    """

    def __init__(self, raw=-3.0):
        if not -30 <= raw <= 30:
            raise ValueError(f"DirichletHead expects a raw c1 and c2 from -30 to 30, got {raw!r}")
        self.c1 = Parameter(xp.full(1, raw, "float32"))  # raw values, before the softplus
        self.c2 = Parameter(xp.full(1, raw, "float32"))

    def parameters(self):
        return [self.c1, self.c2]

    def predict(self, x):
        return self.forward(x)[0]

    def forward(self, x):
        check(self, x)
        if x.mean.shape[1] == 0:
            raise ValueError(f"DirichletHead expects at least one class, got logits of shape {x.mean.shape}")
        if x.var is None:
            raise ValueError("DirichletHead expects logits with a variance, got point masses (var=None)")
        mu, v = x.mean.astype("float64"), x.var.astype("float64")
        raw1, raw2 = (c.value.astype("float64") for c in (self.c1, self.c2))
        c1, c2 = xp.logaddexp(0, raw1), xp.logaddexp(0, raw2)
        log_m = log_softmax(mu)
        m = xp.exp(log_m)
        q = (m * v).sum(axis=1, keepdims=True)
        r = xp.sqrt(q)
        s = c1 + c2 * r  # (7.1)
        y = log_m - xp.log(s)

        def backward(dy):
            total = dy.sum(axis=1, keepdims=True)
            self.c1.grad -= (total / s).sum() * special.expit(raw1)  # the derivative of softplus is expit
            self.c2.grad -= (total * r / s).sum() * special.expit(raw2)
            h = -total * c2 / (2 * s * (r + (r == 0))) * (s > c1)  # dL/dq (7.11)
            dmean = dy - m * total + h * m * (v - q)  # (7.12)
            return Gaussian(dmean.astype(x.mean.dtype), (h * m).astype(x.var.dtype))

        return y, backward


def dirichlet_nll(log_concentration, labels, smoothing):
    """Conditional negative log-likelihood -log Dir(y; alpha) of the smoothed one-hot label y, and backward.

    y_k = (1 - smoothing) [k = label] + smoothing / K lies inside the simplex, where the density is finite:
    NLL = sum_k lgamma(alpha_k) - lgamma(alpha_0) - sum_k (alpha_k - 1) log y_k, summed over pixels.  (7.8)
    log_concentration: (N, K, H, W) float64; labels: (N, H, W) integers. backward(dloss) returns dL/dlog alpha.
    Finite wherever alpha does not overflow: lgamma(alpha) = lgamma(1 + alpha) - log alpha, and psi likewise, hold where
    alpha underflows to 0. Source: Gast & Roth, CVPR 2018, section 4.
    """
    a, classes = log_concentration, log_concentration.shape[1]
    log_m = log_softmax(a)
    a_0 = (a - log_m)[:, :1]  # log alpha_0
    alpha, alpha_0 = xp.exp(a), xp.exp(a_0)
    rest = math.log(smoothing / classes)
    log_y = rest + (math.log1p(smoothing / classes - smoothing) - rest) * one_hot(labels, classes)  # (7.9)
    loss = (special.gammaln(1 + alpha) - a - (alpha - 1) * log_y).sum() - (special.gammaln(1 + alpha_0) - a_0).sum()

    def backward(dloss):
        psi = special.digamma(1 + alpha) - special.digamma(1 + alpha_0)  # (7.13)
        return dloss * (alpha * (psi - log_y) + xp.exp(log_m) - 1)  # (7.14)

    return loss, backward


def cross_entropy(logits, labels):
    """Softmax and cross-entropy of point masses: -log m_label, summed over pixels, and backward (to dL/dlogits)."""
    log_m = log_softmax(logits.astype("float64"))
    target = one_hot(labels, logits.shape[1])
    loss = -(log_m * target).sum()

    def backward(dloss):
        return (dloss * (xp.exp(log_m) - target)).astype(logits.dtype)

    return loss, backward


def log_softmax(mu):
    """mu_k - log sum_j exp(mu_j), shifted by the largest mu so that nothing overflows."""
    shifted = mu - mu.max(axis=1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))


def bernoulli_std(p):
    """sqrt(p_k (1 - p_k)), with 1 - p_k as the sum of the others: it keeps its digits where p_k is nearly 1."""
    others = 1 - xp.eye(p.shape[1])
    return xp.sqrt(p * xp.matmul(others, p.reshape(*p.shape[:2], math.prod(p.shape[2:]))).reshape(p.shape))


def xlogx(p):
    """p log p, with its limit 0 at p = 0."""
    return p * xp.log(p + (p == 0))


def one_hot(labels, classes):
    return (labels[:, None] == xp.arange(classes).reshape(1, -1, 1, 1)).astype("float64")
