"""Errors of public ADF code, each on a stated input: the truth, what the naive rule gives, what this library gives.

The naive rules: adf.studies.verification.naive; the truth: adf.studies.verification.reference; the table: adf.studies.verification.contrast.
"""

import itertools

import numpy as np
from scipy.special import ndtr

from ... import layers
from ...backend import to_host, xp
from ...dirichlet import Dirichlet, DirichletHead
from ...gaussian import Gaussian
from . import expected, measure, naive, reference
from .contrast import LARGEST, MEDIAN, NEGATIVE, ORDER, Found, Mistake

RELU, LEAKY = "ReLU: E[y²] - E[y]², Φ by erf", "Leaky ReLU: E[y²] - E[y]²"
LARGER, NORM = "Larger of 2: E[y²] - E[y]²", "Batch norm: scale² v"
POOL, SOFTMAX = (
    "float64: v = 1, 64 x 2048, 3 x 3, stride 2; inner pixels",
    "Softmax: log-normals' ratio",
)
FOURS = "1,000 windows; μ from N(0, 1), v from 0.1 to 2"
GRID = np.linspace(-12, -4, 161, dtype="float32")
TAIL = 10 + GRID.astype("float64") ** 2


def variances(layer, mean, var):
    return to_host(layer.predict(measure.as_gaussian((mean, var), mean.dtype)).var)


def of_image(layer, var):
    return variances(layer, var[None, None], var[None, None])[0, 0]


def relu(dtype, mean, floor=0):
    mean = np.array(mean, dtype)
    one = np.ones_like(mean)
    exact = [reference.leaky_relu(m, 1, 0)[1] for m in mean.tolist()]
    return Found(
        exact, naive.relu(mean, one)[1] + one * floor, variances(layers.LeakyReLU(0), mean, one)
    )


def leaky_relu(cdf=ndtr):
    mean, sigma = np.linspace(-10, 10, 401, dtype="float32"), np.float32(1e-3)
    var = np.full_like(mean, sigma * sigma)
    exact = [
        reference.leaky_relu(m, v, 0.01)[1]
        for m, v in zip(mean.tolist(), var.tolist(), strict=True)
    ]
    return Found(
        exact,
        naive.leaky_relu(mean, sigma, 0.01, cdf)[1],
        variances(layers.LeakyReLU(0.01), mean, var),
    )


def larger(a, b, var, cdf=ndtr):
    x = np.array([a, var, b, var], "float32")
    pixels = x.reshape(2, 2).T.reshape(2, 1, 1, 1, 2)  # their means, their variances
    exact = reference.maximum(*x.tolist())[1]
    return Found(
        [exact], naive.maximum(*x[:, None], cdf)[1], variances(layers.MaxPool2d((1, 2)), *pixels)
    )


def network():
    """Four layers that are exact in a row, and an input of variance 1e-6."""
    first, last = layers.Conv2d(3, 3, 1, groups=3, bias=False, rng=1), layers.Conv2d(3, 2, 1, rng=2)
    net = layers.Sequential(first, layers.LeakyReLU(0.1), layers.AvgPool2d(2), last)
    mean = 1e-3 * np.random.default_rng(0).uniform(-2, 4, (1, 3, 4, 4))
    return measure.cast(net, "float64"), measure.as_gaussian(
        (mean, np.full_like(mean, 1e-6)), "float64"
    )


def floored():
    net, x = network()
    linear, average = expected.affine(expected.convolution), expected.affine(expected.average)
    ours, theirs, exact = net.predict(x), naive.floored(net.layers, x), x
    for layer, law in zip(net.layers, (linear, expected.kink, average, linear), strict=True):
        shape, exact = layer.predict(exact).mean.shape, law(layer, measure.on_host(exact))
        exact = measure.as_gaussian(
            [np.array(f, "float64").reshape(shape) for f in exact[:2]], "float64"
        )
    return Found(to_host(exact.var), to_host(theirs.var), to_host(ours.var))


