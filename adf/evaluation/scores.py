"""All metrics of a segmentation, in one table row, gathered image by image."""

import numpy as np

from .metrics import brier, check_probabilities, confusion, dice, iou, merged, nll, reliability
from .rankings import auroc, ause, risk_coverage, sparsification


def scores(labels, probabilities, entropy, std, class_names=None, mutual_information=None):
    """Every metric of a segmentation, in reading order: a dict of float.

    Means over classes come first, `Dice cell` and the like behind them. labels: (N, H, W);
    probabilities: (N, K, H, W), or both with more or fewer axes behind; entropy, std and, where it
    exists, mutual_information, of the shape of the labels, are the uncertainties by which AUSE,
    AUROC and AURC rank the pixels.
    """
    tally = Tally()
    tally.add(labels, probabilities, entropy, std, mutual_information)
    return tally.scores(class_names)


class Tally:
    """What all metrics need to know of images of any sizes, which are added one after the other.

    All pixels count alike. Sums are kept, and of every pixel only by what it is ranked.
    """

    def __init__(self):
        self.counts = 0  # the confusion matrix
        self.nll = 0.0  # the sums over all pixels
        self.brier = 0.0
        self.curves = []  # the Reliability of each
        self.ranked = []  # (wrong, entropy, std) of each, and mutual information where it exists

    def add(self, labels, probabilities, entropy, std, mutual_information=None):
        """Arguments as those of `scores`."""
        labels, probabilities = check_probabilities(labels, probabilities)
        predicted = probabilities.argmax(axis=1)
        self.counts = self.counts + confusion(labels, predicted, probabilities.shape[1])
        self.nll += labels.size * nll(labels, probabilities)
        self.brier += labels.size * brier(labels, probabilities)
        self.curves.append(reliability(labels, probabilities))
        ranked = predicted != labels, entropy, std, mutual_information
        self.ranked.append([np.ravel(array) for array in ranked if array is not None])

    def __bool__(self):
        return bool(self.ranked)

    def reliability(self):
        return merged(self.curves)

    def sparsification(self):
        wrong, entropy, *_ = self._rankings()
        return sparsification(wrong, entropy)

    def _rankings(self):
        """wrong, entropy, std and, if it was given, mutual information of all pixels."""
        return [np.concatenate(arrays) for arrays in zip(*self.ranked, strict=True)]

    def scores(self, class_names=None):
        """Every metric, as the function `scores` gives them."""
        pixels = self.counts.sum()
        wrong, entropy, std, *information = self._rankings()
        # The metrics of the called classes come first, then those of the probabilities.
        names = range(len(self.counts)) if class_names is None else class_names
        found = _overlaps(self.counts, names) | {
            "NLL": float(self.nll / pixels),
            "Brier": float(self.brier / pixels),
            "ECE": self.reliability().ece,
            "AUSE": ause(wrong, entropy),
            "AUROC": auroc(wrong, entropy),
            "AURC": risk_coverage(wrong, entropy).aurc,
            "AUSE std": ause(wrong, std),
            "AUROC std": auroc(wrong, std),
        }
        for mi in information:
            found |= {"AUSE MI": ause(wrong, mi), "AUROC MI": auroc(wrong, mi)}
        return found


def _overlaps(counts, names):
    """Dice and IoU from a confusion matrix: each the mean over the classes, then class by class."""
    found = {}
    for metric, values in (("Dice", dice(counts)), ("IoU", iou(counts))):
        found[metric] = float(np.nanmean(values))
        of_classes = zip(names, values, strict=True)
        found |= {f"{metric} {name}": float(value) for name, value in of_classes}
    return found
