"""What a layer expects and what came, for errors that say both. Skip this file at first reading."""

import math
import numbers

from .. import backend
from ..backend import as_array, to_host, xp
from ..gaussian import FLOATS, Gaussian
from ..normalisation import KINDS
from .layer import Layer, Parameter
from .paths import named


def check(layer, x, axes="(N, C, H, W)", channels=None):
    """Raises ValueError unless x is a Gaussian of floats with these axes and this many channels.

    axes=None and channels=None allow any.
    """
    name = type(layer).__name__
    if not isinstance(x, Gaussian):
        raise ValueError(
            f"{name} expects a Gaussian(mean, var), got {type(x).__name__}; "
            "for an image: Gaussian(image)"
        )
    _check_fields(name, x)
    # Fields that fit each other may still be no images, or of another number of channels.
    shape = x.mean.shape
    if axes is not None and len(shape) != axes.count(",") + 1:
        raise ValueError(f"{name} expects axes {axes}, got an array of shape {shape}")
    if axes == "(N, C, H, W)" and 0 in shape[2:]:
        raise ValueError(
            f"{name} expects images of at least one pixel, "
            f"got an array of shape {shape}; axes are {axes}"
        )
    if channels is not None and shape[1] != channels:
        raise ValueError(
            f"{name} expects {channels} input channels, "
            f"got an array of shape {shape}; axes are {axes}"
        )


def _check_fields(name, x):
    """Raises ValueError unless mean and var are floats of one shape and dtype, and var >= 0."""
    for field, value in zip(x._fields, x, strict=True):
        if not isinstance(value, xp.ndarray) and not (field == "var" and value is None):
            raise ValueError(
                f"{name} expects {field} to be an array of {backend.name}, "
                f"got {type(value).__name__}; adf.backend.xp.asarray makes one, "
                "xp.full_like(mean, 0.1) one of equal variances"
            )
    # They are arrays; now their dtypes, shapes and signs.
    if x.mean.dtype not in FLOATS:
        raise ValueError(f"{name} expects float32 or float64, got {x.mean.dtype}")
    if x.var is not None and (x.var.shape != x.mean.shape or x.var.dtype != x.mean.dtype):
        raise ValueError(
            f"{name} expects mean and var of one shape and dtype, "
            f"got {x.mean.dtype} {x.mean.shape} and {x.var.dtype} {x.var.shape}"
        )
    if has_negative(x.var):
        raise ValueError(
            f"{name} expects variances of 0 or more, got {float(x.var.min())}; "
            "a variance, not a logarithm?"
        )


def has_negative(var):
    """True if any variance is negative.

    Not checked on a GPU, where reading the answer would stall the queue.
    """
    if var is None or backend.name != "numpy" or var.size == 0:
        return False
    return bool(var.min() < 0)


def pair(layer, argument, value, least):
    """A size given as an int or a pair of ints, as a pair (height, width)."""
    values = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2 or not all(is_int(v) and v >= least for v in values):
        raise ValueError(
            f"{type(layer).__name__} expects {argument} to be an int or a pair, "
            f"at least {least}: {value!r}"
        )
    return tuple(int(v) for v in values)


def positive(layer, **sizes):
    """The sizes as ints; ValueError unless every one is a positive int, Python's or NumPy's.

    A NumPy int that stayed one would make float64 of the float32 arrays that it divides.
    """
    for name, value in sizes.items():
        if not is_int(value) or value < 1:
            raise ValueError(
                f"{type(layer).__name__} expects {name} to be a positive int, got {value!r}"
            )
    return [int(value) for value in sizes.values()]


def is_int(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_window(layer, map, size, kernel_size):
    """Raises ValueError where an image of this size (H, W) is smaller than the kernel."""
    if min(map.output_size(size, kernel_size)) < 1:
        raise ValueError(
            f"{type(layer).__name__} expects an image no smaller than its kernel {kernel_size} "
            f"(dilation {map.dilation}), got {size} with padding {map.padding}"
        )


def check_groups(layer, in_channels, out_channels, groups):
    """Raises ValueError unless the groups divide the channels."""
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{type(layer).__name__} expects groups to divide in_channels and out_channels, "
            f"got {groups} for {in_channels} and {out_channels}"
        )


def check_output_padding(output_padding, map):
    """Raises ValueError unless the output padding is smaller than stride or dilation."""
    steps = zip(output_padding, map.stride, map.dilation, strict=True)
    if any(extra >= max(stride, dilation) for extra, stride, dilation in steps):
        raise ValueError(
            "ConvTranspose2d expects output_padding to be smaller than stride or dilation, "
            f"got {output_padding} for {map.stride} and {map.dilation}"
        )


def check_transposed_size(output_size, size, map):
    """Raises ValueError where the padding cuts off all that an image of this size is spread to."""
    if min(output_size) < 1:
        raise ValueError(
            f"ConvTranspose2d expects an image that its padding {map.padding} leaves something of, "
            f"got {size}"
        )


def check_layers(container, layers):
    """The layers of a container as a tuple; ValueError where there are none, or other things."""
    if not layers or not all(isinstance(layer, Layer) for layer in layers):
        kinds = ", ".join(type(layer).__name__ for layer in layers) or "nothing"
        raise ValueError(f"{type(container).__name__} expects one layer or more, got {kinds}")
    return tuple(layers)


