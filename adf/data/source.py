"""Where training, validation and test images come from.

A source is a generator without end, a fixed set that it made, or a folder. It has `class_names`,
and its training batches are functions of step, size and seed alone: a run that is killed and
resumed sees what it would have seen, if the data are the same: its `fingerprint()` tells.
"""

import functools
from pathlib import Path

import numpy as np

from . import synthetic, yeast
from .augment import augment, random_crop
from .folder import class_names, parts, read_folder
from .sample import Sample, fingerprint

CLASS_NAMES = ("background", "trap", "cell")
VALIDATION = 1_000_000_000  # is added to a seed: images that no training has seen
TEST = 2_000_000_000  # is added to a seed: images that neither training nor validation has seen
DATA_SET = 3_000_000_000  # the seed of the fixed sets, the same for every training
MOST = 100_000  # images of a fixed set, which lies in memory: of these, 10 GB
HELD_OUT = 64  # synthetic images to validate or test on
# Random streams of their own beside that of the order of images, which is (seed, epoch).
CROP = 1
AUGMENT = 2


def open_source(text, classes=None, augment="flip"):
    """The source that a text names.

    The text is `synthetic`, `synthetic:COUNT`, or the path of a folder: of images/ and labels/, or
    in the published format. classes: how many there are, for labels/ that hold class indices; None
    for instances. augment: how the training images of finite data are changed, see
    `augment.augment`. Raises ValueError, in one line, on anything else, and on `classes` for data
    that has its own.
    """
    name, colon, count = str(text).partition(":")
    if name == "synthetic":
        _refuse_choice_of_classes(text, classes)
        return SyntheticSet(_positive(count, str(text)), augment) if colon else Synthetic()
    if parts(text, "images"):
        return ImageFolder(text, classes, augment)
    if Path(text).is_dir() and not parts(text, "inputs"):
        raise ValueError(
            f"{text}: expected images/ (with labels/) or inputs/ (the published format) in it or "
            "in its train/, val/, test/, got none; a wrong folder?"
        )
    _refuse_choice_of_classes(text, classes)
    # A path that is no folder gets here, too: the reader says what is wrong with it.
    return YeastFolder(text, augment)


def _refuse_choice_of_classes(text, classes):
    if classes is not None:
        raise ValueError(
            f"{text}: expected a folder with images/ and labels/ for a choice of {classes} classes"
        )


def _positive(count, text):
    # So many digits are too many, whatever they say.
    digits = count.lstrip("0")
    if not (digits and count.isdecimal()) or len(digits) > len(str(MOST)) or int(count) > MOST:
        raise ValueError(
            f"{text[:40]}: expected a positive number of images up to {MOST}, as in synthetic:493, "
            f"got {count[:40]!r}"
        )
    return int(count)


class Synthetic:
    """Images without end: every training step sees new ones."""

    class_names = CLASS_NAMES
    count = None

    def training(self, step, size, seed):
        """Images (size, 1, 128, 128) and labels (size, 128, 128) of a step.

        They are a function of step, size and seed alone.
        """
        return synthetic.generate(size, seed, start=step * size)

    def fingerprint(self):
        """By what the training images are known again: a dict that JSON holds."""
        return {"name": "synthetic", "generator": synthetic.VERSION}

    def validation(self, seed):
        return _draw(HELD_OUT, VALIDATION + seed)

    def test(self, seed):
        return _draw(HELD_OUT, TEST + seed)


