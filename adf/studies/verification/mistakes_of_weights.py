"""Errors of public code about the doubt about weights, each on a stated input.

A function gives the truth, what the naive rule makes of the input, and what this library does, as
those of `mistakes` do; tests/studies/test_known_errors_of_weights.py says what harm they do.
"""

import numpy as np
from scipy.special import entr, softmax

from ... import layers
from ...backend import to_host, xp
from ...gaussian import Gaussian
from ...inference.pooled import pooled
from ...layers import Parameter, Sequential
from ...methods.bayes_by_backprop import RATE, SHARE, VariationalSegmenter
from ...methods.dropout import Dropout2d
from ...methods.swag import Swag
from ...training import Adam
from .contrast import Found


def pool(maps):
    """Mean, standard deviation, mutual information of maps (members, N, K, H, W), on the host."""
    return [to_host(field) for field in pooled(xp.asarray(p) for p in maps)]


def logits_averaged():
    """The probabilities of two members that contradict each other, logits (4, 0, 0), (-4, 0, 0)."""
    logits = np.array([[4.0, 0, 0], [-4, 0, 0]])
    truth = [np.exp(4) / (np.exp(4) + 2) / 2 + np.exp(-4) / (np.exp(-4) + 2) / 2]
    ours = pool(softmax(logits, axis=1).reshape(2, 1, 3, 1, 1))[0]
    return Found(truth, softmax(logits.mean(axis=0))[:1], ours.ravel()[:1])


def entropies_subtracted(size=1e-4):
    """Mutual information of 5 members that nearly agree, 10,000 pixels, float32.

    Their logits differ by `size`. The truth is the same difference in long double.
    """
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(3, 10_000)) + size * rng.normal(size=(5, 3, 10_000))
    p = softmax(logits, axis=1).astype("float32")
    ours = pool(p[:, None, :, :, None])[2].ravel()
    return Found(_disagreement(p.astype("longdouble")), _by_entropies(p), ours)


def _by_entropies(p):
    return entr(p.mean(axis=0)).sum(axis=0) - entr(p).sum(axis=1).mean(axis=0)


def _disagreement(p):
    return (p * np.log(p / p.mean(axis=0))).sum(axis=1).mean(axis=0)


def dropout_off():
    """Var[y] over members, y the sum of 6 channels N(0, 1) behind dropout of p = 0.3.

    The naive rule leaves dropout out in prediction, as frameworks do unless they are told.
    """
    x = np.random.default_rng(1).normal(size=6)
    truth = 0.3 / 0.7 * np.sum(x**2)
    layer = Dropout2d(6, 0.3)
    rng = np.random.default_rng(2)
    masks = [None] * 20_000, [layer.draw(rng) for _ in range(20_000)]
    return Found([truth], *([_variance(layer, own, x)] for own in masks))


def _variance(layer, masks, x):
    point = Gaussian(xp.asarray(x.reshape(1, 6, 1, 1)))
    found = []
    for mask in masks:
        layer.mask = mask
        found.append(float(layer.predict(point).mean.sum()))
    return np.var(np.array(found) - found[0])


def training_mode():
    """What batch norm makes of an image of zeros, alone and beside an image of tens.

    The naive rule switches the whole network to training for its dropout, so batch norm takes the
    statistics of the images that it is tested on. The truth is that of the running averages 0, 1.
    """
    norm = layers.BatchNorm2d(1)
    zeros = np.zeros((1, 1, 4, 4), "float32")
    zeros[0, 0, 0, 0] = 1
    beside = np.concatenate([zeros, zeros + 10])
    batches = [Gaussian(xp.asarray(x)) for x in (zeros, beside)]
    ours, theirs = (
        [to_host(y.mean)[0].max() for y in map(apply, batches)]
        for apply in (norm.predict, lambda x: layers.BatchNorm2d(1).forward(x)[0])
    )
    return Found([1, 1], theirs, ours)


