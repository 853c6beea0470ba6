"""Check the backward of any layer against differences of its forward: for layers of your own, too.

A scalar loss L = <dy, layer(x)> with a random upstream gradient dy meets every entry of the
backward. Along a random direction of each input and parameter, its slope by `backward` is compared
with its slope by central differences. Use float64: differences of float32 know four digits.
"""

import math

from ..backend import default_rng, to_host, xp
from ..gaussian import Gaussian
from .layer import Parameter
from .paths import named

SECOND_ORDER = {1: 1 / 2, -1: -1 / 2}  # central differences: steps and weights (6.7)
FOURTH_ORDER = {1: 2 / 3, -1: -2 / 3, 2: -1 / 12, -2: 1 / 12}


def gradient_errors(layer, x, rng=0, step=1e-5, stencil=SECOND_ORDER):
    """The relative error of dL/dx (the larger of mean and variance) and of dL/dp: a dict of floats.

    Its keys are "x" and the paths of the parameters. x: a Gaussian of float64, and so the
    parameters (`layer.to("float64")`). rng: a seed or a generator for the upstream gradient and the
    directions. Where everything is right the errors are about 1e-9; a kink closer than `step`
    makes them larger. Differences of second order cross fewer kinks, those of fourth order
    (FOURTH_ORDER) are sharper.
    """
    if x.mean.dtype != "float64":
        raise ValueError(f"gradient_errors expects float64, got {x.mean.dtype}: see gradients.cast")
    rng = default_rng(rng)
    dy = random_like(rng, layer.forward(x)[0])
    exact = gradients(layer, x, dy)
    errors = [relative(*pair) for pair in slopes(layer, x, dy, exact, rng, step, stencil)]
    errors = [math.inf if math.isnan(error) else error for error in errors]  # which is no max
    names = list(named(layer, Parameter))
    fields = len(exact) - len(names)
    return {"x": max(errors[:fields])} | dict(zip(names, errors[fields:], strict=True))


def cast(layer, dtype):
    """layer.to(dtype), as a function."""
    return layer.to(dtype)


def random_like(rng, x):
    """A direction, or an upstream gradient, of the shapes and dtypes of a Gaussian."""
    return x.map(lambda field: xp.asarray(rng.standard_normal(field.shape).astype(field.dtype)))


def gradients(layer, x, dy):
    """dL/dE[x], dL/dVar[x] unless x is a point mass, then every dL/dp: float64, on the host.

    A backward that says nothing of a variance says that its gradient is 0.
    """
    y, backward = layer.forward(x)
    for p in layer.parameters():
        p.grad = xp.zeros_like(p.value)
    dx = backward(dy.map(lambda field: field.astype(y.mean.dtype)))
    if dx.var is None and x.var is not None:
        dx = Gaussian(dx.mean, xp.zeros_like(x.var))
    found = [*dx, *(p.grad for p in layer.parameters())]
    return [to_host(g).astype("float64") for g in found if g is not None]


def slopes(layer, x, dy, exact, rng, step=1e-5, stencil=FOURTH_ORDER):
    """(by these gradients, by differences) along a random direction of each field and parameter."""
    point = [*(f for f in x if f is not None), *(p.value for p in layer.parameters())]
    fields = len(point) - len(layer.parameters())

    def loss(point):
        for p, value in zip(layer.parameters(), point[fields:], strict=True):
            p.value = value
        y = layer.forward(Gaussian(*point[:fields]))[0]
        return sum(
            float((d * f).sum()) for d, f in zip(dy, y, strict=True) if d is not None
        )  # (6.6)

    # Each argument by itself moves along a direction of its own.
    for i, (value, g) in enumerate(zip(point, exact, strict=True)):
        direction = rng.standard_normal(g.shape)
        on_device = xp.asarray(direction)
        numeric = 0.0
        for k, weight in stencil.items():
            shifted = [*point[:i], value + k * step * on_device, *point[i + 1 :]]
            numeric += weight * loss(shifted)
        yield (g * direction).sum(), numeric / step
    loss(point)


def relative(a, b):
    """The distance of two gradients, or of two numbers, relative to the larger."""
    return _norm(a - b) / max(_norm(a), _norm(b), 1e-300)


def _norm(a):
    return float((a * a).sum()) ** 0.5 if hasattr(a, "sum") else abs(a)
