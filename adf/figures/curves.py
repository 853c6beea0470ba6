"""Curves over all pixels of a data set: is the network as good as it says, and does it know where it is wrong?"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from .pictures import CLASS_COLOURS


def reliability(curves):
    """Accuracy against confidence, and how many pixels there are at each confidence  -> Figure.

    curves: `metrics.Reliability`, or a dict of them by name. Below the diagonal the network is too sure of itself.
    """
    figure = Figure(figsize=(5.5, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color="0.5", linestyle="--", label="perfectly calibrated")
    for name, curve, colour in _named(curves):
        label = f"{name}ECE {curve.ece:.4f}"
        upper.plot(curve.confidence, curve.accuracy, "o-", color=colour, clip_on=False, label=label)
        edges = np.linspace(0, 1, curve.count.size + 1)
        lower.stairs(
            curve.count / curve.count.sum(),
            edges,
            color=colour,
            linewidth=2,
            fill=len(_named(curves)) == 1,
        )
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    lower.set(
        xlabel="confidence (probability of the called class)",
        ylabel="share of pixels",
        yscale="log",
    )
    lower.yaxis.set_minor_locator(NullLocator())
    upper.legend(frameon=False, loc="upper left")  # no confidence is below 1 / K: here is room
    return figure


def sparsification(curves):
    """Error left when the most uncertain pixels are removed first, against the best and a random order  -> Figure.

    curves: `metrics.Sparsification`, or a dict of them by name. The shaded area is the AUSE. The axis ends where no
    curve is above 2 % of its start any more.
    """
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes, end, top = figure.subplots(), 0, 0
    for name, curve, colour in _named(curves):
        some = np.unique(np.linspace(0, curve.removed.size - 1, 5000).astype(int))
        removed, error, oracle = (values[some] for values in curve)
        axes.plot(removed, error, color=colour, linewidth=2, label=f"{name}AUSE {curve.ause:.3g}")
        axes.plot(removed, oracle, color=colour, linestyle="--")
        axes.axhline(error[0], color=colour, linestyle=":")
        axes.fill_between(removed, oracle, error, color=colour, alpha=0.2, linewidth=0)
        end, top = max(end, removed[error >= 0.02 * error[0]][-1]), max(top, error.max())
    orders = [
        Line2D([], [], color="0.3", linestyle=style, label=label)
        for style, label in (("--", "best order"), (":", "random order"))
    ]
    axes.set(
        xlabel="fraction of pixels removed, most uncertain first",
        ylabel="fraction of those left that are wrong",
        xlim=(0, end or 1),
        ylim=(0, 1.05 * top or 1),
    )
    axes.legend(
        handles=axes.get_legend_handles_labels()[0] + orders,
        loc="upper right",
        edgecolor="none",
        framealpha=1,
    )
    return figure


def risk_coverage(curves):
    """Error of the least uncertain pixels against how many of them are kept  -> Figure.

    curves: `metrics.RiskCoverage`, or a dict of them by name. The risk is drawn on a logarithmic axis, for it spans
    decades; a curve leaves it below where it keeps nothing wrong. At full coverage every curve has its mean error.
    """
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes, low, high = figure.subplots(), 1, 0
    for name, curve, colour in _named(curves):
        some = np.unique(np.linspace(0, curve.coverage.size - 1, 5000).astype(int))
        coverage, risk = (values[some] for values in curve)
        axes.plot(coverage, risk, color=colour, linewidth=2, label=f"{name}AURC {curve.aurc:.3g}")
        low, high = min(low, risk[risk > 0].min(initial=1)), max(high, risk.max())
    axes.set(
        xlabel="coverage: fraction of pixels kept, least uncertain first",
        ylabel="risk: fraction of those kept that are wrong",
        xlim=(0, 1),
        ylim=(low / 2, 2 * (high or 1)),
    )
    axes.set_yscale(
        "log", nonpositive="clip"
    )  # after its limits: without a positive risk it finds none
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False
    )  # inside it would hide a curve
    return figure


def _named(curves):
    """One curve or a dict of them  -> a list of (prefix of the label, curve, colour)."""
    named = (
        {f"{name}: ": curve for name, curve in curves.items()}
        if isinstance(curves, dict)
        else {"": curves}
    )
    colours = CLASS_COLOURS[1:]
    return [
        (name, curve, colours[i % len(colours)]) for i, (name, curve) in enumerate(named.items())
    ]
