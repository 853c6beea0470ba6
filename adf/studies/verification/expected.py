"""What should come out of a layer, by adf.studies.verification.reference, and how near to it the layer must come."""

import math
from typing import Any, NamedTuple

import numpy as np

from ...backend import to_host, xp
from ...dirichlet import DirichletHead
from ...gaussian import Gaussian
from ...layers import Identity
from . import reference


class Exact(NamedTuple):
    """What should come out, flat; `size`: what an ulp of the mean refers to; the bounds are in ulp, per value."""

    mean: Any
    var: Any  # None: a point mass
    size: Any
    mean_bound: Any
    var_bound: Any
    formula: str  # the bound in words


def kink(layer, x):
    pairs = list(zip(x.mean.ravel().tolist(), x.var.ravel().tolist(), strict=True))
    mean, var = zip(
        *(reference.leaky_relu(m, v, layer.negative_slope) for m, v in pairs), strict=True
    )
    crossing = 0.3 * (layer.negative_slope > 0)  # a leaky mean crosses 0
    size = [abs(e) + crossing * math.sqrt(v) for e, (_, v) in zip(mean, pairs, strict=True)]
    bound = [64 + (m * m / v if m < 0 else 0) for m, v in pairs]
    return Exact(mean, var, size, bound, bound, "64 + (μ/σ)² where μ < 0, else 64")


def pair(a, b):
    """max of two (mean, var, bound): the bound grows with t = |a - b| / s, which is as rounded as a and b are."""
    s = math.sqrt(a[1] + b[1])
    bound = 64 + float((a[0] - b[0]) / s) ** 2 + float(abs(a[0]) + abs(b[0])) / s
    return *reference.maximum(*a[:2], *b[:2]), a[2] + b[2] + bound


def pool(layer, x):
    """The layer's own tree of pairs: how exactly it is computed. How near it is to the true maximum: approximations."""
    n, kernel = math.prod(layer.kernel_size), layer.kernel_size
    flat = zip(
        x.mean.reshape(-1, *kernel).tolist(), x.var.reshape(-1, *kernel).tolist(), strict=True
    )
    trees = []
    for mean, var in flat:
        rows = [
            [(m, v, 0) for m, v in zip(*row, strict=True)] for row in zip(mean, var, strict=True)
        ]
        trees.append(reference.knockout([reference.knockout(row, pair) for row in rows], pair))
    mean, var, bound = zip(*trees, strict=True)
    size = (np.abs(x.mean) + np.sqrt(x.var.astype("float64"))).reshape(-1, n).sum(axis=1).tolist()
    formula = "64 per pair; variance: 64 + t² + (abs(μa) + abs(μb)) / s per pair"
    return Exact(mean, var, size, [64 * (n - 1)] * len(mean), bound, formula)


def affine(matrix):
    """The exact linear law; matrix: layer -> (A, b) for one image."""

    def exact(layer, x):
        a, b = matrix(layer, x.mean.shape[1:])
        images = zip(x.mean.reshape(len(x.mean), -1), x.var.reshape(len(x.var), -1), strict=True)
        results = [reference.linear(a, b, m, v) for m, v in images]
        mean, var, size = (sum((r[i] for r in results), ()) for i in range(3))
        bound = [results[0][3] + 4] * len(mean)
        return Exact(mean, var, size, bound, bound, f"n + 4 = {bound[0]}")

    return exact


def weights(layer):
    return to_host(layer.weight.value).astype("float64")


