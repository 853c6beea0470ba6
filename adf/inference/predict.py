"""adf.predict: images of any size, on all cores, large ones in tiles."""

import numpy
from tqdm import tqdm

from ..backend import name, to_host, xp
from ..engine.threads import map_ordered, thread_count
from ..layers.checks import check_grey_var, check_images
from ..segmenter import Prediction
from .tiles import tiles

# Pixels that a thread predicts at once: passes so long that threads do not wait for each other, nor
# a GPU for the launches of its kernels.
PIXELS_PER_THREAD = 1 << 16 if name == "numpy" else 1 << 21


def predict(segmenter, images, grey_var=None):
    """The Prediction for images (N, C, H, W) of any size and real dtype, as NumPy arrays.

    segmenter: a Segmenter, or a Mixture of some (adf/methods/mixture.py). grey_var: the variance of
    their noise, see `Segmenter.input`, which says what is refused, too. Images are normalised,
    padded, and cropped back. They are worked on a few at a time, on all cores; the answer for an
    image does not depend on its neighbours. A U-Net sees an image of more than 1024 pixels a side
    in tiles, with the same answer.
    """
    images = check_images(images, segmenter.network)
    var = check_grey_var(grey_var, images, segmenter)
    count, _, height, width = images.shape
    parts = tiles((height, width), segmenter.network)

    # Only what is worked on is normalised, so memory grows with the images and what they become.
    def some(start, step):
        own, own_var = (f if f is None else f[start : start + step] for f in (images, var))
        return pad(segmenter.normalised(own, own_var), segmenter.network)

    if len(parts) > 1:
        whole = [predict_tiled(segmenter, some(n, 1), parts) for n in range(count)]
        return concatenate(whole, numpy)
    # Groups are as large as keeps all threads busy, and no larger than is good for the cache.
    per_thread = max(1, PIXELS_PER_THREAD // (height * width))
    step = min(-(-count // thread_count()), per_thread)

    def work(start):
        return segmenter.predict(some(start, step), parts[0].crop)

    return on_host(concatenate(map_ordered(work, range(0, count, step)), xp))


def predict_tiled(segmenter, image, parts):
    """The Prediction for one padded image, tile by tile; with a progress bar on a terminal."""
    size = tuple(target.stop for target in parts[-1].target)
    whole = None

    # Threads predict; this one pastes, so that no two write at once.
    def work(tile):
        x = image.map(lambda field: xp.ascontiguousarray(field[..., *tile.window]))
        return tile.target, on_host(segmenter.predict(x, tile.crop))

    def paste(result):
        nonlocal whole
        target, part = result
        if whole is None:
            whole = _like(part, size)
        for field, values in zip(whole, part, strict=True):
            if field is not None:
                field[..., *target] = values
        bar.update()

    with tqdm(total=len(parts), unit=" tiles", leave=False, disable=None) as bar:
        map_ordered(work, parts, paste)
    return whole


def pad(x, network):
    """The input, reflected at its lower and right border to a size that the network can halve."""
    multiple = getattr(network, "multiple", 1)
    height, width = x.mean.shape[2:]
    if height % multiple == 0 and width % multiple == 0:
        return x  # and not a copy, for an image may be large
    widths = ((0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple))
    return x.map(lambda field: xp.pad(field, widths, mode="reflect"))


def concatenate(parts, library):
    """One Prediction of several; a single one, which may be large, is not copied."""
    if len(parts) == 1:
        return parts[0]
    fields = zip(*parts, strict=True)
    return Prediction(*(None if f[0] is None else library.concatenate(f) for f in fields))


def on_host(prediction):
    return Prediction(*(None if field is None else to_host(field) for field in prediction))


def _like(part, size):
    """Empty arrays for a Prediction of this size, with the channels and dtypes of a part of it."""
    shapes = (None if f is None else (*f.shape[:-2], *size) for f in part)
    fields = zip(part, shapes, strict=True)
    return Prediction(*(f if f is None else numpy.empty(s, f.dtype) for f, s in fields))
