"""A frozen network is the network in inference, with a way back."""

import copy

import numpy as np
import pytest

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.layers.frozen import FrozenBatchNorm2d, frozen
from adf.layers.gradients import FOURTH_ORDER, gradient_errors, random_like
from adf.studies.verification.probes import batch_norm


def network(kind=adf.BatchNorm2d):
    """Two convolutions, each with a batch norm that has seen something; a kink and a dropout."""
    first, second = adf.Conv2d(1, 3, 3, padding=1, rng=0), adf.Conv2d(3, 3, 1, rng=1)
    inner = adf.Sequential(second, batch_norm(kind), adf.Dropout(0.2))
    return adf.Sequential(first, batch_norm(kind), adf.LeakyReLU(0.1), inner)


def image(dtype="float32", shape=(2, 1, 6, 5)):
    rng = np.random.default_rng(3)
    fields = rng.normal(size=shape), rng.random(shape)
    return Gaussian(*(xp.asarray(field.astype(dtype)) for field in fields))


@pytest.mark.parametrize("point", [False, True], ids=["Gaussian", "point mass"])
def test_its_forward_is_the_predict_of_the_network(point):
    net = network()
    x = Gaussian(image().mean) if point else image()
    before = copy.deepcopy([s.value for s in net.statistics()])
    y, _ = frozen(net).forward(x)
    for a, b in zip(y, net.predict(x), strict=True):
        assert a is b is None or bool((a == b).all())
    for s, value in zip(net.statistics(), before, strict=True):
        assert s.updates == 0 and bool((s.value == value).all())


@pytest.mark.parametrize("net", [network, lambda: adf.UNet(1, 3, widths=(3, 4), norm=True)])
def test_its_gradients_are_those_of_differences(net):
    copied = frozen(net().to("float64"))
    errors = gradient_errors(copied, image("float64", (2, 1, 6, 4)), 1, stencil=FOURTH_ORDER)
    assert max(errors.values()) < 1e-6, errors


def test_a_batch_norm_by_itself_is_frozen_in_both_dtypes():
    for dtype in ("float32", "float64"):
        norm = batch_norm(adf.BatchNorm2d).to(dtype)
        x = image(dtype, (2, 3, 4, 5))
        fixed = frozen(norm)
        y, backward = fixed.forward(x)
        dx = backward(random_like(np.random.default_rng(1), y))
        assert isinstance(fixed, FrozenBatchNorm2d) and fixed.parameters() == []
        assert {str(f.dtype) for f in (*y, *dx)} == {dtype}
        for a, b in zip(y, norm.predict(x), strict=True):
            np.testing.assert_array_equal(to_host(a), to_host(b))
    with pytest.raises(ValueError, match="expects 3 input channels"):
        fixed.predict(image())


def test_it_shares_what_learns_and_what_draws():
    """Not the layers: what a frozen network becomes, the network does not."""
    net = adf.Sequential(network(), adf.Dropout(0.5, sample=True, rng=1))
    fixed = frozen(net)
    kept = [p for p in net.parameters() if p.value.shape != (3,) or p in fixed.parameters()]
    assert fixed.parameters() == kept and len(kept) == 4  # two weights, two biases
    assert fixed.generators() == net.generators()
    assert not fixed.statistics() and len(net.statistics()) == 4
