"""What every reader of data gives: an image and what is known of it."""

from typing import NamedTuple

import numpy as np

SPLITS = ("train", "val", "test")


class Sample(NamedTuple):
    """One image and what is known of it; None for what its folder does not hold."""

    name: str
    image: np.ndarray  # (H, W) float32, mean 0, standard deviation 1
    labels: np.ndarray | None  # (H, W) uint8 class indices; of yeast 0 background, 1 trap, 2 cell
    boxes: np.ndarray | None  # (K, 4) float32: x0 y0 x1 y1 in pixels of `image`
    box_classes: np.ndarray | None  # (K,) int64: 1 trap, 2 cell (0 where the file says background)
    trained_on: bool = False  # whether it is a validation or test image that training sees, too
