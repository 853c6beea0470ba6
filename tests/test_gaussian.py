"""The message: what its operators do, and that they do nothing else."""

import numpy as np
import pytest

from adf import Gaussian
from adf.backend import to_host, xp


def gaussian():
    return Gaussian(xp.ones(2), xp.full(2, 3.0))


def test_a_sum_adds_means_and_variances():
    total = gaussian() + gaussian() + Gaussian(xp.ones(2))
    assert to_host(total.mean).tolist() == [3, 3] and to_host(total.var).tolist() == [6, 6]


@pytest.mark.parametrize(
    "operation",
    [
        lambda g: g * 2,
        lambda g: 2 * g,
        lambda g: np.float64(2) * g,
        lambda g: g * np.float64(2),
        lambda g: np.ones(2) * g,
        lambda g: g * g.mean,
        lambda g: g * g,
        lambda g: g + tuple(g),
        lambda g: tuple(g) + g,
        lambda g: g.__add__([1, 2]),
        lambda g: g + 1,
        lambda g: 1 + g,
        lambda g: g + g.mean,
        lambda g: np.ones(2) + g,
        lambda g: sum([g, g]),
    ],
)
def test_a_tuple_is_neither_repeated_nor_joined(operation):
    with pytest.raises(TypeError, match="a Gaussian only adds to a Gaussian, got"):
        operation(gaussian())


@pytest.mark.parametrize(
    "operation", [lambda g: g / 2, lambda g: -g, lambda g: g - g, lambda g: np.sqrt(g)]
)
def test_what_python_refuses(operation):
    with pytest.raises(TypeError):
        operation(gaussian())
