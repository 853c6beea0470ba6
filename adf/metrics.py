"""How good is a segmentation, and does its uncertainty know where it is wrong?

labels are integers of shape (N, H, W), probabilities are (N, K, H, W) with the classes on axis 1; every function takes
more or fewer axes behind them as well. All pixels of the data set count alike. Sums are taken in float64.
"""

from typing import NamedTuple

import numpy as np


def confusion(labels, predicted, classes):
    """Pixels of true class i that were called j: (K, K) int64, [truth, predicted], for classes 0 .. K - 1."""
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape:
        raise ValueError(
            f"confusion expects one predicted class per label, shape {labels.shape}, got shape {predicted.shape}"
        )
    _check_classes("labels", labels, classes)
    _check_classes("predicted classes", predicted, classes)
    cell = labels.astype(np.int64).ravel() * classes + predicted.ravel()
    return np.bincount(cell, minlength=classes**2).reshape(classes, classes)  # (8.3)


def dice(counts):
    """Dice_k = 2 |T_k and P_k| / (|T_k| + |P_k|) from a confusion matrix: (K,), the F1 score of each class.

    T_k are the pixels of class k, P_k those called k. NaN for a class that is in neither, so average with `nanmean`.
    Source: Dice, *Measures of the amount of ecologic association between species*, Ecology 1945.
    """
    return _ratio(2 * np.diag(counts), counts.sum(axis=1) + counts.sum(axis=0))  # (8.4)


def iou(counts):
    """IoU_k = |T_k and P_k| / |T_k or P_k| from a confusion matrix: (K,). NaN for a class in neither, as for `dice`.

    Source: Jaccard, *The distribution of the flora in the alpine zone*, New Phytologist 1912.
    """
    both = np.diag(counts)
    return _ratio(both, counts.sum(axis=1) + counts.sum(axis=0) - both)  # (8.5)


def nll(labels, probabilities):
    """Negative log-likelihood: mean over pixels of -log p_y, y the true class. In nats; 0 is perfect.

    A p_y below the smallest normal float32, 1.2e-38, counts as that: no pixel costs more than 87.3.
    Source: Gneiting & Raftery, *Strictly proper scoring rules, prediction, and estimation*, JASA 2007.
    """
    labels, probabilities = _checked(labels, probabilities)
    p = np.take_along_axis(probabilities, labels[:, None].astype(np.intp), axis=1).astype(np.float64)
    return float(-np.log(np.maximum(p, np.finfo(np.float32).smallest_normal)).mean())  # (8.6)


def brier(labels, probabilities):
    """Brier score: mean over pixels of sum_k (p_k - [y = k])**2, from 0 (perfect) to 2 (sure and wrong).

    Source: Brier, *Verification of forecasts expressed in terms of probability*, Monthly Weather Review 1950.
    """
    labels, probabilities = _checked(labels, probabilities)
    truth = np.stack([labels == k for k in range(probabilities.shape[1])], axis=1)
    return float(np.square(probabilities - truth, dtype=np.float64).sum(axis=1).mean())  # (8.7)


