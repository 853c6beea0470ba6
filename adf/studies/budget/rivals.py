"""ADF and its rival at the logits: what does each variance cost, and how many samples is it worth?

The rival is sampling (adf.montecarlo): K copies cost K passes of a deterministic network.
"""

import time
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ...backend import to_host
from ...gaussian import Gaussian
from ...layers.noise import white
from ...montecarlo import sampled_output
from .plain import learned, plain
from .score import Score, score
from .stages import Stage, on_host

ROUNDS = 9  # of a measurement of time
PATTERNS = {"independent": (2, 4, 8, 16, 32, 64), "orthogonal": (4, 16, 64)}
SEED = 1  # other noise than that of the true variances


class Rival(NamedTuple):
    """One way to the variances of the logits."""

    kind: str  # "ADF", "plain ADF", "independent" or "orthogonal"
    name: str
    price: float  # in passes of a deterministic network
    score: Score


def rivals(network, inputs, budgets, samples, noises=None):
    """A list of Rival.

    inputs, budgets, noises: for each image the Gaussian, what `stages.measure` returned for it with
    so many samples, and how its noise is drawn; None: white. Orthogonal signs have no other.
    """
    noises = noises or [white] * len(inputs)
    are_white = all(noise is white for noise in noises)
    last = [stages[-1] for stages in budgets]
    found = [Rival("ADF", "ADF", price(network, inputs[0]), score(last, samples))]
    if learned(network):
        bare = score([stage.plain for stage in last], samples)
        found = [found[0]._replace(name="ADF, learned weights")]
        found.append(Rival("plain ADF", "plain ADF", price(plain(network), inputs[0]), bare))
    # Every number of samples is drawn anew.
    kinds = PATTERNS if are_white else ["independent"]
    jobs = [(kind, count) for kind in kinds for count in PATTERNS[kind]]
    for kind, count in tqdm(jobs, unit=" methods", desc="sampling"):
        sampled = []
        for n, (x, stage, noise) in enumerate(zip(inputs, last, noises, strict=True)):
            y = sampled_output(network, x, count, (SEED, n), kind if are_white else noise)
            sampled.append(Stage(None, on_host(y), stage.true, None))
        name = f"{count} samples" + ", orthogonal" * (kind == "orthogonal")
        found.append(Rival(kind, name, count, score(sampled, samples)))
    return found


def price(network, x):
    """What network.predict(x) costs, in passes of a point mass.

    The two take turns, so that a machine that slows down slows both: the median of their ratios.
    """
    ratios = []
    for _ in range(ROUNDS):
        point = seconds(network, Gaussian(x.mean))
        ratios.append(seconds(network, x) / point)
    return float(np.median(ratios))


def seconds(network, x):
    """Of a pass, until its result is on the host."""
    start = time.perf_counter()
    to_host(network.predict(x).mean)
    return time.perf_counter() - start
