"""Probabilistic backpropagation on the tables of its paper, by the paper's protocol.

One hidden layer of ReLUs; inputs and targets standardised on what is learned from; so many passes
over the data in random order; the published splits.
"""

import csv
import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from .. import layers
from ..backend import to_host, xp
from ..data.regression import read_splits
from ..files.atomic import atomic_write
from ..files.tables import markdown_table
from ..methods.pbp import PBP

# RMSE and test NLL, each with its standard error over 20 splits. Source: the table of
# Lakshminarayanan et al., NeurIPS 2017, which has them from Hernandez-Lobato & Adams.
PUBLISHED = {
    "concrete": (5.67, 0.09, 3.16, 0.02),
    "energy": (1.80, 0.05, 2.04, 0.02),
    "yacht": (1.02, 0.05, 1.63, 0.02),
}


class Score(NamedTuple):
    """Of one split: in the units of the targets, NLL in nats per datum."""

    split: int
    rmse: float
    nll: float
    rejected: int  # updates of single weights


def measure(split, number, hidden, epochs):
    """Learns one split, from the seed of its number  -> Score."""
    center = split.x.mean(axis=0)
    spread = split.x.std(axis=0)
    spread[spread == 0] = 1
    x, x_test = (xp.asarray((values - center) / spread) for values in (split.x, split.x_test))
    middle = split.t.mean()
    unit = split.t.std()
    targets = ((split.t - middle) / unit).tolist()
    # A generator for the weights, and then for the order of the data.
    rng = np.random.default_rng(number)
    hidden_layer = layers.Linear(x.shape[1], hidden)
    model = PBP(layers.Sequential(hidden_layer, layers.LeakyReLU(0), layers.Linear(hidden, 1)), rng)
    for _ in tqdm(range(epochs), desc=f"split {number}", unit=" passes", leave=False):
        for i in rng.permutation(len(targets)):
            model.step(x[i : i + 1], targets[i])
        model.refine_prior()
    # The density of a target is in its own units, not in those of learning.
    y = model.predict(x_test).map(to_host)
    r = split.t_test - middle - unit * y.mean[:, 0]
    var = unit**2 * y.var[:, 0]
    nll = (np.log(2 * math.pi * var) + r * r / var).mean() / 2
    return Score(number, math.sqrt((r * r).mean()), nll, model.rejected)


def study(folder, out, hidden=50, epochs=40, most=None):
    """Measures the first `most` splits of a folder, or all  -> the table, as text.

    Every split is printed as it comes; `out`, a CSV file, has those that are done.
    """
    scores = []
    splits = read_splits(folder)[:most]
    for number, split in enumerate(splits):
        scores.append(measure(split, number, hidden, epochs))
        tqdm.write("split {}: RMSE {:.3f}, NLL {:.3f}, {} rejected".format(*scores[-1]))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([Score._fields, *scores])
        with atomic_write(out) as file:
            file.write(text.getvalue().encode())
    return table(Path(folder).resolve().name, scores)


def table(name, scores):
    """Means and their standard errors, beside the published ones."""
    values = np.array(scores)
    n = len(values)
    mean = values.mean(axis=0)
    error = values.std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else np.full(4, math.nan)
    rows = [_row(f"{name}, {n} splits", mean[1], error[1], mean[2], error[2])]
    rows[0]["rejected"] = int(values[:, 3].sum())
    if name in PUBLISHED:
        rows.append(_row("published, 20 splits", *PUBLISHED[name]))
    return markdown_table(rows)


def _row(name, *numbers):
    rmse, nll = (
        f"{mean:.3f} ± {error:.3f}" for mean, error in zip(numbers[::2], numbers[1::2], strict=True)
    )
    return {"": name, "RMSE": rmse, "NLL": nll}
