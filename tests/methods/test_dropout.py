"""Monte Carlo dropout: masks of channels, where they stand, and what members are."""

import itertools

import numpy as np
import pytest

import adf
from adf import Gaussian, montecarlo
from adf.backend import default_rng, to_host, xp
from adf.inference import tiles
from adf.layers import Dropout
from adf.layers.gradients import cast
from adf.layers.paths import held
from adf.methods.dropout import Dropout2d, add_dropout, thinned
from adf.methods.mixture import Mixture


def gaussian(*fields):
    return Gaussian(*(xp.asarray(np.asarray(f, "float64")) for f in fields))


def thinning(p, widths=(3, 4, 5), seed=0):
    """A segmenter with dropout, whose logits differ."""
    network = adf.UNet(1, 3, widths, norm=True, rng=seed)
    network.layers[1].weight.value = 20 * network.layers[1].weight.value
    add_dropout(network, p)
    return adf.Segmenter(network, None)


def members(segmenter, count):
    return Mixture(thinned(segmenter, default_rng((0, s))) for s in range(count))


def test_the_moments_over_members_are_those_of_dropout():
    """20,000 masks, and as many inputs: the bound is that of 2 x 6 numbers in montecarlo.bound."""
    rng = np.random.default_rng(3)
    layer = Dropout2d(6, 0.3)
    mean, var = rng.normal(size=6), rng.uniform(0.1, 2, 6)
    x = gaussian(*(f.reshape(1, 6, 1, 1) for f in (mean, var)))
    law = Dropout(0.3).predict(x)  # (5.12)
    expected_mean, expected_var = (to_host(field).ravel() for field in law)
    samples = []
    for _ in range(20_000):
        layer.mask = layer.draw(rng)
        point = gaussian((mean + np.sqrt(var) * rng.normal(size=6)).reshape(1, 6, 1, 1))
        samples.append(to_host(layer.predict(point).mean).ravel())
    samples = np.array(samples)
    off = samples - expected_mean
    squares = off**2
    z = off.mean(axis=0) / (samples.std(axis=0) / np.sqrt(len(off)))
    z_var = (squares.mean(axis=0) - expected_var) / (squares.std(axis=0) / np.sqrt(len(off)))
    assert max(abs(z).max(), abs(z_var).max()) < montecarlo.bound(12)
    layer.mask = None
    for one, two in zip(layer.predict(x), law, strict=True):
        assert (one == two).all()
    assert layer.predict(Gaussian(x.mean)).mean is x.mean


def test_in_training_an_image_and_channel_has_one_mask():
    layer = Dropout2d(40, 0.25, rng=0)
    x = gaussian(*np.random.default_rng(1).uniform(1, 2, (2, 3, 40, 4, 5)))
    y, backward = layer.forward(x)
    scale = to_host(y.mean / x.mean)
    np.testing.assert_allclose(scale, np.broadcast_to(scale[..., :1, :1], scale.shape))
    masks = scale[..., 0, 0]
    assert set(np.round(masks, 12).ravel()) == {0, round(1 / 0.75, 12)}
    assert (masks[0] != masks[1]).any() and (masks[1] != masks[2]).any()
    np.testing.assert_allclose(y.var, scale**2 * x.var)
    dy = gaussian(*np.random.default_rng(2).normal(size=(2, 3, 40, 4, 5)))
    dx = backward(dy)
    np.testing.assert_allclose(dx.mean, scale * dy.mean)
    np.testing.assert_allclose(dx.var, scale**2 * dy.var)


def test_a_linear_layer_behind_it_is_averaged_by_leaving_dropout_out():
    """Over all masks of three channels, each with its probability, exactly."""
    p = 0.3
    layer, conv = Dropout2d(3, p), cast(adf.Conv2d(3, 2, 3, rng=0), "float64")
    x = gaussian(np.random.default_rng(1).normal(size=(1, 3, 6, 6)))
    total = 0
    for kept in itertools.product((0, 1), repeat=3):
        layer.mask = np.array(kept) / (1 - p)
        weight = np.prod([1 - p if k else p for k in kept])
        total = total + weight * conv.predict(layer.predict(x)).mean
    layer.mask = None
    np.testing.assert_allclose(total, conv.predict(layer.predict(x)).mean, rtol=1e-13)


@pytest.mark.parametrize(
    "widths, channels", [((3, 4, 5), [4, 4, 5]), ((3, 4), [3, 3, 4]), ((3,), [3])]
)
def test_it_stands_behind_the_inner_activations(widths, channels):
    segmenter = thinning(0.2, widths)
    found = held(segmenter.network, Dropout2d)
    assert sorted(layer.num_features for layer in found) == sorted(channels)
    blocks = [s for s in sequentials(segmenter.network) if isinstance(s.layers[-1], Dropout2d)]
    assert len(blocks) == len(found)
    assert all(isinstance(block.layers[-2], adf.LeakyReLU) for block in blocks)
    x = segmenter.input(np.random.default_rng(0).normal(size=(2, 1, 16, 16)))
    assert segmenter.network.forward(x)[0].mean.shape == (2, 3, 16, 16)


def sequentials(layer):
    inside = [*getattr(layer, "layers", ()), *getattr(layer, "branches", ())]
    own = [layer] if isinstance(layer, adf.Sequential) else []
    return own + [found for one in inside for found in sequentials(one)]


def test_without_dropout_no_member_differs():
    x = np.random.default_rng(0).normal(size=(1, 1, 16, 16))
    segmenter = thinning(0.0)
    found = adf.predict(members(segmenter, 5), x)
    assert not found.class_std.any() and not found.mutual_information.any()
    assert (found.probabilities == adf.predict(segmenter, x).probabilities).all()


def test_members_are_drawn_again_alike_and_leave_the_network_alone():
    x = np.random.default_rng(0).normal(size=(1, 1, 16, 16))
    segmenter = thinning(0.4)
    before = adf.predict(segmenter, x).probabilities
    one, two = (adf.predict(members(segmenter, 5), x) for _ in range(2))
    assert (one.class_std == two.class_std).all() and one.class_std.max() > 0.01
    assert (adf.predict(segmenter, x).probabilities == before).all()
    singles = [adf.predict(m, x).probabilities for m in members(segmenter, 5).members]
    assert all((a != b).any() for a, b in itertools.combinations(singles, 2))


def test_neither_threads_nor_tiles_draw_anew(monkeypatch):
    x = np.random.default_rng(0).normal(size=(3, 1, 130, 64)).astype("float32")
    mixture = members(thinning(0.4), 4)
    monkeypatch.setenv("ADF_THREADS", "1")
    whole = adf.predict(mixture, x)
    monkeypatch.setenv("ADF_THREADS", "2")
    for one, two in zip(adf.predict(mixture, x), whole, strict=True):
        assert one is two is None or (one == two).all()
    monkeypatch.setattr(tiles, "TILE", 16)
    parts = adf.predict(mixture, x)
    assert len(tiles.tiles((130, 64), mixture.network)) > 6
    np.testing.assert_allclose(parts.class_std, whole.class_std, atol=1e-5)


@pytest.mark.parametrize("p", [1.0, -0.1])
def test_a_wrong_probability_is_refused(p):
    with pytest.raises(ValueError, match="probability p from 0 to below 1"):
        Dropout2d(3, p)


def test_other_channels_are_refused():
    x = gaussian(np.zeros((1, 2, 4, 4)))
    for ask in (Dropout2d(3).predict, Dropout2d(3).forward):
        with pytest.raises(ValueError, match="expects 3 input channels"):
            ask(x)
