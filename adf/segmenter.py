"""Images in, a Dirichlet per pixel out: the network between its two ends, and its loss."""

from typing import Any, NamedTuple

from .backend import xp
from .dirichlet import (
    Dirichlet,
    DirichletHead,
    bernoulli_std,
    cross_entropy,
    dirichlet_nll,
    log_softmax,
    xlogx,
)
from .gaussian import Gaussian
from .layers.checks import check_classes, check_grey_var, check_images, check_input, check_segmenter
from .normalisation import scaled


class Prediction(NamedTuple):
    """What a segmenter says of N images of H x W pixels and K classes; maps are in float32."""

    labels: Any  # (N, H, W) uint8: the most probable class
    probabilities: Any  # (N, K, H, W)
    concentration: Any  # (N, K, H, W): the Dirichlet's alpha; None for a deterministic network
    class_std: Any  # (N, K, H, W): of each class probability; deterministic: of [class = k]
    entropy: Any  # (N, H, W): of the mean probabilities, in nats
    mutual_information: Any = None  # (N, H, W): of class and probabilities; None: deterministic


class Segmenter:
    """A network between an image with Gaussian noise and a Dirichlet per pixel.

    network: a Layer from (N, C, H, W) to logits (N, K, H, W). noise_var: the variance (not the
    standard deviation) of the noise on every pixel of the normalised image, whose own variance is
    about 1; None runs the ordinary deterministic network: point masses, softmax, cross-entropy.
    raw_c: initial c1 and c2 of the head, before the softplus. normalisation: see `normalise`.
    noise: a claim of inference/claims.py, by which an image says what its own is; None: noise_var.

    The loss is (1 - w) (-log E[p_label]) + w (-log Dir(y; alpha)) with w = density_weight.   (7.17)
    At w = 1 it is that of Gast & Roth: the density at the label smoothed by label_smoothing (see
    dirichlet_nll). The mean that minimises it is not the frequency of the classes (lesson 7). At a
    small w the likelihood of the label itself, cross-entropy, rules the mean, and the density rules
    the strength, of which the label says nothing: at w = 0 it does not learn.
    Raises ValueError on a negative noise_var, a label_smoothing outside (0, 1), a density_weight
    outside [0, 1], a raw_c outside [-30, 30] and another normalisation.
    """

    def __init__(
        self, network, noise_var=1e-3, *, label_smoothing=1e-2, density_weight=1.0, raw_c=-3.0,
        normalisation="robust", noise=None,
    ):  # fmt: skip
        check_segmenter(noise_var, label_smoothing, density_weight, normalisation)
        self.network = network
        self.noise_var = noise_var
        self.label_smoothing = label_smoothing
        self.density_weight = density_weight
        self.normalisation = normalisation
        self.noise = noise
        self.head = None if noise_var is None else DirichletHead(raw_c)

    def parameters(self):
        """The network's, then the head's raw c1 and c2."""
        return self.network.parameters() + (self.head.parameters() if self.head else [])

    def input(self, images, grey_var=None):
        """Images (N, C, H, W), checked and normalised, as a Gaussian in the dtype of the weights.

        grey_var: the variance of their noise in grey levels squared, a number or (N, C, H, W), any
        axis 1; None: as claimed. Raises ValueError on other axes, no pixels, other channels than
        the network's `in_channels`, if it has any, negative variances, and what is not finite.
        """
        images = check_images(images, self.network)
        return self.normalised(images, check_grey_var(grey_var, images, self))

    def normalised(self, images, grey_var=None):
        """The same for some images of a batch that was checked as a whole."""
        x, unit = scaled(images, self.normalisation)
        parameters = self.network.parameters()
        x = x.astype(parameters[0].value.dtype if parameters else "float32")
        if self.noise_var is None:
            return Gaussian(x)
        var = self.noise.grey_var(images) if self.noise and grey_var is None else grey_var
        var = self.noise_var if var is None else var / unit / unit
        return Gaussian(x, (xp.zeros_like(x) + var).astype(x.dtype, copy=False))

    def loss(self, x, labels, label_range=None):
        """The loss for an input x and labels (N, H, W), summed over pixels -> (loss, backward).

        label_range: the least and the largest label where they are known, for to ask a GPU stalls
        its queue. Raises ValueError on labels that are not those of one of the K classes.
        """
        check_input(self, x)
        logits, network_backward = self.network.forward(x)
        labels = check_classes(labels, logits.mean.shape[1], label_range)
        if self.head is None:
            loss, loss_backward = cross_entropy(logits.mean, labels)
            return loss, lambda dloss: network_backward(Gaussian(loss_backward(dloss), None))
        # The softmax of log alpha is E[p], so one cross-entropy serves both kinds of network.
        y, head_backward = self.head.forward(logits)
        density, density_backward = dirichlet_nll(y.mean, labels, self.label_smoothing)
        label, label_backward = cross_entropy(y.mean, labels)
        w = self.density_weight

        def backward(dloss):
            dlog_alpha = density_backward(w * dloss) + label_backward((1 - w) * dloss)
            return network_backward(head_backward(Gaussian(dlog_alpha, None)))

        return (1 - w) * label + w * density, backward  # (7.17)

    def predict(self, x, crop=()):
        """The Prediction for an input x, or for the slices `crop` of it: arrays of the backend."""
        check_input(self, x)
        return self.read(self.network.predict(x).map(lambda field: field[..., *crop]))

    def read(self, logits):
        """The Prediction that these logits make."""
        if self.head is None:
            p = xp.exp(log_softmax(logits.mean.astype("float64")))
            fields = p, None, bernoulli_std(p), -xlogx(p).sum(axis=1), None
        else:
            d = Dirichlet(xp.exp(self.head.predict(logits).mean))
            fields = d.probabilities, d.concentration, d.class_std, d.entropy, d.mutual_information
        labels = fields[0].argmax(axis=1).astype("uint8")
        return Prediction(labels, *(None if f is None else f.astype("float32") for f in fields))
