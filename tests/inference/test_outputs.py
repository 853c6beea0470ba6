"""What predict writes: three files or none, over nobody's files but its own for that image."""

import os

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import adf
from adf import figures
from adf.inference.outputs import Guard, description, is_output, outputs, write_prediction

NAMES = ("background", "trap", "cell")
IMAGE = np.random.default_rng(0).normal(size=(16, 24))
PREDICTION = adf.predict(adf.Segmenter(adf.UNet(1, 3, (2,), rng=0)), IMAGE[None, None])


def write(folder, source, name="a"):
    return write_prediction(folder, name, IMAGE, PREDICTION, NAMES, source)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.png"
    path.write_bytes(b"an image")
    return path


def test_they_say_whose_they_are(tmp_path, source):
    paths = write(tmp_path / "out", source)
    assert paths == outputs(tmp_path / "out", "a") and all(map(is_output, paths))
    Guard([source]).check(source, paths)
    np.testing.assert_array_equal(np.array(Image.open(paths[0])), PREDICTION.labels[0])
    std = PREDICTION.class_std[0].mean(axis=0)
    np.testing.assert_array_equal(np.array(Image.open(paths[1])), std)


@pytest.mark.parametrize("error", [ValueError, MemoryError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("function", ["overview", "save"])
def test_what_fails_while_drawing_leaves_nothing(tmp_path, source, monkeypatch, error, function):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(figures, function, fail)
    with pytest.raises(error):
        write(tmp_path / "out", source)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def another_file(path):
    path.write_bytes(b"the user's own")


def another_picture(path):
    Image.new("L", (24, 16)).save(path, format="PNG")


def of_another_image(path):
    labels = Image.fromarray(PREDICTION.labels[0])
    labels.save(path, pnginfo=tagged(description(path.parent / "other.png", labels)))


def corrected_by_hand(path):
    with Image.open(path) as picture:
        info = tagged(picture.info["Description"])
        changed = picture.point(lambda value: (value + 1) % 3)
    changed.save(path, pnginfo=info)


def a_link(path):
    os.rename(path, path.parent / "elsewhere.png")
    path.symlink_to("elsewhere.png")


def a_dangling_link(path):
    path.unlink()
    path.symlink_to("nowhere.png")


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def cut_short(path):
    os.truncate(path, 120)


def tagged(text):
    info = PngImagePlugin.PngInfo()
    info.add_text("Description", text)
    return info


FOREIGN = (
    another_file,
    another_picture,
    of_another_image,
    corrected_by_hand,
    a_link,
    a_dangling_link,
    a_folder,
    a_pipe,
    cut_short,
)


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_what_is_not_known_to_be_ours_stays(tmp_path, source, make):
    paths = write(tmp_path / "out", source)
    make(paths[0])
    with pytest.raises(ValueError, match="may be yours"):
        Guard([source]).check(source, paths)
    Guard([source], overwrite=True).check(source, paths)


def test_an_equal_name_is_another_image(tmp_path, source):
    other = tmp_path / "a.png"
    other.write_bytes(b"an image")
    paths = write(tmp_path / "out", source)
    with pytest.raises(ValueError, match="--overwrite"):
        Guard([other]).check(other, paths)


@pytest.mark.parametrize(
    "link", [None, os.symlink, os.link], ids=["itself", "symlink", "hard link"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_image_of_the_call_is_never_an_output(tmp_path, source, link, overwrite):
    """a_labels.png may be an image as well, and one that we wrote for a.png before."""
    paths = write(source.parent, source)
    image = paths[0]
    if link:
        image = tmp_path / "b.png"
        link(paths[0], image)
    guard = Guard([source, image], overwrite)
    with pytest.raises(ValueError, match="of this very call"):
        guard.check(source, paths)


def test_a_link_to_the_folder_is_no_way_round(tmp_path, source):
    (tmp_path / "link").symlink_to(source.parent)
    image = source.with_name("a_labels.png")
    image.write_bytes(b"an image, too")
    with pytest.raises(ValueError, match="of this very call"):
        Guard([source, image], True).check(source, outputs(tmp_path / "link", "a"))


def test_an_output_is_not_replaced_by_a_later_one(tmp_path, source):
    """A file system may hold A.png and a.png for the same."""
    guard = Guard([source], overwrite=True)
    guard.written(write(tmp_path / "out", source))
    with pytest.raises(ValueError, match="of this very call"):
        guard.check(source.with_name("A.png"), outputs(tmp_path / "out", "a"))
