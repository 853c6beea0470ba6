"""The published folder format: what is read, and in which order.

Every way in which a folder can be wrong is tried, too.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from hostile import SING, legacy
from yeast_folder import SIZE, objects, write, write_sample

from adf.data.yeast import SPLITS, read_folder

DATA = (
    Path(os.environ.get("ADF_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "trapped_yeast"
)


@pytest.fixture
def folder(tmp_path):
    for name in ("12", "2", "1"):
        write_sample(tmp_path, name, instances=name != "2")
    return tmp_path


def test_reads_every_image_in_natural_order(folder):
    write(folder, "inputs", "._1", np.zeros(SIZE, np.float32))  # a file manager's, not an image
    samples = read_folder(folder)
    assert [sample.name for sample in samples] == ["1", "2", "12"]
    for sample in samples:
        assert sample.image.shape == (128, 128) and sample.image.dtype == np.float32
        assert (
            abs(sample.image.mean(dtype=np.float64)) < 1e-6
            and abs(sample.image.std(dtype=np.float64) - 1) < 1e-6
        )
        assert sample.boxes.dtype == np.float32 and sample.box_classes.tolist() == [1, 2, 2]
        np.testing.assert_allclose(sample.boxes[2], [24 / 96 * 128, 32, 72 / 96 * 128, 96])
    assert [sample.labels is None for sample in samples] == [False, True, False]


def test_cells_lie_over_traps_whatever_their_order(tmp_path):
    for name, classes in (("1", (1, 2, 3)), ("2", (3, 2, 1)), ("3", (0, 0, 1))):
        write_sample(tmp_path, name, classes)
    first, second, third = (sample.labels for sample in read_folder(tmp_path, size=64))
    assert first.dtype == np.uint8 and first.shape == (64, 64)
    assert (first[3, 3], first[3, 60], first[25, 25], first[40, 40], first[60, 3]) == (
        1,
        2,
        2,
        2,
        0,
    )
    assert (second[3, 3], second[25, 25], second[40, 40]) == (2, 2, 1)
    assert set(np.unique(third)) == {0, 1}


def test_a_mask_keeps_what_more_than_three_quarters_of_it_cover(tmp_path):
    write_sample(tmp_path, "1", (1, 0, 0))
    # halves and thirds: the edges fall between pixels
    labels = read_folder(tmp_path, size=32)[0].labels
    np.testing.assert_array_equal(labels, np.pad(np.ones((16, 16)), ((0, 16), (0, 16))))


def test_one_hot_classes_and_other_image_shapes(tmp_path):
    write_sample(tmp_path, "1", np.eye(4)[[1, 3, 2]])
    write(tmp_path, "inputs", "1", np.full((1, *SIZE), 1e38, np.float64))
    (sample,) = read_folder(tmp_path)
    assert sample.box_classes.tolist() == [1, 2, 2] and not sample.image.any()


def test_an_image_without_objects(tmp_path):
    masks, boxes = objects()
    write_sample(tmp_path, "1", ())
    write(tmp_path, "instances", "1", masks)
    write(tmp_path, "bounding_boxes", "1", boxes)
    (sample,) = read_folder(tmp_path)
    assert (
        not sample.labels.any()
        and sample.boxes.shape == (0, 4)
        and sample.box_classes.shape == (0,)
    )


def test_images_alone_are_enough(tmp_path):
    write(tmp_path, "inputs", "1", np.eye(9, dtype=np.float32))
    (sample,) = read_folder(tmp_path)
    assert sample.labels is None and sample.boxes is None and sample.box_classes is None


def test_splits(tmp_path):
    for name, split in zip("312", SPLITS, strict=True):
        write_sample(tmp_path / split, name)
    assert [sample.name for sample in read_folder(tmp_path)] == ["3", "1", "2"]
    assert [sample.name for sample in read_folder(tmp_path, "val")] == ["1"]
    assert [sample.name for sample in read_folder(tmp_path / "test")] == ["2"]
    with pytest.raises(ValueError, match="inputs"):
        read_folder(tmp_path, "other")


def no_inputs(folder):
    for file in (folder / "inputs").iterdir():
        file.unlink()


DAMAGE = {
    "expected images": no_inputs,
    "for every image, got none for 2": lambda folder: (folder / "classes" / "2.pt").unlink(),
    "for every image, got none for 12": lambda folder: (
        folder / "bounding_boxes" / "12.pt"
    ).unlink(),
    "an image in inputs": lambda folder: (folder / "inputs" / "12.pt").unlink(),
    "got 4": lambda folder: write(folder, "classes", "1", np.array([1, 4, 2])),
    "got -1": lambda folder: write(folder, "classes", "1", np.array([1, 2, -1])),
    "one-hot": lambda folder: write(folder, "classes", "1", np.array([[1, 1], [0, 1], [0, 1]])),
    "classes 0 to 3, got 4": lambda folder: write(folder, "classes", "1", np.eye(5)[[1, 2, 4]]),
    "integers": lambda folder: write(folder, "classes", "1", np.array([1.0, 2.0, 2.0])),
    "a box for each class": lambda folder: write(folder, "classes", "1", np.array([1, 2])),
    "a box for each clas": lambda folder: write(folder, "bounding_boxes", "1", np.float32(3)),
    "finite corners": lambda folder: write(
        folder, "bounding_boxes", "1", np.full((3, 4), np.nan, np.float32)
    ),
    "a mask of the image's size": lambda folder: write(
        folder, "instances", "1", np.zeros((3, 9, 9), np.float32)
    ),
    "for each of its classes": lambda folder: write(
        folder, "instances", "1", np.zeros((2, *SIZE), np.float32)
    ),
    "masks of 0 and 1": lambda folder: write(
        folder, "instances", "1", np.full((3, *SIZE), 255, np.uint8)
    ),
    "finite numbers": lambda folder: write(
        folder, "inputs", "1", np.full(SIZE, np.inf, np.float32)
    ),
    "shape": lambda folder: write(folder, "inputs", "1", np.zeros((3, *SIZE), np.float32)),
    "which was not made": lambda folder: (folder / "classes" / "1.pt").write_bytes(legacy(SING)),
    "cut short": lambda folder: os.truncate(folder / "inputs" / "1.pt", 5000),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_refuses_a_damaged_folder(folder, message):
    DAMAGE[message](folder)
    with pytest.raises(ValueError, match=message) as error:
        read_folder(folder)
    assert (
        type(error.value) is ValueError
        and "\n" not in str(error.value)
        and str(error.value).startswith(str(folder))
    )


def test_refuses_masks_without_classes(tmp_path):
    write(tmp_path, "inputs", "1", np.zeros(SIZE, np.float32))
    write(tmp_path, "instances", "1", objects((0, 0, 9, 9))[0])
    with pytest.raises(ValueError, match="classes of these masks"):
        read_folder(tmp_path)


def test_refuses_missing_and_empty_folders(tmp_path):
    with pytest.raises(ValueError, match="a folder"):
        read_folder(tmp_path / "missing")
    with pytest.raises(ValueError, match="inputs/"):
        read_folder(tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason="real images are not part of the repository")
def test_reads_the_real_images():
    samples = read_folder(DATA)
    assert [sample.name for sample in samples] == ["1", "2", "12", "35", "37"]
    assert sum(len(sample.boxes) for sample in samples) == 20
    labels = samples[3].labels
    assert (labels == 1).sum() > 2500 and not (labels == 2).any()
    x0, y0, x1, y1 = samples[3].boxes[0].round().astype(int)
    assert (labels[y0:y1, x0:x1] == 1).any(axis=0).all()  # the mask fills its box from side to side


def test_a_pixel_covered_by_two_thirds_is_not_yet_of_the_object(tmp_path):
    """A mask that ends at column 20 of 96 covers 2/3 of the seventh pixel of 32."""
    write_sample(tmp_path, "1", (1,))
    masks, boxes = objects((0, 0, 20, 32))
    write(tmp_path, "instances", "1", masks)
    write(tmp_path, "bounding_boxes", "1", boxes)
    labels = read_folder(tmp_path, size=32)[0].labels
    assert labels[3].tolist() == [1] * 6 + [0] * 26