def check_segmenter(noise_var, label_smoothing, density_weight, normalisation):
    """Raises ValueError on settings of a Segmenter that mean nothing."""
    if noise_var is not None and not 0 <= noise_var < float("inf"):
        raise ValueError(
            f"Segmenter expects a noise_var (a variance) of 0 or more, or None, got {noise_var!r}"
        )
    if label_smoothing is None or not 0 < label_smoothing < 1:
        raise ValueError(
            f"Segmenter expects a label_smoothing between 0 and 1, got {label_smoothing!r}: at 0 "
            "the target lies on the border of the simplex, where the density is infinite or 0"
        )
    # The weight of one of two losses, and by which pixels images are scaled.
    if not 0 <= density_weight <= 1:
        raise ValueError(f"Segmenter expects a density_weight from 0 to 1, got {density_weight!r}")
    if normalisation not in KINDS:
        raise ValueError(
            f"Segmenter expects a normalisation of {' or '.join(KINDS)}, got {normalisation!r}"
        )


def check_logits(network, classes):
    """Raises ValueError on fewer than two classes: softmax is 1 there, and the loss always 0."""
    if not is_int(classes) or classes < 2:
        raise ValueError(
            f"{type(network).__name__} expects classes to be an int of 2 or more, "
            f"got {classes!r}; the background is a class, too"
        )


def check_images(images, network):
    """The images as an array of the backend, or a ValueError that says what is wrong with them."""
    images = as_array(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"expected images of shape (N, C, H, W) with at least one pixel, got {images.shape}"
        )
    # Axes there are four; now what lies along them.
    if images.dtype.kind not in "buif":
        raise ValueError(f"expected images of real numbers, got {images.dtype}")
    channels = getattr(network, "in_channels", images.shape[1])
    if images.shape[1] != channels:
        last = "; are the channels last?" if images.shape[3] == channels else ""
        raise ValueError(
            f"{type(network).__name__} expects {channels} input channels, "
            f"got images of shape {images.shape}; axes are (N, C, H, W){last}"
        )
    if not bool((abs(images) < float("inf")).all()):
        raise ValueError("expected finite images, got NaN or infinity in them")
    return xp.asarray(images)


def check_grey_var(grey_var, images, segmenter):
    """The variances in the images' shape, or None. A ValueError says what is wrong with them."""
    if grey_var is None:
        return None
    if segmenter.noise_var is None:
        raise ValueError("expected no grey_var, for this Segmenter knows no noise (noise_var=None)")
    var = as_array(grey_var)
    fits = [n in (1, size) for n, size in zip(var.shape, images.shape, strict=False)]
    if var.ndim not in (0, 4) or not all(fits) or var.dtype.kind not in "uif":
        raise ValueError(
            "expected grey_var to be a number, or numbers on four axes, each 1 or that of the "
            f"images {images.shape}, got {var.dtype} of shape {var.shape}"
        )
    # Its shape fits; now what lies in it.
    if not bool(((var >= 0) & (var < float("inf"))).all()):
        raise ValueError("expected a grey_var (variances) of 0 or more, got a negative, NaN or inf")
    return xp.broadcast_to(xp.asarray(var), images.shape)


def check_input(segmenter, x):
    """Raises ValueError unless x is what Segmenter.input returns."""
    if not isinstance(x, Gaussian):
        raise ValueError(
            f"{type(segmenter).__name__} expects what its `input(images)` returns, "
            f"got {type(x).__name__}; for images of any size: adf.predict"
        )


def check_classes(labels, classes, label_range=None):
    """The labels as an array of the backend; a ValueError where one is of no class."""
    if classes < 2:
        raise ValueError(
            f"Segmenter expects logits of 2 classes or more, got {classes}; "
            "the background is a class, too"
        )
    labels = as_array(labels)
    least, largest = label_range or (int(labels.min()), int(labels.max()))
    if least < 0 or largest >= classes:
        raise ValueError(f"expected labels from 0 to {classes - 1}, got {least} to {largest}")
    return xp.asarray(labels)


def check_labels(labels, shape):
    """The labels for images of this shape (N, C, H, W) as an array of the backend, and their range.

    Both are asked for where the labels lie.
    """
    labels = as_array(labels)
    expected = (shape[0], *shape[2:])
    if labels.shape != expected or labels.dtype.kind not in "ui":
        raise ValueError(
            f"expected integer labels of shape {expected} for images of shape {shape}, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    return xp.asarray(labels), (int(labels.min()), int(labels.max()))


def check_finite(loss, segmenter):
    """The loss as a float. Raises ValueError unless it, all gradients and all weights are finite.

    All are asked at once, so that a GPU is waited for once.
    """
    parameters = named(segmenter, Parameter)
    arrays = [a.reshape(-1) for p in parameters.values() for a in (p.grad, p.value)]
    are_finite = xp.isfinite(xp.concatenate(arrays)).all() if arrays else xp.isfinite(loss)
    loss, are_finite = (float(value) for value in to_host(xp.stack([loss, are_finite])))
    if math.isfinite(loss) and are_finite:
        return loss
    # Which one it is may be asked at leisure.
    what = f"the loss is {loss}"
    for path, p in parameters.items() if math.isfinite(loss) else ():
        if not (xp.isfinite(p.grad).all() and xp.isfinite(p.value).all()):
            what = f"{path} or its gradient is not finite"
            break
    raise ValueError(f"{what}, so nothing was learned: try a lower learning rate")