def masks_of_pixels():
    """Variance of the mean of a 5 x 5 window of ones behind dropout of p = 0.3.

    The naive rule draws a mask for every pixel, where neighbours say the same: 25 masks average
    out. The truth is that of a channel that is there or not.
    """
    x = Gaussian(xp.ones((20_000, 1, 5, 5)))
    rules = layers.Dropout(0.3, sample=True, rng=0), Dropout2d(1, 0.3, rng=0)
    means = ([to_host(rule.forward(x)[0].mean).mean(axis=(1, 2, 3)).var()] for rule in rules)
    return Found([0.3 / 0.7], *means)


def path(count, size=20_000, rank=20, sigma=1.0, mean=0.0):
    """(Swag, iterates) of independent iterates N(mean, sigma**2), `count` of them."""
    iterates = mean + sigma * np.random.default_rng(3).normal(size=(count, size))
    swag = Swag(size, rank)
    for weights in iterates:
        swag.collect(weights)
    return swag, iterates


def low_rank(swag, divisor):
    """The variances of sum_k D_k z_k / sqrt(divisor)."""
    return (swag.deviations.astype("float64") ** 2).sum(axis=0) / divisor


def drawn_variance(swag, draws=200):
    """The mean over all weights of the variance of what Swag draws."""
    rng = np.random.default_rng(4)
    return np.mean([(swag.draw(rng) - swag.mean) ** 2 for _ in range(draws)])


def scale_of_one():
    """The mean variance of a draw where iterates, 20 of them, have variance 1.

    The naive rule adds both parts without the halves, as the scale 1 of public defaults does. The
    truth is that of SWAG's formula: (0.95 + 0.863) / 2.
    """
    swag, _ = path(20)
    share = (20 - sum(1 / k for k in range(1, 21))) / 19
    naive = (swag.squares / swag.n + low_rank(swag, 19)).mean()
    return Found([(0.95 + share) / 2], [naive], [drawn_variance(swag)])


def few_collected():
    """The low-rank part of the variance where 5 of at most 20 deviations are there.

    The naive rule divides by 20 - 1. Ours is read off the draws, less the diagonal part.
    """
    swag, _ = path(5)
    truth = low_rank(swag, 4).mean()
    ours = 2 * drawn_variance(swag) - (swag.squares / swag.n).mean()
    return Found([truth], [low_rank(swag, 19).mean()], [ours])


def variance_for_deviation():
    """The standard deviation of a draw of weights that scatter by 0.01, and have no low rank."""
    swag, iterates = path(20, sigma=0.01)
    swag.deviations[:] = 0
    truth = np.sqrt(iterates.var(axis=0).mean() / 2)
    naive = np.sqrt((iterates.var(axis=0) ** 2).mean() / 2)
    return Found([truth], [naive], [np.sqrt(drawn_variance(swag))])


def layers_apart():
    """The covariance of two weights in two layers that always move together, with variance 1.

    The naive rule draws z2 anew for each layer. Half of 0.863 is SWAG's. 20,000 such pairs.
    """
    iterates = np.random.default_rng(3).normal(size=(20, 20_000))
    swag = Swag(40_000)
    for half in iterates:
        swag.collect(np.concatenate([half, half]))
    # A layer of its own z2 is one of another draw.
    rng = np.random.default_rng(4)
    together = []
    apart = []
    for _ in range(200):
        one, two = ((swag.draw(rng) - swag.mean).reshape(2, -1) for _ in range(2))
        together.append((one[0] * one[1]).mean())
        apart.append((one[0] * two[1]).mean())
    share = (20 - sum(1 / k for k in range(1, 21))) / 19
    return Found([share / 2], [np.mean(apart)], [np.mean(together)])


def squares_subtracted(clamp=0.0):
    """Variances 1e-8 of weights near 1: E[w**2] - E[w]**2 in float32, with a clamp from below."""
    swag, iterates = path(20, sigma=1e-4, mean=1.0)
    w = iterates.astype("float32")
    naive = np.maximum((w * w).mean(axis=0) - w.mean(axis=0) ** 2, np.float32(clamp))
    return Found(iterates.var(axis=0), naive, swag.squares / swag.n)


