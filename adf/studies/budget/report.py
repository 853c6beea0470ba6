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

TEXT = """# The error budget of a trained network

Written by `{command}`.
{system}, {steps} steps on {data}. {images} of its test images, with noise of variance {noise_var:g}; {samples} samples
of each, seed 0. {versions}.

Assumed density filtering hands every layer a product of Gaussians. What really comes in is neither Gaussian nor
independent. Here samples of the noisy image go through the network as well, and after every layer ADF's variance is
compared with theirs: below 1 it is understated, above 1 overstated.

- *ADF / true*: of the variances of the layer's outputs, the median, and the range of nine in ten (every true variance
  is known to {noise:.0%} only, which widens that range).
- *mean*: median of abs(E[y] by ADF - true), in true standard deviations (the sampling alone makes {mean_noise:.3f}).
- The four causes, as factors (geometric means over the outputs; their product is the geometric mean of ADF / true):
  *inherited* from the layers before; the layer's *own approximation* (the tree of max pooling; 1 for all others); what
  comes in is *not Gaussian*; what comes in is *not independent*. The logarithm of a sampled variance is low by
  1 / samples, so for an exact layer the second reads {exact:.3f} and the third its inverse; otherwise sampling moves
  the factors by less than 0.01.

{table}

**At the logits** the variance by ADF is {median:.2g} times the true one in the median, {low:.2g} to {high:.2g} in nine
of ten. Is at least the *order* right? Over the pixels of these images, the standard deviation by ADF and the true one
have the rank correlation {rank:.3f} (Spearman).

![Above: the table as curves. Below: standard deviation of the logits of one image, ADF and sampled](error_budget.png)
"""


class Row(NamedTuple):
    """A layer over several images: of the outputs' variances, ADF / true; the error of their means; its causes."""

    name: str
    median: float
    low: float  # a twentieth lies below,
    high: float  # a twentieth above
    mean_error: float  # median, in true standard deviations
    factors: Any  # (4,), see CAUSES


def summarise(budgets):
    """A list of Row from what `measure` returned for one image or more, each given as its list of stages."""
    return [_row(stages) for stages in zip(*budgets, strict=True)]


def _row(stages):
    low, median, high = np.quantile(np.concatenate([s.ratio for s in stages]), (0.05, 0.5, 0.95))
    error = np.median(np.concatenate([s.mean_error for s in stages]))
    factors = np.exp(np.mean([np.log(s.factors) for s in stages], axis=0))
    shape = " x ".join(map(str, stages[0].adf.mean.shape))
    return Row(f"{type(stages[0].layer).__name__}, {shape}", median, low, high, error, factors)


def table(rows):
    """The rows as Markdown."""
    return markdown_table(
        [
            {
                "": str(i),
                "layer, output": r.name,
                "ADF / true": f"{r.median:.3f}",
                "nine in ten": f"{r.low:.2g} to {r.high:.2g}",
            }
            | {"mean": f"{r.mean_error:.3f}"}
            | {cause: f"{factor:.3f}" for cause, factor in zip(CAUSES, r.factors, strict=True)}
            for i, r in enumerate(rows, 1)
        ]
    )


def report(run, images, samples):
    """(Markdown, Figure) for some test images of what a run was trained on. Raises ValueError on a point mass."""
    budgets, stds = [], []
    for sample in open_data(run, run.settings.data).test(run.settings.seed)[:images]:
        x = run.segmenter.input(xp.asarray(sample.image)[None, None])
        budgets.append(measure(run.segmenter.network, x, samples))
        stds.append(
            [np.sqrt(y.var.mean(axis=0)) for y in (budgets[-1][-1].adf, budgets[-1][-1].true)]
        )
    rows = summarise(budgets)
    s, last = run.settings, rows[-1]
    by_adf, true = (np.ravel(maps) for maps in zip(*stds, strict=True))
    text = TEXT.format(
        command=f"python -m adf budget {run.folder} --images {images} --samples {samples}",
        system=s.system,
        steps=run.step,
        data=s.data,
        images=len(budgets),
        noise_var=s.noise_var,
        samples=samples,
        versions=f"Python {platform.python_version()}, NumPy {np.__version__}",
        noise=math.sqrt(2 / samples),
        exact=math.exp(1 / samples),
        mean_noise=0.674 / math.sqrt(samples),
        table=table(rows),
        median=last.median,
        low=last.low,
        high=last.high,
        rank=scipy.stats.spearmanr(by_adf, true).statistic,
    )
    return text, error_budget(rows, stds[0])
