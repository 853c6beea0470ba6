"""What may be given to `adf predict`, and where the outputs of each image go."""

import os
from pathlib import Path

import pytest
from PIL import Image

from adf.inference.inputs import find_images, places
from adf.inference.outputs import description


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three images, four other files and a folder."""
    for name in ("b.png", "a.TIF", "c.npy", "notes.txt", "Thumbs.db", "._b.png", ".DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(paths):
    return [path.name for path in paths]


def test_a_folder_is_all_images_in_it(folder):
    images, skipped = find_images([str(folder)])
    assert names(images) == ["a.TIF", "b.png", "c.npy"] and skipped == 4


def test_a_pattern_is_what_matches_it(folder):
    images, skipped = find_images(["*.png"])
    assert names(images) == ["b.png"] and skipped == 0
    assert names(find_images(["[ab].*"])[0]) == ["a.TIF", "b.png"]
    assert names(find_images(["**/b.png"])[0]) == ["b.png"]


def test_a_name_that_looks_like_a_pattern_is_a_name(folder):
    for name in ("x[1].png", "x1.png"):
        (folder / name).write_bytes(b"x")
    assert names(find_images(["x[1].png"])[0]) == ["x[1].png"]


def test_every_image_comes_once(folder):
    given = ["b.png", str(folder / "b.png"), "./b.png", ".", "missing.png"]
    assert names(find_images(given)[0]) == ["b.png", "a.TIF", "c.npy", "missing.png"]


@pytest.mark.parametrize("argument", ["folder.png", "*.jpg", "no/such/*.tif"])
def test_nothing_found_is_an_error(folder, argument):
    with pytest.raises(ValueError, match="expected images"):
        find_images([argument, "b.png"])


def test_what_was_predicted_before_is_no_image(folder):
    picture = Image.new("L", (2, 2))
    picture.save(folder / "b_std.tif", description=description("b.png", picture))
    assert names(find_images(["."])[0]) == ["a.TIF", "b.png", "c.npy"]
    assert names(find_images(["b_std.tif"])[0]) == ["b_std.tif"]  # who names it wants it


def at(*paths):
    return [f"{folder}/{name}" for folder, name in places([Path(p) for p in paths], Path("out"))]


def test_outputs_lie_flat_where_names_differ():
    assert at("x/a.png", "y/b.tif") == ["out/a", "out/b"]
    assert at("a.png") == ["out/a"]


def test_equal_names_of_two_folders_lie_in_two_folders():
    assert at("x/a.png", "y/a.tif", "y/b.png") == ["out/x/a", "out/y/a", "out/y/b"]
    assert at("x/in/a.png", "y/in/a.png") == ["out/x/in/a", "out/y/in/a"]
    assert at("a.png", "y/a.png") == ["out/a", "out/y/a"]


def test_equal_names_in_one_folder_keep_their_suffixes():
    assert at("a.png", "a.tif", "b.png") == ["out/a.png", "out/a.tif", "out/b.png"]
    assert at("x/a.png", "x/a.tif", "y/a.png") == ["out/x/a.png", "out/x/a.tif", "out/y/a.png"]


def test_no_way_out_of_the_folder_of_outputs():
    assert at("../../x/a.png", "../y/a.png") == ["out/" + p for p in _tails("../../x", "../y")]


def _tails(*folders):
    absolute = [os.path.abspath(folder) for folder in folders]
    shared = os.path.commonpath(absolute)
    return [f"{os.path.relpath(folder, shared)}/a" for folder in absolute]