class Reliability(NamedTuple):
    """Mean confidence, accuracy and number of pixels of each confidence bin: (bins,) each, NaN where a bin is empty."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def ece(self):
        """sum_b n_b / n |accuracy_b - confidence_b|."""
        return float(np.nansum(self.count * np.abs(self.accuracy - self.confidence)) / self.count.sum())  # (8.8)


def reliability(labels, probabilities, bins=15):
    """Is the called class right as often as its probability says?  -> Reliability, bins of equal width on (0, 1].

    Confidence is max_k p_k; bin b holds the pixels with b / bins < confidence <= (b + 1) / bins.
    Source: Guo et al., *On calibration of modern neural networks*, ICML 2017, equations 1 and 2.
    """
    labels, probabilities = _checked(labels, probabilities)
    confidence = probabilities.max(axis=1).ravel().astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).ravel()
    bin_of = np.digitize(confidence, np.arange(1, bins) / bins, right=True)
    count = np.bincount(bin_of, minlength=bins)
    sums = (np.bincount(bin_of, weights=weights, minlength=bins) for weights in (confidence, right))
    return Reliability(*(_ratio(total, count) for total in sums), count)


def ece(labels, probabilities, bins=15):
    """Expected calibration error of the called class: sum_b n_b / n |accuracy_b - confidence_b|, see `reliability`.

    Source: Naeini, Cooper & Hauskrecht, *Obtaining well calibrated probabilities using Bayesian binning*, AAAI 2015.
    """
    return reliability(labels, probabilities, bins).ece


class Sparsification(NamedTuple):
    """Fraction of n pixels removed (0, 1/n, .. (n-1)/n), mean error of those left, the same for the oracle: (n,)."""

    removed: np.ndarray
    error: np.ndarray
    oracle: np.ndarray

    @property
    def ause(self):
        """Mean over all fractions removed of error - oracle."""
        return float(np.mean(self.error - self.oracle))  # (8.10)


def sparsification(errors, uncertainty):
    """Mean error left when the most uncertain pixels are removed first  -> Sparsification.

    errors: True where a pixel is wrong (or any error of at least 0), same shape as uncertainty. The oracle removes the
    largest errors first. Nothing is normalised: both curves start at the mean error. Pixels of equal uncertainty leave
    in random order, and the curve is its expectation, so the order of the pixels does not matter. Read from right to
    left this is `risk_coverage`: coverage is 1 - removed, risk is the error left.
    Source: Ilg et al., *Uncertainty estimates and multi-hypotheses networks for optical flow*, ECCV 2018 (normalised).
    """
    errors, uncertainty = _checked_errors(errors, uncertainty)
    removed = np.arange(errors.size) / errors.size
    return Sparsification(removed, _risk(errors, uncertainty)[::-1], _risk(errors, errors)[::-1])


def ause(errors, uncertainty):
    """Area under the sparsification error: the mean over all fractions removed of (error left - oracle's).

    In units of the error; 0 where uncertainty ranks every wrong pixel above every right one. Also known as the excess
    area under the risk-coverage curve: Geifman, Uziel & El-Yaniv, *Bias-reduced uncertainty estimation*, ICLR 2019.
    """
    return sparsification(errors, uncertainty).ause


class RiskCoverage(NamedTuple):
    """Fraction of n pixels kept (1/n, 2/n, .. 1), mean error of those kept: (n,) each."""

    coverage: np.ndarray
    risk: np.ndarray

    @property
    def aurc(self):
        """Area under the curve: the mean risk over all coverages 1/n .. 1, in units of the error."""
        return float(np.mean(self.risk))


def risk_coverage(errors, uncertainty):
    """Mean error of the c n least uncertain pixels, at every coverage c  -> RiskCoverage.

    risk(c) = sum of the errors of the c n least uncertain pixels / (c n). errors, uncertainty and ties as for
    `sparsification`, which is this curve read from right to left. AUSE = AURC - the oracle's AURC, that of
    `risk_coverage(errors, errors)`: AUSE rates the ranking alone, AURC the ranking and the errors together.
    Source: Geifman & El-Yaniv, *Selective classification for deep neural networks*, NeurIPS 2017; the area: Geifman,
    Uziel & El-Yaniv, *Bias-reduced uncertainty estimation*, ICLR 2019.
    """
    errors, uncertainty = _checked_errors(errors, uncertainty)
    return RiskCoverage(np.arange(1, errors.size + 1) / errors.size, _risk(errors, uncertainty))


def auroc(errors, uncertainty):
    """P(u_wrong > u_right) + P(u_wrong = u_right) / 2 for a random wrong and a random right pixel: 0.5 knows nothing.

    errors: boolean. Ties count half (mid-ranks). NaN where all pixels are right, or all wrong.
    Source: Hanley & McNeil, *The meaning and use of the area under a ROC curve*, Radiology 1982.
    """
    if np.asarray(errors).dtype != bool:
        raise ValueError(f"auroc expects boolean errors, True where a pixel is wrong, got {np.asarray(errors).dtype}")
    errors, uncertainty = _checked_errors(errors, uncertainty)
    pixels, wrong = _by_uncertainty(errors, uncertainty)
    right = pixels - wrong
    surer = np.cumsum(right) - right  # right pixels of strictly lower uncertainty
    return float(_ratio(np.sum(wrong * (surer + right / 2)), wrong.sum() * right.sum()))  # (8.11)


def evaluate(labels, probabilities, entropy, class_names=None):
    """All scores above but AURC, in reading order: dict of float. Means first, `Dice cell` and the like behind them.

    entropy: (N, H, W), the uncertainty by which AUSE and AUROC rank the pixels.
    """
    labels, probabilities = _checked(labels, probabilities)
    classes = probabilities.shape[1]
    names = range(classes) if class_names is None else class_names
    predicted = probabilities.argmax(axis=1)
    counts, wrong = confusion(labels, predicted, classes), predicted != labels
    scores = {}
    for metric, values in (("Dice", dice(counts)), ("IoU", iou(counts))):
        scores[metric] = float(np.nanmean(values))
        scores |= {f"{metric} {name}": float(value) for name, value in zip(names, values, strict=True)}
    scores |= {"NLL": nll(labels, probabilities), "Brier": brier(labels, probabilities)}
    return scores | {"ECE": ece(labels, probabilities), "AUSE": ause(wrong, entropy), "AUROC": auroc(wrong, entropy)}


def _risk(errors, uncertainty):
    """Mean error of the k least uncertain pixels, k = 1 .. n. Within a tie the summed error grows linearly."""
    pixels, error = _by_uncertainty(errors, uncertainty)
    kept = np.arange(1, errors.size + 1)
    return np.interp(kept, np.cumsum(np.append(0, pixels)), np.cumsum(np.append(0, error))) / kept  # (8.9)


def _by_uncertainty(errors, uncertainty):
    """Number of pixels and sum of errors for each distinct uncertainty, the lowest first."""
    order = np.argsort(uncertainty)
    ranked = uncertainty[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    return np.diff(np.append(starts, ranked.size)), np.add.reduceat(errors[order], starts)


def _ratio(a, b):
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)


def _check_classes(what, array, classes):
    if array.dtype.kind not in "iub":
        raise ValueError(f"expected integer {what}, got {array.dtype}")
    if array.size and not 0 <= array.min() <= array.max() < classes:
        raise ValueError(
            f"expected {what} from 0 to {classes - 1} ({classes} classes), got {array.min()} to {array.max()}"
        )


def _checked(labels, probabilities):
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if probabilities.ndim < 2 or labels.shape != probabilities.shape[:1] + probabilities.shape[2:] or not labels.size:
        raise ValueError(
            f"expected labels (N, H, W) and probabilities (N, K, H, W) of at least one pixel, "
            f"got shapes {labels.shape} and {probabilities.shape}"
        )
    _check_classes("labels", labels, probabilities.shape[1])
    total = probabilities.sum(axis=1)
    if not (probabilities.min() >= 0 and np.abs(total - 1).max() < 1e-3):  # NaN fails too
        raise ValueError(
            f"expected probabilities of at least 0 that sum to 1 over axis 1, got values from "
            f"{probabilities.min():.4g} and sums from {total.min():.4g} to {total.max():.4g}"
        )
    return labels, probabilities


def _checked_errors(errors, uncertainty):
    errors, uncertainty = np.asarray(errors, dtype=np.float64), np.asarray(uncertainty)
    if errors.shape != uncertainty.shape or not errors.size:
        raise ValueError(
            f"expected errors and uncertainties of one shape and at least one pixel, "
            f"got shapes {errors.shape} and {uncertainty.shape}"
        )
    if not errors.min() >= 0 or np.isnan(uncertainty).any():
        raise ValueError(
            f"expected errors of at least 0 and uncertainties without NaN, got errors from "
            f"{errors.min():.4g} and {np.isnan(uncertainty).sum()} NaN"
        )
    return errors.ravel(), uncertainty.ravel()
