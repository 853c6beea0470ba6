"""Metrics against the noise that is added to the images, drawn."""

import numpy as np
from matplotlib.figure import Figure

from ... import runs
from ...figures.pictures import CLASS_COLOURS
from .rows import values
from .scores import NOISE

SHOWN = ("Dice", "NLL", "ECE", "AUSE")  # the metrics, one picture each


def against_noise(rows):
    """Four metrics, the mean of the seeds, against the standard deviation of the noise  -> Figure.

    rows: list of dict with study, condition, system, told and the metrics. Dashed: the network is
    told the noise.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(SHOWN)), SHOWN, strict=True):
        for system, colour in zip(runs.SLIDES, CLASS_COLOURS[1:], strict=False):
            for told in (False, True):
                _draw_line(axes, rows, metric, system, told, colour)
        # Dice is best at 1; the other three are best at 0, so their axes begin there.
        axes.set(title=metric, xlabel="sigma of the noise")
        axes.set_ylim(bottom=None if metric == "Dice" else 0)
    lines = axes.get_legend_handles_labels()  # the same in all four
    figure.legend(*lines, loc="outside lower center", ncols=5, frameon=False)
    return figure


def _draw_line(axes, rows, metric, system, told, colour):
    """One system, told the noise or not; nothing where it was not asked under noise."""
    means = [(sigma, _mean(rows, sigma, system, told, metric)) for sigma in (0, *NOISE)]
    points = [(sigma, mean) for sigma, mean in means if mean is not None]
    if len(points) > 1:
        label = system + (", told" if told else "")
        style = "o--" if told else "o-"
        axes.plot(*zip(*points, strict=True), style, color=colour, label=label)


def _mean(rows, sigma, system, told, metric):
    """The mean over the seeds; None where there is no row.

    Without noise there is nothing to tell: both lines begin at the same point.
    """
    condition = f"noise {sigma:g}" if sigma else "test"
    told = told and sigma > 0
    found = values(rows, "synthetic", condition, system, metric, told)
    return float(np.mean(found)) if found else None
