"""What a network is shown of an image: crops; in training turned, mirrored and with another contrast curve."""

import numpy as np

from .sample import Sample

SIDE = 128  # of a crop
GAMMA = 0.7, 1.4
SYMMETRIES = {
    "none": (),
    "flip": (0, 4),
    "dihedral": range(8),
}  # of the square; from 4 on mirrored, see _turned


def random_crop(sample: Sample, rng) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels of a crop at any place in the sample, all equally likely. A smaller image is reflected first."""
    sample = _reflected(sample)
    crop = _cut(sample, *(rng.integers(length - SIDE + 1) for length in sample.image.shape))
    return crop.image, crop.labels


def grid(sample: Sample) -> list[Sample]:
    """As many whole crops as fit side by side, centred, at least one; NAME (row, column), from 0, where they are more.

    What is left over at the edges is dropped. An image smaller than a crop is reflected at its edges.
    """
    sample = _reflected(sample)
    rows, columns = (length // SIDE for length in sample.image.shape)
    top, left = (length % SIDE // 2 for length in sample.image.shape)
    crops = {
        (i, j): _cut(sample, top + SIDE * i, left + SIDE * j)
        for i in range(rows)
        for j in range(columns)
    }
    return [
        c._replace(name=f"{c.name} {place}") if len(crops) > 1 else c for place, c in crops.items()
    ]


def augment(images, labels, kind, rng):
    """Images (N, 1, H, H) and labels (N, H, H), changed image by image, each change as likely.

    kind "none": as they are. "flip": mirrored left to right or not, for what has an upper and a lower end, as traps
    have. "dihedral": one of the 8 symmetries of the square, for what has no direction. Labels go along. In both, a
    gamma: greys rescaled to 0..1, raised to a power log-uniform in GAMMA, scaled back to their range. Not gain and
    offset: every image is normalised afterwards, which undoes them. The inputs are left as they are, dtypes kept; a
    constant image stays so. Raises ValueError on other shapes.
    """
    if kind == "none":
        return images, labels
    if (
        images.ndim != 4
        or images.shape[2] != images.shape[3]
        or labels.shape != (len(images), *images.shape[2:])
    ):
        raise ValueError(
            f"augment expects square images (N, 1, H, H) and labels (N, H, H), got {images.shape} and {labels.shape}"
        )
    turns = rng.choice(SYMMETRIES[kind], size=len(images))
    gammas = np.exp(rng.uniform(*np.log(GAMMA), size=len(images)))
    moved = np.empty_like(images), np.empty_like(labels)
    for i, (turn, gamma) in enumerate(zip(turns, gammas, strict=True)):
        moved[0][i], moved[1][i] = (
            _turned(_curved(images[i], gamma), turn),
            _turned(labels[i], turn),
        )
    return moved


def _turned(image, turn):
    """The last two axes turned by quarters 0 to 3; from 4 on mirrored, too."""
    image = np.rot90(image, turn % 4, axes=(-2, -1))
    return image[..., ::-1] if turn >= 4 else image


def _curved(image, gamma):
    """In float64; where the image is constant its range is 0."""
    low = np.float64(image.min())
    span = image.max() - low
    return low + span * ((image - low) / (span or 1)) ** gamma


def _reflected(sample: Sample) -> Sample:
    """The sample continued at its edges as in a mirror, evenly on both sides, to SIDE or more."""
    missing = [max(0, SIDE - length) for length in sample.image.shape]
    if not any(missing):
        return sample
    widths = [(n // 2, n - n // 2) for n in missing]
    image, labels = (
        None if a is None else np.pad(a, widths, "symmetric") for a in (sample.image, sample.labels)
    )
    return sample._replace(image=image, labels=labels)


def _cut(sample: Sample, top: int, left: int) -> Sample:
    image, labels = (
        None if a is None else a[top:, left:][:SIDE, :SIDE] for a in (sample.image, sample.labels)
    )
    return sample._replace(image=image, labels=labels)
