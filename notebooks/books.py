"""The books: what each approximation of ADF adds to the variance of one logit, with an interval.

Their quantity is log Var (variance, sigma^2) of the logit of class cell at our pixel. Noisy images
are pushed through the network. Let V_k be what ADF makes of it when it starts at layer k, from the
true means and variances there (of each element, over the images). V_0 is ADF alone, V_L the sampled
truth, and

    V_0 - V_L = (V_0 - V_1) + (V_1 - V_2) + ... + (V_(L-1) - V_L)

holds whatever the layers are. V_k and V_(k+1) differ in layer k, and the kind of the layer says
what it got wrong:

    linear    is exact for independent inputs of any shape: what is wrong is the independence
    kink      (leaky ReLU) each output has one input, and is exact for a Gaussian: what is wrong is
              the closure (shape)
    norm      is exact for what it is handed: nothing is wrong
    pooling   gets three things wrong, in this order. It takes the maxima by pairs (V_k less V with
              the exact moments of the largest of four Gaussians: the order). It takes them of what
              is no Gaussian (from there to V behind the images shuffled element by element: the
              closure), nor independent (from there to V_(k+1))

All this is in float64; V_0 in float32 less V_0 in float64 is one more entry. The images come in
groups. Entries are jackknife estimates over the groups (Quenouille 1956, Tukey 1958), which removes
the bias of a logarithm of a sampled variance (-1/n for a Gaussian); intervals are Student's t of
the pseudo-values, at LEVEL. Images are shuffled within their group, which leaves a few parts in
GROUP of their dependence.
"""

import functools
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from pixel import FAST, LEVEL, PIXEL, image, network, steps
from scipy import special, stats

from adf import Gaussian, montecarlo
from adf.backend import default_rng, to_host, xp
from adf.data.synthetic import CELL
from adf.engine.threads import map_ordered
from adf.studies.budget.stages import moments, normal, shuffled

GROUPS, GROUP = (8, 80) if FAST else (12, 240)  # noisy images
WITNESSES = 1_000 if FAST else 10_000  # noisy images that measure the gap once more
CAUSES = {
    "linear": ("independence",),
    "kink": ("closure",),
    "pooling": ("order", "closure", "independence"),
    "norm": ("nothing",),
}
KINDS = (*CAUSES, "float32")


class Entry(NamedTuple):
    """One line of the books: the signed error in log Var of our logit, between low and high.

    The error is ADF less truth.
    """

    cause: str
    layers: str
    error: float
    low: float
    high: float


