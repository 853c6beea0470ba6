"""Anyone's images and labels: files paired by the name before their suffix.

    FOLDER/[train/ val/ test/]
        images/NAME.png  (H, W)  any size; also .tif, .tiff, .npy, .pt
        labels/NAME.png  (H, W)  integers of the image's size, in any of the formats;
                                 may be missing for some images

Labels are instances: 0 is background, every other value an object, whichever value that is.
With `classes` they are class indices.
"""

from pathlib import Path

import numpy as np

from ..files.image_file import read_image, read_labels
from ..normalisation import normalise
from .sample import SPLITS, Sample

# Files and folders that file managers leave beside images, in lower case. Hidden ones need no list.
LITTER = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "@eadir"}
LITTER |= {"__macosx", "$recycle.bin", "#recycle", "lost+found", "system volume information"}


def parts(path, inside: str) -> dict[str, Path]:
    """Split -> folder that holds `inside`/.

    These are those of train/, val/ and test/ that hold it; if none does, the folder itself as
    train, if it holds it; else there are none.
    """
    path = Path(path)
    splits = {split: path / split for split in SPLITS if (path / split / inside).is_dir()}
    return splits or {split: path for split in SPLITS[:1] if (path / inside).is_dir()}


def class_names(classes: int | None = None) -> tuple[str, ...]:
    """What 0, 1, ... mean: background and object, or, of class indices, background, class 1, ..."""
    if classes is None:
        return ("background", "object")
    if isinstance(classes, bool) or not isinstance(classes, int) or not 2 <= classes <= 256:
        raise ValueError(f"expected 2 to 256 classes, the background among them, got {classes!r}")
    return ("background", *(f"class {i}" for i in range(1, classes)))


def read_folder(folder, classes: int | None = None) -> list[Sample]:
    """Every image of a folder, sorted by name, with its labels.

    Images are (H, W) float32 at their own size, of mean 0 and standard deviation 1; labels are
    (H, W) uint8 below the number of classes, or None where there is no file of that name.
    Raises ValueError, in one line, for a file that is damaged, has no partner or two, or does not
    match it.
    """
    class_names(classes)  # refuses a wrong number before any file is read
    folder = Path(folder)
    images = _files(folder / "images")
    labels = _files(folder / "labels")
    if not images:
        raise ValueError(
            f"{folder / 'images'}: expected images, got none; an empty folder, or a wrong path?"
        )
    # An image may lack labels, but labels without an image are a mistake in the folder.
    unpaired = sorted(labels.keys() - images.keys())
    if unpaired:
        raise ValueError(
            f"{labels[unpaired[0]]}: expected an image in images/ of that name, got none; "
            "renamed, deleted?"
        )
    return [_read_sample(images[name], labels.get(name), classes) for name in sorted(images)]


def _files(folder: Path) -> dict[str, Path]:
    """Name -> file, without hidden files and the litter of file managers.

    Files of other unknown formats are among them and fail when read: no image is missed silently.
    """
    files: dict[str, Path] = {}
    for file in sorted(folder.glob("[!.]*")):
        if file.name.lower() in LITTER:
            continue
        if file.stem in files:
            raise ValueError(
                f"{file}: expected one file of that name, got {files[file.stem].name} too; a copy?"
            )
        files[file.stem] = file
    return files


def _read_sample(path: Path, labels_path: Path | None, classes: int | None) -> Sample:
    image = read_image(path)
    labels = None if labels_path is None else _read_labels(labels_path, image.shape, classes)
    return Sample(path.stem, normalise(image, "standard").astype(np.float32), labels, None, None)


def _read_labels(path: Path, shape: tuple[int, int], classes: int | None) -> np.ndarray:
    """(H, W) uint8: class indices, or 0 and 1 made of instances. `shape` is the image's."""
    labels = read_labels(path)
    if labels.shape != shape:
        raise ValueError(
            f"{path}: expected the size of its image, {shape}, got {labels.shape}; another image's?"
        )
    if classes is None:
        return (labels != 0).astype(np.uint8)
    # Values are compared before uint8 would wrap them round.
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        cause = "saved as 0 and 255, or instances?"
        raise ValueError(f"{path}: expected classes 0 to {classes - 1}, got {wrong[0]}; {cause}")
    return labels.astype(np.uint8)
