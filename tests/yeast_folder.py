"""Writes folders in the published format, for tests of what reads them."""

from pathlib import Path

import numpy as np
from hostile import tensor_file

SIZE = (64, 96)


def write(folder: Path, kind: str, name: str, array: np.ndarray):
    (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / kind / f"{name}.pt").write_bytes(tensor_file(array, zip_format=len(name) == 1))


def objects(*spans: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Masks (K, H, W) and boxes (K, 4) of rectangles x0 y0 x1 y1."""
    masks = np.zeros((len(spans), *SIZE), np.float32)
    for mask, (x0, y0, x1, y1) in zip(masks, spans, strict=True):
        mask[y0:y1, x0:x1] = 1
    return masks, np.array(spans, np.float32).reshape(-1, 4)


def write_sample(folder: Path, name: str, classes=(1, 2, 3), instances=True):
    masks, boxes = objects((0, 0, 48, 32), (48, 0, 96, 32), (24, 16, 72, 48))
    image = np.random.default_rng(len(name)).normal(5, 3, SIZE).astype(np.float32)
    write(folder, "inputs", name, image)
    write(folder, "classes", name, np.array(classes, np.int64))
    write(folder, "bounding_boxes", name, boxes)
    if instances:
        write(folder, "instances", name, masks)
