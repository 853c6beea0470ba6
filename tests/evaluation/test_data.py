"""Classes that are named, and mapped by name onto those of a run; names for results."""

import numpy as np
import pytest

from adf import runs
from adf.data.sample import Sample
from adf.evaluation.data import (
    choose_classes,
    data_name,
    in_classes_of,
    parse_names,
    samples_for,
)

KNOWN = ["background", "trap", "cell"]


def folder_of(tmp_path, labels):
    for kind, array in (
        ("images", np.random.default_rng(0).normal(size=(8, 8))),
        ("labels", labels),
    ):
        (tmp_path / kind).mkdir()
        np.save(tmp_path / kind / "a.npy", array)
    return str(tmp_path)


def numbers(count):
    return np.arange(64).reshape(8, 8) % count


def test_names_are_split_and_checked():
    assert parse_names("background, trap,cell ") == KNOWN
    for text in ("", "background", "a,,b", "a,b,a"):
        with pytest.raises(ValueError, match="--class-names as two or more"):
            parse_names(text)


@pytest.mark.parametrize(
    "classes, names, default, expected",
    [
        (None, None, None, None),
        (None, None, 3, 3),
        (4, None, None, 4),
        (None, KNOWN, None, 3),
        (3, KNOWN, None, 3),
        (None, ["background", "cell"], None, None),
        (2, ["background", "cell"], None, 2),
    ],
)
def test_the_number_of_classes(classes, names, default, expected):
    assert choose_classes(classes, names, default) == expected


def test_names_that_are_not_as_many_are_refused():
    with pytest.raises(ValueError, match="each of 4 classes, got background, trap, cell"):
        choose_classes(4, KNOWN, None)


def test_labels_and_boxes_are_mapped_by_name():
    sample = Sample("a", None, np.uint8([[0, 1, 2]]), np.zeros((2, 4)), np.array([1, 2]))
    bare = Sample("b", None, None, None, None)
    one, other = in_classes_of([sample, bare], ["background", "cell", "trap"], KNOWN)
    assert one.labels.tolist() == [[0, 2, 1]] and one.box_classes.tolist() == [2, 1]
    assert other.labels is other.box_classes is None
    assert in_classes_of([sample], KNOWN, KNOWN)[0] is sample


def test_unknown_names_are_refused_with_both_lists():
    with pytest.raises(ValueError, match="trap, cell; the data holds background, yeast"):
        in_classes_of([], ["background", "yeast"], KNOWN)


def test_a_folder_with_three_classes_is_measured_by_a_run_with_names(tmp_path):
    settings = runs.Settings()
    data = folder_of(tmp_path, numbers(3))
    (sample,) = samples_for(settings, data, None, ["background", "cell", "trap"])
    np.testing.assert_array_equal(sample.labels, np.array([0, 2, 1])[numbers(3)])
    for classes in (3, None):
        with pytest.raises(ValueError, match="--class-names"):
            samples_for(settings, data, classes)


def test_objects_are_cells_if_they_are_called_so(tmp_path):
    (sample,) = samples_for(
        runs.Settings(), folder_of(tmp_path, 300 * numbers(3)), None, ["background", "cell"]
    )
    np.testing.assert_array_equal(sample.labels, 2 * (numbers(3) > 0))


def test_data_like_that_of_the_training_needs_no_names(tmp_path):
    settings = runs.Settings(classes=3, class_names=KNOWN)  # a folder's, which were named
    (sample,) = samples_for(settings, folder_of(tmp_path, numbers(3)))
    np.testing.assert_array_equal(sample.labels, numbers(3))


def test_folders_of_one_name_have_results_of_different_names(tmp_path, monkeypatch):
    for site in ("siteA", "siteB"):
        (tmp_path / site / "cells").mkdir(parents=True)
    one, other = (data_name(str(tmp_path / site / "cells")) for site in ("siteA", "siteB"))
    assert one != other and one.startswith("cells-") and other.startswith("cells-")
    monkeypatch.chdir(tmp_path / "siteA")
    assert data_name("cells") == data_name("../siteA/cells/") == one
    assert data_name("synthetic:20") == "synthetic-20" != data_name("./synthetic-20")
    assert len(data_name("x" * 255)) < 80
