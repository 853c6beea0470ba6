"""What all lessons share: a pixel on the border of a yeast cell, a small network, and the books.

    image()             the noisy image, a Gaussian (1, 1, 32, 32); our pixel is
                        PIXEL = (row, column)
    network()           adf.UNet(1, 3, widths=(8, 16, 32), norm=True), trained; segmenter() has its
                        head, too; segmenter(1e-3) was trained at another weight of the loss
    biography()         our pixel behind every layer: ADF's Gaussian beside samples, a list of
                        Station
    draw(stations)      the sampled densities, ADF's Gaussian and its 99 % band, in one row of
                        panels
    account(kind)       the books: what each approximation adds to log Var of our logit, with an
                        interval
    waterfall(entries)  the books as a picture

`python notebooks/course.py` trains the network again, `python notebooks/course.py 0.001` the other
one of lesson 9, `python notebooks/course.py members` those of lesson 11 (members.py). Every seed is
fixed, so a number is the same wherever it is printed; where the environment variable FAST is set,
samples are fewer.
The image, the network and its layers one by one are in pixel.py, the books in books.py.
"""

import sys
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from books import account, waterfall
from pixel import (
    FAST,
    LEVEL,
    NOISE_VAR,
    PIXEL,
    Step,
    image,
    labels,
    network,
    segmenter,
    steps,
    train,
)
from scipy import stats

from adf import Gaussian
from adf.backend import default_rng, to_host, xp
from adf.engine.threads import map_ordered
from adf.layers import Identity
from adf.studies.budget.stages import normal

__all__ = [
    "FAST",
    "LEVEL",
    "NOISE_VAR",
    "PIXEL",
    "Station",
    "account",
    "biography",
    "draw",
    "image",
    "labels",
    "network",
    "segmenter",
    "steps",
    "waterfall",
]
# noisy images of the biography, and how many at once
SAMPLES, CHUNK = (500, 100) if FAST else (2_000, 100)


class Station(NamedTuple):
    """Our pixel behind one layer, in the channel where ADF's variance is the largest."""

    name: str
    layer: Any
    adf: Gaussian  # of two floats
    samples: Any  # (n,) floats, the same n noisy images at every station


def biography():
    """The Stations of our pixel: the image, then every layer of the network."""
    x, walk, places, gaussians = image(), [Step(Identity(), "image"), *steps(network())], [], []
    state = (x,)
    for step in walk:
        state = step(state)
        mean, var = (to_host(field)[0, :, *step.place] for field in state[0])
        places.append((var.argmax(), *step.place))
        gaussians.append(Gaussian(float(mean[var.argmax()]), float(var.max())))
    host = Gaussian(*(to_host(field)[0] for field in x))

    def push(start):
        points = normal(host, CHUNK, default_rng((SAMPLES, start)), host.mean.dtype)
        state, found = (Gaussian(xp.asarray(points)),), []
        for step, place in zip(walk, places, strict=True):
            state = step(state)
            found.append(to_host(state[0].mean)[:, *place])
        return found

    samples = np.concatenate(map_ordered(push, range(0, SAMPLES, CHUNK)), axis=1)
    return [
        Station(step.name, step.layer, *pair)
        for step, *pair in zip(walk, gaussians, samples, strict=True)
    ]


def draw(stations):
    """Draws one panel a station, and prints its numbers.

    Samples are grey, ADF's Gaussian is black, and the ends of its 99 % band are dashed.
    """
    size = min(3.7 * len(stations), 14), 3.4
    figure, panels = plt.subplots(
        1, len(stations), figsize=size, squeeze=False, layout="constrained"
    )
    for axes, (name, _, adf, samples) in zip(panels[0], stations, strict=True):
        mean, sigma = adf.mean, adf.var**0.5
        low, high = stats.norm.interval(LEVEL, mean, sigma)
        inside = int(((samples > low) & (samples < high)).sum())
        share = stats.binomtest(inside, len(samples)).proportion_ci(LEVEL)
        print(
            f"{name}: μ, σ by ADF {mean:+.3f}, {sigma:.3f}; "
            f"sampled {samples.mean():+.3f}, {samples.std(ddof=1):.3f}; "
            f"{inside / len(samples):.1%} of the samples in the band "
            f"[{share.low:.1%}, {share.high:.1%}]"
        )
        _panel(axes, mean, sigma, samples)
        for end in low, high:
            axes.axvline(
                end,
                color="k",
                linestyle="--",
                linewidth=1,
                label="its 99 % band" if end == low else None,
            )
        axes.set(title=f"{name}: σ {sigma:.3f} by ADF", xlabel="activation")
    figure.legend(
        *panels[0][0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )


def _panel(axes, mean, sigma, samples):
    """Both densities.

    A spike of the samples may be six times as high as the Gaussian; what is higher is cut off.
    """
    ends, peak = np.percentile(samples, [0.1, 99.9]), stats.norm.pdf(0) / sigma
    grid = np.linspace(min(ends[0], mean - 3.5 * sigma), max(ends[1], mean + 3.5 * sigma), 201)
    heights, _, _ = axes.hist(samples, grid[::4], density=True, color="0.75", label="sampled")
    axes.plot(grid, stats.norm.pdf(grid, mean, sigma), "k", linewidth=2, label="Gaussian of ADF")
    cut = " (spike cut off)" if heights.max() > 6 * peak else ""
    axes.set(ylim=(0, 1.1 * max(peak, min(heights.max(), 6 * peak))), ylabel="density" + cut)


if __name__ == "__main__":
    if sys.argv[1:] == ["members"]:
        import members

        members.train()
    else:
        train(*map(float, sys.argv[1:]))
