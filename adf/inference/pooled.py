"""Several maps of class probabilities, all equally likely, as one Prediction: mean and doubt."""

from ..backend import xp
from ..dirichlet import xlogx
from ..segmenter import Prediction


def predicted(maps):
    """The Prediction of maps of probabilities, (N, K, H, W) each.

    Its probabilities are their mean, its class_std their standard deviation and its mutual
    information H(mean) - mean H: doubt about which of the maps holds, and none of that within each.
    """
    mean, std, information = pooled(maps)
    labels = mean.argmax(axis=1).astype("uint8")
    fields = std, -xlogx(mean).sum(axis=1), information
    std, entropy, information = (field.astype("float32") for field in fields)
    return Prediction(labels, mean.astype("float32"), None, std, entropy, information)


def variances(predictions):
    """(within, between) of the class probabilities of several Predictions, (N, K, H, W) each.

    By the law of total variance the mixture's variance is their sum: the mean of the members' own
    variances, of ADF networks by noise in the input and what their Dirichlets leave open, and the
    variance of their means, doubt about the weights. Of deterministic members the sum is p (1 - p),
    the variance of [class = k].
    """
    predictions = list(predictions)
    within = sum(p.class_std.astype("float64") ** 2 for p in predictions) / len(predictions)
    _, std, _ = pooled(xp.asarray(p.probabilities) for p in predictions)
    return xp.asarray(within), std * std


def pooled(maps):
    """(mean, standard deviation, mutual information) of maps of probabilities, (N, K, H, W) each.

    They come one by one, and three maps in float64 are kept. The variance, divided by their number,
    is Welford's (Technometrics 1962). The information is the mean of KL(p, mean), by its chain
    rule: the n-th map adds KL(p, mean) + (n - 1) KL(old mean, mean) to n times it. Neither is ever
    negative, for neither subtracts what is nearly equal; of equal maps both are 0.
    """
    maps = (p.astype("float64") for p in maps)
    mean = next(maps)
    n = 1
    squares = xp.zeros_like(mean)
    information = squares.sum(axis=1)
    for n, p in enumerate(maps, 2):
        old = mean
        mean = old + (p - old) / n  # (11.1)
        squares = squares + (p - old) * (p - mean)  # (11.2)
        information = information + divergence(p, mean) + (n - 1) * divergence(old, mean)  # (11.3)
    return mean, xp.sqrt(squares / n), information / n


def divergence(a, b):
    """KL(a, b) = sum_k a log(a / b) - a + b, every term a (t - log(1 + t)) with t = b / a - 1."""
    t = (b - a) / (a + (a == 0))
    return xp.where(a > 0, a * (t - xp.log1p(t)), b).sum(axis=1)
