"""What should come out of a layer, and how near to it the layer must come.

The values are those of adf.studies.verification.reference.
"""

import copy
import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ...backend import to_host, xp
from ...dirichlet import DirichletHead
from ...gaussian import Gaussian
from ...layers import Identity
from . import reference


class Exact(NamedTuple):
    """What should come out, flat, and the bounds of its errors in ulp, one per value."""

    mean: Any
    var: Any  # None: a point mass
    size: Any  # what an ulp of the mean refers to; one of the variance refers to the variance
    mean_bound: Any
    var_bound: Any
    formula: str  # the bound in words


def kink(layer, x):
    """The moments of LeakyReLU."""
    pairs = list(zip(x.mean.ravel().tolist(), x.var.ravel().tolist(), strict=True))
    results = [reference.leaky_relu(m, v, layer.negative_slope) for m, v in pairs]
    mean, var = zip(*results, strict=True)
    crossing = 0.3 * (layer.negative_slope > 0)  # a leaky mean crosses 0
    size = [abs(e) + crossing * math.sqrt(v) for e, (_, v) in zip(mean, pairs, strict=True)]
    bound = [64 + (m * m / v if m < 0 else 0) for m, v in pairs]
    return Exact(mean, var, size, bound, bound, "64 + (μ/σ)² where μ < 0, else 64")


def pair(a, b):
    """(mean, var, bound) of the maximum of two Gaussians that are given in the same form.

    The bound grows with t = |mean_a - mean_b| / s, which is as rounded as both means are.
    """
    s = math.sqrt(a[1] + b[1])
    bound = 64 + float((a[0] - b[0]) / s) ** 2 + float(abs(a[0]) + abs(b[0])) / s
    return *reference.maximum(*a[:2], *b[:2]), a[2] + b[2] + bound


def pool(layer, x):
    """The moments of MaxPool2d by its own tree of pairs.

    They show how exactly the layer computes this tree. How near the tree comes to the true maximum
    is a matter of the approximation: `pooling` measures that.
    """
    kernel = layer.kernel_size
    n = math.prod(kernel)
    windows = zip(
        x.mean.reshape(-1, *kernel).tolist(), x.var.reshape(-1, *kernel).tolist(), strict=True
    )
    trees = [_tree(mean, var) for mean, var in windows]
    mean, var, bound = zip(*trees, strict=True)
    # The means may cross zero, so their errors are measured by what went into the window.
    sizes = np.abs(x.mean) + np.sqrt(x.var.astype("float64"))
    size = sizes.reshape(-1, n).sum(axis=1).tolist()
    formula = "64 per pair; variance: 64 + t² + (abs(μa) + abs(μb)) / s per pair"
    return Exact(mean, var, size, [64 * (n - 1)] * len(mean), bound, formula)


def _tree(mean, var):
    """(mean, var, bound) of a window, given as lists of rows: first along the rows, then down."""
    winners = []
    for means, variances in zip(mean, var, strict=True):
        entries = [(m, v, 0) for m, v in zip(means, variances, strict=True)]
        winners.append(reference.knockout(entries, pair))
    return reference.knockout(winners, pair)


def affine(matrix):
    """The exact linear law; matrix: layer, shape of an image -> (A, b)."""

    def exact(layer, x):
        a, b = matrix(layer, x.mean.shape[1:])
        images = zip(x.mean.reshape(len(x.mean), -1), x.var.reshape(len(x.var), -1), strict=True)
        results = [reference.linear(a, b, m, v) for m, v in images]
        mean, var, size = (sum((result[i] for result in results), ()) for i in range(3))
        terms = results[0][3]
        bound = [terms + 4] * len(mean)
        return Exact(mean, var, size, bound, bound, f"n + 4 = {bound[0]}")

    return exact


