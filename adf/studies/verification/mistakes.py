"""Errors of public ADF code, each on a stated input.

A function gives the truth (adf.studies.verification.reference), what the naive rule makes of the
input (adf.studies.verification.naive), and what this library does. ROWS is what the table of
adf.studies.verification.contrast has of them.
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

# The rules and inputs, in words, of the rows below.
RELU = "ReLU: E[y²] - E[y]², Φ by erf"
LEAKY = "Leaky ReLU: E[y²] - E[y]²"
LARGER = "Larger of 2: E[y²] - E[y]²"
NORM = "Batch norm: scale² v"
POOL = "float64: v = 1, 64 x 2048, 3 x 3, stride 2; inner pixels"
SOFTMAX = "Softmax: log-normals' ratio"
FOURS = "1,000 windows; μ from N(0, 1), v from 0.1 to 2"
GRID = np.linspace(-12, -4, 161, dtype="float32")  # means of a ReLU's inputs, far in the lower tail
TAIL = 10 + GRID.astype("float64") ** 2  # the bounds of our errors there, in ulp


def variances(layer, mean, var):
    """The variances that a layer of this library gives for NumPy arrays, on the host."""
    return to_host(layer.predict(measure.as_gaussian((mean, var), mean.dtype)).var)


def of_image(layer, var):
    """The variances (H, W) for an image's variances (H, W)."""
    return variances(layer, var[None, None], var[None, None])[0, 0]


def relu(dtype, mean, floor=0):
    """The ReLU of N(mean, 1); floor: what is added to the naive variance."""
    mean = np.array(mean, dtype)
    one = np.ones_like(mean)
    exact = [reference.leaky_relu(m, 1, 0)[1] for m in mean.tolist()]
    theirs = naive.relu(mean, one)[1] + one * floor
    return Found(exact, theirs, variances(layers.LeakyReLU(0), mean, one))


def leaky_relu(cdf=ndtr):
    """The leaky ReLU, slope 0.01, of inputs with a standard deviation of 0.001."""
    mean = np.linspace(-10, 10, 401, dtype="float32")
    sigma = np.float32(1e-3)
    var = np.full_like(mean, sigma * sigma)
    inputs = zip(mean.tolist(), var.tolist(), strict=True)
    exact = [reference.leaky_relu(m, v, 0.01)[1] for m, v in inputs]
    theirs = naive.leaky_relu(mean, sigma, 0.01, cdf)[1]
    return Found(exact, theirs, variances(layers.LeakyReLU(0.01), mean, var))


def larger(a, b, var, cdf=ndtr):
    """The larger of N(a, var) and N(b, var), in float32."""
    x = np.array([a, var, b, var], "float32")
    pixels = x.reshape(2, 2).T.reshape(2, 1, 1, 1, 2)  # their means, their variances
    exact = reference.maximum(*x.tolist())[1]
    theirs = naive.maximum(*x[:, None], cdf)[1]
    return Found([exact], theirs, variances(layers.MaxPool2d((1, 2)), *pixels))


def network():
    """Four layers that are exact in a row, and an input of variance 1e-6; both in float64."""
    first = layers.Conv2d(3, 3, 1, groups=3, bias=False, rng=1)
    last = layers.Conv2d(3, 2, 1, rng=2)
    net = layers.Sequential(first, layers.LeakyReLU(0.1), layers.AvgPool2d(2), last)
    mean = 1e-3 * np.random.default_rng(0).uniform(-2, 4, (1, 3, 4, 4))
    x = measure.as_gaussian((mean, np.full_like(mean, 1e-6)), "float64")
    return measure.cast(net, "float64"), x


def floored():
    """The output of `network` with a constant added to the variances behind every layer."""
    net, x = network()
    exact = _by_exact_laws(net, x)
    theirs = naive.floored(net.layers, x)
    return Found(to_host(exact.var), to_host(theirs.var), to_host(net.predict(x).var))


def _by_exact_laws(net, x):
    """The output of `network`, each layer by its exact law; between the layers in float64."""
    linear = expected.affine(expected.convolution)
    laws = (linear, expected.kink, expected.affine(expected.average), linear)
    for layer, law in zip(net.layers, laws, strict=True):
        shape = layer.predict(x).mean.shape
        moments = law(layer, measure.on_host(x))[:2]
        x = measure.as_gaussian([np.array(f, "float64").reshape(shape) for f in moments], "float64")
    return x


