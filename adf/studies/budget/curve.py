"""Worth against price: ADF beside samples (adf.studies.budget), drawn."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

# kind -> label, colour, marker, line
LOOKS = {
    "independent": ("samples, independent noise", "#0072B2", "o", "-"),
    "orthogonal": ("samples, orthogonal signs", "#E69F00", "s", "-"),
    "plain ADF": ("", "#D55E00", "v", ""),
    "ADF": ("", "#009E73", "*", ""),
}


def worth_and_price(rivals):
    """How many samples a variance is worth against its price in passes  -> Figure.

    rivals: a list of `rivals.Rival`. What is worth more than can be told is left out. On the dashed
    line a pass buys a sample; above it a variance is cheaper than samples.
    """
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    drawn = [r for r in rivals if math.isfinite(r.score.worth)]
    # Samples are joined by a line, for any number of them may be had; ADF is a point by itself.
    for kind, (label, colour, marker, line) in LOOKS.items():
        points = [(r.price, r.score.worth) for r in drawn if r.kind == kind]
        names = [r.name for r in drawn if r.kind == kind]
        if points:
            style = {"color": colour, "marker": marker, "linestyle": line, "clip_on": False}
            size = 15 if marker == "*" else 8
            name = label or names[0]
            axes.plot(*zip(*points, strict=True), label=name, markersize=size, **style)
    _scale(axes, [(r.price, r.score.worth) for r in drawn])
    return figure


def _scale(axes, points):
    """Both axes in powers of 2 with plain numbers, the line of equal numbers, and a legend."""
    values = [value for point in points for value in point] or [1, 2]
    low = 2 ** math.floor(math.log2(min(*values, 1)))
    high = 2 ** math.ceil(math.log2(max(values)))
    same = {"color": "0.6", "linewidth": 1, "zorder": 0, "label": "one sample a pass"}
    axes.plot((low, high), (low, high), "--", **same)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        ylim=(low, high),
        xlabel="price, in passes of a deterministic network",
        ylabel="worth, in samples",
    )
    # Powers of 2 are few enough to have all their numbers.
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=2, numticks=20))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FormatStrFormatter("%g"))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="upper left")
