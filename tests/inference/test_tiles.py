"""Large images in tiles: the same answer as in one piece, whatever the network and the size."""

import numpy as np
import pytest

import adf
from adf.backend import to_host, xp
from adf.inference import tiles


def segmenter(widths, noise_var=0.05):
    """It has running statistics, and logits that are no zeros.

    So every pixel of the reach counts.
    """
    network = adf.UNet(1, 3, widths, norm=True)
    rng = np.random.default_rng(0)
    for statistic in network.statistics():
        statistic.value = xp.asarray(rng.uniform(0.5, 1.5, statistic.value.shape).astype("float32"))
    return adf.Segmenter(network, noise_var)


@pytest.mark.parametrize("noise_var", [0.05, None], ids=["Gaussian", "point mass"])
@pytest.mark.parametrize("size", [(130, 96), (97, 29)])
@pytest.mark.parametrize("widths", [(4,), (4, 6), (3, 4, 5)])
def test_tiles_give_what_the_whole_gives(widths, size, noise_var, monkeypatch):
    model = segmenter(widths, noise_var)
    images = np.random.default_rng(1).normal(size=(2, 1, *size)).astype("float32")
    whole = adf.predict(model, images)
    monkeypatch.setattr(tiles, "TILE", 16)
    assert len(tiles.tiles(size, model.network)) > 6
    for a, b in zip(adf.predict(model, images), whole, strict=True):
        assert a is b is None or (a.shape == b.shape and a.dtype == b.dtype)
        if a is not None and a.dtype != "uint8":
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * abs(b).max())
    assert np.mean(adf.predict(model, images).labels == whole.labels) > 0.999  # but for ties


@pytest.mark.parametrize("widths", [(2,), (2, 2), (2, 2, 2), (2, 2, 2, 2)])
def test_reach_is_what_a_pixel_sees_and_little_more(widths):
    """Every pixel of a block is disturbed in turn: how far does it show?

    A block shares its pooling windows.
    """
    network = adf.UNet(1, 2, widths)
    size, seen = 16 * network.multiple, 0
    middle, image = size // 2, xp.asarray(np.random.default_rng(0).normal(size=(1, 1, size, size)))
    image = image.astype("float32")
    before = to_host(network.predict(adf.Gaussian(image, xp.ones_like(image))).mean)
    for offset in range(network.multiple):
        other = image.copy()
        other[..., middle + offset, middle] += 100
        changed = to_host(network.predict(adf.Gaussian(other, xp.ones_like(other))).mean) != before
        rows = np.nonzero(changed.any(axis=(0, 1, 3)))[0]
        seen = max(seen, middle + offset - rows.min(), rows.max() - middle - offset)
    assert network.reach - network.multiple < seen <= network.reach


def test_tiles_cover_every_pixel_once_and_begin_at_multiples(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 20)
    network = adf.UNet(1, 2, (2, 2, 2, 2))
    for length in range(1, 200):
        covered = []
        for seen, kept, place in tiles.spans(length, network.multiple, network.reach):
            assert (
                seen.start % 8 == seen.stop % 8 == 0
                and 0 <= seen.start < seen.stop <= length + -length % 8
            )
            assert (
                seen.start + kept.start == place.start
                and kept.stop - kept.start == place.stop - place.start
            )
            assert seen.start == 0 or place.start - seen.start >= network.reach
            assert seen.stop >= length or seen.stop - place.stop >= network.reach
            covered += range(place.start, place.stop)
        assert covered == list(range(length))


def test_a_network_without_reach_is_not_cut():
    assert len(tiles.tiles((5000, 5000), adf.DeepLabV3Plus(1, 2))) == 1
    assert (
        len(tiles.tiles((1024, 1024), adf.UNet(1, 2))) == 1
        and len(tiles.tiles((4096, 4096), adf.UNet(1, 2))) == 64
    )


def test_an_image_is_continued_as_in_a_mirror():
    """What a pixel below the border sees is what lies above it, the border itself seen once."""

    class Shown(adf.Layer):
        multiple = 4

        def predict(self, x):
            shown.append(to_host(x.mean)[0, 0])
            return x.map(lambda field: xp.concatenate([field, field], axis=1))

        def parameters(self):
            return []

    shown = []
    image = np.random.default_rng(0).normal(size=(6, 5))
    adf.predict(adf.Segmenter(Shown(), None), image[None, None])
    (seen,) = shown
    assert seen.shape == (8, 8)
    rows, columns = [0, 1, 2, 3, 4, 5, 4, 3], [0, 1, 2, 3, 4, 3, 2, 1]
    np.testing.assert_array_equal(seen, seen[rows][:, columns])
    assert len(np.unique(seen)) == 30