def normalisation(running):
    layer = measure.cast(layers.BatchNorm2d(1), "float64")
    layer.scale.value, layer.running_var.value = xp.asarray([3.0]), xp.asarray([running])
    return layer


def batch_norm(running):
    layer = normalisation(running)
    x = np.full((2, 1, 1, 1, 1), 2.0)
    exact = reference.batch_norm([2.0], [2.0], 3, 0, 0, running, layer.eps)[1]
    return Found(exact, naive.batch_norm(x[1], 3), variances(layer, *x))


def average_pool(divisions):
    one = np.ones((64, 2048))
    theirs, ours = (
        naive.average_pool(one, (3, 3), 2, 1, divisions),
        of_image(layers.AvgPool2d(3, 2, 1), one),
    )
    return Found([reference.mpf(9) / 81], theirs[1:, 1:], ours[1:, 1:])


def upsample():
    one, layer = np.ones((8, 8)), layers.Upsample(2)
    row = reference.interpolation_matrix(8, 2, "bilinear")[5]
    theirs, ours = naive.upsample(layer, one), of_image(layer, one)
    return Found([sum(row**2) ** 2], theirs[1:-1, 1:-1], ours[1:-1, 1:-1])


def dirichlet(mean, var):
    """Of the head on logits (N, K), and its exact concentrations."""
    x = measure.as_gaussian([f[:, :, None, None] for f in (mean, var)], mean.dtype)
    alpha = [
        reference.concentration(m, v, -3, -3)
        for m, v in zip(mean.tolist(), var.tolist(), strict=True)
    ]
    return Dirichlet(xp.exp(DirichletHead(-3.0).predict(x).mean)), alpha


def softmax(dtype, logit):
    """The standard deviation of the first of two probabilities."""
    mean, var = np.array([[logit, 0]], dtype), np.ones((1, 2), dtype)
    ours, alpha = dirichlet(mean, var)
    with np.errstate(over="ignore", invalid="ignore"):
        theirs = np.sqrt(naive.softmax(mean[0], var[0])[1][:1])
    truth, defined = reference.logistic(logit, 2)[1], reference.dirichlet_moments(alpha[0])[1][0]
    return Found([truth**0.5], theirs, to_host(ours.class_std)[:, 0], [defined**0.5])


def evidence():
    """alpha_0 at variances of 100, divided by alpha_0 at 0.01."""
    mean, var = np.broadcast_arrays([[1.0, 0, -1]], [[0.01], [100]])
    ours, alpha = dirichlet(mean, var)
    c = np.log1p(np.exp(-3))
    strengths = (
        [sum(a) for a in alpha],
        naive.concentration(mean, var, c, c).sum(axis=1),
        to_host(ours.strength),
    )
    return Found(*([strength[1] / strength[0]] for strength in strengths))


def dropout():
    two, half = np.array([2.0]), np.array([0.5])
    return Found(
        [reference.dropout(2, 0.5, 0.3)[1]],
        naive.dropout(half),
        variances(layers.Dropout(0.3), two, half),
    )


def residual():
    ours = Gaussian(1.0, 2.0) + Gaussian(10.0, 20.0)
    return Found([22], [naive.residual((1.0, 2.0), (10.0, 20.0))[1]], [ours.var])


def normals():
    """Four standard normals."""
    zero, one = np.zeros(4), np.ones(4)
    ours = variances(layers.MaxPool2d(2), *(f.reshape(1, 1, 2, 2) for f in (zero, one)))
    return Found([reference.maximum_of_many(zero, one)[1]], [naive.largest(zero, one)[1]], ours)


