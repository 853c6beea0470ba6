"""What a tree of pairwise maxima costs, against the exact law of the largest of n Gaussians."""

import numpy as np

from ...backend import to_host
from ...layers import MaxPool2d
from . import reference
from .measure import as_gaussian
from .text import POOLING

COLUMNS = (  # of the table, for `cells`
    "Inputs",
    "Normals: mean by pairs, exact",
    "Normals: variance by pairs, exact",
    "Windows: bias of the mean, in exact standard deviations",
    "Windows: bias of the variance, relative (median of its absolute value)",
    "Windows: largest change of the variance by the order (median)",
)


def section(windows=301, orders=24):
    """The text, the columns and the rows of the table."""
    rows = [cells(kernel, windows, orders) for kernel in ((2, 2), (3, 3))]
    return POOLING.format(windows=windows - 1, orders=orders), COLUMNS, rows


def cells(kernel, windows, orders):
    """One row of the table: window 0 is of standard normals, the others are random."""
    rng = np.random.default_rng(4)
    mean, std = _random_windows(rng, windows, kernel[0] * kernel[1])
    tree_mean, tree_var = _by_pairs(rng, mean, std, kernel, orders)
    exact = [reference.maximum_of_many(m, s) for m, s in zip(mean, std, strict=True)]
    true_mean, true_var = np.array(exact).T
    # The biases are (orders, windows), the change is (windows): all without the standard normals.
    bias = ((tree_mean.T - true_mean) / np.sqrt(true_var))[:, 1:]
    relative = (tree_var.T / true_var - 1)[:, 1:]
    change = (tree_var.max(axis=1) / tree_var.min(axis=1) - 1)[1:]
    return (
        f"{kernel[0]} x {kernel[1]}",
        f"{tree_mean[0, 0]:.4f}, {true_mean[0]:.4f}",
        f"{tree_var[0, 0]:.4f}, {true_var[0]:.4f}",
        f"{bias.min():+.3f} to {bias.max():+.3f}",
        f"{relative.min():+.1%} to {relative.max():+.1%} ({np.median(abs(relative)):.1%})",
        f"{change.max():.0%} ({np.median(change):.1%})",
    )


def _random_windows(rng, windows, n):
    """Mean and standard deviation of the entries of all windows, (windows, n) each."""
    mean = rng.normal(size=(windows, n))
    std = 10 ** rng.uniform(-0.5, 0.5, (windows, n))
    mean[0] = 0
    std[0] = 1
    return mean, std


def _by_pairs(rng, mean, std, kernel, orders):
    """Mean and variance of MaxPool2d for every window in random orders, (windows, orders) each."""
    windows, n = mean.shape
    order = np.argsort(rng.random((windows, orders, n)), axis=-1)
    images = [
        np.take_along_axis(field[:, None], order, -1).reshape(-1, 1, *kernel)
        for field in (mean, std**2)
    ]
    maxima = MaxPool2d(kernel).predict(as_gaussian(images, "f8"))
    return tuple(to_host(field).reshape(windows, orders) for field in maxima)
