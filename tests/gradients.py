"""The gradient check: a random direction, a random upstream gradient, central differences in float64."""

import numpy as np

from adf import Gaussian
from adf.backend import xp


def in_float64(layer):
    for p in layer.parameters():
        p.value = p.value.astype("float64")
    return layer


def random_like(rng, x):
    """A Gaussian of standard normal numbers, shaped like x: a direction or an upstream gradient."""
    return Gaussian(*(None if f is None else xp.asarray(rng.standard_normal(f.shape).astype(f.dtype)) for f in x))


def dot(a, b):
    return sum(float((f * g).sum()) for f, g in zip(a, b, strict=True) if f is not None)


def shifted(x, direction, step):
    return Gaussian(*(None if f is None else f + step * d for f, d in zip(x, direction, strict=True)))


def gradient_errors(layer, x, rng, step=1e-5):
    """Relative errors of dL/dx and of each dL/dparameter along random directions; L = <dy, layer(x)>, dy random."""
    y, backward = layer.forward(x)
    dy = random_like(rng, y)
    for p in layer.parameters():
        p.grad = xp.zeros_like(p.value)
    dx = backward(dy)

    def relative(analytic, numeric):
        return abs(analytic - numeric) / max(abs(analytic), abs(numeric), 1e-300)

    def loss(x):
        return dot(layer.forward(x)[0], dy)

    direction = random_like(rng, x)
    numeric = (loss(shifted(x, direction, step)) - loss(shifted(x, direction, -step))) / (2 * step)
    errors = [relative(dot(dx, direction), numeric)]
    for p in layer.parameters():
        value, direction = p.value, xp.asarray(rng.standard_normal(p.value.shape))
        p.value = value + step * direction
        up = loss(x)
        p.value = value - step * direction
        down = loss(x)
        p.value = value
        errors.append(relative(float((p.grad * direction).sum()), (up - down) / (2 * step)))
    return np.array(errors)
