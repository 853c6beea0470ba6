"""The error budget of a trained run, as tables that say how to read them, and as pictures."""

import math
import platform
from typing import Any, NamedTuple

import numpy as np

from ...backend import xp
from ...data.source import open_source
from ...files.tables import markdown_table
from ...runs import open_data
from .curve import worth_and_price
from .figure import error_budget
from .plain import learned
from .rivals import ROUNDS, rivals
from .ruler import log_bias
from .score import Score, score
from .stages import CAUSES, measure
from .text import BUDGET, LEARNED, NOT_LEARNED, PICTURE, WORTH

SIDE = 128  # of a larger image the middle is measured, so large in memory are the samples
LEARNED_CAUSES = (*CAUSES[:3], "learned weights")  # and what they are there for, dependence


class Row(NamedTuple):
    """A layer over several images: how good ADF's variances of its outputs are, and the causes."""

    name: str
    score: Score
    factors: Any  # (4,), see CAUSES


def summarise(budgets, samples=math.inf):
    """A list of Row; budgets: the list of Stage that `measure` returned, for each image.

    samples: of how many their true variances are, whose bias is taken off.
    """
    return [_row(stages, samples) for stages in zip(*budgets, strict=True)]


def _row(stages, samples):
    """The Row of one layer from its Stages, one for each image."""
    factors = np.exp(np.mean([np.log(s.factors) for s in stages], axis=0))
    # Of the variances sampled it is L whose bias stays in a factor of every layer.
    factors[1] *= math.exp(-log_bias(samples))
    shape = " x ".join(map(str, stages[0].adf.mean.shape))
    name = f"{type(stages[0].layer).__name__}, {shape}"
    return Row(name, score(stages, samples), factors)


def table(rows, causes=CAUSES, samples=math.inf):
    """The rows as Markdown."""
    lines = []
    for number, row in enumerate(rows, 1):
        line = {"": str(number), "layer, output": row.name} | shown(row.score, samples)
        # The causes are columns of their own, behind the others.
        factors = zip(causes, row.factors, strict=True)
        lines.append(line | {cause: two_digits(factor) for cause, factor in factors})
    return markdown_table(lines)


def shown(found, samples):
    """The cells of a Score. More than `samples` is more than one can tell."""
    is_more = found.worth > samples
    return {
        "over true": two_digits(found.median),
        "nine in ten": f"{two_digits(found.low)} to {two_digits(found.high)}",
        "rank": "-" if math.isnan(found.rank) else f"{found.rank:.2f}",
        "mean": two_digits(found.mean_error),
        "worth": f"> {samples}" if is_more else two_digits(found.worth),
    }


def two_digits(value):
    """A number with two significant digits, and no 0 in their place."""
    if not math.isfinite(value):
        return "-"
    rounded = float(f"{value:.2g}")
    return f"{rounded:.0f}" if 10 <= abs(rounded) < 1e5 else f"{rounded:#.2g}"


def report(run, images, samples, data=None):
    """(Markdown, {name: Figure}) for some test images of `data`, or of what a run was trained on.

    data: as of `open_source`. Raises ValueError on a point mass.
    """
    network = run.segmenter.network
    inputs = middle_inputs(run, images, data)
    noises = [run.segmenter.noise.draw(x.mean) for x in inputs]
    jobs = zip(inputs, noises, strict=True)
    budgets = [measure(network, x, samples, noise=noise) for x, noise in jobs]
    found = rivals(network, inputs, budgets, samples, noises)
    rows = summarise(budgets, samples)
    # Without what was learned it is another network of the same layers.
    without = None
    causes = CAUSES
    if learned(network):
        without = summarise([[s.plain for s in stages] for stages in budgets], samples)
        causes = LEARNED_CAUSES
    maps = [_mean_std(logits) for logits in (budgets[0][-1].adf, budgets[0][-1].true)]
    drawn = error_budget(rows, maps, causes, without)
    figures = {"error_budget.png": drawn, "error_budget_worth.png": worth_and_price(found)}
    text = BUDGET.format(
        command=_command(run, images, samples, data),
        images=len(inputs),
        samples=samples,
        **_origin(run, data),
        **_sampling_noise(samples),
    )
    return text + _tables(found, rows, without, samples) + PICTURE, figures


def _tables(found, rows, without, samples):
    """ADF beside samples, then layer by layer; without: the rows of plain ADF, if it is another."""
    worths = _rivals_table(found, samples)
    text = WORTH.format(rivals=worths, rounds=ROUNDS, bias=log_bias(samples))
    if without is None:
        return text + NOT_LEARNED.format(table=table(rows, CAUSES, samples))
    tables = table(rows, LEARNED_CAUSES, samples), table(without, CAUSES, samples)
    return text + LEARNED.format(learned=tables[0], plain=tables[1])


def middle_inputs(run, images, data=None):
    """The inputs of so many test images, each (1, 1, H, W): a whole image, or its middle.

    Those that show the most classes come first: an empty field says little of a network.
    """
    source = open_source(data) if data else open_data(run, run.settings.data)
    multiple = getattr(run.segmenter.network, "multiple", 1)
    samples = sorted(source.test(run.settings.seed), key=_classes, reverse=True)  # is stable
    found = []
    for sample in samples[:images]:
        x = run.segmenter.input(xp.asarray(sample.image)[None, None])
        middle = (..., *(_middle(size, multiple) for size in x.mean.shape[2:]))
        found.append(x.map(lambda field, middle=middle: xp.ascontiguousarray(field[middle])))
    return found


def _classes(sample):
    """How many classes a sample shows, as far as that is known."""
    return 0 if sample.labels is None else len(np.unique(sample.labels))


def _middle(size, multiple):
    """The middle of so many pixels: SIDE or what there is, in multiples of what a network halves.

    Of an image that is smaller than that it is all, which the network refuses.
    """
    length = max(min(size, SIDE) // multiple * multiple, min(size, multiple))
    start = (size - length) // 2
    return slice(start, start + length)


def _rivals_table(found, samples):
    """A line for each rival."""
    return markdown_table(
        [{"": r.name, "price": two_digits(r.price)} | shown(r.score, samples) for r in found]
    )


def _mean_std(logits):
    """Standard deviation (H, W) of the logits (K, H, W), from their mean variance over classes."""
    return np.sqrt(logits.var.mean(axis=0))


def _command(run, images, samples, data):
    """What was called."""
    where = f"--data {data} " if data else ""
    return f"python -m adf budget {run.folder} {where}--images {images} --samples {samples}"


def _origin(run, data):
    """What the numbers are about, as words of the report."""
    training = min(run.step, run.settings.steps)
    calibration = f" and {run.step - training} of calibration" if run.step > training else ""
    return {
        "system": run.settings.system,
        "steps": f"{training} steps of training{calibration}",
        "trained_on": run.settings.data,
        "data": data or run.settings.data,
        "claimed": _noise(run.settings),
        "versions": f"Python {platform.python_version()}, NumPy {np.__version__}",
        "side": SIDE,
    }


def _noise(settings):
    """What was claimed of the images' noise."""
    of_variance = f"of variance {settings.noise_var:g}"
    kinds = {"white": of_variance, "estimated": "estimated from them"}
    return kinds.get(settings.noise, f"{of_variance}, {settings.noise}")


def _sampling_noise(samples):
    """How much of the numbers this many samples make by themselves."""
    return {
        "noise": math.sqrt(2 / samples),  # of a sampled variance, relative
        "mean_noise": 0.674 / math.sqrt(samples),  # the median of |N(0, 1)| is 0.674
    }
