"""All metrics of a segmentation, in one table row."""

import numpy as np

from .metrics import brier, check_probabilities, confusion, dice, ece, iou, nll
from .rankings import auroc, ause, risk_coverage


def scores(labels, probabilities, entropy, std, class_names=None):
    """Every metric of a segmentation, in reading order: a dict of float.

    Means over classes come first, `Dice cell` and the like behind them. labels: (N, H, W);
    probabilities: (N, K, H, W), or both with more or fewer axes behind; entropy and std, of the
    shape of the labels, are the uncertainties by which AUSE, AUROC and AURC rank the pixels.
    """
    labels, probabilities = check_probabilities(labels, probabilities)
    classes = probabilities.shape[1]
    names = range(classes) if class_names is None else class_names
    predicted = probabilities.argmax(axis=1)
    wrong = predicted != labels
    # The metrics of the called classes come first, then those of the probabilities.
    found = _overlaps(confusion(labels, predicted, classes), names)
    return found | {
        "NLL": nll(labels, probabilities),
        "Brier": brier(labels, probabilities),
        "ECE": ece(labels, probabilities),
        "AUSE": ause(wrong, entropy),
        "AUROC": auroc(wrong, entropy),
        "AURC": risk_coverage(wrong, entropy).aurc,
        "AUSE std": ause(wrong, std),
        "AUROC std": auroc(wrong, std),
    }


def _overlaps(counts, names):
    """Dice and IoU from a confusion matrix: each the mean over the classes, then class by class."""
    found = {}
    for metric, values in (("Dice", dice(counts)), ("IoU", iou(counts))):
        found[metric] = float(np.nanmean(values))
        of_classes = zip(names, values, strict=True)
        found |= {f"{metric} {name}": float(value) for name, value in of_classes}
    return found
