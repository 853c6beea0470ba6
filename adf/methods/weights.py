"""Segmentation with Gaussian weights: the evidence lower bound in closed form, without samples.

The weights N(m, v) of a whole network (layers/gaussian_weights.py), of a point mass, give logits
N(mu, s). What is minimised, per pixel, is

    E[log sum exp(logits)] - mu_label + kl_weight KL / (N P),    N images of P pixels to learn from.

By Jensen's inequality log sum exp(mu + s / 2) is no less than the first term, and KL is that of
every weight's Gaussian to its prior, N(0, 2 / fan_in), of which the means are drawn. A kl_weight of
1 is the bound on the evidence; less is a cold posterior. Both stand on approximate moments, and
learning finds what these overlook: drawn networks doubt, and cost, more than it says (lesson 12).

Source: Blundell et al., Weight Uncertainty in Neural Networks, ICML 2015, (2), but for the moments
in place of samples. So do Wu et al., Deterministic Variational Inference, ICLR 2019.
"""

import math

from ..backend import xp
from ..calibration import linear_layers
from ..dirichlet import cross_entropy, log_softmax, one_hot
from ..gaussian import Gaussian
from ..inference.pooled import predicted
from ..layers.checks import check_classes, check_input
from ..layers.gaussian_weights import LogStd, divergence, randomise
from ..segmenter import Segmenter

START = 0.05  # the variance of a weight at first, in units of its prior's


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
        self.kl_share = kl_weight / training_pixels
        for law in self.laws():
            randomise(law, START * 2 / law.fan_in, LogStd)

    def laws(self):
        return linear_layers(self.network)

    def loss(self, x, labels, label_range=None):
        """The bound for an input x and labels (N, H, W), summed over pixels -> (loss, backward)."""
        check_input(self, x)
        logits, network_backward = self.network.forward(x)
        labels = check_classes(labels, logits.mean.shape[1], label_range)
        bound, bound_backward = jensen_bound(logits, labels)
        kl, kl_backward = divergence(self.laws())
        share = self.kl_share * labels.size  # these pixels' part of the KL

        def backward(dloss):
            kl_backward(share * dloss)
            return network_backward(bound_backward(dloss))

        return bound + share * kl, backward

    def read(self, logits):
        """The Prediction that pools the softmax of points in place of the logits."""
        return predicted(xp.exp(log_softmax(point)) for point in points(logits))


def points(x):
    """2 K points, one by one, in place of Gaussian logits x (N, K, H, W).

    Each is mean +- sqrt(K var) in one of the K classes. The mean of a polynomial of degree 3 over
    them is that over x; of a softmax it is 0.004 off at var = 1, and 0.03 at 10. Source: McNamee &
    Stenger, Numerische Mathematik 10, 1967.
    """
    mean, var = (field.astype("float64") for field in x)
    reach = xp.sqrt(mean.shape[1] * var)
    for k in range(mean.shape[1]):
        for sign in (1, -1):
            point = mean.copy()
            point[:, k] += sign * reach[:, k]
            yield point


def jensen_bound(logits, labels):
    """log sum exp(mu + s / 2) - mu_label, summed over pixels -> (loss, backward).

    With q = softmax(mu + s / 2) it is dmu = q - [k = label], ds = q / 2.
    """
    nll, nll_backward = cross_entropy(logits.mean + logits.var / 2, labels)
    target = one_hot(labels, logits.mean.shape[1])

    def backward(dloss):
        dmean = nll_backward(dloss)
        return Gaussian(dmean, (dmean + (dloss * target).astype(dmean.dtype)) / 2)

    return nll + (target * logits.var).sum() / 2, backward  # (12.14)