class Finite:
    """Images that come back, cropped and augmented anew. `splits`: train, val, test -> samples."""

    class_names = CLASS_NAMES

    def __init__(self, name, augment):
        self.name = name
        self.augment = augment

    def split(self, name):
        return self.splits[name]

    @property
    def count(self):
        """How many images there are to train on; None: without end."""
        return len(self.splits["train"])

    def training(self, step, size, seed):
        """As Synthetic.training; an epoch shows every labelled image once, in its own order."""
        samples = self.split("train")
        if not samples:
            raise ValueError(
                f"{self.name}: expected labels/ or instances/ to train on, got none; no train/?"
            )
        # Places are numbered through all epochs; a batch may begin in one and end in the next.
        count = len(samples)
        places = range(step * size, (step + 1) * size)
        chosen = [samples[_shuffled(count, seed, p // count)[p % count]] for p in places]
        # Every crop has a generator of its own, so that it depends on nothing drawn before.
        crops = [
            random_crop(sample, np.random.default_rng((seed, step, i, CROP)))
            for i, sample in enumerate(chosen)
        ]
        images, labels = (np.stack(arrays) for arrays in zip(*crops, strict=True))
        images = images[:, None]
        return augment(images, labels, self.augment, np.random.default_rng((seed, step, AUGMENT)))

    def fingerprint(self):
        """As Synthetic.fingerprint; of the images and not of their place, which may change."""
        return fingerprint(self.split("train"))

    def validation(self, seed):
        return self.split("val")

    def test(self, seed):
        return self.split("test")


class SyntheticSet(Finite):
    """`count` synthetic images, the same for every seed, drawn when they are needed.

    60 % train, 20 % validate, 20 % test. 493 make 296, 99 and 98, the size and split of
    Prangemeier, Reich & Koeppl 2020. Of fewer than 5, some serve twice.
    """

    def __init__(self, count, augment="flip"):
        super().__init__(f"synthetic:{count}", augment)
        train_end = (6 * count + 9) // 10  # rounded up
        val_end = (8 * count + 9) // 10
        train = range(train_end)
        val = range(train_end, val_end) or train
        self.splits = {"train": train, "val": val, "test": range(val_end, count) or val}

    def split(self, name):
        samples = _drawn(self.splits[name])
        serves_twice = name != "train" and self.splits[name] == self.splits["train"]
        return [s._replace(trained_on=True) for s in samples] if serves_twice else samples

    def fingerprint(self):
        # That says all, and costs no drawing.
        return {"name": self.name, "generator": synthetic.VERSION}


class YeastFolder(Finite):
    """The published format: train/, val/ and test/ where the folder has them.

    In a folder without them, all images test.
    """

    def __init__(self, path, augment="flip"):
        super().__init__(path, augment)
        folders = parts(path, "inputs") or {"train": path}
        samples = {split: yeast.read_folder(part) for split, part in folders.items()}
        # Few of the published images have labels to train on, but all have boxes to test with.
        if Path(path) in folders.values():
            samples["test"] = samples["train"]
        self.splits = _filled(**samples)


class ImageFolder(Finite):
    """images/ and labels/, in train/, val/ and test/ where the folder has them.

    It is validated and tested on whole images, whatever their sizes.
    """

    def __init__(self, path, classes=None, augment="flip"):
        super().__init__(path, augment)
        self.class_names = class_names(classes)
        folders = parts(path, "images") or {"train": path}
        samples = {split: read_folder(part, classes) for split, part in folders.items()}
        self.splits = _filled(**samples)


def _filled(train=(), val=(), test=()):
    """All three splits; only labelled images train, and an empty val or test borrows from another.

    Without val, every fifth labelled training image validates; it is not trained on, if others are
    left. Without test, val tests, too. What is trained on and held out at once is marked.
    """
    labelled = [sample for sample in train if sample.labels is not None]
    if train and not val:
        val = labelled[::5] or train
        labelled = [sample for i, sample in enumerate(labelled) if i % 5] or labelled
    seen = {id(sample) for sample in labelled}
    val, test = (
        [sample._replace(trained_on=id(sample) in seen) for sample in samples]
        for samples in (val or test, test or val)
    )
    return {"train": labelled, "val": val, "test": test}


def _draw(count, seed, start=0):
    images, labels = synthetic.generate(count, seed, start)
    return [Sample(str(start + i), images[i, 0], labels[i], None, None) for i in range(count)]


@functools.lru_cache(maxsize=3)
def _drawn(numbers):
    """The images of these numbers out of the fixed set; cached, for every step asks for them."""
    return _draw(len(numbers), DATA_SET, numbers.start)


@functools.lru_cache(maxsize=2)
def _shuffled(count, seed, epoch):
    """The order of the images in an epoch; cached, for every image of a batch asks for it."""
    return np.random.default_rng((seed, epoch)).permutation(count)
