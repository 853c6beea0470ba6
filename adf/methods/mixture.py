"""Several networks that fit the data, and what they say together."""

from ..backend import xp
from ..dirichlet import xlogx
from ..segmenter import Prediction


class Mixture:
    """Segmenters of one architecture, all equally likely; `adf.predict` takes it like one of them.

    The probabilities are the mean of the members' probabilities (of mean logits they would not be
    the mixture's); class_std is their standard deviation and mutual_information H(mean) - mean H:
    doubt about the weights alone. A deterministic network's class_std is of [class = k], all that
    is unsure: both rank pixels, but their sizes do not compare. Raises ValueError without members.
    """

    def __init__(self, members):
        self.members = list(members)
        if not self.members:
            raise ValueError("Mixture expects one segmenter or more, got none")
        self.network = self.members[0].network  # all have its sizes, and its normalisation
        self.normalised = self.members[0].normalised
        self.input = self.members[0].input
        self.noise_var = self.members[0].noise_var

    def parameters(self):
        return [p for member in self.members for p in member.parameters()]

    def predict(self, x, crop=()):
        """The Prediction for an input x, or for the slices `crop` of it, as of a Segmenter."""
        maps = (member.predict(x, crop).probabilities for member in self.members)
        mean, std, information = pooled(maps)
        labels = mean.argmax(axis=1).astype("uint8")
        fields = std, -xlogx(mean).sum(axis=1), information
        std, entropy, information = (field.astype("float32") for field in fields)
        return Prediction(labels, mean.astype("float32"), None, std, entropy, information)


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
        mean = old + (p - old) / n
        squares = squares + (p - old) * (p - mean)
        information = information + divergence(p, mean) + (n - 1) * divergence(old, mean)
    return mean, xp.sqrt(squares / n), information / n


def divergence(a, b):
    """KL(a, b) = sum_k a log(a / b) - a + b, every term a (t - log(1 + t)) with t = b / a - 1."""
    t = (b - a) / (a + (a == 0))
    return xp.where(a > 0, a * (t - xp.log1p(t)), b).sum(axis=1)
