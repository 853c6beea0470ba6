"""The units of an image: its own mean and standard deviation."""


def normalise(images):
    """Mean 0 and standard deviation 1 for every image of (N, C, H, W), or for one (C, H, W) or (H, W), in float64.

    So 8-bit, 16-bit and float images look alike to a network, and `noise_var` means the same for all: it is in units of
    the image's own variance. A constant image becomes zeros; no finite image overflows, since it is scaled first.
    NumPy and CuPy arrays stay what they are.
    """
    axes = tuple(range(max(0, images.ndim - 3), images.ndim))
    x = images.astype("float64")
    x = x / _divisor(abs(x).max(axis=axes, keepdims=True))
    x = x - x.min(axis=axes, keepdims=True)  # exactly 0 where the image is constant
    x = x - x.mean(axis=axes, keepdims=True)
    return x / _divisor(x.std(axis=axes, keepdims=True))


def _divisor(scale):
    return scale + (scale == 0)
