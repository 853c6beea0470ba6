"""Segmentation with Gaussian weights: the evidence lower bound in closed form, without samples.

The weights N(m, v) of a whole network (layers/gaussian_weights.py), of a point mass, give logits
N(mu, s). What is minimised, per pixel, is

    E[log sum exp(logits)] - mu_label + kl_weight KL / (N P),    N images of P pixels to learn from.

By Jensen's inequality log sum exp(mu + s / 2) is no less than the first term, and KL is that of
every weight's Gaussian to its prior, N(0, 2 / fan_in), of which the means are drawn. A kl_weight of
1 is the bound on the evidence; less is a cold posterior. Both are sums of approximate moments.

Source: Blundell et al., Weight Uncertainty in Neural Networks, ICML 2015, (2), but for the moments
in place of samples. So do Wu et al., Deterministic Variational Inference, ICLR 2019.
"""

import math

from ..backend import xp
from ..calibration import linear_layers
from ..dirichlet import cross_entropy, one_hot
from ..gaussian import Gaussian
from ..layers.checks import check_classes, check_input
from ..layers.gaussian_weights import divergence, randomise
from ..segmenter import Segmenter

START = 0.05  # the variance of a weight at first, in units of its prior's
RATE = 10.0  # of the logarithm of a standard deviation, in units of that of a mean


class WeightsSegmenter(Segmenter):
    """A network of Gaussian weights between an image and the softmax of Gaussian logits.

    training_pixels: N P, all pixels that are learned from. kl_weight: see above. The network's
    weights become Gaussians; batch norms stay as they are. The variances learn by the logarithms of
    their roots. Raises ValueError unless training_pixels is positive and kl_weight 0 or more.
    """

    def __init__(self, network, training_pixels, kl_weight=1.0, *, normalisation="robust"):
        if not (0 < training_pixels < math.inf and 0 <= kl_weight < math.inf):
            raise ValueError(
                "WeightsSegmenter expects training_pixels above 0 and a kl_weight of 0 or more, "
                f"got {training_pixels!r} and {kl_weight!r}"
            )
        super().__init__(network, None, normalisation=normalisation)
        self.share = kl_weight / training_pixels
        for law in self.laws():
            randomise(law, START * 2 / law.fan_in)

    def laws(self):
        return linear_layers(self.network)

    def parameters(self):
        """The network's, variances as LogStd."""
        variances = {id(p) for law in self.laws() for p in (law.weight_var, law.bias_var)}
        return [LogStd(p) if id(p) in variances else p for p in self.network.parameters()]

    def loss(self, x, labels, label_range=None):
        """The bound for an input x and labels (N, H, W), summed over pixels -> (loss, backward)."""
        check_input(self, x)
        logits, network_backward = self.network.forward(x)
        labels = check_classes(labels, logits.mean.shape[1], label_range)
        bound, bound_backward = jensen_bound(logits, labels)
        kl, kl_backward = divergence(self.laws())
        share = self.share * labels.size  # these pixels' part of the KL

        def backward(dloss):
            kl_backward(share * dloss)
            return network_backward(bound_backward(dloss))

        return bound + share * kl, backward

    def read(self, logits):
        """E[softmax] as softmax(mu / sqrt(1 + pi s / 8)): MacKay, Neural Computation 4, 1992."""
        return super().read(Gaussian(logits.mean / xp.sqrt(1 + math.pi / 8 * logits.var)))


class LogStd:
    """A variance as an optimizer meets it: u = log(std) / RATE, positive whatever its steps.

    Adam moves every number by about its rate, and a log(std) has several units to travel.
    """

    def __init__(self, variance):
        self.variance = variance

    @property
    def value(self):
        return xp.log(self.variance.value) / (2 * RATE)

    @value.setter
    def value(self, u):
        self.variance.value = xp.exp(2 * RATE * u)

    @property
    def grad(self):
        return 2 * RATE * self.variance.value * self.variance.grad

    @grad.setter
    def grad(self, du):
        self.variance.grad = du / (2 * RATE * self.variance.value)


def jensen_bound(logits, labels):
    """log sum exp(mu + s / 2) - mu_label, summed over pixels -> (loss, backward).

    With q = softmax(mu + s / 2) it is dmu = q - [k = label], ds = q / 2.
    """
    nll, nll_backward = cross_entropy(logits.mean + logits.var / 2, labels)
    target = one_hot(labels, logits.mean.shape[1])

    def backward(dloss):
        dmean = nll_backward(dloss)
        return Gaussian(dmean, (dmean + (dloss * target).astype(dmean.dtype)) / 2)

    return nll + (target * logits.var).sum() / 2, backward
