"""What every layer is: parameters, and forward -> (y, backward)."""

from .. import backend
from ..backend import host, xp
from ..gaussian import Gaussian

FLOATS = ("float32", "float64")


class Parameter:
    """An array that learns: `value`, and `grad`, into which every backward adds. Both are assignable."""

    def __init__(self, value):
        self._value = _floats(xp.asarray(value))
        self.grad = xp.zeros_like(self._value)

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        value = _floats(xp.asarray(value))
        if value.shape != self._value.shape:
            raise ValueError(f"this Parameter expects an array of shape {self._value.shape}, got {value.shape}")
        if value.dtype != self.grad.dtype:
            self.grad = self.grad.astype(value.dtype)
        self._value = value


class Statistic:
    """A running average: `value`, which every update moves by `momentum` towards what was seen. It does not learn."""

    def __init__(self, value, momentum):
        self.value, self.momentum, self.updates = value, momentum, 0

    def update(self, seen):
        self.value = (1 - self.momentum) * self.value + self.momentum * seen  # (5.5)
        self.updates += 1

    def absorb(self, other):
        """Takes over the updates of a replica that began at 0, as if they had been made here."""
        self.value = (1 - self.momentum) ** other.updates * self.value + other.value
        self.updates += other.updates


def _floats(array):
    if array.dtype not in FLOATS:
        raise ValueError(f"a Parameter expects float32 or float64, got {array.dtype}")
    return array


class Layer:
    """A map from Gaussian to Gaussian.

    `forward(x)` returns y and `backward`; `backward(dy)`, called once, returns dx and adds to the gradients of the
    parameters. `predict(x)` returns y alone and keeps nothing. `parameters()` lists them in the order of construction.
    """

    def forward(self, x):
        raise NotImplementedError

    def predict(self, x):
        return self.forward(x)[0]

    def parameters(self):
        return self._find(Parameter)

    def statistics(self):
        """The running averages, in the order of construction; most layers have none."""
        return self._find(Statistic)

    def generators(self):
        """The generators of random numbers, in the order of construction; few layers have one."""
        return self._find(host.random.Generator)

    def _find(self, kind):
        found = []
        for value in vars(self).values():
            for item in value if isinstance(value, tuple | list) else (value,):
                if isinstance(item, kind):
                    found.append(item)
                elif isinstance(item, Layer):
                    found.extend(item._find(kind))
        return list(dict.fromkeys(found))  # each once, also where a layer is used twice


def check(layer, x, axes="(N, C, H, W)", channels=None):
    """Raises ValueError unless x is a Gaussian of floats with these axes (None: any) and this number of channels."""
    name = type(layer).__name__
    if not isinstance(x, Gaussian):
        raise ValueError(f"{name} expects a Gaussian(mean, var), got {type(x).__name__}; for an image: Gaussian(image)")
    shape = x.mean.shape
    if x.mean.dtype not in FLOATS:
        raise ValueError(f"{name} expects float32 or float64, got {x.mean.dtype}")
    if x.var is not None and (x.var.shape != shape or x.var.dtype != x.mean.dtype):
        raise ValueError(
            f"{name} expects mean and var of one shape and dtype, "
            f"got {x.mean.dtype} {shape} and {x.var.dtype} {x.var.shape}"
        )
    if negative(x.var):
        raise ValueError(
            f"{name} expects variances of 0 or more, got {float(x.var.min())}; a variance, not a logarithm?"
        )
    if axes is not None and len(shape) != axes.count(",") + 1:
        raise ValueError(f"{name} expects axes {axes}, got an array of shape {shape}")
    if axes == "(N, C, H, W)" and 0 in shape[2:]:
        raise ValueError(f"{name} expects images of at least one pixel, got an array of shape {shape}; axes are {axes}")
    if channels is not None and shape[1] != channels:
        raise ValueError(f"{name} expects {channels} input channels, got an array of shape {shape}; axes are {axes}")


def negative(var):
    """Whether a variance is below 0. Not asked of a GPU, where every answer would hold up the layers behind it."""
    return var is not None and backend.name == "numpy" and var.size > 0 and bool(var.min() < 0)


def pair(layer, argument, value, least):
    """A size given as an int or a pair of ints, as a pair (height, width)."""
    values = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2 or any(not isinstance(v, int) or isinstance(v, bool) or v < least for v in values):
        raise ValueError(
            f"{type(layer).__name__} expects {argument} to be an int or a pair, at least {least}: {value!r}"
        )
    return values


def positive(layer, **sizes):
    """Raises ValueError unless every size is a positive int."""
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{type(layer).__name__} expects {name} to be a positive int, got {value!r}")


def check_window(layer, map, size, kernel_size):
    """Raises ValueError where an image of this size (H, W) holds not one window of the kernel."""
    if min(map.output_size(size, kernel_size)) < 1:
        raise ValueError(
            f"{type(layer).__name__} expects an image no smaller than its kernel {kernel_size} "
            f"(dilation {map.dilation}), got {size} with padding {map.padding}"
        )
