"""What a tree of pairwise maxima costs, against the exact law of the largest of n Gaussians."""

import numpy as np

from ...backend import to_host
from ...layers import MaxPool2d
from . import reference
from .measure import as_gaussian

TEXT = """
## What max pooling by pairs costs

`MaxPool2d` takes maxima two at a time, and each winner enters the next pair as a Gaussian, which it is not: exact for
two inputs, an approximation for more. Beside it the exact law of the largest of n independent Gaussians, by a
one-dimensional integral. This is the size of the approximation, no error of the program, and has no bound.
First n standard normals, then {windows} random windows (μ from N(0, 1), σ from 0.32 to 3.2, evenly in log σ), each in
{orders} random orders. Change by the order: a window's largest variance divided by its smallest, less 1.

"""
COLUMNS = (
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
    return TEXT.format(windows=windows - 1, orders=orders), COLUMNS, rows


def cells(kernel, windows, orders):
    rng, n = np.random.default_rng(4), kernel[0] * kernel[1]
    mean, std = rng.normal(size=(windows, n)), 10 ** rng.uniform(-0.5, 0.5, (windows, n))
    mean[0], std[0] = 0, 1  # the first are standard normals
    order = np.argsort(rng.random((windows, orders, n)), axis=-1)
    tree = MaxPool2d(kernel).predict(
        as_gaussian(
            [
                np.take_along_axis(f[:, None], order, -1).reshape(-1, 1, *kernel)
                for f in (mean, std**2)
            ],
            "f8",
        )
    )
    tree_mean, tree_var = (to_host(f).reshape(windows, orders) for f in tree)
    true_mean, true_var = np.array(
        [reference.maximum_of_many(m, s) for m, s in zip(mean, std, strict=True)]
    ).T
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
