"""Every backward goes once, with a gradient that fits, and keeps nothing longer than it must."""

import copy
import weakref

import numpy as np
import pytest
from cases import CASES, make

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.layers.gradients import random_like
from adf.layers.way_back import WayBack


def forward(name, point=False):
    """(layer, y, backward, dy) of a case, or of the Dirichlet head."""
    if name != "DirichletHead":
        layer, x, _ = make(name, point=point)
    else:
        layer = adf.DirichletHead()
        x = Gaussian(*(xp.asarray(f) for f in np.random.default_rng(0).random((2, 2, 3, 4, 5))))
    y, backward = layer.forward(x)
    return layer, y, backward, random_like(np.random.default_rng(1), y)


every_layer = pytest.mark.parametrize("name", [*CASES, "DirichletHead"])


@every_layer
def test_a_second_call_raises_and_adds_nothing(name):
    layer, _, backward, dy = forward(name)
    backward(dy)
    once = [to_host(p.grad).copy() for p in layer.parameters()]
    with pytest.raises(RuntimeError, match="called twice"):
        backward(dy)
    for grad, p in zip(once, layer.parameters(), strict=True):
        np.testing.assert_array_equal(grad, to_host(p.grad))


@every_layer
def test_what_is_no_gradient_of_y_is_refused_and_a_right_one_still_goes(name):
    layer, y, backward, dy = forward(name)
    one = xp.ones((1,) * (y.mean.ndim + 1))
    wrong = [
        (dy.mean, "expects a Gaussian"),
        (tuple(dy), "expects a Gaussian"),
        (2.0, "expects a Gaussian"),
        (Gaussian(one), "of the shape of y"),
        (Gaussian(dy.mean, one), "dy.var"),
        (Gaussian([1.0]), "got list"),
        (Gaussian(None), "got NoneType"),
        (Gaussian(dy.mean.astype("int64")), "got int64"),
    ]
    for gradient, words in wrong:
        with pytest.raises(ValueError, match=words) as info:
            backward(gradient)
        assert type(layer).__name__ in str(info.value)
    assert all(not p.grad.any() for p in layer.parameters())
    backward(dy)


def test_a_gradient_of_a_variance_that_is_not_there_is_refused():
    _, _, backward, dy = forward("BatchNorm2d", point=True)
    with pytest.raises(ValueError, match="point mass"):
        backward(Gaussian(dy.mean, dy.mean))


def innermost(backward):
    """What a layer returned; one whose forward is its parent's, checked, is wrapped twice."""
    return innermost(backward.backward) if isinstance(backward, WayBack) else backward


@every_layer
def test_what_backward_needs_is_dropped_when_it_is_used(name):
    _, _, backward, dy = forward(name)
    closure = weakref.ref(innermost(backward))
    backward(dy)
    assert closure() is None


def test_what_stays_in_memory_can_be_asked():
    """As lesson 06 does."""
    x = Gaussian(xp.ones((2, 1, 4, 4)), xp.ones((2, 1, 4, 4)))
    _, backward = adf.LeakyReLU().forward(x)
    assert backward.backward.__code__.co_freevars == ("derivatives",)


def test_the_output_is_not_kept():
    x = Gaussian(*(xp.asarray(f) for f in np.random.default_rng(0).random((2, 1, 3, 4, 4))))
    for layer in (adf.LeakyReLU(), adf.MaxPool2d(2), adf.Conv2d(3, 2, 1), adf.Upsample(2)):
        y, backward = layer.forward(x)
        kept = weakref.ref(y.mean)
        del y
        assert kept() is None, (layer, backward)


def test_predict_makes_no_way_back(monkeypatch):
    """Of the layers that have a predict of their own; the others drop it at once."""
    monkeypatch.setattr("adf.layers.way_back.WayBack.__init__", lambda *args: 1 / 0)
    x = Gaussian(xp.ones((1, 3, 8, 8), "float32"), xp.ones((1, 3, 8, 8), "float32"))
    layers = adf.Conv2d(3, 3, 1), adf.BatchNorm2d(3), adf.LeakyReLU(), adf.MaxPool2d(2)
    adf.Sequential(*layers).predict(x)


def test_a_layer_of_ones_own_is_wrapped_and_one_that_inherits_is_wrapped_once():
    class Double(adf.Layer):
        """y = 2 x."""

        def forward(self, x):
            """Its docstring."""
            return Gaussian(2 * x.mean), lambda dy: Gaussian(2 * dy.mean)

    class Same(Double):
        pass

    x = Gaussian(xp.ones((2, 3)))
    for layer in (Double(), Same(), copy.deepcopy(Same())):
        y, backward = layer.forward(x)
        assert layer.forward.__doc__ == "Its docstring."
        assert to_host(backward(y).mean).tolist() == [[4.0] * 3] * 2
        with pytest.raises(RuntimeError, match=f"{type(layer).__name__}.*called twice"):
            backward(y)
