"""Folders with images/ and labels/: what is paired, and what labels mean.

Every way in which a folder can be wrong is tried, too.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adf.data.folder import class_names, parts, read_folder
from adf.data.source import open_source

DATA = (
    Path(os.environ.get("ADF_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "dsb2018_grey"
)
GREY = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
OBJECTS = np.pad(np.array([[1, 2], [300, 2]], np.uint16), [(1, 2), (2, 3)])


def save(path: Path, array: np.ndarray):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path):
    """Three images, the third without labels; a label need not be the same kind of file."""
    save(tmp_path / "images" / "b.png", GREY)
    save(tmp_path / "images" / "a.TIF", GREY.astype(np.float32) * 1e30)
    save(tmp_path / "images" / "c.npy", np.zeros((9, 4)))
    save(tmp_path / "labels" / "a.png", OBJECTS)
    save(tmp_path / "labels" / "b.npy", np.where(OBJECTS > 1, 2**40, OBJECTS.astype(np.int64)))
    return tmp_path


def test_instances_become_background_and_object(folder):
    (folder / "images" / ".DS_Store").write_bytes(b"")
    a, b, c = read_folder(folder)
    assert (a.name, b.name, c.name) == ("a", "b", "c") and c.labels is None
    for sample in (a, b):
        np.testing.assert_array_equal(sample.labels, OBJECTS > 0)
        assert sample.labels.dtype == np.uint8 and sample.image.dtype == np.float32
        assert abs(sample.image.mean()) < 1e-6 and abs(sample.image.std() - 1) < 1e-6
        assert sample.boxes is None and sample.box_classes is None
    np.testing.assert_allclose(a.image, b.image, atol=1e-6)
    assert c.image.shape == (9, 4) and not c.image.any()
    assert class_names() == ("background", "object")


LITTER = ("Thumbs.db", "ehthumbs.db", "Desktop.ini", ".DS_Store", "._a.TIF", ".directory", "Icon\r")


@pytest.mark.parametrize("name", LITTER)
def test_the_litter_of_file_managers_is_no_image(folder, name):
    for kind in ("images", "labels"):
        (folder / kind / name).write_bytes(b"x")
        (folder / kind / "@eaDir").mkdir(exist_ok=True)
    assert [s.name for s in read_folder(folder)] == ["a", "b", "c"]


def test_other_unknown_files_are_an_error(folder):
    (folder / "images" / "Thumbs.txt").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"Thumbs\.txt"):
        read_folder(folder)


def test_class_indices_stay_what_they_are(folder):
    (folder / "labels" / "b.npy").unlink()
    save(folder / "labels" / "a.png", OBJECTS % 298)
    labels = read_folder(folder, classes=3)[0].labels
    np.testing.assert_array_equal(labels, OBJECTS % 298)
    assert (
        labels.dtype == np.uint8
        and labels.max() == 2
        and class_names(3) == ("background", "class 1", "class 2")
    )
    with pytest.raises(ValueError, match=r"a.png: expected classes 0 to 1, got 2"):
        read_folder(folder, classes=2)


@pytest.mark.parametrize("classes", [1, 0, -2, 257, 2.0, True, "3"])
def test_refuses_other_numbers_of_classes(folder, classes):
    with pytest.raises(ValueError, match="2 to 256 classes"):
        read_folder(folder, classes)


def no_images(folder):
    for file in (folder / "images").iterdir():
        file.unlink()


DAMAGE = {
    r"images: expected images, got none": no_images,
    r"labels/d.png: expected an image": lambda folder: save(folder / "labels" / "d.png", GREY),
    r"images/b.png: expected one file of that name, got b.npy": lambda f: save(
        f / "images" / "b.npy", GREY
    ),
    r"labels/a.tif: expected one file of that name, got a.png": lambda f: save(
        f / "labels" / "a.tif", GREY
    ),
    r"a.png: expected the size of its image, \(5, 7\)": lambda f: save(
        f / "labels" / "a.png", GREY.T.copy()
    ),
    r"d.jpg'?: expected .png, .*convert": lambda folder: save(folder / "images" / "d.jpg", GREY),
    r"images/d: expected an image file, got a folder": lambda folder: (
        folder / "images" / "d"
    ).mkdir(),
    r"a.png: expected a mode": lambda f: save(
        f / "labels" / "a.png", np.stack([GREY] * 3, axis=-1)
    ),
    r"b.npy: expected integer labels": lambda f: save(f / "labels" / "b.npy", np.zeros((5, 7))),
    r"c.npy: expected finite": lambda f: save(f / "images" / "c.npy", np.full((5, 7), np.nan)),
    r"b.png: expected a PNG": lambda folder: os.truncate(folder / "images" / "b.png", 50),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_refuses_a_damaged_folder(folder, message):
    DAMAGE[message](folder)
    with pytest.raises(ValueError, match=message) as error:
        read_folder(folder)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(folder))


def test_refuses_classes_beyond_by_file(folder):
    with pytest.raises(ValueError, match=r"a.png: expected classes 0 to 2, got 300"):
        read_folder(folder, classes=3)
    (folder / "labels" / "a.png").unlink()
    with pytest.raises(ValueError, match=r"b.npy: expected classes 0 to 2, got 1099511627776"):
        read_folder(folder, classes=3)


@pytest.mark.parametrize("classes", [None, 3])
def test_a_label_below_zero_is_no_object(folder, classes):
    save(folder / "labels" / "a.png", OBJECTS % 3)
    save(folder / "labels" / "b.npy", OBJECTS.astype(np.int64) - 1)
    with pytest.raises(ValueError, match=r"b.npy: expected labels of 0 or more, got -1"):
        read_folder(folder, classes)


def test_parts(tmp_path):
    assert parts(tmp_path, "images") == {} and parts(tmp_path / "missing", "images") == {}
    (tmp_path / "images").mkdir()
    assert parts(str(tmp_path), "images") == {"train": tmp_path}
    (tmp_path / "val" / "images").mkdir(parents=True)
    (tmp_path / "test" / "inputs").mkdir(parents=True)
    assert parts(tmp_path, "images") == {"val": tmp_path / "val"}


@pytest.mark.skipif(not DATA.is_dir(), reason="real images are not part of the repository")
def test_reads_the_real_nuclei():
    data = open_source(DATA)
    train, val = data.splits["train"], data.validation(0)
    assert len(train) == 226 and len(val) == 47 and len(data.test(0)) == len(val)
    assert {s.image.shape for s in (*train, *val)} == {(256, 256)}
    nuclei = np.concatenate([s.image[s.labels == 1] for s in train]).mean()
    others = np.concatenate([s.image[s.labels == 0] for s in train]).mean()
    assert nuclei > 1 and others < 0  # fluorescence: nuclei shine
    images, labels = data.training(0, 8, seed=0)
    assert images.shape == (8, 1, 128, 128) and set(np.unique(labels)) == {0, 1}
