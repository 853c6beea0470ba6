"""The pixel that runs through all lessons: its image, the trained network, and its layers."""

import collections
import dataclasses
import functools
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

# adf lies next to this folder: nothing to install
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from adf import Adam, Gaussian, train_step
from adf.backend import default_rng, xp
from adf.data.synthetic import CELL, SIZE, generate
from adf.files import checkpoint
from adf.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    LeakyReLU,
    MaxPool2d,
    Sequential,
)
from adf.runs import Settings
from adf.runs.settings import BEFORE
from adf.runs.state import restore, state

FAST = bool(os.environ.get("FAST"))
LEVEL = 0.99  # of all bands and intervals

# the variance of the noise on every pixel, in units of the variance of the whole image
NOISE_VAR = 0.05
CROP = slice(20, 52), slice(48, 80)
# image and labels as adf 0.1 drew them; the generator has moved on, the lessons have not
PHOTOGRAPH = Path(__file__).with_name("photograph.npz")
# By the density weight of the loss, how much the variances have a say in training. The first is of
# adf 0.1, the second (`python notebooks/course.py 0.001`) of lesson 9 alone.
NETWORKS = {
    1.0: Path(__file__).with_name("network.npz"),
    1e-3: Path(__file__).with_name("network-0.001.npz"),
}
SETTINGS = Settings(
    widths=[8, 16, 32],
    steps=600,
    learning_rate=1e-2,
    noise_var=NOISE_VAR,
    normalisation="standard",
    density_weight=1.0,
)

LAYERS = {  # what a reader calls them, and their kind in the books
    Conv2d: ("conv", "linear"),
    ConvTranspose2d: ("up", "linear"),
    BatchNorm2d: ("batch norm", "norm"),
    LeakyReLU: ("leaky ReLU", "kink"),
    MaxPool2d: ("max pool", "pooling"),
}


def image():
    """The noisy image: a crop of 32 x 32, as a Gaussian (1, 1, 32, 32) in float32.

    It is normalised as in the whole image.
    """
    whole = segmenter().input(xp.asarray(_photograph()[0]))
    return Gaussian(*(field[(..., *CROP)] for field in whole))


def labels():
    """The classes of the pixels of image(), (32, 32): 0 background, 1 trap, 2 cell."""
    return _photograph()[1][(0, *CROP)]


@functools.cache
def _photograph():
    with np.load(PHOTOGRAPH) as arrays:
        return arrays["image"], arrays["labels"]


def _border():
    """(row, column) of the border pixel of a cell that is nearest to the middle.

    A border pixel has a neighbour outside of the cells.
    """
    cell = np.pad(labels() == CELL, 1, mode="edge")
    inside = cell[:-2, 1:-1] & cell[2:, 1:-1] & cell[1:-1, :-2] & cell[1:-1, 2:]
    places = np.argwhere(cell[1:-1, 1:-1] & ~inside)
    row, column = places[np.square(places - 15.5).sum(axis=1).argmin()]
    return int(row), int(column)


PIXEL = _border()


def segmenter(density_weight=1.0):
    """The trained network and its head, from notebooks/network.npz; at 1e-3 from the other file."""
    arrays, settings = checkpoint.load(NETWORKS[density_weight])
    loaded = Settings(**BEFORE | settings).segmenter()
    restore(loaded, arrays)
    return loaded


def network(dtype="float32"):
    """The trained network, with weights of this dtype."""
    trained = segmenter().network
    for p in trained.parameters():
        p.value = p.value.astype(dtype)
    return trained


class Step(NamedTuple):
    """A layer of the network, which acts on a state.

    A state is a tuple: the current activations, then the skips that wait.
    """

    layer: Any
    name: str = ""
    level: int = 1  # of its output: 1 is the full size, 2 half of it
    saves: bool = False  # max pooling: its input is the next skip to wait
    join: Any = None  # a Concat: the last skip comes beside the current activations first

    @property
    def kind(self):
        return LAYERS[type(self.layer)][1]

    @property
    def place(self):
        """Our pixel behind this layer."""
        return tuple(i >> (self.level - 1) for i in PIXEL)

    def inputs(self, state):
        """What the layer takes, and the skips that wait behind it."""
        current, *skips = state
        if self.join:
            current = self.join.join([skips.pop(), current])
        return current, [*skips, current] if self.saves else skips

    def __call__(self, state):
        current, skips = self.inputs(state)
        return (self.layer.predict(current), *skips)


def steps(network):
    """The layers of a U-Net in the order of computation, with names.

    "conv 1.2" is the second one at the full size.
    """
    named, counts, level = [], collections.Counter(), 1
    for step in _flat(network):
        name = f"{LAYERS[type(step.layer)][0]} {{}}"
        if step.kind == "pooling":
            name, level = name.format(level), level + 1
        elif isinstance(step.layer, ConvTranspose2d):
            level -= 1
            name = name.format(level)
        else:
            counts[level] += isinstance(step.layer, Conv2d)
            name = name.format(f"{level}.{counts[level]}")
        named.append(step._replace(name=name, level=level))
    return [*named[:-1], named[-1]._replace(name="logits")]


def _flat(layer):
    """The Steps of a network of Sequential and Concat(Identity(), branch)."""
    if not isinstance(layer, Sequential):
        return [Step(layer)]
    found, join = [], None
    for inner in layer.layers:
        branching = isinstance(inner, Concat)
        first, *others = _flat(inner.branches[1] if branching else inner)
        found += [first._replace(saves=branching or first.saves, join=join or first.join), *others]
        join = inner if branching else None
    return found


def train(density_weight=1.0):
    """Writes network.npz, or network-0.001.npz, in 1 to 3 minutes.

    It trains on crops of 64 x 64, which show a whole cell, in a quarter of the time.
    """
    settings = dataclasses.replace(SETTINGS, density_weight=density_weight)
    learner, rng = settings.segmenter(), default_rng(SETTINGS.seed)
    optimizer = Adam(learner.parameters())
    with tqdm(range(SETTINGS.steps), unit=" steps", desc="the network of the course") as bar:
        for step in bar:
            images, classes = generate(
                SETTINGS.batch_size, SETTINGS.seed, start=step * SETTINGS.batch_size
            )
            rows, columns = (slice(start, start + 64) for start in rng.integers(0, SIZE - 63, 2))
            optimizer.learning_rate = SETTINGS.learning_rate_at(step)
            loss = train_step(
                learner, optimizer, images[..., rows, columns], classes[..., rows, columns]
            )
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    checkpoint.save(NETWORKS[density_weight], state(learner), dataclasses.asdict(settings))
    print("The trained network:", NETWORKS[density_weight])
