"""Where training, validation and test images come from: a generator, without end or a fixed set of it, or a folder.

A source has `class_names`, and its training batches are functions of step, size and seed alone: a run that is killed
and resumed sees what it would have seen.
"""

import functools
from pathlib import Path

import numpy as np

from . import synthetic, yeast
from .augment import augment, grid, random_crop
from .folder import class_names, parts, read_folder
from .sample import Sample

CLASS_NAMES = ("background", "trap", "cell")
VALIDATION, TEST = 1_000_000_000, 2_000_000_000  # added to a seed: images that no training has seen
DATA_SET = 3_000_000_000  # the seed of the fixed sets, the same for every training
HELD_OUT = 64  # synthetic images to validate or test on
CROP, AUGMENT = 1, 2  # random streams of their own beside that of the order, (seed, epoch)


def open_source(text, classes=None, augment="flip"):
    """`synthetic`, `synthetic:COUNT`, or the path of a folder: images/ and labels/, or in the published format.

    classes: how many, for labels/ that hold class indices; None for instances. augment: how the training images of
    finite data are changed, see `augment.augment`. Raises ValueError, in one line, on anything else, and on `classes`
    for data that has its own.
    """
    name, colon, count = str(text).partition(":")
    made = name == "synthetic"
    if not made and parts(text, "images"):
        return ImageFolder(text, classes, augment)
    if not made and Path(text).is_dir() and not parts(text, "inputs"):
        where = "images/ (with labels/) or inputs/ (the published format) in it or in its train/, val/, test/"
        raise ValueError(f"{text}: expected {where}, got none; a wrong folder?")
    if classes is not None:
        raise ValueError(
            f"{text}: expected a folder with images/ and labels/ for a choice of {classes} classes"
        )
    if made and colon and not (count.isdecimal() and int(count)):
        raise ValueError(
            f"{text}: expected a positive number of images, as in synthetic:493, got {count!r}"
        )
    if made:
        return SyntheticSet(int(count), augment) if colon else Synthetic()
    return YeastFolder(text, augment)


class Synthetic:
    """Images without end: every training step sees new ones."""

    class_names = CLASS_NAMES

    def training(self, step, size, seed):
        """Images (size, 1, 128, 128) and labels (size, 128, 128): a function of step, size and seed alone."""
        return synthetic.generate(size, seed, start=step * size)

    def validation(self, seed):
        return _draw(HELD_OUT, VALIDATION + seed)

    def test(self, seed):
        return _draw(HELD_OUT, TEST + seed)


class Finite:
    """Images that come back, cropped and augmented anew. `splits`: train, val, test -> samples."""

    class_names = CLASS_NAMES

    def __init__(self, name, augment):
        self.name, self.augment = name, augment

    def split(self, name):
        return self.splits[name]

    def training(self, step, size, seed):
        """As Synthetic.training; an epoch shows every labelled image once, in an order of its own."""
        samples = self.split("train")
        if not samples:
            raise ValueError(
                f"{self.name}: expected labels/ or instances/ to train on, got none; no train/?"
            )
        count, first = len(samples), step * size
        chosen = [
            samples[_shuffled(count, seed, p // count)[p % count]]
            for p in range(first, first + size)
        ]
        crops = [
            random_crop(s, np.random.default_rng((seed, step, i, CROP)))
            for i, s in enumerate(chosen)
        ]
        images, labels = (np.stack(arrays) for arrays in zip(*crops, strict=True))
        images = images[:, None]
        return augment(images, labels, self.augment, np.random.default_rng((seed, step, AUGMENT)))

    def validation(self, seed):
        return self.split("val")

    def test(self, seed):
        return self.split("test")


class SyntheticSet(Finite):
    """`count` synthetic images, the same for every seed: 60 % train, 20 % validate, 20 % test; drawn when needed.

    493 make 296, 99 and 98, the size and split of Prangemeier, Reich & Koeppl 2020. Of fewer than 5 some serve twice.
    """

    def __init__(self, count, augment="flip"):
        super().__init__(f"synthetic:{count}", augment)
        first, second = (6 * count + 9) // 10, (8 * count + 9) // 10  # rounded up
        val = range(first, second) or range(first)
        self.splits = {"train": range(first), "val": val, "test": range(second, count) or val}

    def split(self, name):
        return _drawn(self.splits[name])


class YeastFolder(Finite):
    """The published format: train/, val/ and test/ where the folder has them; without, all images test."""

    def __init__(self, path, augment="flip"):
        super().__init__(path, augment)
        found = parts(path, "inputs") or {"train": path}
        samples = {split: yeast.read_folder(part) for split, part in found.items()}
        if Path(path) in found.values():
            samples["test"] = samples[
                "train"
            ]  # few of the published images have labels, but all have boxes
        self.splits = _filled(**samples)


class ImageFolder(Finite):
    """images/ and labels/, in train/, val/ and test/ where the folder has them; validated and tested on whole crops."""

    def __init__(self, path, classes=None, augment="flip"):
        super().__init__(path, augment)
        self.class_names = class_names(classes)
        found = parts(path, "images") or {"train": path}
        splits = _filled(**{split: read_folder(part, classes) for split, part in found.items()})
        self.splits = splits | {
            split: [c for s in splits[split] for c in grid(s)] for split in ("val", "test")
        }


def _filled(train=(), val=(), test=()):
    """All three. No val: every fifth labelled training image validates, not trained on if others are. No test: val."""
    labelled = [s for s in train if s.labels is not None]
    if train and not val:
        val = labelled[::5] or train
        labelled = [s for i, s in enumerate(labelled) if i % 5] or labelled
    return {"train": labelled, "val": val or test, "test": test or val}


def _draw(count, seed, start=0):
    images, labels = synthetic.generate(count, seed, start)
    return [Sample(str(start + i), images[i, 0], labels[i], None, None) for i in range(count)]


@functools.lru_cache(maxsize=3)
def _drawn(numbers):
    """The images of these numbers out of the fixed set; kept, for every epoch asks again."""
    return _draw(len(numbers), DATA_SET, numbers.start)


@functools.lru_cache(maxsize=2)
def _shuffled(count, seed, epoch):
    return np.random.default_rng((seed, epoch)).permutation(count)
