"""How good are some variances? Their ratios to the true ones, their order, their worth."""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from .ruler import log_bias, worth


class Score(NamedTuple):
    """Variances of the outputs of several images against the true ones."""

    median: float  # of variance / true
    low: float  # a twentieth lies below,
    high: float  # a twentieth above
    mean_error: float  # of E[y]: the median of |error|, in true standard deviations
    rank: float  # the rank correlation with the true ones
    worth: float  # in samples


def score(stages, samples=math.inf):
    """The Score of Stages, one for each image; their true variances are of so many samples.

    The bias and the scatter that true variances have from sampling are taken off. The rank
    correlation and the range of nine in ten are as found.
    """
    ratio = np.concatenate([s.ratio for s in stages])
    error = np.concatenate([s.mean_error for s in stages])
    low, median, high = np.quantile(ratio, (0.05, 0.5, 0.95)) * math.exp(-log_bias(samples))
    rank = np.mean([rank_correlation(s.adf.var, s.true.var) for s in stages])
    return Score(median, low, high, np.median(error), rank, worth(ratio, samples))


def rank_correlation(var, true):
    """Spearman's, over the pixels of variances (C, H, W): the mean of the channels that have one.

    NaN if there is none: of fewer than 3 pixels, or all alike.
    """
    ranks = [rankdata(v.reshape(len(v), -1), axis=1) for v in (var, true)]
    if ranks[0].shape[1] < 3:
        return math.nan
    a, b = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    varies = norm > 0
    return float(((a * b).sum(axis=1)[varies] / norm[varies]).mean()) if varies.any() else math.nan