def normalisation(running):
    """A batch norm of one channel in float64: scale 3, and this running variance."""
    layer = measure.cast(layers.BatchNorm2d(1), "float64")
    layer.scale.value = xp.asarray([3.0])
    layer.running_var.value = xp.asarray([running])
    return layer


def batch_norm(running):
    """`normalisation` of N(2, 2)."""
    layer = normalisation(running)
    x = np.full((2, 1, 1, 1, 1), 2.0)
    exact = reference.batch_norm([2.0], [2.0], 3, 0, 0, running, layer.eps)[1]
    return Found(exact, naive.batch_norm(x[1], 3), variances(layer, *x))


def average_pool(divisions):
    """Average pooling of variances 1, the inner pixels; divisions: as in `naive.average_pool`."""
    one = np.ones((64, 2048))
    theirs = naive.average_pool(one, (3, 3), 2, 1, divisions)
    ours = of_image(layers.AvgPool2d(3, 2, 1), one)
    return Found([reference.mpf(9) / 81], theirs[1:, 1:], ours[1:, 1:])


def upsample():
    """Bilinear interpolation, factor 2, of variances 1; the inner pixels."""
    one = np.ones((8, 8))
    layer = layers.Upsample(2)
    row = reference.interpolation_matrix(8, 2, "bilinear")[5]
    theirs = naive.upsample(layer, one)
    ours = of_image(layer, one)
    return Found([sum(row**2) ** 2], theirs[1:-1, 1:-1], ours[1:-1, 1:-1])


def dirichlet(mean, var):
    """The Dirichlet of the head on logits (N, K), and its exact concentrations."""
    x = measure.as_gaussian([f[:, :, None, None] for f in (mean, var)], mean.dtype)
    logits = zip(mean.tolist(), var.tolist(), strict=True)
    alpha = [reference.concentration(m, v, -3, -3) for m, v in logits]
    return Dirichlet(xp.exp(DirichletHead(-3.0).predict(x).mean)), alpha


def softmax(dtype, logit):
    """The standard deviation of the first of two probabilities, logits N(logit, 1) and N(0, 1)."""
    mean = np.array([[logit, 0]], dtype)
    var = np.ones((1, 2), dtype)
    ours, alpha = dirichlet(mean, var)
    with np.errstate(over="ignore", invalid="ignore"):
        theirs = np.sqrt(naive.softmax(mean[0], var[0])[1][:1])
    truth = reference.logistic(logit, 2)[1]
    defined = reference.dirichlet_moments(alpha[0])[1][0]
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
    """Dropout of N(2, 0.5) with p = 0.3."""
    two = np.array([2.0])
    half = np.array([0.5])
    exact = [reference.dropout(2, 0.5, 0.3)[1]]
    return Found(exact, naive.dropout(half), variances(layers.Dropout(0.3), two, half))


def residual():
    """The sum of N(1, 2) and an independent N(10, 20)."""
    ours = Gaussian(1.0, 2.0) + Gaussian(10.0, 20.0)
    return Found([22], [naive.residual((1.0, 2.0), (10.0, 20.0))[1]], [ours.var])


def normals():
    """The largest of four standard normals."""
    zero = np.zeros(4)
    one = np.ones(4)
    ours = variances(layers.MaxPool2d(2), *(f.reshape(1, 1, 2, 2) for f in (zero, one)))
    return Found([reference.maximum_of_many(zero, one)[1]], [naive.largest(zero, one)[1]], ours)


def windows(law=lambda rng: rng.uniform(0.1, 2, (4, 1000))):
    """1,000 windows of four, seed 0: means N(0, 1), variances by the law; (1000, 4), float64."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 1000)).T, law(rng).T


def by_pairs(mean, var):
    """Our variances, (3, windows): for each of the three ways to pair the four of a window."""
    pairings = ([0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2])
    pool = layers.MaxPool2d(2)
    return [
        variances(pool, *(f[:, order].reshape(-1, 1, 2, 2) for f in (mean, var))).ravel()
        for order in pairings
    ]


def orders():
    """The largest of four, for 1,000 windows, in every order of the four."""
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
