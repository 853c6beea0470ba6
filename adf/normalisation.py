"""Images from any camera on one scale, before a network sees them."""

import math

from .backend import xp

KINDS = ("robust", "standard")
TAIL = 0.01  # share of the darkest, and of the brightest, pixels of a channel
FARTHEST = 10  # standard deviations; a pixel beyond them is broken, not bright
BLACK = 4  # standard deviations below the mean, where nothing of an image is of one grey
PIXELS = (-2, -1)


def normalise(images, kind="robust"):
    """Every channel of every image shifted and scaled by itself, in float64.

    images: (N, C, H, W), or one image (C, H, W) or (H, W). "standard": mean 0 and standard
    deviation 1. "robust": those of most pixels, so that a few broken ones do not move the scale.
    The darkest and the brightest 1 % count as much as the quantile there; pixels side by side of
    the darkest or of the brightest grey, as the frame of a stitched image has, do not count, and
    such a black frame becomes 0. What is farther than 10 standard deviations is cut off there.

    So 8-bit, 16-bit and float images look alike to a network, and a noise variance means the same
    for all: it is in units of the image's own. A constant channel becomes zeros; no finite one
    overflows, since it is scaled first. NumPy and CuPy arrays stay what they are.
    """
    return scaled(images, kind)[0]


def scaled(images, kind):
    """`normalise`, and its unit: the grey levels in 1 of every channel, (..., 1, 1)."""
    x = images.astype("float64")
    largest = _nonzero(abs(x).max(axis=PIXELS, keepdims=True))
    x = x / largest
    x = x - x.min(axis=PIXELS, keepdims=True)  # exactly 0 where the channel is constant
    m = x.mean(axis=PIXELS, keepdims=True)
    if kind == "standard":
        x = x - m
        s = _nonzero(x.std(axis=PIXELS, keepdims=True))
        return x / s, largest * s
    # Where the trusted greys are all alike, all pixels set the scale.
    frame = frame_of(x)
    trusted_mean, trusted_std = _trusted_scale(x, frame)
    m = xp.where(trusted_std > 0, trusted_mean, m)
    s = _nonzero(xp.where(trusted_std > 0, trusted_std, x.std(axis=PIXELS, keepdims=True)))
    x = (x - m) / s
    x = xp.maximum(xp.minimum(xp.where(frame & (x < -BLACK), 0.0, x), FARTHEST), -FARTHEST)
    return x, largest * s


def frame_of(x):
    """Which pixels have the least or the largest grey, as their left or upper neighbour has."""
    lowest, highest = (f(axis=PIXELS, keepdims=True) for f in (x.min, x.max))
    alike = (x == xp.roll(x, 1, axis=-1)) | (x == xp.roll(x, 1, axis=-2))
    return alike & ((x == lowest) | (x == highest))


def _trusted_scale(x, frame):
    """Mean and standard deviation of the greys outside of frames, their tails moved in."""
    n = (~frame).sum(axis=PIXELS, keepdims=True)
    last = xp.maximum(n - 1, 0)
    # In their order, frames behind all others: place k from either end is the quantile.
    ordered = xp.sort(xp.where(frame, math.inf, x).reshape(*x.shape[:-2], -1), axis=-1)
    k = (TAIL * last).astype("int64")
    low, high = (
        xp.take_along_axis(ordered, place[..., 0], -1)[..., None] for place in (k, last - k)
    )
    # Moved in, not left out: where few cells are bright, they still count.
    greys = xp.where(frame, 0.0, xp.minimum(xp.maximum(x, low), high))
    m = greys.sum(axis=PIXELS, keepdims=True) / (last + 1)
    deviations = xp.where(frame, 0.0, greys - m)
    return m, xp.sqrt((deviations * deviations).sum(axis=PIXELS, keepdims=True) / (last + 1))


def _nonzero(scale):
    """The scale, or 1 where it is 0."""
    return scale + (scale == 0)
