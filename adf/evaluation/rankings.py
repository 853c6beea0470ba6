"""Does the uncertainty rank the wrong pixels above the right ones?

errors are True where a pixel is wrong, or any error of at least 0; uncertainty has the same shape.
"""

from typing import NamedTuple

import numpy as np

from .metrics import ratio


class Sparsification(NamedTuple):
    """What is left when pixels are removed, the most uncertain first: (n,) each, n pixels."""

    removed: np.ndarray  # the fraction of the pixels: 0, 1/n, .. (n-1)/n
    error: np.ndarray  # the mean error of those left
    oracle: np.ndarray  # the same when the largest errors are removed first

    @property
    def ause(self):
        """Mean over all fractions removed of error - oracle."""
        return float(np.mean(self.error - self.oracle))  # (8.10)


def sparsification(errors, uncertainty):
    """Mean error left when the most uncertain pixels are removed first  -> Sparsification.

    errors: True where a pixel is wrong (or any error of at least 0), same shape as uncertainty. The
    oracle removes the largest errors first. Nothing is normalised: both curves start at the mean
    error. Pixels of equal uncertainty leave in random order, and the curve is its expectation, so
    the order of the pixels does not matter. Read from right to left this is `risk_coverage`:
    coverage is 1 - removed, risk is the error left.
    Source: Ilg et al., *Uncertainty estimates and multi-hypotheses networks for optical flow*, ECCV
    2018 (normalised).
    """
    errors, uncertainty = check_errors(errors, uncertainty)
    removed = np.arange(errors.size) / errors.size
    return Sparsification(removed, _risk(errors, uncertainty)[::-1], _risk(errors, errors)[::-1])


def ause(errors, uncertainty):
    """Area under the sparsification error: the mean over all fractions removed of (error - oracle).

    It is in units of the error, and 0 where uncertainty ranks every wrong pixel above every right
    one. It is also known as the excess area under the risk-coverage curve: Geifman, Uziel &
    El-Yaniv, *Bias-reduced uncertainty estimation*, ICLR 2019.
    """
    return sparsification(errors, uncertainty).ause


class RiskCoverage(NamedTuple):
    """What is left when the least uncertain pixels are kept: (n,) each, n pixels."""

    coverage: np.ndarray  # the fraction of the pixels that is kept: 1/n, 2/n, .. 1
    risk: np.ndarray  # the mean error of those kept

    @property
    def aurc(self):
        """Area under the curve: mean risk over all coverages 1/n .. 1, in units of the error."""
        return float(np.mean(self.risk))


def risk_coverage(errors, uncertainty):
    """Mean error of the c n least uncertain pixels, at every coverage c  -> RiskCoverage.

    risk(c) = sum of the errors of the c n least uncertain pixels / (c n). errors, uncertainty and
    ties are as for `sparsification`, which is this curve read from right to left. AUSE = AURC - the
    oracle's AURC, that of `risk_coverage(errors, errors)`: AUSE rates the ranking alone, AURC the
    ranking and the errors together.
    Source: Geifman & El-Yaniv, *Selective classification for deep neural networks*, NeurIPS 2017;
    the area: Geifman, Uziel & El-Yaniv, *Bias-reduced uncertainty estimation*, ICLR 2019.
    """
    errors, uncertainty = check_errors(errors, uncertainty)
    return RiskCoverage(np.arange(1, errors.size + 1) / errors.size, _risk(errors, uncertainty))


def auroc(errors, uncertainty):
    """P(u_wrong > u_right) + P(u_wrong = u_right) / 2 for a random wrong and a random right pixel.

    It is 0.5 where the uncertainty knows nothing, and NaN where all pixels are right, or all wrong.
    errors: boolean. Ties count half (mid-ranks).
    Source: Hanley & McNeil, *The meaning and use of the area under a ROC curve*, Radiology 1982.
    """
    errors = np.asarray(errors)
    if errors.dtype != bool:
        raise ValueError(
            f"auroc expects boolean errors, True where a pixel is wrong, got {errors.dtype}"
        )
    errors, uncertainty = check_errors(errors, uncertainty)
    pixels, wrong = _by_uncertainty(errors, uncertainty)
    right = pixels - wrong
    surer = np.cumsum(right) - right  # right pixels of strictly lower uncertainty
    return float(ratio(np.sum(wrong * (surer + right / 2)), wrong.sum() * right.sum()))  # (8.11)


def _risk(errors, uncertainty):
    """Mean error of the k least uncertain pixels, k = 1 .. n.

    Within a tie the summed error grows linearly.
    """
    pixels, error = _by_uncertainty(errors, uncertainty)
    kept = np.arange(1, errors.size + 1)
    pixels_up_to = np.cumsum(np.append(0, pixels))
    error_up_to = np.cumsum(np.append(0, error))
    return np.interp(kept, pixels_up_to, error_up_to) / kept  # (8.9)


def _by_uncertainty(errors, uncertainty):
    """Number of pixels and sum of errors for each distinct uncertainty, the lowest first."""
    order = np.argsort(uncertainty)
    ranked = uncertainty[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    return np.diff(np.append(starts, ranked.size)), np.add.reduceat(errors[order], starts)


def check_errors(errors, uncertainty):
    """Errors (float64) and uncertainties as flat arrays.

    Raises ValueError where their shapes differ, an error is negative, or one of them has a NaN.
    """
    errors = np.asarray(errors, dtype=np.float64)
    uncertainty = np.asarray(uncertainty)
    if errors.shape != uncertainty.shape or not errors.size:
        raise ValueError(
            f"expected errors and uncertainties of one shape and at least one pixel, "
            f"got shapes {errors.shape} and {uncertainty.shape}"
        )
    # The smallest error is NaN where any is, and then it is not at least 0.
    if not errors.min() >= 0 or np.isnan(uncertainty).any():
        raise ValueError(
            f"expected errors of at least 0 and uncertainties without NaN, got errors from "
            f"{errors.min():.4g} and {np.isnan(uncertainty).sum()} NaN"
        )
    return errors.ravel(), uncertainty.ravel()