def free_affine(matrix):
    """The linear law with weights of its own for the variance; matrix: as for `affine`."""

    def exact(layer, x):
        shape = x.mean.shape[1:]
        weights = [matrix(_of_weights(layer, w), shape)[0] for w in _own_weights(layer)]
        law = affine(matrix)(layer, x)
        images = (field.reshape(len(field), -1).astype("float64") for field in x)
        found = [_free(*weights, m, v, shape[0]) for m, v in zip(*images, strict=True)]
        drift, size, var, shares = (sum(parts, ()) for parts in zip(*found, strict=True))
        # What the last layer adds to the mean is rounded as the sum that it is added to.
        return law._replace(
            mean=[m + d for m, d in zip(law.mean, drift, strict=True)],
            size=[a + b for a, b in zip(law.size, size, strict=True)],
            var=var,
            var_bound=[law.var_bound[0] * (2 + share) for share in shares],
            formula=f"{law.formula}; variance: that (2 + Z + 2 abs(q) S / variance)",
        )

    return exact


@reference.exactly
def _free(u, r, t, gate, mean, var, channels):
    """Of one image: A(t) s, A(|t|) s, Var[y], and Z + 2 |q| S / Var[y] before the gate.

    q = A(r) s may cancel: its error refers to S = A(|r|) s, and so that of q**2 to 2 |q| S. That of
    the gate's exponent refers to Z = A(|gate|) |f|.
    """
    s = np.array([reference.mpmath.sqrt(v) for v in _mpf(var)], object)
    f = np.clip(_mpf(mean), -3, 3) / reference.mpmath.sqrt(channels)
    q = r @ s
    total = u @ _mpf(var) + q * q
    shares = abs(gate) @ abs(f) + 2 * abs(q) * (abs(r) @ s) / total
    gated = _exp(gate @ f) * total
    return tuple(t @ s), tuple(abs(t) @ s), tuple(gated), tuple(map(float, shares))


