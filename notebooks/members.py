"""The networks of lesson 11: small U-Nets that learned from the same 48 images, in three ways.

    ensemble()     five segmenters of other seeds, of weights and of the order of the data
    dropped()      one with dropout of its inner channels, P of them
    bayes()        (segmenter, sigma): the means of Bayes by Backprop, and a standard deviation
                   for each of its parameters, in the order of adf.runs.state.flat; 0: a point
    batches(seed)  what they learned from, a batch of crops at a time

They lie in notebooks/members.npz. `python notebooks/course.py members` trains them again, in about
ten minutes; every seed is fixed.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from adf import Adam, Segmenter, UNet, train_step
from adf.backend import default_rng, to_host, xp
from adf.data.synthetic import SIZE, generate
from adf.files import checkpoint
from adf.methods.bayes_by_backprop import VariationalSegmenter
from adf.methods.dropout import add_dropout
from adf.runs.state import flat, put

FILE = Path(__file__).with_name("members.npz")
WIDTHS, IMAGES, BATCH, CROP = (4, 8, 16), 48, 4, 64
STEPS, RATE = 1200, 1e-2
P = 0.2  # of a channel to be dropped
PIXELS = IMAGES * SIZE * SIZE  # of all labels


def ensemble():
    return [_filled(_untrained(), values) for values in _stored()["ensemble"]]


def dropped():
    return _filled(_untrained(dropout=True), _stored()["dropout"])


def bayes():
    arrays = _stored()
    return _filled(_untrained(), arrays["bayes"]), arrays["bayes_sigma"].astype("float64")


def batches(seed):
    """Endless (images, labels), (BATCH, 1, CROP, CROP) and (BATCH, CROP, CROP), of the 48."""
    images, labels = generate(IMAGES, seed=11)
    rng = default_rng(seed)
    while True:
        chosen = rng.choice(IMAGES, BATCH, replace=False)
        rows, columns = (slice(i, i + CROP) for i in rng.integers(0, SIZE - CROP + 1, 2))
        yield images[chosen][..., rows, columns], labels[chosen][..., rows, columns]


def _untrained(seed=0, dropout=False):
    network = UNet(1, 3, WIDTHS, norm=True, rng=seed)
    if dropout:
        add_dropout(network, P)
    return Segmenter(network, None, normalisation="standard")


def _stored():
    return checkpoint.load(FILE)[0]


def _values(segmenter):
    """All that was learned: the parameters, then batch norm's averages."""
    network = segmenter.network
    return flat([*network.parameters(), *network.statistics()]).astype("float32")


def _filled(segmenter, values):
    put([*segmenter.network.parameters(), *segmenter.network.statistics()], values)
    return segmenter


def _learned(segmenter, seed, kl_share=0.0):
    """The same segmenter after STEPS steps of Adam; the KL comes in over the first half."""
    optimizer, source = Adam(segmenter.parameters()), batches(seed)
    for step in tqdm(range(STEPS), unit=" steps", desc=f"seed {seed}"):
        optimizer.learning_rate = RATE * min(1, 2 * (1 - step / STEPS))
        segmenter.kl_share = kl_share * min(1, 2 * step / STEPS)  # a VariationalSegmenter reads it
        train_step(segmenter, optimizer, *next(source))
    return segmenter


def _sigmas(model):
    """Those of all parameters of the network in a row, 0 where a parameter is a point."""
    found = {id(m): sigma for m, sigma in zip(model.m, model.sigmas(), strict=True)}
    every = (found.get(id(p), xp.zeros_like(p.value)) for p in model.network.parameters())
    return np.concatenate([to_host(sigma).ravel() for sigma in every]).astype("float32")


def train():
    """Writes members.npz."""
    ensemble = [_values(_learned(_untrained(seed), seed)) for seed in range(5)]
    thin = _learned(_untrained(5, dropout=True), 5)
    model = VariationalSegmenter(_untrained(6).network, normalisation="standard")
    _learned(model, 6, kl_share=1 / PIXELS)
    arrays = {
        "ensemble": np.stack(ensemble),
        "dropout": _values(thin),
        "bayes": _values(model),
        "bayes_sigma": _sigmas(model),
    }
    checkpoint.save(FILE, arrays, {"steps": STEPS, "images": IMAGES})
    print("The trained networks:", FILE)
