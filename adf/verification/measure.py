"""Three measurements of one layer: against exact arithmetic, against samples, against central differences."""

from typing import NamedTuple

import numpy as np

from .. import montecarlo
from ..backend import to_host, xp
from ..gaussian import Gaussian

SECOND_ORDER = {1: 1 / 2, -1: -1 / 2}  # central differences: steps and weights (6.7)
FOURTH_ORDER = {1: 2 / 3, -1: -2 / 3, 2: -1 / 12, -2: 1 / 12}
GRADIENT_BOUND = {"float64": 1e-6, "float32": 1e-4}


class Accuracy(NamedTuple):
    """The largest error in ulp, and the largest error as a fraction of its bound."""

    error: float
    of_bound: float


def as_gaussian(moments, dtype):
    return Gaussian(*(xp.asarray(f.astype(dtype)) for f in moments))


def on_host(x):
    return Gaussian(*(None if f is None else to_host(f) for f in x))


def cast(layer, dtype):
    for p in (*layer.parameters(), *layer.statistics()):
        p.value = p.value.astype(dtype)
    return layer


def accuracy(case, x, dtype):
    """Accuracy of mean and variance (None: there is none), and what was expected."""
    layer = cast(case.build(), dtype)
    y, exact = on_host(layer.predict(x)), case.exact(layer, on_host(x))
    mean = errors(y.mean, exact.mean, exact.size, exact.mean_bound)
    return mean, None if y.var is None else errors(y.var, exact.var, exact.var, exact.var_bound), exact


def errors(values, exact, size, bound):
    """Accuracy of an array against flat lists: what is exact, what an ulp refers to, the bounds in ulp."""
    values = values.ravel()
    parts = zip(values.tolist(), exact, size, strict=True)
    error = np.array([float(abs(v - e) / (s or 1)) for v, e, s in parts]) / np.finfo(values.dtype).eps
    return Accuracy(error.max(), (error / bound).max())


def sampling(case, x, dtype, samples):
    """The largest |z| of mean and variance, and of how many values. An approximation's true moments are by `law`."""
    comparison = montecarlo.compare(cast(case.build(), dtype), x, samples, rng=3, chunk=1 << 18)
    if case.law:
        x = on_host(x)
        windows = zip(*(f.reshape(len(f), -1).astype("float64") for f in x), strict=True)
        truth = np.array([case.law(mean, np.sqrt(var)) for mean, var in windows]).T
        mean, var = (t.reshape(comparison.mean.shape) for t in truth)
        comparison = comparison._replace(mean=mean, var=var)
    z = np.abs([comparison.mean_z, comparison.var_z])
    return z.max(), z.size


def gradient(case, moments, dtype):
    """float64: largest relative error against central differences; float32: relative distance to float64."""
    x = as_gaussian(as_gaussian(moments, "float32"), "float64")  # the same numbers in both
    layer = cast(case.build(), "float64")
    rng = np.random.default_rng(8)
    dy = random_like(rng, layer.forward(x)[0])
    exact = gradients(layer, x, dy)
    if dtype == "float64":
        return max(relative(*pair) for pair in slopes(layer, x, dy, exact, rng))
    rough = gradients(cast(layer, dtype), as_gaussian(x, dtype), dy)
    return max(relative(a, b) for a, b in zip(rough, exact, strict=True))


def random_like(rng, x):
    """A direction, or an upstream gradient."""
    return Gaussian(*(None if f is None else xp.asarray(rng.standard_normal(f.shape).astype(f.dtype)) for f in x))


def gradients(layer, x, dy):
    """dL/dE[x], dL/dVar[x] unless x is a point mass, dL/dp for every parameter p; L = <dy, layer(x)>; on the host."""
    y, backward = layer.forward(x)
    for p in layer.parameters():
        p.grad = xp.zeros_like(p.value)
    dx = backward(Gaussian(*(None if d is None else d.astype(f.dtype) for d, f in zip(dy, y, strict=True))))
    return [to_host(g).astype("float64") for g in (*dx, *(p.grad for p in layer.parameters())) if g is not None]


def slopes(layer, x, dy, exact, rng, step=1e-5, stencil=FOURTH_ORDER):
    """Along a random direction of mean, of var, of each parameter: by these gradients, by central differences."""
    fields = [f for f in x if f is not None]
    point, n = [*fields, *(p.value for p in layer.parameters())], len(fields)

    def loss(point):
        for p, value in zip(layer.parameters(), point[n:], strict=True):
            p.value = value
        y = layer.forward(Gaussian(*point[:n]))[0]
        return sum(float((d * f).sum()) for d, f in zip(dy, y, strict=True) if d is not None)  # (6.6)

    for i, (value, g) in enumerate(zip(point, exact, strict=True)):
        direction = xp.asarray(rng.standard_normal(g.shape))
        along = ([*point[:i], value + k * step * direction, *point[i + 1 :]] for k in stencil)
        numeric = sum(weight * loss(shifted) for weight, shifted in zip(stencil.values(), along, strict=True)) / step
        yield np.array((g * to_host(direction)).sum()), np.array(numeric)
    loss(point)


def relative(a, b):
    """The distance of two gradients, or of two numbers, relative to the larger."""
    return np.linalg.norm(a - b) / max(np.linalg.norm(a), np.linalg.norm(b), 1e-300)
