"""Ways to true variances that no command takes: scalars, local losses, the linearised network."""

import copy

import numpy as np

from ...backend import default_rng, to_host, xp
from ...calibration import COPIES, linear_layers, log_bias, white
from ...gaussian import Gaussian
from ...layers import BatchNorm2d, Sequential
from ...layers.compose import Parallel
from ...layers.fold import fold
from ...layers.frozen import frozen
from ...layers.gate import Gate
from ...training import Adam


def layer_gain(d, var):
    """mean of d / mean of var over all outputs of a layer, one scalar, for `calibration.begin`.

    The idea of Calibrated Variance Propagation (Wieczorek et al., arXiv 2606.16214, 2026): scalars
    per layer, fitted to samples. There the noise is that of weights, here of the input.
    """
    return xp.full((1, d.shape[1], *[1] * (d.ndim - 2)), float(d.mean() / var.mean()))


def with_gates(layer, share, width):
    """A network of the same layers with a Gate behind every wide batch norm.

    Wide ones have at least this share of so many channels.
    """
    if isinstance(layer, Parallel):
        return type(layer)(*(with_gates(branch, share, width) for branch in layer.branches))
    if not isinstance(layer, Sequential):
        is_wide = isinstance(layer, BatchNorm2d) and layer.num_features >= share * width
        return Sequential(layer, Gate(layer.num_features)) if is_wide else layer
    twin = copy.copy(layer)
    twin.layers = tuple(with_gates(inner, share, width) for inner in layer.layers)
    return twin


class OnePerLayer(Adam):
    """Adam for parameters that each move as a whole."""

    def step(self):
        for p in self.parameters:
            p.grad = xp.full_like(p.grad, float(p.grad.sum()))
        super().step()


def loadings_alone(parameters, **options):
    """Adam for r alone: every second parameter, where all layers have u and r and no more."""
    return Adam(parameters[1::2], **options)


def local_step(segmenter, optimizer, x, _):
    """As `calibrate_step`, but every linear layer learns the variances of its own outputs alone."""
    laws = linear_layers(segmenter.network)

    # The noisy copies and x go through side by side, and no gradient goes back.
    def leaf(layer, inputs):
        *copies, y = (layer.predict(x) for x in inputs)
        if layer in laws:
            y, backward = layer.forward(inputs[-1])
            d = xp.stack([copy.mean for copy in copies]).var(axis=0, ddof=1)
            error = xp.log(y.var / d) + log_bias(COPIES)
            backward(Gaussian(xp.zeros_like(error), error / y.var / error.size))
        return [*copies, y]

    def join(layer, branches):
        return [layer.join(list(outputs)) for outputs in zip(*branches, strict=True)]

    for p in optimizer.parameters:
        p.grad = xp.zeros_like(p.value)
    rng = default_rng(optimizer.t)
    copies = [Gaussian(x.mean + white(rng, x.var)) for _ in range(COPIES)]
    fold(segmenter.network, [*copies, x], leaf, join)
    optimizer.step()


def linearised(network, x, pixels):
    """Moments (K, n) of the logits of these pixels, numbered by rows, of an image (1, C, H, W).

    Var[y] = sum Var[x] (dy/dx)**2: exact for a linear network, a backward pass for every logit.
    """
    twin = frozen(network)
    y = to_host(network.predict(Gaussian(x.mean)).mean)[0]
    var = np.empty((len(y), len(pixels)))
    for k, n in np.ndindex(var.shape):
        point, backward = twin.forward(Gaussian(x.mean))
        dy = xp.zeros_like(point.mean)
        dy.reshape(len(y), -1)[k, pixels[n]] = 1
        slope = backward(Gaussian(dy)).mean
        var[k, n] = float((x.var * slope * slope).sum())
    return Gaussian(y.reshape(len(y), -1)[:, pixels].astype("float64"), var)
