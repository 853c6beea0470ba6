"""Several networks that fit the data, and what they say together."""

from ..backend import xp
from ..dirichlet import xlogx
from ..segmenter import Prediction


class Mixture:
    """Segmenters of one architecture, all equally likely; `adf.predict` takes it like one of them.

    The probabilities are the mean of the members' probabilities, not the softmax of mean logits:
    they are those of the mixture. class_std and mutual_information are the standard deviation of
    the members' probabilities and H(mean) - mean H(p): doubt about the weights alone. (A
    deterministic network's class_std is of [class = k], all that is unsure: both rank pixels, but
    their sizes do not compare.) Members are worked on one after the other, window by window.
    Raises ValueError without members.
    Source: Lakshminarayanan, Pritzel & Blundell, NeurIPS 2017.
    """

    def __init__(self, members):
        self.members = list(members)
        if not self.members:
            raise ValueError("Mixture expects one segmenter or more, got none")

    @property
    def network(self):
        """A network of which all have the sizes."""
        return self.members[0].network

    def parameters(self):
        return [p for member in self.members for p in member.parameters()]

    def normalised(self, images):
        return self.members[0].normalised(images)

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

    They come one by one, and three maps in float64 are kept. The variance is Welford's (divided by
    their number, for the mixture is these members). The information, (N, H, W), is the mean of
    KL(p, mean), by the chain rule: a map more, the n-th, adds KL(p, mean) + (n - 1) KL(old mean,
    mean) to n times it. Neither subtracts what is nearly equal, so neither is ever negative, and
    both are 0 where all maps are equal. Source: Welford, Technometrics 1962.
    """
    maps = iter(maps)
    mean = next(maps).astype("float64")
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
    a = a.astype("float64")
    t = (b - a) / (a + (a == 0))
    return xp.where(a > 0, a * (t - xp.log1p(t)), b).sum(axis=1)