def windows(law=lambda rng: rng.uniform(0.1, 2, (4, 1000))):
    """1,000 windows of four: means N(0, 1), variances by the law; (1000, 4) each, float64, seed 0."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 1000)).T, law(rng).T


def by_pairs(mean, var):
    """Ours, (3, windows): for each of the three ways to pair the four of a window."""
    pairings = ([0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2])
    pool = layers.MaxPool2d(2)
    return [
        variances(pool, *(f[:, order].reshape(-1, 1, 2, 2) for f in (mean, var))).ravel()
        for order in pairings
    ]


def orders():
    mean, var = windows()
    truth = [reference.maximum_of_many(m, s)[1] for m, s in zip(mean, np.sqrt(var), strict=True)]
    permutations = (list(order) for order in itertools.permutations(range(4)))
    theirs = [naive.largest(mean[:, order].T, var[:, order].T)[1] for order in permutations]
    return Found(truth, theirs, by_pairs(mean, var))


ROWS = (
    Mistake(1, RELU, "float32: N(-6, 1)", lambda: relu("float32", [-6]), 700, 46),
    Mistake(1, RELU, "float64: N(-8, 1)", lambda: relu("float64", [-8]), 35, 74),
    Mistake(
        1,
        RELU,
        "float32: N(μ, 1), 161 μ from -12 to -4",
        lambda: relu("float32", GRID),
        0.85,
        TAIL,
        "10 + μ²",
        NEGATIVE,
    ),
    Mistake(
        2,
        LEAKY,
        "float32: slope 0.01, σ 0.001, 401 μ from -10 to 10",
        leaky_relu,
        0.88,
        amount=MEDIAN,
    ),
    Mistake(3, LARGER, "float32: N(100, 1e-4), N(99, 1e-4)", lambda: larger(100, 99, 1e-4), 1e6),
    Mistake(3, LARGER, "float32: N(5, 1e-6) twice", lambda: larger(5, 5, 1e-6), 2.7),
    Mistake(4, "Every layer adds 0.001", "float64: 4 layers, variances 1e-6", floored, 12_000, 16),
    Mistake(
        4,
        "It hides error 1",
        "float32: N(-6, 1), ReLU",
        lambda: relu("float32", [-6], naive.FLOOR),
        1.9e7,
        46,
    ),
    Mistake(
        5, NORM, "float64: scale 3, running variance 0.01, v = 2", lambda: batch_norm(0.01), 99
    ),
    Mistake(
        5, NORM, "float64: scale 3, running variance 100, v = 2", lambda: batch_norm(100.0), 99
    ),
    Mistake(6, "Average pooling: / (H W)", POOL, lambda: average_pool(1), 14_000, 13),
    Mistake(6, "The same, divided twice", POOL, lambda: average_pool(2), 1.9e9, 13),
    Mistake(
        7,
        "Bilinear: weights not squared",
        "float64: v = 1, 8 x 8, factor 2; inner pixels",
        upsample,
        2.5,
        8,
    ),
    Mistake(8, SOFTMAX, "float64: logits N(3, 1), N(0, 1)", lambda: softmax("float64", 3), 10, 64),
    Mistake(
        8, SOFTMAX, "float32: logits N(44, 1), N(0, 1)", lambda: softmax("float32", 44), 1e6, 64
    ),
    Mistake(
        9, "Evidence rises with v", "float64: α₀ at v = 100, over α₀ at v = 0.01", evidence, 99, 16
    ),
    Mistake(10, "Dropout by a mask of ones", "float64: N(2, 0.5), p 0.3", dropout, 4.8),
    Mistake(10, "out += shortcut, of tuples", "float64: N(1, 2), N(10, 20)", residual, 10),
    Mistake(
        11,
        "Largest of 4, one by one",
        "float64: N(0, 1), 4 times",
        normals,
        0.04,
        0.06,
        amount=LARGEST,
        approximate=True,
    ),
    Mistake(
        11,
        "The same, in each order",
        f"float64: {FOURS}",
        orders,
        0.3,
        0.35,
        amount=ORDER,
        approximate=True,
    ),
)
