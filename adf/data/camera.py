"""What the light, the focus and the camera make of a slide; what breaks in them.

Lengths are pixels of a 128 x 128 image, greys are standard deviations of an image.
"""

import numpy as np
from scipy import ndimage

from ..normalisation import normalise

SIZE = 128  # px, of a side of an image
PIXELS = np.arange(SIZE, dtype=np.float32)  # the coordinates of rows and of columns


def _outer(high, wide):
    """Sum over k of the outer products of high[k] and wide[k].

    It does without BLAS, whose last bit depends on its number of threads.
    """
    return np.einsum("ky,kx->yx", high, wide)


def smooth(rng, waves):
    """A random field of standard deviation about 1 with a number of waves across the image."""
    x = (PIXELS + 0.5) * (waves / SIZE) - np.arange(-1, waves + 2, dtype=np.float32)[:, None]
    basis = np.exp(-1.2 * np.square(x))
    basis /= np.sqrt(np.square(basis).sum(axis=0))
    heights = rng.standard_normal((waves + 3, waves + 3), dtype=np.float32)
    return _outer(basis, _outer(heights, basis))


def blobs(items):
    """The sum of Gaussian blobs (x, y, width along x, width along y, grey)."""
    x, y, wide, high, grey = np.array(items, np.float32).reshape(-1, 5, 1).swapaxes(0, 1)
    along_y = grey * np.exp(-0.5 * np.square((PIXELS - y) / high))
    along_x = np.exp(-0.5 * np.square((PIXELS - x) / wide))
    return _outer(along_y, along_x)


def photograph(rng, grey):
    """The image of a slide of these greys: light, focus, noise; normalised."""
    # A few are far out of focus.
    if rng.random() < 0.04:
        grey = ndimage.gaussian_filter(grey, rng.uniform(0.8, 2.5))
    # First the contrast, then the brightness changes slowly across the image.
    image = grey * (1 + rng.uniform(0, 0.15) * smooth(rng, 3))
    image = image + rng.uniform(0, 0.6) ** 2 * smooth(rng, rng.integers(2, 5))
    image = image + _texture(rng)
    image = normalise(image, "standard")
    image = image + rng.uniform(-0.12, 0.12) * image * np.abs(image)  # gamma
    noise = 0.03 * np.exp(rng.uniform(0, 2)) * _noise(rng)  # 0.07 to 0.10 measured
    return normalise(normalise(image, "standard") + noise, "standard")


def photograph_nothing(rng, grey):
    """The image of a slide with nothing on it but perhaps dirt: light, texture, noise, in any mix.

    Normalised, even the faintest noise is as strong as cells elsewhere.
    """
    # Waves of half a cell, and finer ones; two fields in three have them.
    texture = rng.exponential(0.5) * smooth(rng, rng.integers(3, 65))
    light = rng.uniform(0, 0.6) ** 2 * smooth(rng, rng.integers(2, 5))
    noise = np.exp(rng.uniform(-3.5, 1)) * _noise(rng)
    return rng.choice((0, 0, 1)) * grey + rng.choice((0, 1, 1)) * texture + light + noise


def _texture(rng):
    """What the background shows of its own: the plate, debris too fine to tell, a periodic grid."""
    texture = rng.uniform(0, 0.4) ** 2 * smooth(rng, rng.integers(12, 50))
    if rng.random() < 0.15:
        # A resize or a screen leaves a grid of a few pixels.
        period = rng.uniform(3, 9)
        wave = np.cos(2 * np.pi / period * PIXELS).astype(np.float32)
        texture = texture + rng.uniform(0, 0.08) * (wave[:, None] + wave)
    return texture


def _noise(rng):
    """Noise of standard deviation 1, correlated between neighbours by 0.2 to 0.55.

    A resize leaves such a correlation (0.45 measured).
    """
    noise = rng.standard_normal((SIZE, SIZE), dtype=np.float32)
    side = np.float32(rng.uniform(0.1, 0.33))
    noise[1:-1] = noise[1:-1] + side * (noise[:-2] + noise[2:])
    noise[:, 1:-1] = noise[:, 1:-1] + side * (noise[:, :-2] + noise[:, 2:])
    return noise / (1 + 2 * side * side)


def break_some(rng, image, labels):
    """Now and then, in place: hot pixels, a hot line, a black frame as in stitched images."""
    chance = rng.random()
    if chance < 0.04:
        rows, columns = rng.integers(0, SIZE, (2, rng.integers(1, 6)))
        image[rows, columns] += 10 ** rng.uniform(0.7, 2.5)
    elif chance < 0.06:
        image = image.T if rng.random() < 0.5 else image  # a view
        image[rng.integers(SIZE)] += rng.uniform(3, 60)
    elif chance < 0.09:
        # Nothing of an object is seen in a frame, so it is background.
        inside = np.zeros(image.shape, bool)
        top, left = rng.integers(0, 48, 2) * rng.integers(0, 2, 2)
        bottom, right = SIZE - rng.integers(0, 48, 2) * rng.integers(0, 2, 2)
        inside[top:bottom, left:right] = True
        image[~inside] = image.min() - rng.uniform(0, 5)
        labels[~inside] = 0