def gaussian_affine(matrix):
    """The linear law with Gaussian weights, of a probes.DrawnWeights; matrix: as for `affine`."""

    def exact(layer, x):
        layer = layer.law
        shape = x.mean.shape[1:]
        law = affine(matrix)(layer, x)
        m, v, v_b = (
            _mpf(to_host(p.value)) for p in (layer.weight, layer.weight_var, layer.bias_var)
        )
        # Var[y] of each image, of which all terms are positive.
        with reference.exactly:
            both, doubt = (matrix(_of_weights(layer, w), shape)[0] for w in (m * m + v, v))
            v_b = np.repeat(v_b, len(doubt) // len(v_b))
            images = (_mpf(field.reshape(len(field), -1)) for field in x)
            var = [both @ s + doubt @ (mu * mu) + v_b for mu, s in zip(*images, strict=True)]
        bound = [law.var_bound[0] + 2] * len(law.mean)
        formula = f"{law.formula}; variance: 2 more"
        return law._replace(var=np.concatenate(var), var_bound=bound, formula=formula)

    return exact


@reference.exactly
def gated(layer, x):
    """The moments of Gate. The error of its exponent refers to the sizes that add up in it."""
    w = _mpf(to_host(layer.weight.value)[..., 0, 0])
    f = np.clip(_mpf(x.mean), -3, 3) / reference.mpmath.sqrt(layer.channels)
    var = _exp(np.einsum("oc,nchw->nohw", w, f)) * _mpf(x.var)
    sizes = np.einsum("oc,nchw->nohw", abs(w), abs(f)).astype(float).ravel()
    mean = _mpf(x.mean).ravel().tolist()
    terms = layer.channels + 5
    bound = [4 + terms * size for size in sizes]
    formula = f"4; variance: 4 + {terms} abs(weight) abs(f)"
    return Exact(mean, var.ravel().tolist(), np.abs(mean), [4] * len(mean), bound, formula)


@reference.exactly
def _own_weights(layer):
    """u, r, t and the gate, in exact arithmetic."""
    parts = (layer.weight, layer.log_gain, layer.loading, layer.drift, layer.gate)
    w, log_gain, loading, drift, gate = (_mpf(to_host(p.value)) for p in parts)
    return w * w * _exp(log_gain), w * loading, w * drift, gate


def _mpf(array):
    return np.vectorize(reference.mpf, otypes=[object])(array.astype("float64"))


def _exp(array):
    return np.vectorize(reference.mpmath.exp, otypes=[object])(array)


def _of_weights(layer, w):
    """The layer with these weights, of any kind of number."""
    layer = copy.copy(layer)
    layer.weight = SimpleNamespace(value=w)
    return layer


def weights(layer):
    """The weights on the host, in float64 or, where they are exact, as they are."""
    w = layer.weight.value
    return w if w.dtype == object else to_host(w).astype("float64")


def bias(layer, matrix):
    """The bias of every output of the matrix."""
    values = [0.0] if getattr(layer, "bias", None) is None else to_host(layer.bias.value).tolist()
    return np.repeat(values, len(matrix) // len(values))


def dense(layer, shape):
    """(A, b) of Linear."""
    return weights(layer), bias(layer, layer.weight.value)


def convolution(layer, shape):
    """(A, b) of Conv2d."""
    a = reference.correlation_matrix(weights(layer), shape[1:], *layer.map)
    return a, bias(layer, a)


def transposed(layer, shape):
    """(A, b) of ConvTranspose2d: the transpose of the convolution from its output to its input."""
    a = reference.correlation_matrix(weights(layer), layer.output_size(shape[1:]), *layer.map).T
    return a, bias(layer, a)


def average(layer, shape):
    """(A, b) of AvgPool2d and GlobalAvgPool2d: convolutions of each channel with equal weights."""
    kernel = getattr(layer, "kernel_size", shape[1:])
    with reference.exactly:
        w = np.full((shape[0], 1, *kernel), reference.mpf(1) / math.prod(kernel), object)
    window = (layer.map.stride, layer.map.padding) if hasattr(layer, "map") else ()
    a = reference.correlation_matrix(w, shape[1:], *window, groups=shape[0])
    return a, bias(layer, a)


def upsampling(layer, shape):
    """(A, b) of Upsample: for each channel, the product of its two directions."""
    down, across = (
        reference.interpolation_matrix(shape[k + 1], layer.scale_factor[k], layer.mode)
        for k in (0, 1)
    )
    with reference.exactly:
        a = np.kron(np.eye(shape[0], dtype=int).astype(object), np.kron(down, across))
    return a, bias(layer, a)


def branch_matrices(layer, shape):
    """All A and all b of the branches: each is Identity, or a convolution of its own input."""
    unit = np.eye(math.prod(shape), dtype=int).astype(object)
    identity = (unit, np.zeros(math.prod(shape)))
    laws = (
        identity if isinstance(branch, Identity) else convolution(branch, shape)
        for branch in layer.branches
    )
    return zip(*laws, strict=True)


def concatenated(layer, shape):
    """(A, b) of Concat."""
    matrices, biases = branch_matrices(layer, shape)
    return np.concatenate(matrices), np.concatenate(biases)


def added(layer, shape):
    """(A, b) of Add."""
    matrices, biases = branch_matrices(layer, shape)
    return sum(matrices), sum(biases)


def normalised(of_batch):
    """The moments of batch normalisation, with the statistics of the batch or the running ones."""

    def exact(layer, x):
        channels = [_channel(layer, x, c, of_batch) for c in range(layer.num_features)]
        # The values go from (channel, image, pixel) to the order of x: image, channel, pixel.
        shape = (layer.num_features, len(x.mean), *x.mean.shape[2:])
        parts = [np.array([channel[i] for channel in channels], object) for i in range(3)]
        fields = (part.reshape(shape).swapaxes(0, 1).ravel() for part in parts)
        n = x.mean.size // layer.num_features
        ulps = n + 8 if of_batch else 8
        bound = [ulps] * x.mean.size
        return Exact(*fields, bound, bound, f"n + 8 = {ulps}" if of_batch else "8")

    return exact


def _channel(layer, x, c, of_batch):
    """Means, variances and sizes of channel c of a batch normalisation."""
    mean = x.mean[:, c].ravel().tolist()
    var = x.var[:, c].ravel().tolist()
    if of_batch:
        m, total = reference.total_variance(mean, var)
    else:
        m = float(layer.running_mean.value[c])
        total = float(layer.running_var.value[c])
    scale = float(layer.scale.value[c])
    shift = float(layer.shift.value[c])
    return reference.batch_norm(mean, var, scale, shift, m, total, layer.eps)


def dropped(layer, x):
    """The moments of Dropout over its random masks."""
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
    """The Gaussian with the arrays of the backend."""
    return Gaussian(xp.asarray(x.mean), xp.asarray(x.var))
