"""Crops lie inside and cover; labels turn with their images; contrast keeps order and range."""

import numpy as np
import pytest

from adf.data.augment import GAMMA, SIDE, augment, random_crop
from adf.data.yeast import Sample


def located(shape, labels=True):
    """A sample whose every grey is its own, and whose labels follow from the greys."""
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Sample("a", image, label_of(image) if labels else None, None, None)


def label_of(image):
    return (image % 7).astype(np.uint8)


def corner(crop, width):
    return divmod(int(crop[0, 0]), width)


@pytest.mark.parametrize("shape", [(300, 260), (128, 131), (128, 128)])
def test_random_crops_lie_inside_reach_every_edge_and_keep_their_labels(shape):
    sample, rng, corners = located(shape), np.random.default_rng(0), set()
    for _ in range(2000):
        image, labels = random_crop(sample, rng)
        top, left = corner(image, shape[1])
        assert image.shape == (SIDE, SIDE) and np.array_equal(labels, label_of(image))
        assert np.array_equal(image, sample.image[top : top + SIDE, left : left + SIDE])
        corners.add((top, left))
    # 2000 draws of at most 173: one is missed with a chance of 2e-3, at this seed none
    for axis in (0, 1):
        assert {c[axis] for c in corners} == set(range(shape[axis] - SIDE + 1))


@pytest.mark.parametrize("shape", [(100, 50), (1, 1), (3, 200), (127, 128)])
def test_small_images_are_reflected_with_their_labels(shape):
    sample = located(shape)
    image, labels = random_crop(sample, np.random.default_rng(0))
    assert image.shape == (SIDE, SIDE) and image.dtype == np.float32
    np.testing.assert_array_equal(labels, label_of(image))
    if shape == (100, 50):
        np.testing.assert_array_equal(image[14:114, 39:89], sample.image)
        np.testing.assert_array_equal(image[:14], image[14:28][::-1])
    assert sample.image.shape == shape


def batch(count, side=4):
    """Different greys everywhere, the label of a pixel being the rank of its grey."""
    labels = np.stack(
        [np.random.default_rng(i).permutation(side**2).reshape(side, side) for i in range(count)]
    )
    return (labels.astype(np.float32) ** 2 / 10 - 3)[:, None], labels.astype(np.uint8)


def test_images_and_labels_move_together_and_order_and_range_stay():
    images, labels = batch(50)
    untouched = images.copy(), labels.copy()
    new, moved = augment(images, labels, "dihedral", np.random.default_rng(0))
    assert new.dtype == images.dtype and moved.dtype == labels.dtype and new.shape == images.shape
    np.testing.assert_array_equal(
        new.reshape(50, -1).argsort(axis=1), moved.reshape(50, -1).argsort(axis=1)
    )
    np.testing.assert_array_equal(new.min(axis=(1, 2, 3)), images.min(axis=(1, 2, 3)))
    np.testing.assert_array_equal(new.max(axis=(1, 2, 3)), images.max(axis=(1, 2, 3)))
    np.testing.assert_array_equal(images, untouched[0])
    np.testing.assert_array_equal(labels, untouched[1])


def test_the_eight_symmetries_are_equally_likely():
    count = 4000
    images, labels = batch(1)
    images, labels = np.repeat(images, count, axis=0), np.repeat(labels, count, axis=0)
    _, moved = augment(images, labels, "dihedral", np.random.default_rng(0))
    square = labels[0]
    symmetries = [np.rot90(s, k) for s in (square, square.T) for k in range(4)]
    times = [(moved == s).all(axis=(1, 2)).sum() for s in symmetries]
    assert sum(times) == count and len({s.tobytes() for s in symmetries}) == 8
    # 6 standard deviations
    assert max(abs(t - count / 8) for t in times) < 6 * np.sqrt(count * 7 / 64)


def test_a_flip_is_left_to_right_and_none_is_nothing():
    images, labels = batch(1)
    images, labels = np.repeat(images, 400, axis=0), np.repeat(labels, 400, axis=0)
    _, moved = augment(images, labels, "flip", np.random.default_rng(0))
    kept, flipped = ((moved == s).all(axis=(1, 2)).sum() for s in (labels[0], labels[0, :, ::-1]))
    assert kept + flipped == 400 and abs(kept - 200) < 6 * 10  # 6 standard deviations
    same = augment(images, labels, "none", np.random.default_rng(0))
    assert same[0] is images and same[1] is labels


def test_gammas_fill_their_range():
    images = np.tile(np.array([[0, 1], [0.5, 0]], np.float32), (4000, 1, 1, 1))
    new, _ = augment(images, np.zeros((4000, 2, 2), np.uint8), "dihedral", np.random.default_rng(0))
    gammas = -np.log2(np.sort(new.reshape(4000, 4), axis=1)[:, 2])
    low, high = GAMMA
    assert low <= gammas.min() + 1e-6 < low * 1.01 and high * 0.99 < gammas.max() - 1e-6 <= high
    assert np.median(gammas) == pytest.approx(np.sqrt(low * high), rel=0.03)  # log-uniform


def test_constant_images_stay_constant():
    images = np.full((2, 1, 3, 3), 5, np.float32)
    new, _ = augment(images, np.zeros((2, 3, 3), np.uint8), "dihedral", np.random.default_rng(0))
    np.testing.assert_array_equal(new, images)


def test_the_same_generator_gives_the_same():
    images, labels = batch(8)
    first, again, other = (
        augment(images, labels, "dihedral", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    "shapes", [((1, 1, 4, 5), (1, 4, 5)), ((1, 1, 4, 4), (1, 1, 4, 4)), ((1, 4, 4), (1, 4, 4))]
)
def test_refuses_other_shapes(shapes):
    with pytest.raises(ValueError, match="square images"):
        augment(*map(np.zeros, shapes), "dihedral", np.random.default_rng(0))


def test_of_an_odd_number_of_missing_rows_the_last_one_lies_below():
    """So a crop of a small image is the same in every version."""
    sample = located((127, 125))
    image, _ = random_crop(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(image[:127, 1:126], sample.image)
    np.testing.assert_array_equal(image[127], image[126])
    np.testing.assert_array_equal(image[:, 126:], image[:, 124:126][:, ::-1])
