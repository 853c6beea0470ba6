"""DeepLabv3+ as a whole: its gradient, its precision, the sizes it takes, that it learns."""

import copy

import numpy as np
import pytest

import adf
from adf import Gaussian
from adf.backend import to_host, xp
from adf.data import synthetic
from adf.layers.gradients import cast, gradient_errors, random_like
from adf.models import DeepLabV3Plus


def small(rng=0):
    return DeepLabV3Plus(1, 3, widths=(4, 5, 6), pyramid=4, decoder=4, rng=rng)


def shifted(rng=0):
    """A network as if trained.

    At shifts of 0 a batch norm's scale passes the kink, and the next batch norm takes it away, so
    that its gradient is 0 but for eps, and there is nothing to compare.
    """
    network, rng = small(), np.random.default_rng(rng)
    for p in network.parameters():
        if p.value.ndim == 1:
            p.value = p.value + xp.asarray(rng.uniform(-0.5, 0.5, p.value.shape).astype("float32"))
    return network


# an eighth of this is 1 x 8, in which the pyramid's taps 2, 4 and 6 pixels away still meet some
WIDE = (8, 64)


def noisy(shape, rng, dtype="float64"):
    fields = rng.normal(size=shape), rng.uniform(0.01, 0.1, shape)  # differences stay clear of 0
    return Gaussian(*(xp.asarray(f.astype(dtype)) for f in fields))


def count(network):
    return sum(p.value.size for p in network.parameters())


def test_it_has_about_as_many_parameters_as_the_unet():
    deeplab, unet = count(DeepLabV3Plus(1, 3)), count(adf.UNet(1, 3, norm=True))
    assert (deeplab, unet) == (428_003, 482_483) and 0.85 < deeplab / unet < 1.15


@pytest.mark.slow
@pytest.mark.parametrize("point", [False, True], ids=["Gaussian", "point mass"])
def test_gradient(point):
    network, x = cast(shifted(), "float64"), noisy((3, 1, *WIDE), np.random.default_rng(55))
    x = Gaussian(x.mean) if point else x
    # it crosses no kink of the point mass; a step of 1e-7 is lost in rounding
    step = 3e-6 if point else 1e-5
    errors = gradient_errors(network, x, np.random.default_rng(22), step)
    assert len(errors) == 1 + len(network.parameters()) and max(errors.values()) < 1e-6, errors


def test_float32_gradients_are_those_of_float64():
    """Relative to the norm of each gradient, 1e-4."""
    single, x32 = shifted(), noisy((4, 1, *WIDE), np.random.default_rng(23), "float32")
    network = cast(copy.deepcopy(single), "float64")
    y, backward = network.forward(Gaussian(*(f.astype("float64") for f in x32)))
    y32, backward32 = single.forward(x32)
    dy = random_like(np.random.default_rng(24), y32)
    dx, dx32 = backward(Gaussian(*(f.astype("float64") for f in dy))), backward32(dy)
    pairs = [*zip(y, y32, strict=True), *zip(dx, dx32, strict=True)]
    pairs += [
        (p.grad, q.grad) for p, q in zip(network.parameters(), single.parameters(), strict=True)
    ]
    for exact, rounded in pairs:
        exact, rounded = to_host(exact), to_host(rounded)
        assert (exact.dtype, rounded.dtype) == ("float64", "float32")
        assert np.linalg.norm(rounded - exact) <= 1e-4 * np.linalg.norm(exact)


@pytest.mark.parametrize("size", [(8, 8), (8, 40), (24, 16)])
def test_sizes_that_it_takes(size):
    network, x = small(), noisy((2, 1, *size), np.random.default_rng(25), "float32")
    for y in network.predict(x), network.forward(x)[0]:
        assert y.mean.shape == y.var.shape == (2, 3, *size)
        assert (
            bool(xp.isfinite(y.mean).all())
            and bool(xp.isfinite(y.var).all())
            and bool((y.var >= 0).all())
        )
    point = network.predict(Gaussian(x.mean))
    certain = network.predict(Gaussian(x.mean, xp.zeros_like(x.mean)))
    assert (
        point.var is None
        and bool((certain.mean == point.mean).all())
        and bool((certain.var == 0).all())
    )


@pytest.mark.parametrize(
    "shape, message",
    [
        (
            (1, 1, 12, 16),
            r"DeepLabV3Plus expects a height and width that are multiples of 8, got \(12, 16\)",
        ),
        ((1, 1, 16, 4), "multiples of 8"),
        ((1, 2, 16, 16), "expects 1 input channels"),
        ((1, 16, 16), r"expects axes \(N, C, H, W\)"),
        ((1, 1, 0, 8), "at least one pixel"),
    ],
)
def test_sizes_that_it_refuses(shape, message):
    network, x = small(), Gaussian(xp.zeros(shape, "float32"))
    for use in (network.forward, network.predict):
        with pytest.raises(ValueError, match=message):
            use(x)


def test_three_widths():
    with pytest.raises(ValueError, match="three widths"):
        DeepLabV3Plus(1, 3, widths=(4, 5))


def test_predict_pads_and_crops():
    images = np.random.default_rng(26).normal(size=(2, 1, 21, 9)).astype("float32")
    for noise_var in (1e-3, None):
        prediction = adf.predict(adf.Segmenter(small(), noise_var), images)
        assert prediction.labels.shape == (2, 21, 9) and np.isfinite(prediction.probabilities).all()


def test_the_seed_decides_the_weights():
    one, same, other = (small(rng=rng).parameters() for rng in (1, np.random.default_rng(1), 2))
    assert all(bool((p.value == q.value).all()) for p, q in zip(one, same, strict=True))
    assert any(bool((p.value != q.value).any()) for p, q in zip(one, other, strict=True))


def train(steps, noise_var):
    """The losses of a small network on one batch of photographs, and its prediction afterwards."""
    images, labels = synthetic.generate(8, seed=31)
    images, labels = images[:, :, 40:88, 40:88], labels[:, 40:88, 40:88]
    network = DeepLabV3Plus(1, 3, widths=(8, 12, 16), pyramid=12, decoder=8)
    segmenter = adf.Segmenter(network, noise_var)
    optimizer = adf.Adam(segmenter.parameters(), learning_rate=1e-2)
    losses = [adf.train_step(segmenter, optimizer, images, labels) for _ in range(steps)]
    return losses, network.predict(segmenter.input(xp.asarray(images)))


@pytest.mark.slow
def test_it_learns():
    losses, logits = train(15, noise_var=1e-3)
    assert np.isfinite(losses).all() and losses[-1] < 0.6 * losses[0], losses
    assert bool(xp.isfinite(logits.var).all()) and bool((logits.var > 0).all())
    losses, logits = train(15, noise_var=None)
    assert np.isfinite(losses).all() and losses[-1] < 0.8 * losses[0] and logits.var is None, losses


def test_threads_change_nothing(monkeypatch):
    runs = []
    for threads in ("1", "2"):
        monkeypatch.setenv("ADF_THREADS", threads)
        runs.append(train(2, noise_var=1e-3))
    (losses, logits), (others, other) = runs
    assert losses == others
    assert all(bool((f == g).all()) for f, g in zip(logits, other, strict=True))
