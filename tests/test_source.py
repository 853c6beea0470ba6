"""Where images come from: the same for the same step and seed, and held-out ones that training never sees."""

import numpy as np
import pytest
from test_yeast import write_sample

from adf.data import source
from adf.evaluation import boxes_right, inscribed_ellipse


def test_synthetic_batches_are_a_function_of_step_and_seed():
    data = source.open_source("synthetic")
    images, labels = data.training(3, 2, seed=5)
    again, _ = data.training(3, 2, seed=5)
    assert np.array_equal(images, again) and labels.shape == (2, 128, 128)
    assert np.array_equal(data.training(0, 8, 5)[0][6:], images)  # the batch size only cuts the stream
    assert not np.array_equal(data.training(3, 2, seed=6)[0], images)


def test_held_out_images_are_others(monkeypatch):
    monkeypatch.setattr(source, "HELD_OUT", 3)
    data = source.open_source("synthetic")
    validation, test = data.validation(0), data.test(0)
    assert len(validation) == len(test) == 3 and not np.array_equal(validation[0].image, test[0].image)
    assert not np.array_equal(data.training(0, 1, 0)[0][0, 0], validation[0].image)


def test_a_folder_shows_every_image_once_an_epoch(tmp_path):
    for name in ("1", "2", "3"):
        write_sample(tmp_path / "train", name, classes=(int(name), 2, 2))
    write_sample(tmp_path / "test", "9", instances=False)
    data = source.open_source(tmp_path)
    seen = np.concatenate([data.training(step, 2, seed=0)[1] for step in range(3)])
    counts = [sum(np.array_equal(labels, other) for other in seen) for labels in seen]
    assert counts == [2 if (labels == 1).any() else 4 for labels in seen]  # 2 and 3 are both cells: one label map
    assert [s.name for s in data.test(0)] == ["9"] and [s.name for s in data.validation(0)] == ["9"]
    with pytest.raises(ValueError, match="instances/ to train on"):
        source.Folder(tmp_path / "test").training(0, 1, 0)


def test_without_splits_every_fifth_image_validates(tmp_path):
    for name in range(6):
        write_sample(tmp_path, str(name))
    data = source.open_source(tmp_path)
    assert [s.name for s in data.validation(0)] == ["0", "5"] and len(data.test(0)) == 6
    assert [s.name for s in data.splits["train"]] == ["1", "2", "3", "4"]


def test_the_ellipse_touches_its_box():
    inside = inscribed_ellipse((10, 20, 30, 50), (64, 64))
    rows, columns = np.nonzero(inside)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 49, 10, 29)
    assert inside.sum() == pytest.approx(np.pi * 10 * 15, rel=0.02)


def test_a_box_is_right_by_majority():
    box = np.array([[10, 20, 30, 50]], "float32")
    sample = source.Sample("a", None, None, box, np.array([2]))
    labels = np.zeros((1, 64, 64), np.uint8)
    assert boxes_right([sample], labels) == (0, 1)
    labels[0, 20:38, 10:30] = 2  # a little more than half
    assert boxes_right([sample], labels) == (1, 1)
    assert boxes_right([sample._replace(boxes=None)], labels) == (0, 0)
