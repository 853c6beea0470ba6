"""Curves over all pixels of a data set.

Is the network as good as it says, and does it know where it is wrong?
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from .pictures import CLASS_COLOURS

POINTS = 5000  # at most so many of a curve are drawn


def reliability(curves):
    """Accuracy against confidence, and how many pixels there are at each confidence  -> Figure.

    curves: `metrics.Reliability`, or a dict of them by name. Below the diagonal the network is too
    sure of itself.
    """
    figure = Figure(figsize=(5.5, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color="0.5", linestyle="--", label="perfectly calibrated")
    named = _named(curves)
    for name, curve, colour in named:
        label = f"{name}ECE {curve.ece:.4f}"
        upper.plot(curve.confidence, curve.accuracy, "o-", color=colour, clip_on=False, label=label)
        # Histograms of several networks would hide one another, so only a single one is filled.
        _draw_shares(lower, curve.count, colour, fill=len(named) == 1)
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    lower.set(
        xlabel="confidence (probability of the called class)",
        ylabel="share of pixels",
        yscale="log",
    )
    lower.yaxis.set_minor_locator(NullLocator())
    upper.legend(frameon=False, loc="upper left")  # no confidence is below 1 / K: here is room
    return figure


def _draw_shares(axes, count, colour, fill):
    """A histogram of the pixels over their confidence, in bins of equal widths from 0 to 1."""
    edges = np.linspace(0, 1, count.size + 1)
    axes.stairs(count / count.sum(), edges, color=colour, linewidth=2, fill=fill)


def sparsification(curves):
    """Error left when the most uncertain pixels are removed first  -> Figure.

    The best and a random order are drawn for comparison; the area shaded below the curve is the
    AUSE. curves: `metrics.Sparsification`, or a dict of them by name. The axis ends where no curve
    is above 2 % of its start any more.
    """
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.subplots()
    end = 0
    top = 0
    for name, curve, colour in _named(curves):
        removed, error, oracle = _thinned(curve)
        axes.plot(removed, error, color=colour, linewidth=2, label=f"{name}AUSE {curve.ause:.3g}")
        axes.plot(removed, oracle, color=colour, linestyle="--")
        axes.axhline(error[0], color=colour, linestyle=":")
        axes.fill_between(removed, oracle, error, color=colour, alpha=0.2, linewidth=0)
        end = max(end, removed[error >= 0.02 * error[0]][-1])
        top = max(top, error.max())
    # Without errors top stays 0, for a single pixel end does: an axis needs two different limits.
    axes.set(
        xlabel="fraction of pixels removed, most uncertain first",
        ylabel="fraction of those left that are wrong",
        xlim=(0, end or 1),
        ylim=(0, 1.05 * top or 1),
    )
    _explain_orders(axes)
    return figure


def _explain_orders(axes):
    """A legend of the curves that are labelled, and of the styles that all of them share."""
    orders = [
        Line2D([], [], color="0.3", linestyle=style, label=label)
        for style, label in (("--", "best order"), (":", "random order"))
    ]
    axes.legend(
        handles=axes.get_legend_handles_labels()[0] + orders,
        loc="upper right",
        edgecolor="none",
        framealpha=1,
    )


def risk_coverage(curves):
    """Error of the least uncertain pixels against how many of them are kept  -> Figure.

    curves: `metrics.RiskCoverage`, or a dict of them by name. The risk is drawn on a logarithmic
    axis, for it spans decades; a curve leaves it below where it keeps nothing wrong. At full
    coverage every curve has its mean error.
    """
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.subplots()
    low = 1
    high = 0
    for name, curve, colour in _named(curves):
        coverage, risk = _thinned(curve)
        axes.plot(coverage, risk, color=colour, linewidth=2, label=f"{name}AURC {curve.aurc:.3g}")
        low = min(low, risk[risk > 0].min(initial=1))
        high = max(high, risk.max())
    axes.set(
        xlabel="coverage: fraction of pixels kept, least uncertain first",
        ylabel="risk: fraction of those kept that are wrong",
        xlim=(0, 1),
        ylim=(low / 2, 2 * (high or 1)),
    )
    # The scale comes after the limits: it finds none of its own where no risk is positive.
    axes.set_yscale("log", nonpositive="clip")
    # Inside the axes the legend would hide a curve.
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return figure


def _named(curves):
    """One curve or a dict of them  -> a list of (prefix of the label, curve, colour)."""
    named = {"": curves}
    if isinstance(curves, dict):
        named = {f"{name}: ": curve for name, curve in curves.items()}
    colours = CLASS_COLOURS[1:]
    return [
        (name, curve, colours[i % len(colours)]) for i, (name, curve) in enumerate(named.items())
    ]


def _thinned(curve):
    """The arrays of a curve at POINTS of its points or fewer, the first and the last among them."""
    indices = np.unique(np.linspace(0, curve[0].size - 1, POINTS).astype(int))
    return [values[indices] for values in curve]
