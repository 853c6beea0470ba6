"""Trapped yeast in the published folder format of Cell-DETR and its successors.

    FOLDER/[train/ val/ test/]
        inputs/NAME.pt          (H, W)     the brightfield image
        classes/NAME.pt         (K,)       1 trap, 2 cell, 3 further cell; or one-hot, (K, C)
        bounding_boxes/NAME.pt  (K, 4)     x0 y0 x1 y1 in pixels
        instances/NAME.pt       (K, H, W)  one mask of 0 and 1 per object

Only inputs/ is needed. Where classes/ or bounding_boxes/ exist they hold every image; instances may
be missing for some. https://github.com/ChristophReich1996/Cell-DETR
"""

import re
from pathlib import Path

import numpy as np

from ..files.image_file import read_image, resize
from ..files.tensor_file import read_tensor
from ..normalisation import normalise
from .sample import SPLITS, Sample

CLASS_OF = np.array([0, 1, 2, 2])  # published class -> background, trap, cell
MASK_THRESHOLD = 0.75  # of a resized mask: pixels above it belong to the object
ANNOTATIONS = ("classes", "bounding_boxes", "instances")


def read_folder(folder, split: str | None = None, size: int = 128) -> list[Sample]:
    """Every image of a folder in the published format, resized to size x size.

    A folder with inputs/ is read as it is; otherwise its train/, val/ and test/ are, or only the
    one that `split` names. The images of each come in natural order (1, 2, 12). Raises ValueError,
    in one line, for a folder or file that is missing, damaged, or does not match the others.
    """
    folder = Path(folder)
    samples = []
    for part in _parts(folder, split):
        images = _files(part / "inputs")
        if not images:
            raise ValueError(
                f"{part / 'inputs'}: expected images NAME.pt, got none; an empty folder?"
            )
        # All names are compared before the first file is read.
        annotations = {kind: _annotations(part, kind, images) for kind in ANNOTATIONS}
        names = sorted(images, key=_natural)
        samples += [_read_sample(images[name], annotations, size) for name in names]
    return samples


def _files(folder: Path) -> dict[str, Path]:
    """Name -> file; the hidden files of other people's file managers are left out."""
    return {file.stem: file for file in folder.glob("[!.]*.pt")}


def _natural(name: str) -> list:
    """A key that sorts 2 before 12: text and numbers in turn."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]


def _parts(folder: Path, split: str | None) -> list[Path]:
    """The folders that hold inputs/."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder, got none; a wrong path?")
    if (folder / "inputs").is_dir():
        return [folder]
    # Some of the splits may be missing, but not all.
    wanted = SPLITS if split is None else (split,)
    parts = [folder / name for name in wanted if (folder / name / "inputs").is_dir()]
    if not parts:
        raise ValueError(
            f"{folder}: expected inputs/ in it or in its {', '.join(wanted)}, got none; "
            "a wrong folder?"
        )
    return parts


def _annotations(part: Path, kind: str, images: dict[str, Path]) -> dict[str, Path]:
    """Name -> file of one kind of annotation; of classes and boxes either all or none."""
    paths = _files(part / kind)
    missing = sorted(images.keys() - paths.keys(), key=_natural)
    if (part / kind).is_dir() and missing and kind != "instances":
        raise ValueError(
            f"{part / kind}: expected a file for every image, got none for {missing[0]}; deleted?"
        )
    # An annotation without an image is a mistake in the folder, of whichever kind it is.
    unpaired = sorted(paths.keys() - images.keys(), key=_natural)
    if unpaired:
        raise ValueError(
            f"{paths[unpaired[0]]}: expected an image in inputs/ of that name, got none; "
            "renamed or deleted?"
        )
    return paths


def _read_sample(path: Path, annotations: dict[str, dict[str, Path]], size: int) -> Sample:
    """One image with its annotations, which are kind -> name -> file."""
    image = read_image(path)
    shape = image.shape
    files = (annotations[kind].get(path.stem) for kind in ANNOTATIONS)
    classes_file, boxes_file, labels_file = files
    # An annotation without a file stays None.
    classes = classes_file and _read_classes(classes_file)
    boxes = boxes_file and _read_boxes(boxes_file, classes, shape, size)
    labels = labels_file and _read_labels(labels_file, classes, shape, size)
    # Normalised before the resize as well, for float32 cannot hold every image as it comes.
    small = normalise(resize(normalise(image, "standard"), (size, size)), "standard")
    return Sample(path.stem, small.astype(np.float32), labels, boxes, classes)


def _read_classes(path: Path) -> np.ndarray:
    """(K,) int64, 1 trap and 2 cell, from published numbers 0 to 3 or from their one-hot rows."""
    numbers = read_tensor(path)
    if numbers.ndim == 2:
        numbers = _from_one_hot(path, numbers)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: expected integers (K,) or one-hot rows, got {numbers.dtype} {numbers.shape}; "
            "masks?"
        )
    # Negative numbers would count CLASS_OF from its end.
    wrong = numbers[(numbers < 0) | (numbers >= len(CLASS_OF))]
    if wrong.size:
        raise ValueError(
            f"{path}: expected classes 0 to {len(CLASS_OF) - 1}, got {wrong[0]}; another data set?"
        )
    return CLASS_OF[numbers]


def _from_one_hot(path: Path, rows: np.ndarray) -> np.ndarray:
    """The column of the 1 in each row."""
    one_hot = ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()
    if not one_hot:
        raise ValueError(f"{path}: expected rows with a single 1, got others; no one-hot classes?")
    return rows.nonzero()[1]


def _read_boxes(
    path: Path, classes: np.ndarray | None, shape: tuple[int, int], size: int
) -> np.ndarray:
    """(K, 4) float32, scaled from an image of `shape` to one of size x size."""
    boxes = read_tensor(path)
    # Without classes any number of boxes is right.
    count = "K" if classes is None else len(classes)
    if boxes.shape[1:] != (4,) or (classes is not None and len(boxes) != count):
        raise ValueError(
            f"{path}: expected a box for each class, ({count}, 4), got {boxes.shape}; "
            "another image's?"
        )
    if not np.isfinite(boxes).all():
        raise ValueError(f"{path}: expected finite corners x0 y0 x1 y1, got NaN or inf; damaged?")
    height, width = shape
    return (boxes * np.array([size / width, size / height] * 2)).astype(np.float32)


def _read_labels(
    path: Path, classes: np.ndarray | None, shape: tuple[int, int], size: int
) -> np.ndarray:
    """(size, size) uint8 from masks (K, H, W).

    Where objects overlap the cell wins: it lies in front of the trap.
    """
    if classes is None:
        raise ValueError(
            f"{path}: expected the classes of these masks, got none; is classes/ missing?"
        )
    masks = read_tensor(path)
    if masks.shape != (len(classes), *shape):
        expected = f"a mask of the image's size for each of its classes, {(len(classes), *shape)}"
        raise ValueError(f"{path}: expected {expected}, got {masks.shape}; another image's?")
    if not ((masks == 0) | (masks == 1)).all():
        raise ValueError(
            f"{path}: expected masks of 0 and 1, got other values; saved as 0 and 255?"
        )
    labels = np.zeros((size, size), np.uint8)
    # Cells (2) come after traps (1), and so are painted over them.
    for value in (1, 2):
        for mask in masks[classes == value]:
            labels[resize(mask, (size, size)) > MASK_THRESHOLD] = value
    return labels
