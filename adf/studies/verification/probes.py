"""Layers as they are verified.

No parameter has a value that hides an error, and what is no Layer is made one: `predict` of a
Gaussian gives the moments in question, `predict` of a point mass maps a sample.
"""

import numpy as np

from ... import layers
from ...backend import to_host, xp
from ...dirichlet import Dirichlet, DirichletHead, dirichlet_nll
from ...gaussian import Gaussian
from ...layers import free_variance, gaussian_weights
from ...layers.gate import Gate


def with_bias(layer):
    """The layer with a random bias: it begins as 0, which would not be missed."""
    for p in layer.parameters():
        if p.value.ndim == 1:
            bias = np.random.default_rng(9).normal(size=p.value.shape)
            p.value = xp.asarray(bias.astype("float32"))
    return layer


def freed(layer):
    """The layer with a random bias, and with random weights of its own for the variance."""
    rng = np.random.default_rng(8)
    free_variance.free(layer, 0.0, is_last=True)
    sizes = {layer.log_gain: 0.5, layer.loading: 0.4, layer.gate: 0.3, layer.drift: 0.1}
    for p, size in sizes.items():
        p.value = xp.asarray(rng.normal(0, size, p.value.shape).astype("float32"))
    return with_bias(layer)


def gate():
    """A gate of 3 channels with random weights."""
    layer = Gate(3)
    weight = np.random.default_rng(8).normal(0, 0.3, layer.weight.value.shape)
    layer.weight.value = xp.asarray(weight.astype("float32"))
    return layer


def randomised(layer):
    """The layer with a random bias, and with Gaussian weights of random variances."""
    rng = np.random.default_rng(8)
    gaussian_weights.randomise(with_bias(layer), 0.0)
    for p in (layer.weight_var, layer.bias_var):
        p.value = xp.asarray(rng.uniform(0.05, 0.5, p.value.shape).astype("float32"))
    return layer


class DrawnWeights(layers.Layer):
    """A layer with Gaussian weights, analytic for a Gaussian; a point mass meets drawn weights.

    Every row of N meets weights of its own.
    """

    def __init__(self, law):
        self.law = law
        self.rng = np.random.default_rng(4)

    def forward(self, x):
        return self.law.forward(x)

    def predict(self, x):
        y = self.law.predict(x)
        if x.var is not None:
            return y
        # A w x is bilinear: what a unit weight makes of a unit input, for every pair of them, times
        # the products of the numbers that stand there.
        w = self._drawn(self.law.weight, self.law.weight_var, x.mean)
        units, inputs = (xp.eye(n, dtype=w.dtype) for n in (w.shape[1], x.mean[0].size))
        inputs = inputs.reshape(-1, *x.mean.shape[1:])
        units = units.reshape(-1, *self.law.weight.value.shape)
        made = xp.stack([self.law.apply(unit, inputs).ravel() for unit in units])
        pairs = w[:, :, None] * x.mean.reshape(len(w), 1, -1)
        sample = pairs.reshape(len(w), -1) @ made.reshape(pairs[0].size, -1)
        b = self._drawn(self.law.bias, self.law.bias_var, x.mean)
        b = b.reshape(*b.shape, *[1] * (y.mean.ndim - 2))
        return Gaussian(sample.reshape(y.mean.shape) + b)

    def _drawn(self, mean, var, x):
        """Draws from N(mean, var) for every row of x: (N, size)."""
        mean, var = (to_host(p.value).ravel() for p in (mean, var))
        draws = mean + np.sqrt(var) * self.rng.standard_normal((len(x), mean.size))
        return xp.asarray(draws.astype(x.dtype))


def disjoint():
    """Add of two branches that share no input: the first reads channel 0, the second channel 1."""
    layer = layers.Add(*(layers.Conv2d(2, 2, 1, bias=False, rng=seed) for seed in (1, 2)))
    for channel, branch in enumerate(layer.branches):
        mask = xp.asarray([1 - channel, channel], "float32").reshape(1, 2, 1, 1)
        branch.weight.value = branch.weight.value * mask
    return layer


def batch_norm(kind):
    """A batch norm of 3 channels, of this class, with random parameters and running statistics."""
    rng = np.random.default_rng(6)
    layer = kind(3, momentum=1)
    for p in layer.parameters():
        p.value = p.value + xp.asarray(rng.normal(size=3).astype("float32"))
    layer.running_mean.value = xp.asarray(rng.normal(size=3).astype("float32"))
    layer.running_var.value = xp.asarray(rng.random(3).astype("float32"))
    return layer


class BatchStatistics(layers.BatchNorm2d):
    """Batch norm in training: with mean and total variance of x itself.

    Momentum 1 leaves these in the running statistics, with which samples are mapped.
    """

    def predict(self, x):
        return super().predict(x) if x.var is None else self.forward(x)[0]


class DroppedSamples(layers.Dropout):
    """Dropout that is analytic for a Gaussian, and draws masks for a point mass: a sample."""

    def forward(self, x):
        return self._sampled(x) if x.var is None else self._analytic(x)


class Likelihood(DirichletHead):
    """Head and likelihood: the loss of every pixel by itself, as a point mass.

    The pixels lie on the axis N; pixel i has the label i modulo K.
    """

    smoothing = 0.01

    def forward(self, x):
        log_alpha, head_backward = super().forward(x)
        labels = xp.arange(len(x.mean)).reshape(-1, 1, 1, 1) % x.mean.shape[1]
        # `dirichlet_nll` sums over the pixels that it is given, so it is given one at a time.
        losses_of_pixels = (
            dirichlet_nll(log_alpha.mean[i : i + 1], label, self.smoothing)
            for i, label in enumerate(labels)
        )
        losses, callbacks = zip(*losses_of_pixels, strict=True)

        def backward(dy):
            parts = [callback(d) for callback, d in zip(callbacks, dy.mean, strict=True)]
            return head_backward(Gaussian(xp.concatenate(parts)))

        return Gaussian(xp.stack(losses)), backward


class Probabilities(DirichletHead):
    """E[p] and Var[p] of the Dirichlet.

    A point mass asks for a sample: p as Gamma numbers divided by their sum. The logits' noise is
    not sampled, for the head turns it into a concentration by a formula, not by an expectation.
    """

    def __init__(self, raw=-1.0):
        super().__init__(raw)
        self.rng = np.random.default_rng(5)
        self.alpha = None  # of the last Gaussian, (N, K, H, W) on the host

    def predict(self, x):
        if x.var is None:
            shape = (len(x.mean) // len(self.alpha), *self.alpha.shape)
            gamma = self.rng.standard_gamma(self.alpha, shape)
            p = gamma / gamma.sum(axis=2, keepdims=True)
            return Gaussian(xp.asarray(p.reshape(x.mean.shape)))
        d = Dirichlet(xp.exp(super().predict(x).mean))
        self.alpha = to_host(d.concentration)
        return Gaussian(d.probabilities, d.class_std**2)
