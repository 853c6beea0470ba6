"""Images from any camera on one scale, before a network sees them."""

from .backend import xp

KINDS = ("robust", "standard")
TAIL = 0.01  # share of the darkest, and of the brightest, pixels of a channel
FARTHEST = 10  # standard deviations; a pixel beyond them is broken, not bright


def normalise(images, kind="robust"):
    """Every channel of every image shifted and scaled by itself, in float64.

    images: (N, C, H, W), or one image (C, H, W) or (H, W). "standard": mean 0 and standard
    deviation 1. "robust": those of most pixels, so that a few broken ones do not move the scale.
    The darkest and the brightest 1 % count as much as the quantile there; a frame, all of the
    darkest or brightest grey as where images are stitched, does not count; what is farther than 10
    standard deviations is cut off there. So 8-bit, 16-bit and float images look alike to a network,
    and a noise variance means the same for all: it is in units of the image's own. A constant
    channel becomes zeros; no finite one overflows, since it is scaled first. NumPy and CuPy arrays
    stay what they are.
    """
    x = images.astype("float64", order="C")
    x = x / _nonzero(abs(x).max(axis=(-2, -1), keepdims=True))
    x = x - x.min(axis=(-2, -1), keepdims=True)  # exactly 0 where the channel is constant
    if kind == "standard":
        x = x - x.mean(axis=(-2, -1), keepdims=True)
        return x / _nonzero(x.std(axis=(-2, -1), keepdims=True))
    for channel in x.reshape(-1, *x.shape[-2:]):  # views, written into
        greys = _trusted(channel)
        channel -= greys.mean()
        channel /= _nonzero(greys.std())
    return x.clip(-FARTHEST, FARTHEST)


def _trusted(channel):
    """The greys by which a channel is scaled; all of them where the others say nothing."""
    extreme = (channel == channel.min()) | (channel == channel.max())
    beside = channel == xp.roll(channel, 1, axis=1)
    above = channel == xp.roll(channel, 1, axis=0)
    greys = channel[~(extreme & (beside | above))]
    if greys.size:
        # Moved in, not left out: a share of nothing but bright cells is not lost.
        greys = greys.clip(*xp.quantile(greys, xp.asarray([TAIL, 1 - TAIL])))
    return greys if greys.size and greys.std() > 0 else channel


def _nonzero(scale):
    """The scale, or 1 where it is 0."""
    return scale + (scale == 0)
