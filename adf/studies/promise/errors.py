"""Are the pixels that are wrong those that are unsure? By learned variances, and by plain ADF's."""

import copy

import numpy as np

from ...evaluation.metrics import nll
from ...evaluation.rankings import auroc, ause
from ...inference.predict import predict
from ...runs.calibrating import fit
from ..budget.plain import plain
from .flips import thinned

RANKINGS = {"AUSE": ause, "AUROC": auroc}


def twins(run, source):
    """{"learned": segmenter, "plain ADF": segmenter}: each with a head that was fitted to it.

    The head of either is fitted alike, on the same images of the training, so that no difference
    lies in it.
    """
    found = {}
    for name, reduce in (("learned", lambda network: network), ("plain ADF", plain)):
        twin = copy.copy(run)
        twin.segmenter = copy.copy(run.segmenter)
        twin.segmenter.head = copy.deepcopy(run.segmenter.head)
        twin.segmenter.network = reduce(run.segmenter.network)
        fit(twin, source)
        found[name] = twin.segmenter
    return found


def maps(segmenter, samples):
    """(labels, probabilities, entropy, std) of labelled samples of one size, pixels thinned."""
    images = np.stack([s.image for s in samples])[:, None]
    labels = np.stack([s.labels for s in samples]).astype("int64")
    p = predict(segmenter, images)
    return tuple(map(thinned, (labels, p.probabilities, p.entropy, p.class_std.mean(axis=1))))


def rankings(found, rows):
    """The scores of some of the images: {score: value}; found: what `maps` returned."""
    labels, probabilities, entropy, std = (field[rows] for field in found)
    wrong = probabilities.argmax(axis=1) != labels
    row = {"NLL": nll(labels, probabilities)}
    for name, rank in RANKINGS.items():
        row |= {name: rank(wrong, entropy), f"{name} std": rank(wrong, std)}
    return row
