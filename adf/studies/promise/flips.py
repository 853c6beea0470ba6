"""Which pixels change their label when the noise is drawn anew: predicted against observed.

The logits of a pixel are independent Gaussians, so ADF says, and its label is the largest. So the
chance that a noisy copy gives another label than a fixed one is an integral over that one's logit,
of a product of normal distribution functions: Gauss and Hermite's 64 nodes know it to four digits.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from ...backend import to_host
from ...engine.threads import map_ordered
from ...evaluation.rankings import auroc
from ...gaussian import Gaussian
from ...layers.noise import white
from ...montecarlo import sampled_output

COPIES = 64  # noisy ones, whose labels are observed
NODES = 64
RIVALS = (4, 16)  # samples, for variances of their own
EVERY = 2  # every second pixel of every second row is scored: neighbours say the same
RANKED = 4  # copies whose flips are ranked


class Flips(NamedTuple):
    """Of one image: what was observed, and what each method says of it."""

    observed: np.ndarray  # (copies, H, W): does the copy's label differ from most copies' label?
    predicted: dict  # method -> (H, W) chance
    margin: np.ndarray  # (H, W): minus the difference of the two largest mean logits


def flip_probability(mean, var, label):
    """The chance that the largest of independent Gaussians is not the one with this label.

    mean, var: (K, H, W); label: (H, W) integers.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    std = np.sqrt(np.maximum(var, np.finfo("float64").tiny))
    own_mean, own_std = (np.take_along_axis(f, label[None], 0) for f in (mean, std))
    others = np.arange(len(mean))[:, None, None] != label
    stays = 0.0
    for z, weight in zip(nodes, weights, strict=True):
        below = np.where(others, ndtr((own_mean + own_std * z - mean) / std), 1)
        stays = stays + weight * below.prod(axis=0)
    return np.clip(1 - stays / math.sqrt(2 * math.pi), 0, 1)


def observe(networks, x, seed):
    """Flips of one input x (1, C, H, W); networks: method -> network, of which the first is copied.

    Its noisy copies say what happens; every method's moments say what it expects.
    """
    network = next(iter(networks.values()))
    labels = copied_labels(network, x, seed)
    counts = np.stack([(labels == k).sum(axis=0) for k in range(labels.max() + 1)])
    label = counts.argmax(axis=0)
    moments = {name: n.predict(x) for name, n in networks.items()}
    for samples in RIVALS:
        rng = np.random.default_rng((seed, samples))
        moments[f"{samples} samples"] = sampled_output(network, x, samples, rng)
    fields = {name: [to_host(f)[0].astype("float64") for f in y] for name, y in moments.items()}
    predicted = {name: flip_probability(*f, label) for name, f in fields.items()}
    # How near a pixel is to another label, by the means alone.
    largest = np.sort(next(iter(fields.values()))[0], axis=0)
    return Flips(
        thinned(labels != label),
        {name: thinned(p) for name, p in predicted.items()},
        thinned(largest[-2] - largest[-1]),
    )


def thinned(field):
    """Every second pixel of every second row."""
    return field[..., ::EVERY, ::EVERY]


def copied_labels(network, x, seed):
    """The labels (COPIES, H, W) of noisy copies."""
    rngs = np.random.default_rng(seed).spawn(COPIES)

    def push(rng):
        y = network.predict(Gaussian(x.mean + white(rng, x.var)))
        return to_host(y.mean)[0].argmax(axis=0)

    return np.stack(map_ordered(push, rngs))


def scores(images):
    """Of each method over a list of Flips: {method: {score: value}}.

    over observed: the predicted number of flips over the observed one. AUROC: of a flip by the
    chance of it. Brier: mean squared error of the chance, less that of the frequency observed, in
    units of that of one chance for all pixels: 0 is perfect, 1 knows nothing.
    """
    observed = np.concatenate([f.observed.reshape(len(f.observed), -1) for f in images], axis=1)
    frequency = observed.mean(axis=0)
    # Some of the spread of the frequency is that of a few copies.
    noise = (frequency * (1 - frequency)).mean() / (len(observed) - 1)
    spread = frequency.var() - noise
    found = {}
    for name in images[0].predicted:
        p = np.concatenate([f.predicted[name].ravel() for f in images])
        found[name] = {
            "over observed": p.mean() / frequency.mean(),
            "AUROC": _auroc(observed, p),
            "Brier": (((p - frequency) ** 2).mean() - noise) / spread,
        }
    margin = np.concatenate([f.margin.ravel() for f in images])
    found["margin of the means"] = {"AUROC": _auroc(observed, margin)}
    return found


def _auroc(observed, uncertainty):
    """Over all pixels of some copies."""
    some = observed[:RANKED]
    return auroc(some.ravel(), np.tile(uncertainty, len(some)))