def averages_of_another(scale=1.3):
    """Variance behind batch norm, of a member whose convolution is 1.3 times that of the path.

    The naive rule keeps the running variance of the path; ours is of the member itself.
    """
    x = Gaussian(xp.asarray(np.random.default_rng(5).normal(size=(8, 1, 16, 16)) * scale))
    found = []
    for momentum in (0.0, 1.0):
        norm = layers.BatchNorm2d(1, momentum=momentum)  # its running averages begin at 0 and 1
        norm.forward(x)
        found.append([float(norm.predict(x).mean.var())])
    return Found([1.0], *found)


# Bayes by Backprop: the widths of weights, N(0, prior) before, with data of this precision. The
# optimum of (data v) / 2 + weight KL is v = weight / (data + weight / prior).


def width(weight, data=1000.0, prior=1.0):
    return weight / (data + weight / prior)


def kl_weight(weight):
    """The variance of a weight: the naive rule has the KL so many times. Ours is `optimum` of 1."""
    return Found([width(1.0)], [width(weight)], [optimum()])


def optimum(data=1000.0, prior=1.0):
    """The variance where our gradient of the KL of one weight is 0 beside that of the data.

    By bisection, for the gradient of KL by sigma rises; the data's is data * sigma.
    """
    low = 1e-6
    high = 1.0
    for _ in range(60):
        sigma = (low + high) / 2
        slope = (kl(sigma + 1e-7, prior) - kl(sigma - 1e-7, prior)) / 2e-7 + data * sigma
        if slope < 0:
            low = sigma
        else:
            high = sigma
    return low**2


def kl(sigma, prior, mean=0.0):
    """That of `VariationalSegmenter`, for one weight."""
    network = Sequential(layers.Linear(1, 1, bias=False)).to("float64")
    network.layers[0].weight.value = xp.asarray([[mean]])
    model = VariationalSegmenter(network)
    model.prior = [prior]
    model.sigmas = lambda: [xp.asarray([[sigma]])]
    return float(model.kl())


def kl_of(sigma, prior, mean=0.0):
    """The textbook's KL(N(mean, sigma**2) || N(0, prior))."""
    return np.log(np.sqrt(prior) / sigma) + (sigma**2 + mean**2) / (2 * prior) - 0.5


def variance_for_sigma(sigma=0.05, prior=0.01, mean=0.1):
    """KL where the prior's variance 0.01 is filled in for its standard deviation 0.1."""
    args = sigma, prior, mean
    return Found([kl_of(*args)], [kl_of(sigma, prior**2, mean)], [kl(*args)])


def swapped(sigma=0.1, prior=1.0):
    """KL(p || q) for KL(q || p), q ten times narrower."""
    naive = np.log(sigma) + prior / (2 * sigma**2) - 0.5
    return Found([kl_of(sigma, prior)], [naive], [kl(sigma, prior)])


def density_with_floor(w=10.0):
    """log p(w), ten standard deviations out, with 1e-6 added to the density. Ours is in the KL.

    At sigma fixed, KL(m) - KL(0) = -log p(m) + log p(0).
    """
    exact = -(w**2) / 2 - np.log(2 * np.pi) / 2
    naive = np.log(np.exp(exact) + 1e-6)
    ours = -(kl(0.1, 1.0, w) - kl(0.1, 1.0)) - np.log(2 * np.pi) / 2
    return Found([exact], [naive], [ours])


def width_that_stays(steps=320, rate=5e-3, prior=0.01):
    """sigma of a weight that data say nothing of, after 320 steps of Adam; the truth is 0.1.

    The naive rule begins at rho = -7 and learns rho at the rate of the means.
    """
    return Found([np.sqrt(prior)], [_learned(-7.0, 1, steps, rate, prior)], [
        _learned(np.log(np.expm1(SHARE * np.sqrt(prior))), RATE, steps, rate, prior)
    ])  # fmt: skip


def _learned(rho, factor, steps, rate, prior):
    r = Parameter(np.array([rho / factor]))
    adam = Adam([r], rate)
    for _ in range(steps):
        rho = factor * to_host(r.value)
        sigma = np.logaddexp(0, rho)
        r.grad = xp.asarray((sigma / prior - 1 / sigma) * factor / (1 + np.exp(-rho)))
        adam.step()
    return float(np.logaddexp(0, factor * to_host(r.value))[0])
