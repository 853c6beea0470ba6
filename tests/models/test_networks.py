"""Whole networks: the gradient of one that has every layer type, and float32 against float64."""

import copy

import numpy as np
import pytest

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.layers.gradients import cast, gradient_errors, random_like


def every_layer():
    """A network (N, 2, 8, 8) -> (N, 4).

    It has a residual and a skip, and is strided, depthwise, dilated, transposed, pooled and
    upsampled.
    """
    depthwise = adf.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, bias=False, rng=2)
    block = adf.Sequential(depthwise, adf.BatchNorm2d(6))
    down = adf.Sequential(
        adf.MaxPool2d(2),
        adf.Conv2d(6, 3, 1, rng=3),
        adf.LeakyReLU(0.1),
        adf.ConvTranspose2d(3, 4, 2, stride=2, rng=4),
    )
    return adf.Sequential(
        adf.Conv2d(2, 6, 3, stride=2, padding=1, rng=1),
        adf.LeakyReLU(0.2),
        adf.Add(adf.Identity(), block),
        adf.Concat(adf.Identity(), down),
        adf.Upsample(2),
        adf.AvgPool2d(3, 2, padding=1),
        adf.Upsample(2, "nearest"),
        adf.Dropout(0.2),
        adf.Conv2d(10, 5, 3, rng=5),
        adf.LeakyReLU(0),
        adf.GlobalAvgPool2d(),
        Flatten(),
        adf.Linear(5, 4, rng=6),
    )


class Flatten(adf.Layer):
    """A user's own layer: y = x as (N, C)."""

    def forward(self, x):
        shape = x.mean.shape

        def flat(g, to):
            return Gaussian(*(None if f is None else f.reshape(to) for f in g))

        return flat(x, (shape[0], shape[1])), lambda dy: flat(dy, shape)


NETWORKS = {
    "every layer": (every_layer, (3, 2, 8, 8)),
    "U-Net": (lambda: adf.UNet(1, 3, widths=(4, 6, 8)), (2, 1, 16, 16)),
    "U-Net, batch norm": (lambda: adf.UNet(1, 3, widths=(4, 6, 8), norm=True), (4, 1, 16, 16)),
}
networks = pytest.mark.parametrize("name", NETWORKS)


def make(name, point=False):
    build, shape = NETWORKS[name]
    rng = np.random.default_rng(11)
    x = Gaussian(
        xp.asarray(rng.normal(size=shape)), None if point else xp.asarray(0.1 * rng.random(shape))
    )
    return cast(build(), "float64"), x


@networks
@pytest.mark.parametrize("point", [False, True], ids=["Gaussian", "point mass"])
def test_gradient(name, point):
    network, x = make(name, point)
    # a point mass has kinks: the smaller the step, the fewer are crossed
    step = 1e-7 if point else 1e-5
    errors = gradient_errors(network, x, np.random.default_rng(12), step)
    assert len(errors) == 1 + len(network.parameters()) and max(errors.values()) < 1e-6, errors


@networks
def test_float32_gradients_are_those_of_float64(name):
    """Relative to the norm of each gradient, 1e-4."""
    network, x = make(name)
    single = copy.deepcopy(network)
    for p in (*network.parameters(), *single.parameters()):
        p.value = p.value.astype("float32").astype("float64")  # the same numbers in both
    for p in single.parameters():
        p.value = p.value.astype("float32")
    x32 = Gaussian(*(f.astype("float32") for f in x))
    y, backward = network.forward(Gaussian(*(f.astype("float64") for f in x32)))
    dy = random_like(np.random.default_rng(13), y)
    y32, backward32 = single.forward(x32)
    dx, dx32 = backward(dy), backward32(Gaussian(*(f.astype("float32") for f in dy)))
    pairs = [*zip(dx, dx32, strict=True)]
    pairs += [
        (p.grad, q.grad) for p, q in zip(network.parameters(), single.parameters(), strict=True)
    ]
    for exact, rounded in pairs:
        exact, rounded = to_host(exact), to_host(rounded)
        assert rounded.dtype == "float32"
        assert np.linalg.norm(rounded - exact) <= 1e-4 * np.linalg.norm(exact)
    assert len(pairs) == 2 + len(network.parameters()) and y32.mean.dtype == "float32"


def test_no_layer_is_missing():
    """`every layer` has every layer that adf exports."""

    def kinds(layer):
        inner = [*getattr(layer, "layers", ()), *getattr(layer, "branches", ())]
        return {type(layer)}.union(*(kinds(i) for i in inner))

    exported = {v for v in vars(adf).values() if isinstance(v, type) and issubclass(v, adf.Layer)}
    assert exported - kinds(every_layer()) == {
        adf.Layer,
        adf.UNet,
        adf.DeepLabV3Plus,
        adf.DirichletHead,
    }
