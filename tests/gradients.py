"""The gradient check of `python -m adf verify`, for tests."""

import numpy as np

from adf.verification.measure import SECOND_ORDER, cast, gradients, random_like, relative, slopes


def in_float64(layer):
    return cast(layer, "float64")


def gradient_errors(layer, x, rng, step=1e-5):
    """Relative errors of dL/dx, the larger of its fields, and of each dL/dparameter; L = <dy, layer(x)>, dy random.

    Differences of second order, whose steps cross fewer kinks.
    """
    dy = random_like(rng, layer.forward(x)[0])
    exact = gradients(layer, x, dy)
    errors = [relative(*pair) for pair in slopes(layer, x, dy, exact, rng, step, SECOND_ORDER)]  # (6.6), (6.7)
    fields = len(exact) - len(layer.parameters())
    return np.array([max(errors[:fields]), *errors[fields:]])
