"""Three measurements of a layer: against exact arithmetic, samples, and central differences."""

from typing import NamedTuple

import numpy as np

from ... import montecarlo
from ...backend import to_host, xp
from ...gaussian import Gaussian
from ...layers.gradients import cast, gradients, random_like, relative, slopes

GRADIENT_BOUND = {"float64": 1e-6, "float32": 1e-4}  # of the relative error of a gradient


class Accuracy(NamedTuple):
    """The largest error in ulp, and the largest error as a fraction of its bound."""

    error: float
    of_bound: float


def as_gaussian(moments, dtype):
    """The Gaussian of two NumPy arrays, mean and variance, in this dtype on the device."""
    return Gaussian(*(xp.asarray(f.astype(dtype)) for f in moments))


def on_host(x):
    """The Gaussian with NumPy arrays."""
    return x.map(to_host)


def accuracy(case, x, dtype):
    """Accuracy of the mean and of the variance (None: there is none), and what was expected."""
    layer = cast(case.build(), dtype)
    y = on_host(layer.predict(x))
    exact = case.exact(layer, on_host(x))
    mean = errors(y.mean, exact.mean, exact.size, exact.mean_bound)
    if y.var is None:
        return mean, None, exact
    return mean, errors(y.var, exact.var, exact.var, exact.var_bound), exact


def errors(values, exact, size, bound):
    """Accuracy of an array against flat lists: the exact values, what an ulp refers to, the bounds.

    The bounds are in ulp.
    """
    values = values.ravel()
    parts = zip(values.tolist(), exact, size, strict=True)
    distances = np.array([float(abs(v - e) / (s or 1)) for v, e, s in parts])
    error = distances / np.finfo(values.dtype).eps
    return Accuracy(error.max(), (error / bound).max())


def sampling(case, x, dtype, samples):
    """The largest |z| of mean and variance against samples, and how many values were compared.

    The samples of an approximation are compared with its true moments, by `law`.
    """
    comparison = montecarlo.compare(cast(case.build(), dtype), x, samples, rng=3, chunk=1 << 18)
    if case.law:
        x = on_host(x)
        windows = zip(*(f.reshape(len(f), -1).astype("float64") for f in x), strict=True)
        truth = np.array([case.law(mean, np.sqrt(var)) for mean, var in windows]).T
        mean, var = (t.reshape(comparison.mean.shape) for t in truth)
        comparison = comparison._replace(mean=mean, var=var)
    # z is NaN where too few samples carry the variance to judge; a NaN of the layer's own stays.
    z = np.abs([comparison.mean_z, comparison.var_z])
    is_unjudged = np.isnan(z) & np.isfinite(comparison.mean + comparison.var)
    z = z[~is_unjudged]
    return z.max(), z.size


def gradient(case, moments, dtype):
    """The relative error of the gradients.

    float64: the largest against central differences; float32: the distance to those of float64.
    """
    x = as_gaussian(as_gaussian(moments, "float32"), "float64")  # the same numbers in both
    layer = cast(case.build(), "float64")
    rng = np.random.default_rng(8)
    dy = random_like(rng, layer.forward(x)[0])
    exact = gradients(layer, x, dy)
    if dtype == "float64":
        return max(relative(*pair) for pair in slopes(layer, x, dy, exact, rng))
    rough = gradients(cast(layer, dtype), as_gaussian(x, dtype), dy)
    return max(relative(a, b) for a, b in zip(rough, exact, strict=True))
