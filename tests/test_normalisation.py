"""Images on one scale: exact for what is exact, and no few pixels move it."""

import numpy as np
import pytest

import adf
from adf.backend import to_host, xp
from adf.normalisation import FARTHEST, KINDS, normalise

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(5, 3, (3, 2, 32, 33))


def host(images, kind="robust"):
    return to_host(normalise(xp.asarray(images), kind))


def test_standard_is_mean_0_and_standard_deviation_1_of_each_channel():
    x = host(IMAGES, "standard")
    np.testing.assert_allclose(x.mean(axis=(2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=(2, 3)), 1, rtol=1e-12)
    assert host([[[[-1.7e308, 1.7e308]]]], "standard").ravel().tolist() == [-1, 1]


def test_robust_is_that_of_greys_moved_in_to_two_quantiles():
    x = host(IMAGES)[1, 0]
    moved = x.clip(np.quantile(x, 0.01, method="lower"), np.quantile(x, 0.99, method="higher"))
    np.testing.assert_allclose((moved.mean(), moved.std()), (0, 1), atol=1e-12)
    assert 1 < x.std() < 1.05


@pytest.mark.parametrize("kind", KINDS)
def test_every_channel_is_scaled_by_itself(kind):
    strong = np.stack([IMAGES[:, 0], 1e6 * IMAGES[:, 1] + 1e7], axis=1)
    np.testing.assert_allclose(host(strong, kind), host(IMAGES, kind), atol=1e-8)
    for alone in (IMAGES[1:2, :1], IMAGES[1, :1], IMAGES[1, 0]):
        assert np.array_equal(host(alone, kind).ravel(), host(IMAGES, kind)[1, 0].ravel())


@pytest.mark.parametrize("kind", KINDS)
def test_constants_become_zeros_and_nothing_overflows(kind):
    for constant in (0, 7, 0.1, 5e-324, -1e-320, 1.7e308):
        assert not host(np.full((1, 1, 7, 7), constant), kind).any()
    x = host(1.7e308 * RNG.uniform(-1, 1, (1, 1, 9, 9)), kind)
    assert np.isfinite(x).all() and 0.5 < x.std() < 2


@pytest.mark.parametrize("kind", KINDS)
def test_units_of_the_camera_do_not_matter(kind):
    image = RNG.integers(0, 256, (1, 1, 40, 40))
    for same in (image.astype("uint8"), 257 * image.astype("uint16"), 1e-30 * image):
        np.testing.assert_allclose(host(same, kind), host(image, kind), atol=1e-6)
    layout = np.moveaxis(np.ascontiguousarray(np.moveaxis(image, 1, 3)), 3, 1)
    assert np.array_equal(host(layout, kind), host(image, kind))


def broken(image, how):
    """(the image with something in it that is no signal, where its own pixels are)."""
    own = np.ones(image.shape, bool)
    if how == "framed":
        return np.pad(image, 64), np.pad(own, 64)
    # A hot pixel, a hot row, a spot that is saturated, a corner that no tile of a mosaic covers.
    place, grey = {
        "hot pixel": ((40, 50), 65535),
        "hot row": (17, 4095),
        "saturated": (np.s_[30:45, 60:90], 1023),
        "missing tile": (np.s_[64:, :64], 0),
    }[how]
    image = image.copy()
    image[place] = grey
    own[place] = False
    return image, own


@pytest.mark.parametrize("how", ("hot pixel", "hot row", "saturated", "missing tile", "framed"))
def test_what_is_no_signal_does_not_move_the_scale(how):
    image = RNG.normal(400, 60, (128, 128))
    inner, own = broken(image, how)
    before = host(image)[own[: len(image)]] if how != "framed" else host(image).ravel()
    after = host(inner)[own]
    slope, offset = np.polyfit(before, after, 1)
    assert abs(slope - 1) < 0.03 and abs(offset) < 0.03
    assert abs(host(inner)).max() <= FARTHEST


def test_a_black_frame_becomes_the_mean_and_dark_cells_stay():
    image = RNG.normal(400, 60, (64, 64))
    framed = host(np.pad(image, 9))
    assert not framed[:9].any() and not framed[:, -9:].any()
    # A dark background side by side is of one grey, too, but not that far below the cells.
    cells = np.maximum(image - 500, 0)
    assert (host(cells)[cells == 0] < 0).all()


def test_few_greys_are_all_trusted():
    """What is all extreme side by side, or nearly constant, is scaled by all it has."""
    halves = np.repeat([[0.0, 1.0]], 8, axis=1).repeat(9, axis=0)
    assert sorted(set(host(halves).ravel())) == [-1, 1]
    spot = np.zeros((64, 64))
    spot[5, 5:7] = 3
    assert np.array_equal(host(spot), host(spot, "standard").clip(-FARTHEST, FARTHEST))


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="robust or standard, got 'minmax'"):
        adf.Segmenter(adf.UNet(1, 2, (4,)), normalisation="minmax")
