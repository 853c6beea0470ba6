"""The error budget of a trained run, as a table that says how to read it, and as a picture."""

import math
import platform
from typing import Any, NamedTuple

import numpy as np
import scipy

from ...backend import xp
from ...files.tables import markdown_table
from ...runs import open_data
from .figure import error_budget
from .stages import CAUSES, measure
from .text import BUDGET


class Row(NamedTuple):
    """A layer over several images: its outputs' variances, ADF / true, their means, the causes."""

    name: str
    median: float  # of ADF / true
    low: float  # a twentieth lies below,
    high: float  # a twentieth above
    mean_error: float  # median, in true standard deviations
    factors: Any  # (4,), see CAUSES


def summarise(budgets):
    """A list of Row; budgets: the list of Stage that `measure` returned, for each image."""
    return [_row(stages) for stages in zip(*budgets, strict=True)]


def _row(stages):
    """The Row of one layer from its Stages, one for each image."""
    low, median, high = np.quantile(np.concatenate([s.ratio for s in stages]), (0.05, 0.5, 0.95))
    error = np.median(np.concatenate([s.mean_error for s in stages]))
    factors = np.exp(np.mean([np.log(s.factors) for s in stages], axis=0))
    shape = " x ".join(map(str, stages[0].adf.mean.shape))
    return Row(f"{type(stages[0].layer).__name__}, {shape}", median, low, high, error, factors)


def table(rows):
    """The rows as Markdown."""
    lines = []
    for number, row in enumerate(rows, 1):
        line = {
            "": str(number),
            "layer, output": row.name,
            "ADF / true": f"{row.median:.3f}",
            "nine in ten": f"{row.low:.2g} to {row.high:.2g}",
            "mean": f"{row.mean_error:.3f}",
        }
        # The causes are columns of their own, behind the others.
        factors = zip(CAUSES, row.factors, strict=True)
        lines.append(line | {cause: f"{factor:.3f}" for cause, factor in factors})
    return markdown_table(lines)


def report(run, images, samples):
    """(Markdown, Figure) for some test images of what a run was trained on.

    Raises ValueError on a point mass.
    """
    budgets = []
    maps = []
    for sample in open_data(run, run.settings.data).test(run.settings.seed)[:images]:
        x = run.segmenter.input(xp.asarray(sample.image)[None, None])
        stages = measure(run.segmenter.network, x, samples)
        budgets.append(stages)
        maps.append([_mean_std(logits) for logits in (stages[-1].adf, stages[-1].true)])
    # The last row is that of the logits, and the picture shows the first image.
    rows = summarise(budgets)
    text = BUDGET.format(
        command=f"python -m adf budget {run.folder} --images {images} --samples {samples}",
        images=len(budgets),
        samples=samples,
        table=table(rows),
        **_origin(run),
        **_sampling_noise(samples),
        **_at_the_logits(rows[-1], maps),
    )
    return text, error_budget(rows, maps[0])


def _mean_std(logits):
    """Standard deviation (H, W) of the logits (K, H, W), from their mean variance over classes."""
    return np.sqrt(logits.var.mean(axis=0))


def _origin(run):
    """What the numbers are about, as words of the report."""
    return {
        "system": run.settings.system,
        "steps": run.step,
        "data": run.settings.data,
        "noise_var": run.settings.noise_var,
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}",
    }


def _sampling_noise(samples):
    """How much of the numbers this many samples make by themselves."""
    return {
        "noise": math.sqrt(2 / samples),  # of a sampled variance, relative
        "exact": math.exp(1 / samples),  # the second factor of a layer that is exact
        "mean_noise": 0.674 / math.sqrt(samples),  # the median of |N(0, 1)| is 0.674
    }


def _at_the_logits(last, maps):
    """The variances of the logits: ADF / true, and whether their order over the pixels is right."""
    by_adf, true = (np.ravel(pictures) for pictures in zip(*maps, strict=True))
    return {
        "median": last.median,
        "low": last.low,
        "high": last.high,
        "rank": scipy.stats.spearmanr(by_adf, true).statistic,
    }
