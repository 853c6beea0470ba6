"""What a network is shown of an image: crops.

In training they are also turned or mirrored, and given another contrast curve.
"""

import numpy as np

from .sample import Sample

SIDE = 128  # px, of a crop
GAMMA = 0.7, 1.4  # the range of the exponent that bends the contrast
# Kind of augmentation -> the symmetries of the square that it draws from, as _turned counts them.
SYMMETRIES = {
    "none": (),
    "flip": (0, 4),
    "dihedral": range(8),
}


def random_crop(sample: Sample, rng) -> tuple[np.ndarray, np.ndarray]:
    """The image and labels of a crop from the sample; every place in it is equally likely.

    A sample smaller than a crop is first reflected at its edges.
    """
    sample = _reflected(sample)
    corner = (rng.integers(length - SIDE + 1) for length in sample.image.shape)
    crop = _cut(sample, *corner)
    return crop.image, crop.labels


def augment(images, labels, kind, rng):
    """Images (N, 1, H, H) and labels (N, H, H), changed image by image, each change as likely.

    kind "none" leaves them as they are. "flip" mirrors left to right or does not, for what has an
    upper and a lower end, as traps have. "dihedral" applies one of the 8 symmetries of the square,
    for what has no direction. The labels are moved with their image. Both kinds also bend the
    contrast: greys are rescaled to 0..1, raised to a power log-uniform in GAMMA, and scaled back to
    their range. Gain and offset are not changed: every image is normalised afterwards, which would
    undo that. The inputs are not written to, and dtypes are kept; a constant image stays constant.
    Raises ValueError on other shapes.
    """
    if kind == "none":
        return images, labels
    _check_square(images, labels)
    symmetries = rng.choice(SYMMETRIES[kind], size=len(images))
    gammas = np.exp(rng.uniform(*np.log(GAMMA), size=len(images)))
    # Arrays of the inputs' dtypes: writing into them converts the float64 of _curved back.
    moved_images = np.empty_like(images)
    moved_labels = np.empty_like(labels)
    for i, (symmetry, gamma) in enumerate(zip(symmetries, gammas, strict=True)):
        moved_images[i] = _turned(_curved(images[i], gamma), symmetry)
        moved_labels[i] = _turned(labels[i], symmetry)
    return moved_images, moved_labels


def _check_square(images, labels):
    square = images.ndim == 4 and images.shape[2] == images.shape[3]
    if not square or labels.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            "augment expects square images (N, 1, H, H) and labels (N, H, H), "
            f"got {images.shape} and {labels.shape}"
        )


def _turned(image, symmetry):
    """The last two axes turned by 0 to 3 quarters; symmetries from 4 on are mirrored, too."""
    image = np.rot90(image, symmetry % 4, axes=(-2, -1))
    return image[..., ::-1] if symmetry >= 4 else image


def _curved(image, gamma):
    """The image in float64 with its contrast bent by an exponent; its range stays."""
    low = np.float64(image.min())
    span = image.max() - low
    return low + span * ((image - low) / (span or 1)) ** gamma  # a constant image has the span 0


def _reflected(sample: Sample) -> Sample:
    """The sample continued at its edges as in a mirror, evenly on both sides, to SIDE or more."""
    missing = [max(0, SIDE - length) for length in sample.image.shape]
    if not any(missing):
        return sample
    widths = [(n // 2, n - n // 2) for n in missing]
    return _changed(sample, lambda array: np.pad(array, widths, "symmetric"))


def _cut(sample: Sample, top: int, left: int) -> Sample:
    return _changed(sample, lambda array: array[top:, left:][:SIDE, :SIDE])


def _changed(sample: Sample, change) -> Sample:
    """The sample with its image and, where there are any, its labels put through one function."""
    image, labels = (
        None if array is None else change(array) for array in (sample.image, sample.labels)
    )
    return sample._replace(image=image, labels=labels)
