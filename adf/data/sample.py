"""What every reader of data gives: an image and what is known of it; by what it is known again."""

import hashlib
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "val", "test")
DECIMALS = 5  # of grey values that count: computers differ in the last digits of a mean


class Sample(NamedTuple):
    """One image and what is known of it; None for what its folder does not hold."""

    name: str
    image: np.ndarray  # (H, W) float32, mean 0, standard deviation 1
    labels: np.ndarray | None  # (H, W) uint8 class indices; of yeast 0 background, 1 trap, 2 cell
    boxes: np.ndarray | None  # (K, 4) float32: x0 y0 x1 y1 in pixels of `image`
    box_classes: np.ndarray | None  # (K,) int64: 1 trap, 2 cell (0 where the file says background)
    trained_on: bool = False  # whether it is a validation or test image that training sees, too


def fingerprint(samples):
    """What these samples are known by, wherever they lie: a dict that JSON holds.

    It has the number of samples and hashes of their names, images and labels, in their order.
    """
    hashes = {kind: hashlib.blake2b(digest_size=16) for kind in ("names", "images", "labels")}
    for sample in samples:
        hashes["names"].update(f"{sample.name}\0".encode("utf-8", "surrogateescape"))
        grey = np.round(sample.image, DECIMALS) + np.float32(0)  # no -0.0
        for kind, array in (("images", grey), ("labels", sample.labels)):
            hashes[kind].update(f"{None if array is None else array.shape}\0".encode())
            hashes[kind].update(b"" if array is None else np.ascontiguousarray(array))
    return {"number": len(samples)} | {kind: h.hexdigest() for kind, h in hashes.items()}


def changed(before, now):
    """What differs between two fingerprints, in words; empty where nothing does."""
    if before == now:
        return ""
    if "name" in before and before["name"] == now.get("name"):
        return "images of another generator"
    if before.keys() != now.keys():
        return "another kind of data"
    if before.get("number") != now.get("number"):
        return f"{now['number']} images to train on, not {before['number']}"
    return "other " + " and ".join(kind for kind in before if before[kind] != now[kind])


def is_fingerprint(value):
    """Whether a value out of a file can be one."""
    return isinstance(value, dict) and all(
        type(v) in (int, str) and len(str(v)) <= 64 for v in value.values()
    )
