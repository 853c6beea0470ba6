"""Where training, validation and test images come from: the generator, or a folder in the published format."""

import functools
from pathlib import Path

import numpy as np

from . import synthetic, yeast
from .yeast import Sample

CLASS_NAMES = ("background", "trap", "cell")
VALIDATION, TEST = 1_000_000_000, 2_000_000_000  # added to a seed: images that no training has seen
HELD_OUT = 64  # synthetic images to validate or test on


def open_source(text):
    """`synthetic`, or the path of a folder in the published format. Raises ValueError where it holds no images."""
    return Synthetic() if text == "synthetic" else Folder(text)


class Synthetic:
    """Images without end: every training step sees new ones."""

    def training(self, step, size, seed):
        """Images (size, 1, 128, 128) and labels (size, 128, 128): a function of step, size and seed alone."""
        return synthetic.generate(size, seed, start=step * size)

    def validation(self, seed):
        return self._samples(VALIDATION + seed)

    def test(self, seed):
        return self._samples(TEST + seed)

    def _samples(self, seed):
        images, labels = synthetic.generate(HELD_OUT, seed)
        return [Sample(str(i), images[i, 0], labels[i], None, None) for i in range(HELD_OUT)]


class Folder:
    """train/, val/ and test/ where the folder has them; without, every fifth labelled image validates, all test."""

    def __init__(self, path):
        self.path = Path(path)
        present = [split for split in yeast.SPLITS if (self.path / split / "inputs").is_dir()]
        if present:
            self.splits = {split: yeast.read_folder(path, split) for split in present}
        else:
            samples = yeast.read_folder(path)
            labelled = [s for s in samples if s.labels is not None]
            learnt = [s for i, s in enumerate(labelled) if i % 5] or labelled
            self.splits = {"train": learnt, "val": labelled[::5], "test": samples}

    def training(self, step, size, seed):
        """A batch of labelled images, every epoch in an order of its own: a function of step, size and seed alone."""
        labelled = [s for s in self.splits.get("train", []) if s.labels is not None]
        if not labelled:
            raise ValueError(f"{self.path}: expected images with instances/ to train on, got none")
        positions = range(step * size, (step + 1) * size)
        chosen = [labelled[_shuffled(len(labelled), seed, p // len(labelled))[p % len(labelled)]] for p in positions]
        return np.stack([s.image for s in chosen])[:, None], np.stack([s.labels for s in chosen])

    def validation(self, seed):
        return self.splits.get("val") or self.test(seed)

    def test(self, seed):
        return self.splits.get("test") or [s for samples in self.splits.values() for s in samples]


@functools.lru_cache(maxsize=2)
def _shuffled(count, seed, epoch):
    return np.random.default_rng((seed, epoch)).permutation(count)
