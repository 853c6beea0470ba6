"""The error budget of a network (adf.studies.budget), drawn."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from .stages import CAUSES

SPARSE = (1, 2, 5)  # ticks of a decade, where several are shown,
DENSE = (1, 1.2, 1.5, 2, 3, 5, 8)  # and where less than one is
COLOURS = ("#0072B2", "#E69F00", "#D55E00")  # of the three causes that are a layer's own


def error_budget(rows, maps, causes=CAUSES, plain=None):
    """Three pictures of an error budget  -> Figure.

    They show ADF's variance over the true one after every layer, what each layer added to that, and
    one image. rows: `report.Row`s, one per layer in the order of computation; maps: (2, H, W), the
    standard deviation of the logits of one image by ADF and by sampling; causes: the names of the
    factors; plain: the rows of plain ADF, for comparison.
    """
    figure = Figure(figsize=(13, 12), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2, 1))
    upper, lower = above.subplots(2, 1, sharex=True)
    _draw_ratio(upper, rows, plain)
    _draw_causes(lower, rows, causes)
    # The factors are near 1, where powers of ten say nothing: the axes show plain numbers.
    for axes in (upper, lower):
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = lower.get_ylim()
    lower.yaxis.set_major_locator(LogLocator(subs=SPARSE if high > 10 * low else DENSE))
    _draw_maps(below, *maps)
    return figure


def _draw_ratio(axes, rows, plain):
    """ADF's variance over the true one, by layer: the median and the range of nine in ten."""
    depth = np.arange(len(rows))
    low = [r.score.low for r in rows]
    high = [r.score.high for r in rows]
    axes.axhline(1, color="0.5", linestyle="--", linewidth=1)
    axes.fill_between(depth, low, high, color="0.85", label="nine in ten outputs")
    axes.plot(depth, [r.score.median for r in rows], "k.-", label="median")
    if plain:
        medians = [r.score.median for r in plain]
        axes.plot(depth, medians, ":", color="#D55E00", label="plain ADF, median")
    axes.set(ylabel="variance, ADF / true", yscale="log", xlim=(-0.7, len(rows) - 0.3))
    axes.legend(frameon=False, loc="lower left")


def _draw_causes(axes, rows, causes):
    """Bars from 1: what the layer itself makes of its input.

    A bar upwards overstates the variance, a bar downwards understates it.
    """
    depth = np.arange(len(rows))
    top = np.ones(len(rows))
    bottom = np.ones(len(rows))
    # Factors above 1 are stacked upwards, those below 1 downwards, each from the last one's end.
    for cause, name, colour in zip((1, 2, 3), causes[1:], COLOURS, strict=True):
        factor = np.array([r.factors[cause] for r in rows])
        upwards = factor > 1
        start = np.where(upwards, top, bottom)
        axes.bar(depth, start * (factor - 1), bottom=start, color=colour, label=name)
        top = np.where(upwards, top * factor, top)
        bottom = np.where(upwards, bottom, bottom * factor)
    axes.axhline(1, color="0.5", linewidth=1)
    axes.set(ylabel="factor added by the layer", yscale="log")
    axes.set_xticks(depth, [r.name for r in rows], rotation=90, fontsize=9)
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))  # off the bars


def _draw_maps(figure, by_adf, sampled):
    """The two maps in one scale of colours, and their ratio, white where they agree."""
    both = np.stack([by_adf, sampled])
    scale = LogNorm(both[both > 0].min(initial=1), both.max())
    ratio = np.divide(by_adf, sampled, out=np.ones_like(sampled), where=sampled > 0)
    spread = np.clip(abs(np.log(ratio)).max(), 0.1, None)
    balanced = LogNorm(np.exp(-spread), np.exp(spread))
    maps = (
        ("standard deviation of the logits: ADF", by_adf, "cividis", scale),
        ("sampled", sampled, "cividis", scale),
        ("ADF / sampled (blue: understated)", ratio, "RdBu_r", balanced),
    )
    # Each map has a bar of its own, with plain numbers at 1, 2, 5, 10, ...
    for axes, (title, picture, colours, norm) in zip(figure.subplots(1, 3), maps, strict=True):
        image = axes.imshow(picture, cmap=colours, norm=norm)
        ticks = LogLocator(subs=(1, 2, 5))
        bar = figure.colorbar(image, ax=axes, format="%g", ticks=ticks)
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
