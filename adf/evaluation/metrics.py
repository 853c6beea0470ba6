"""How good is a segmentation, and does its confidence say how often it is right?

labels are integers of shape (N, H, W), probabilities are (N, K, H, W) with the classes on axis 1;
every function takes more or fewer axes behind them as well. All pixels of the data set count alike.
Sums are taken in float64.
"""

from typing import NamedTuple

import numpy as np


def confusion(labels, predicted, classes):
    """Pixels of true class i that were called j: (K, K) int64, [truth, predicted].

    The classes are 0 .. K - 1.
    """
    labels = np.asarray(labels)
    predicted = np.asarray(predicted)
    if labels.shape != predicted.shape:
        raise ValueError(
            f"confusion expects one predicted class per label, shape {labels.shape}, "
            f"got shape {predicted.shape}"
        )
    check_classes("labels", labels, classes)
    check_classes("predicted classes", predicted, classes)
    # Every pair (truth, predicted) is a number of its own, so one count of numbers counts pairs.
    # Of int64, for int64 and uint64 would add up to floats.
    cell = labels.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
    return np.bincount(cell, minlength=classes**2).reshape(classes, classes)  # (8.3)


def dice(counts):
    """Dice_k = 2 |T_k and P_k| / (|T_k| + |P_k|) from a confusion matrix: (K,).

    This is the F1 score of each class. T_k are the pixels of class k, P_k those called k. It is NaN
    for a class that is in neither, so average with `nanmean`.
    Source: Dice, *Measures of the amount of ecologic association between species*, Ecology 1945.
    """
    return ratio(2 * np.diag(counts), counts.sum(axis=1) + counts.sum(axis=0))  # (8.4)


def iou(counts):
    """IoU_k = |T_k and P_k| / |T_k or P_k| from a confusion matrix: (K,).

    It is NaN for a class in neither, as for `dice`.
    Source: Jaccard, *The distribution of the flora in the alpine zone*, New Phytologist 1912.
    """
    both = np.diag(counts)
    return ratio(both, counts.sum(axis=1) + counts.sum(axis=0) - both)  # (8.5)


def nll(labels, probabilities):
    """Negative log-likelihood: mean over pixels of -log p_y, y the true class.

    It is in nats; 0 is perfect. A p_y below the smallest normal float32, 1.2e-38, counts as that,
    so no pixel costs more than 87.3.
    Source: Gneiting & Raftery, *Strictly proper scoring rules, prediction, and estimation*, JASA
    2007.
    """
    labels, probabilities = check_probabilities(labels, probabilities)
    index = labels[:, None].astype(np.intp)
    p = np.take_along_axis(probabilities, index, axis=1).astype(np.float64)
    return float(-np.log(np.maximum(p, np.finfo(np.float32).smallest_normal)).mean())  # (8.6)


def brier(labels, probabilities):
    """Brier score: mean over pixels of sum_k (p_k - [y = k])**2.

    It goes from 0 (perfect) to 2 (sure and wrong).
    Source: Brier, *Verification of forecasts expressed in terms of probability*, Monthly Weather
    Review 1950.
    """
    labels, probabilities = check_probabilities(labels, probabilities)
    truth = np.stack([labels == k for k in range(probabilities.shape[1])], axis=1)
    return float(np.square(probabilities - truth, dtype=np.float64).sum(axis=1).mean())  # (8.7)


class Reliability(NamedTuple):
    """Mean confidence, accuracy and number of pixels of each confidence bin: (bins,) each.

    Confidence and accuracy are NaN where a bin is empty.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def ece(self):
        """sum_b n_b / n |accuracy_b - confidence_b|."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(self.count * gaps) / self.count.sum())  # (8.8)


def reliability(labels, probabilities, bins=15):
    """Is the called class right as often as its probability says?  -> Reliability.

    Confidence is max_k p_k. The bins have equal width on (0, 1]: bin b holds the pixels with
    b / bins < confidence <= (b + 1) / bins.
    Source: Guo et al., *On calibration of modern neural networks*, ICML 2017, equations 1 and 2.
    """
    labels, probabilities = check_probabilities(labels, probabilities)
    confidence = probabilities.max(axis=1).ravel().astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).ravel()
    bin_of = np.digitize(confidence, np.arange(1, bins) / bins, right=True)
    count = np.bincount(bin_of, minlength=bins)
    sums = (np.bincount(bin_of, weights=weights, minlength=bins) for weights in (confidence, right))
    return Reliability(*(ratio(total, count) for total in sums), count)


def merged(curves):
    """The Reliability of all the pixels of several, which have the same bins."""
    count = np.sum([curve.count for curve in curves], axis=0)
    # Sums are put together, not means; those of an empty bin are 0, not NaN.
    sums = (
        np.sum([np.where(c.count > 0, getattr(c, mean), 0) * c.count for c in curves], axis=0)
        for mean in ("confidence", "accuracy")
    )
    return Reliability(*(ratio(total, count) for total in sums), count)


def ece(labels, probabilities, bins=15):
    """Expected calibration error of the called class: sum_b n_b / n |accuracy_b - confidence_b|.

    For the bins b see `reliability`.
    Source: Naeini, Cooper & Hauskrecht, *Obtaining well calibrated probabilities using Bayesian
    binning*, AAAI 2015.
    """
    return reliability(labels, probabilities, bins).ece


def ratio(a, b):
    """a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)


def check_classes(what, array, classes):
    """Raises ValueError unless the array holds integers from 0 to classes - 1."""
    if array.dtype.kind not in "iub":
        raise ValueError(f"expected integer {what}, got {array.dtype}")
    if array.size and not 0 <= array.min() <= array.max() < classes:
        raise ValueError(
            f"expected {what} from 0 to {classes - 1} ({classes} classes), "
            f"got {array.min()} to {array.max()}"
        )


def check_probabilities(labels, probabilities):
    """Labels and probabilities as arrays.

    Raises ValueError where they do not fit each other, or are no classes and no probabilities.
    """
    labels = np.asarray(labels)
    probabilities = np.asarray(probabilities)
    has_classes = probabilities.ndim >= 2
    pixels = probabilities.shape[:1] + probabilities.shape[2:]
    if not has_classes or labels.shape != pixels or not labels.size:
        raise ValueError(
            f"expected labels (N, H, W) and probabilities (N, K, H, W) of at least one pixel, "
            f"got shapes {labels.shape} and {probabilities.shape}"
        )
    check_classes("labels", labels, probabilities.shape[1])
    total = probabilities.sum(axis=1)
    # Every comparison with a NaN is False, so it is refused, too.
    if not (probabilities.min() >= 0 and np.abs(total - 1).max() < 1e-3):
        raise ValueError(
            f"expected probabilities of at least 0 that sum to 1 over axis 1, got values from "
            f"{probabilities.min():.4g} and sums from {total.min():.4g} to {total.max():.4g}"
        )
    return labels, probabilities
