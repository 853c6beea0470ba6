"""What a user can claim of the noise of images: white, correlated, of a camera, or estimated.

A claim has `grey_var(images)`, the variance of the noise in grey levels squared, or None where it
is the noise_var of the Segmenter; and `draw(images)`, the function noise(rng, var) that draws it.
A Segmenter has one as its `noise`: so what is predicted, trained, calibrated and sampled follows
it. `parse` reads the spelling of the command line.

Sources: for cameras J. R. Janesick, *Photon Transfer*, SPIE 2007. The estimate takes the median
absolute value of the finest details, as D. L. Donoho and I. M. Johnstone (Biometrika 81, 1994) do
of wavelets, and differences along both axes, as J. Immerkaer (Computer Vision and Image
Understanding 64, 1996) does of second order. That it takes third ones, and at two distances, which
tell the correlation, has no source.
"""

import dataclasses

import numpy as np

from ..backend import to_host, xp
from ..layers.noise import MOST, correlated, side_of, white
from ..normalisation import frame_of

SPELLINGS = "white, correlated:RHO, camera:GAIN,OFFSET,READ_NOISE or estimated"
DIFFERENCES = 3  # third ones: what bends slowly leaves little in them
LEAST = 1e-5  # of the largest grey level: what rounding leaves in differences
MEDIAN = 0.6744897501960817  # of |e|, e standard normal
GRID = np.linspace(-MOST, MOST, 281)  # of correlations


@dataclasses.dataclass(frozen=True)
class White:
    """Independent noise, of variance noise_var in units of the normalised image."""

    def grey_var(self, images):
        return None

    def draw(self, images):
        return white


@dataclasses.dataclass(frozen=True)
class Correlated(White):
    """Noise of variance noise_var whose neighbours correlate: `layers.noise.correlated`.

    The input of a network has the variances of white noise, for a Gaussian has independent
    elements: weights of the variance that are learned on such noise answer for the correlation.
    """

    correlation: float

    def __post_init__(self):
        correlated(self.correlation)  # raises ValueError on one that cannot be

    def draw(self, images):
        return correlated(self.correlation)


@dataclasses.dataclass(frozen=True)
class Camera(White):
    """Shot noise and read noise of every pixel: Var = gain max(I - offset, 0) + read_noise**2.

    gain is in grey levels per electron; offset, the grey level without light, and read_noise, the
    standard deviation there, are in grey levels. Exact for the expected grey level in the place of
    I; with I itself the variance is right on average where there is light, and its first term off
    by sqrt(gain / (I - offset)) of itself. A pixel below the offset has counted no electrons.

    Raises ValueError on negative or infinite numbers, and on images with negative grey levels:
    these were shifted or scaled, so that gain and offset mean nothing for them.
    """

    gain: float
    offset: float
    read_noise: float

    def __post_init__(self):
        numbers = self.gain, self.offset, self.read_noise
        if not all(0 <= number < float("inf") for number in numbers) or not any(numbers[::2]):
            raise ValueError(
                "expected a camera's gain, offset and read noise of 0 or more, not all noise 0, "
                f"got {', '.join(map(str, numbers))}"
            )

    def grey_var(self, images):
        lowest = float(images.min())
        if lowest < 0:
            raise ValueError(
                "expected grey levels of 0 or more, as a camera counts them, for noise in its "
                f"units, got {lowest:.3g}; the images of data sets are standardised when they are "
                "read, so they have other noise: white, correlated or estimated"
            )
        light = xp.maximum(images.astype("float64") - self.offset, 0)
        return self.gain * light + self.read_noise**2


@dataclasses.dataclass(frozen=True)
class Estimated(White):
    """Noise of each channel of each image, as it shows itself: `estimate`.

    Exact in the limit of large images for such Gaussian noise alone (of 128 x 128 pixels: 2 %, and
    0.02 in rho). Texture adds to both. On 200 synthetic images with noise of 0.05, 0.1, 0.2 and 0.5
    of their own standard deviation, rho from 0 to 0.45, the median is 1.20, 1.11, 1.06 and 1.02 of
    the noise or less, of nine in ten 1.36, 1.22, 1.14 and 1.06; rho is too high by up to 0.13,
    0.09, 0.06 and 0.03. Texture as fine as a pixel is taken for noise, and a rho near 0.7, the most
    that there is, says so: without any noise these images still give up to 0.025.
    """

    def grey_var(self, images):
        found = [[estimate(channel)[0] ** 2 for channel in image] for image in images]
        return xp.asarray(found)[:, :, None, None]

    def draw(self, images):
        """Noise of one correlation, the median of those of the images."""
        found = [estimate(channel)[1] for image in images for channel in image]
        return correlated(float(np.median(found)))


def estimate(image):
    """(standard deviation, correlation of neighbours) of the noise in an image (H, W).

    Third differences along rows and columns, d = (1, -3, 3, -1), leave of a smooth image little but
    noise, and the median of |d| leaves out edges. With a correlation c(k) = 1, rho, s rho / 2, 0 at
    distances k = 0, 1, 2, 3 along an axis, as `layers.noise.correlated` has it, differences of
    pixels at a distance L have the standard deviation

        std g(L),    g(L) = 20 - 30 c(L) + 12 c(2 L) - 2 c(3 L),    median |d| = 0.674 std g(L),

    so g(2) / g(1) tells rho, then g(1) the noise. Frames do not count. Raises ValueError where most
    differences are 0, as in images of few grey levels, or enlarged more than four times by copies
    of pixels.
    """
    x = xp.asarray(image, "float64")
    x = to_host(xp.where(frame_of(x), np.nan, x))
    near, far = (_detail(x, distance) for distance in (1, 2))
    if not LEAST * np.nanmax(np.abs(x), initial=0) < near < np.inf:
        raise ValueError(
            "expected an image whose noise can be estimated, got one whose pixels mostly are "
            "like their neighbours: constant, of few grey levels, enlarged, or tiny?"
        )
    gains = _gain(GRID, 1), _gain(GRID, 2)
    correlation = float(np.interp(far / near, gains[1] / gains[0], GRID))
    return float(near / MEDIAN / _gain(correlation, 1)), correlation


def _detail(x, distance):
    """The median of |d|, the third differences along both axes of pixels at this distance."""
    for _ in range(DIFFERENCES):
        x = x[distance:] - x[:-distance]
        x = x[:, distance:] - x[:, :-distance]
    known = x[np.isfinite(x)]
    return np.median(np.abs(known)) if known.size else 0.0


def _gain(rho, distance):
    """g(L): the standard deviation of third differences along both axes, of noise of 1."""
    c = [1, rho, side_of(rho) * rho / 2, 0, 0, 0, 0]
    return 20 - 30 * c[distance] + 12 * c[2 * distance] - 2 * c[3 * distance]


def parse(text):
    """`white`, `correlated:RHO`, `camera:GAIN,OFFSET,READ_NOISE` or `estimated`  -> the claim.

    Raises ValueError on anything else.
    """
    kinds = {"white": White, "correlated": Correlated, "camera": Camera, "estimated": Estimated}
    name, colon, rest = text.partition(":")
    # As many numbers as the claim has fields, with a comma between.
    try:
        claim = kinds[name]
        numbers = [float(number) for number in rest.split(",")] if colon else []
        fields = dataclasses.fields(claim)
        named = {f.name: number for f, number in zip(fields, numbers, strict=True)}
    except (KeyError, ValueError):
        raise ValueError(f"expected noise as {SPELLINGS}, got {text[:100]!r}") from None
    return claim(**named)
