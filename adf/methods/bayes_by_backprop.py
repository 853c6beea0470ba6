"""Bayes by Backprop (Blundell et al., ICML 2015): a Gaussian for every weight, learned by draws."""

import copy
import math

from ..backend import Generator, default_rng, special, xp
from ..calibration import linear_layers
from ..layers import Parameter
from ..layers.gaussian_weights import RATE, kl
from ..layers.layer import Statistic
from ..layers.paths import held
from ..segmenter import Segmenter

SHARE = 0.1  # of the prior's standard deviation, with which weights begin


class VariationalSegmenter(Segmenter):
    """A deterministic segmenter whose linear layers have weights w = m + sigma eps, eps of N(0, 1).

    sigma = log(1 + exp(rho)) with rho = RATE r; m and r are learned. Each call of `loss` draws all
    weights once, by network.rng, and adds kl_share KL to the loss of each pixel: that of all N(m,
    sigma**2) from N(0, 2 / fan_in), of which layers draw their first weights. kl_share = 1 / (all
    pixels learned from) is Bayes. Batch norm's parameters stay points; `predict` uses the means.
    """

    def __init__(self, network, kl_share=0.0, normalisation="robust"):
        super().__init__(network, None, normalisation=normalisation)
        self.kl_share = float(kl_share)
        network.rng = default_rng(0)
        laws = linear_layers(network)
        pairs = [(p, 2 / law.fan_in) for law in laws for p in (law.weight, law.bias) if p]
        self.m, self.prior = map(list, zip(*pairs, strict=True))
        start = [math.log(math.expm1(SHARE * math.sqrt(var))) / RATE for var in self.prior]
        pairs = zip(self.m, start, strict=True)
        self.r = [Parameter(xp.full_like(m.value, r)) for m, r in pairs]

    def parameters(self):
        return super().parameters() + self.r

    def sigmas(self):
        return [xp.logaddexp(0, RATE * r.value) for r in self.r]

    def drawn(self, rng):
        """(an ordinary segmenter that shares all but the weights, these, and eps of each)."""
        eps = [xp.asarray(rng.standard_normal(m.value.shape), m.value.dtype) for m in self.m]
        triples = zip(self.m, self.sigmas(), eps, strict=True)
        weights = [Parameter(m.value + sigma * e) for m, sigma, e in triples]
        instead = {id(h): h for h in held(self.network, Parameter | Statistic | Generator)}
        instead |= {id(m): w for m, w in zip(self.m, weights, strict=True)}
        network = copy.deepcopy(self.network, instead)
        return Segmenter(network, None, normalisation=self.normalisation), weights, eps

    def loss(self, x, labels, label_range=None):
        segmenter, weights, eps = self.drawn(self.network.rng)
        loss, loss_backward = segmenter.loss(x, labels, label_range)
        share = self.kl_share * labels.size  # of the KL, for a micro-batch

        # The gradient by a weight w = m + sigma eps is that by m; times eps, that by sigma.
        def backward(dloss):
            dx = loss_backward(dloss)
            each = zip(self.m, self.r, weights, eps, self.sigmas(), self.prior, strict=True)
            for m, r, w, e, sigma, var in each:
                dsigma = w.grad * e + dloss * share * (sigma / var - 1 / sigma)
                m.grad = m.grad + w.grad + dloss * share / var * m.value
                r.grad = r.grad + dsigma * RATE * special.expit(RATE * r.value)  # (11.9)
            return dx

        return loss + share * self.kl(), backward

    def kl(self):
        """KL(q || p) of all weights, in nats."""
        each = zip(self.m, self.sigmas(), self.prior, strict=True)
        return sum(kl(m.value, sigma * sigma, var) for m, sigma, var in each)  # (11.8)