def bias(layer, matrix):
    """The bias of every output of the matrix."""
    values = [0.0] if getattr(layer, "bias", None) is None else to_host(layer.bias.value).tolist()
    return np.repeat(values, len(matrix) // len(values))


def dense(layer, shape):
    return weights(layer), bias(layer, layer.weight.value)


def convolution(layer, shape):
    a = reference.correlation_matrix(weights(layer), shape[1:], *layer.map)
    return a, bias(layer, a)


def transposed(layer, shape):
    a = reference.correlation_matrix(weights(layer), layer.output_size(shape[1:]), *layer.map).T
    return a, bias(layer, a)


def average(layer, shape):
    kernel = getattr(layer, "kernel_size", shape[1:])
    with reference.exactly:
        w = np.full((shape[0], 1, *kernel), reference.mpf(1) / math.prod(kernel), object)
    stride, padding = (
        (layer.map.stride, layer.map.padding) if hasattr(layer, "map") else ((1, 1), (0, 0))
    )
    a = reference.correlation_matrix(w, shape[1:], stride, padding, groups=shape[0])
    return a, bias(layer, a)


def upsampling(layer, shape):
    down, across = (
        reference.interpolation_matrix(shape[k + 1], layer.scale_factor[k], layer.mode)
        for k in (0, 1)
    )
    with reference.exactly:
        a = np.kron(np.eye(shape[0], dtype=int).astype(object), np.kron(down, across))
    return a, bias(layer, a)


def branch_matrices(layer, shape):
    """Identity, and convolutions of their own inputs."""
    identity = np.eye(math.prod(shape), dtype=int).astype(object), np.zeros(math.prod(shape))
    return zip(
        *(identity if isinstance(b, Identity) else convolution(b, shape) for b in layer.branches),
        strict=True,
    )


def concatenated(layer, shape):
    matrices, biases = branch_matrices(layer, shape)
    return np.concatenate(matrices), np.concatenate(biases)


def added(layer, shape):
    matrices, biases = branch_matrices(layer, shape)
    return sum(matrices), sum(biases)


def normalised(of_batch):
    """Batch normalisation per channel, with the statistics of the batch or the running ones."""

    def exact(layer, x):
        columns, n = [], x.mean.size // layer.num_features
        for c in range(layer.num_features):
            mean, var = x.mean[:, c].ravel().tolist(), x.var[:, c].ravel().tolist()
            running = float(layer.running_mean.value[c]), float(layer.running_var.value[c])
            m, total = reference.total_variance(mean, var) if of_batch else running
            scale, shift = float(layer.scale.value[c]), float(layer.shift.value[c])
            columns.append(reference.batch_norm(mean, var, scale, shift, m, total, layer.eps))
        shape = (layer.num_features, len(x.mean), *x.mean.shape[2:])
        fields = (
            np.array([c[i] for c in columns], object).reshape(shape).swapaxes(0, 1).ravel()
            for i in range(3)
        )
        bound, formula = (n + 8, f"n + 8 = {n + 8}") if of_batch else (8, "8")
        return Exact(*fields, [bound] * x.mean.size, [bound] * x.mean.size, formula)

    return exact


def dropped(layer, x):
    moments = list(zip(x.mean.ravel().tolist(), x.var.ravel().tolist(), strict=True))
    mean, var = zip(*(reference.dropout(m, v, layer.p) for m, v in moments), strict=True)
    size = [abs(m) + math.sqrt(v) for m, v in moments]
    return Exact(mean, var, size, [8] * len(mean), [8] * len(mean), "8")


def log_concentration(layer, x):
    """log alpha, and no variance: the head's answer is a number."""
    raw = [float(p.value[0]) for p in layer.parameters()]
    results = [reference.log_concentration(m, v, *raw) for m, v in pixels(x)]
    mean, size = zip(*((m, size) for means, size in results for m in means), strict=True)
    return Exact(mean, None, size, [64] * len(mean), None, "64")


def likelihood(layer, x):
    """The loss of the log alpha that the head computed; pixel i has the label i modulo K."""
    log_alpha = to_host(DirichletHead.forward(layer, as_device(x))[0].mean)[:, :, 0, 0].tolist()
    results = [
        reference.dirichlet_nll(a, i % len(a), layer.smoothing) for i, a in enumerate(log_alpha)
    ]
    mean, size = zip(*results, strict=True)
    return Exact(mean, None, size, [64] * len(mean), None, "64")


def probabilities(layer, x):
    """E[p] and Var[p] of the alpha that the head computed."""
    layer.predict(as_device(x))
    results = [reference.dirichlet_moments(a) for a in layer.alpha[:, :, 0, 0].tolist()]
    mean, var = np.array(results, object).swapaxes(0, 1).reshape(2, -1)
    return Exact(mean, var, mean, [64] * len(mean), [64] * len(mean), "64")


def pixels(x):
    """The logits' means and variances, pixel by pixel, of x: (N, K, 1, 1)."""
    return zip(x.mean[:, :, 0, 0].tolist(), x.var[:, :, 0, 0].tolist(), strict=True)


def as_device(x):
    return Gaussian(xp.asarray(x.mean), xp.asarray(x.var))