def account(kind=None):
    """Posts the entries of one kind and returns them, a list.

    The kinds are "linear", "kink", "pooling", "norm" and "float32". Without a kind come all
    entries, then their sum, the gap between ADF and truth as other noisy images measure it (by
    adf.montecarlo.compare, in float32), and the remainder, the gap less the sum. Raises ValueError
    on other kinds.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"account expects one of {', '.join(KINDS)}, got {kind!r}")
    entries, total = _books()
    chosen = [entry for entry in entries if kind is None or entry.cause.split(",")[0] == kind]
    for entry in chosen:
        print(f"posted: {entry.cause} at {entry.layers}: {_interval(entry)}")
    if kind is not None:
        return chosen
    gap = _measured_gap()
    error, half = gap.error - total.error, np.hypot(gap.high - gap.error, total.high - total.error)
    remainder = Entry("remainder", "gap less sum", error, error - half, error + half)
    for entry in total, gap, remainder:
        print(f"{entry.cause} ({entry.layers}): {_interval(entry)}")
    return [*chosen, total, gap, remainder]


@functools.cache
def _books():
    """The entries, and their sum."""
    x, walk = image(), steps(network("float64"))
    exact = Gaussian(*(field.astype("float64") for field in x))
    groups = map_ordered(lambda g: _group(walk, exact, default_rng((GROUPS, g))), range(GROUPS))
    sampled = zip(*groups, strict=True)
    state = (Gaussian(*(xp.repeat(field, 1 + GROUPS, axis=0) for field in exact)),)
    lines, values = [], [_log_var(walk, state)]
    for k, step in enumerate(walk):
        for cause in CAUSES[step.kind]:
            if cause == "order":
                current, skips = step.inputs(state)
                state = (largest_of_four(current), *skips)
            else:
                state = tuple(_pooled(parts) for parts in zip(*next(sampled), strict=True))
            lines.append((step.name, f"{step.kind}, {cause}"))
            values.append(_log_var(walk[k + 1 :], state))
    errors, entries = values[:-1] - np.array(values[1:]), []
    for cause in dict.fromkeys(cause for _, cause in lines):
        rows = [i for i, line in enumerate(lines) if line[1] == cause]
        layers = f"{len(rows)} layers, {lines[rows[0]][0]} to {lines[rows[-1]][0]}"
        entries.append(Entry(cause, layers, *_jackknife(errors[rows].sum(axis=0))))
    rounding = (_log_var(steps(network()), (x,)) - values[0])[0]
    entries.append(Entry("float32, rounding", "all layers", rounding, rounding, rounding))
    total, low, high = _jackknife(errors.sum(axis=0))
    return entries, Entry(
        "sum", "of all entries", total + rounding, low + rounding, high + rounding
    )


def _group(walk, x, rng):
    """States of the means and variances of a group of noisy images behind every layer.

    Behind max pooling there are two: of the images shuffled in front of it, and of the images.
    """
    host = Gaussian(*(to_host(field)[0] for field in x))
    state, points, cuts = (x,), (Gaussian(xp.asarray(normal(host, GROUP, rng, "float64"))),), []
    for step in walk:
        (_, waiting), (current, skips) = step.inputs(state), step.inputs(points)
        inputs = [current]
        if step.kind == "pooling":
            inputs = [Gaussian(xp.asarray(shuffled(to_host(current.mean), rng))), current]
        for samples in inputs:
            y = step.layer.predict(samples)
            state = (_moments(to_host(y.mean)), *waiting)
            cuts.append(state)
        points = (y, *skips)
    return cuts


def largest_of_four(x, cells=400):
    """The largest of every 2 x 2 independent Gaussians: its exact moments.

    They come from its distribution function, the product of theirs, which is cut into cells, each
    with its probability at its middle; Sheppard's correction takes the variance within a cell,
    width**2 / 12, off again.
    """
    n, c, height, width = x.mean.shape
    windows = (to_host(field).reshape(n, c, height // 2, 2, width // 2, 2) for field in x)
    mean, var = (
        w.transpose(3, 5, 0, 1, 2, 4).reshape(4, n, c, height // 2, width // 2) for w in windows
    )
    std = np.sqrt(var)
    low, high = (mean - 9 * std).max(axis=0), (mean + 9 * std).max(axis=0)
    below, first, second = 0.0, 0.0, 0.0
    for cell in range(cells):
        cdf = special.ndtr((low + (high - low) * (cell + 1) / cells - mean) / std).prod(axis=0)
        middle = (cell + 0.5) / cells  # from low, in units of high - low
        first, second, below = (
            first + (cdf - below) * middle,
            second + (cdf - below) * middle**2,
            cdf,
        )
    spread = second - first**2 - 1 / (12 * cells**2)
    return Gaussian(xp.asarray(low + (high - low) * first), xp.asarray((high - low) ** 2 * spread))


def _moments(samples):
    return Gaussian(*(field[None] for field in moments(samples)))


def _pooled(parts):
    """From the moments of the groups to those of all together, then of all but each.

    Their shape is (1 + GROUPS, C, H, W).
    """
    mean, var = (np.concatenate(fields) for fields in zip(*parts, strict=True))
    deviation, keep = mean - mean[0], np.concatenate([np.ones((1, GROUPS)), 1 - np.eye(GROUPS)])
    n = GROUP * keep.sum(axis=1).reshape(-1, 1, 1, 1)
    centre = GROUP * np.tensordot(keep, deviation, 1) / n
    squares = np.tensordot(keep, (GROUP - 1) * var + GROUP * deviation**2, 1) - n * centre**2
    return Gaussian(xp.asarray(mean[0] + centre), xp.asarray(squares / (n - 1)))


def _log_var(walk, state):
    """log Var (sigma^2) of the logit of class cell at our pixel, one a row.

    ADF computes it through the rest of the layers.
    """
    for step in walk:
        state = step(state)
    return np.log(to_host(state[0].var)[:, CELL, *PIXEL].astype("float64"))


def _jackknife(estimates):
    """(estimate, low, high), with the bias removed, by Student's t.

    `estimates` are that of all groups, then those without each group.
    """
    pseudo = GROUPS * estimates[0] - (GROUPS - 1) * estimates[1:]
    error = pseudo.mean()
    half = stats.t.ppf((1 + LEVEL) / 2, GROUPS - 1) * pseudo.std(ddof=1) / np.sqrt(GROUPS)
    return error, error - half, error + half


def _measured_gap():
    c = montecarlo.compare(
        network(), image(), WITNESSES, rng=WITNESSES, chunk=100 * image().mean.size
    )
    var, sampled, error = (to_host(f)[0, CELL, *PIXEL] for f in (c.var, c.sampled_var, c.var_error))
    gap, half = np.log(var / sampled), stats.norm.ppf((1 + LEVEL) / 2) * error / sampled
    return Entry("gap", f"measured by {WITNESSES:,} other images", gap, gap - half, gap + half)


def _interval(entry):
    """The three numbers, for reading: what float64 rounds is 0."""
    error, *ends = (
        f"{x:+.4f}" if abs(x) > 5e-5 or abs(x) < 1e-12 else f"{x:+.0e}"
        for x in np.round(entry[2:], 12) + 0
    )
    return f"{error} [{', '.join(ends)}]"


def waterfall(entries):
    """Draws what account() returns.

    Every entry begins where the one before ended; the gap stands beside their sum.
    """
    _, axes = plt.subplots(figsize=(11, 3.8), layout="constrained")
    level = 0.0
    for i, entry in enumerate(entries):
        alone = entry.cause in ("sum", "gap", "remainder")
        bottom = 0 if alone else level
        axes.bar(i, entry.error, 0.6, bottom, color="0.45" if alone else "0.8", edgecolor="k")
        ends = [[entry.error - entry.low], [entry.high - entry.error]]
        axes.errorbar(i, bottom + entry.error, ends, color="k", capsize=5, linewidth=1.5)
        level += 0 if alone else entry.error
        if not alone:
            axes.plot([i + 0.3, i + 0.7], [level, level], "k:", linewidth=1)
    axes.axhline(0, color="k", linewidth=1)
    axes.set_xticks(range(len(entries)), [entry.cause.replace(", ", ",\n") for entry in entries])
    axes.set_ylabel("error in log σ² of the logit")
