"""A run in its folder: one trainer, one data set, one set of settings, and finite numbers."""

import dataclasses
import os
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
from yeast_folder import write_sample

from adf import runs
from adf.data import synthetic
from adf.data.sample import Sample, changed, fingerprint
from adf.files import checkpoint
from adf.files.lock import NAME, Lock
from adf.runs import learners
from adf.runs import run as run_module

TINY = {"widths": [2, 2], "steps": 30, "batch_size": 1, "learning_rate": 0.02}
TINY |= {"calibration_steps": 0}  # what calibrates has tests of its own: test_calibrating.py


@pytest.fixture(autouse=True)
def no_learning(monkeypatch):
    """A step of training that changes a number and takes no time."""

    def step(segmenter, optimizer, images, labels):
        p = segmenter.parameters()[0]
        p.value = p.value + np.float32(images.mean() + 0.01)
        optimizer.t += 1
        return float(labels.mean()) + optimizer.t

    monkeypatch.setattr(learners, "train_step", step)


class Grey:
    """A source of one image of one pixel."""

    def training(self, step, size, seed):
        return np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1), int)


def begun(folder, **given):
    run, _ = runs.start(folder, TINY | given, resume=False)
    runs.prepare(run)
    return run


def finished(folder, **given):
    begun(folder, **given).train(Grey())
    return folder


def refused(folder, message, **given):
    with pytest.raises(ValueError, match=message) as error:
        run, _ = runs.start(folder, given, resume=True)
        runs.prepare(run)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# When the checkpoint is written


def saves(monkeypatch, tmp_path, seconds):
    """The steps at which it is, where a step takes so many seconds."""
    run = begun(tmp_path / "run")
    clock, found = iter(np.arange(0, 10**6, seconds)), []
    monkeypatch.setattr(run_module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    save = run.save
    monkeypatch.setattr(run, "save", lambda: (found.append(run.step), save()))
    run.train(Grey())
    assert runs.load(run.folder).step == 30
    return found


def test_a_checkpoint_is_written_every_twenty_steps_and_at_the_end(monkeypatch, tmp_path):
    assert saves(monkeypatch, tmp_path, 0.01) == [20, 30]


def test_a_checkpoint_is_written_every_ten_seconds(monkeypatch, tmp_path):
    """The clock is read once a step, and once after a checkpoint."""
    assert saves(monkeypatch, tmp_path, 4.0) == [3, 6, 9, 12, 15, 18, 20, 23, 26, 29, 30]


def test_the_log_is_on_the_disk_before_the_checkpoint_claims_it(monkeypatch, tmp_path):
    run = begun(tmp_path / "run", steps=20)
    synced, fsync, save = [], os.fsync, run.save

    def watch(descriptor):
        about = os.fstat(descriptor)
        synced.append((about.st_ino, about.st_size))
        fsync(descriptor)

    def check():
        about = os.stat(run.log)
        assert (about.st_ino, about.st_size) in synced
        assert len(run.log.read_text().splitlines()) == run.step + 1
        save()

    monkeypatch.setattr(os, "fsync", watch)
    monkeypatch.setattr(run, "save", check)
    run.train(Grey())
    assert run.step == 20


def test_what_a_killed_writer_left_is_removed(tmp_path):
    folder = finished(tmp_path / "run")
    stale = folder / f".adf-{os.getpid()}-{'0' * 16}.tmp"
    stale.write_bytes(b"half a checkpoint")
    run, _ = runs.start(folder, {}, resume=True)
    assert stale.exists()  # start writes nothing
    runs.prepare(run)
    assert not stale.exists()


# One trainer at a time


def test_a_run_that_is_being_trained_is_refused_to_others(tmp_path):
    first = begun(tmp_path / "run")
    before = first.path.read_bytes(), first.log.read_bytes()
    refused(first.folder, "another process trains now")
    assert (first.path.read_bytes(), first.log.read_bytes()) == before
    first.train(Grey())
    assert sorted(os.listdir(first.folder)) == ["checkpoint.npz", "log.csv"]
    second, _ = runs.start(first.folder, {}, resume=True)
    runs.prepare(second)
    second.release()


def test_a_run_is_free_again_after_an_error(tmp_path):
    run = begun(tmp_path / "run")
    with pytest.raises(AttributeError):
        run.train(None)
    other, _ = runs.start(run.folder, {}, resume=True)
    (run.folder / "log.csv").unlink()
    (run.folder / "log.csv").mkdir()
    with pytest.raises(ValueError, match="a folder") as error:
        runs.prepare(other)
    Lock(run.folder).release()
    assert error and not (run.folder / NAME).exists()


def test_what_another_wrote_since_is_not_written_over(tmp_path):
    """Both read the checkpoint, one trains to the end, and then it is the other's turn."""
    first = begun(tmp_path / "run")
    second, _ = runs.start(first.folder, {}, resume=True)
    first.train(Grey())
    before = first.path.read_bytes()
    with pytest.raises(ValueError, match="written by another process just now"):
        runs.prepare(second)
    new, _ = runs.start(tmp_path / "new", TINY, resume=True)
    finished(tmp_path / "new", seed=1)
    with pytest.raises(ValueError, match="written by another process just now"):
        runs.prepare(new)
    assert first.path.read_bytes() == before


# One set of settings


@pytest.mark.parametrize(
    "name, value",
    [
        ("learning_rate", 0.03),
        ("noise_var", 0.5),
        ("steps", 31),
        ("batch_size", 2),
        ("seed", 1),
        ("augment", "none"),
        ("system", "unet-bn"),
        ("data", "synthetic:5"),
        ("widths", [2, 3]),
        ("raw_c", 0.0),
        ("calibration_steps", 5),
        ("normalisation", "standard"),
    ],
)
def test_another_setting_is_refused(name, value, tmp_path):
    folder = finished(tmp_path / "run")
    line = refused(folder, "was made with other settings", **{name: value})
    assert f"{name} " in line and f"(now {value!r})" in line
    runs.start(folder, TINY, resume=True)


def test_a_run_of_before_keeps_its_normalisation(tmp_path):
    folder = finished(tmp_path / "run")
    arrays, about = checkpoint.load(folder / "checkpoint.npz")
    assert runs.load(folder).segmenter.normalisation == about.pop("normalisation") == "robust"
    checkpoint.save(folder / "checkpoint.npz", arrays, about)
    assert runs.load(folder).segmenter.normalisation == "standard"
    run, _ = runs.start(folder, {}, resume=True)
    assert run.settings.normalisation == "standard"


# One set of images

EIGHT = range(8)


def pictures(folder, numbers=EIGHT, split="train", grey=0.0, label=1):
    for kind in ("images", "labels"):
        (folder / split / kind).mkdir(parents=True, exist_ok=True)
    for i in numbers:
        image = np.random.default_rng(i).normal(size=(128, 130))
        image[0, 0] += grey
        np.save(folder / split / "images" / f"{i}.npy", image)
        labels = np.zeros((128, 130), np.uint8)
        labels[:9] = label
        np.save(folder / split / "labels" / f"{i}.npy", labels)
    return folder


@pytest.fixture
def nuclei(tmp_path):
    pictures(tmp_path / "nuclei", range(10, 12), "val")
    return pictures(tmp_path / "nuclei")


def removed(folder):
    for i in (1, 4, 6):
        for kind in ("images", "labels"):
            (folder / "train" / kind / f"{i}.npy").unlink()


CHANGES = {
    removed: "5 images to train on, not 8",
    lambda folder: pictures(folder, [8]): "9 images to train on, not 8",
    lambda folder: pictures(folder, [3], grey=1): "other images",
    lambda folder: pictures(folder, [3], label=0): "other labels",
    lambda folder: [
        path.rename(path.with_name("20.npy")) for path in (folder / "train").glob("*/2.npy")
    ]: "other names",
}


@pytest.mark.parametrize("change", CHANGES, ids=CHANGES.values())
def test_images_that_changed_since_are_refused(change, tmp_path, nuclei):
    folder = finished(tmp_path / "run", data=str(nuclei))
    before = (folder / "checkpoint.npz").read_bytes()
    change(nuclei)
    line = refused(folder, CHANGES[change])
    assert str(nuclei) in line and (folder / "checkpoint.npz").read_bytes() == before
    refused(folder, CHANGES[change], data=str(nuclei))
    moved = nuclei.rename(tmp_path / "moved")
    assert CHANGES[change] in refused(folder, "other settings: data ", data=str(moved))


def test_images_that_moved_or_were_written_anew_are_the_same(tmp_path, nuclei):
    folder = finished(tmp_path / "run", data=str(nuclei))
    whole = (folder / "checkpoint.npz").read_bytes()
    pictures(nuclei)  # only their dates are others
    pictures(nuclei, range(20, 23), "val")  # no image to train on
    runs.start(folder, {}, resume=True)
    moved = nuclei.rename(tmp_path / "moved")
    assert "if it has moved, --data says where" in refused(folder, "nuclei")
    run, source = runs.start(folder, {"data": str(moved)}, resume=True)
    assert run.settings.data == str(moved) and source.name == str(moved)
    run.save()
    runs.start(folder, {}, resume=True)  # it knows now
    shutil.copytree(moved, nuclei)
    run, _ = runs.start(folder, {"data": str(nuclei)}, resume=True)
    run.save()
    assert (folder / "checkpoint.npz").read_bytes() == whole


def test_the_published_format_is_known_again(tmp_path):
    for name in ("1", "2", "10"):
        write_sample(tmp_path / "yeast" / "train", name)
    folder = finished(tmp_path / "run", data=str(tmp_path / "yeast"))
    moved = (tmp_path / "yeast").rename(tmp_path / "moved")
    runs.start(folder, {"data": str(moved)}, resume=True)
    write_sample(moved / "train", "2", classes=(1, 2, 1))
    refused(folder, "other labels", data=str(moved))


@pytest.mark.parametrize("same, other", [("synthetic:05", "synthetic:6"), (None, "synthetic")])
def test_a_fixed_synthetic_set_goes_by_its_name_and_is_not_drawn(
    monkeypatch, same, other, tmp_path
):
    monkeypatch.setattr("adf.data.source._draw", lambda *_: pytest.fail("drawn"))
    folder = finished(tmp_path / "run", data="synthetic:5")
    runs.start(folder, {"data": same} if same else {}, resume=True)
    refused(folder, "other name|another kind", data=other)


def test_a_generator_that_draws_other_images_is_refused(tmp_path, monkeypatch):
    folder = finished(tmp_path / "run")
    runs.start(folder, {}, resume=True)
    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    refused(folder, "images of another generator")


def test_a_checkpoint_of_before_has_no_fingerprint_and_goes_on(tmp_path, nuclei):
    folder = finished(tmp_path / "run", data=str(nuclei))
    path = folder / "checkpoint.npz"
    whole = path.read_bytes()
    arrays, about = checkpoint.load(path)
    del about["fingerprint"]
    checkpoint.save(path, arrays, about)
    moved = shutil.copytree(nuclei, tmp_path / "moved")
    refused(folder, "other settings: data", data=str(moved))  # nobody can know
    run, _ = runs.start(folder, {}, resume=True)
    run.save()
    assert path.read_bytes() == whole


def test_a_fingerprint_sees_every_part_and_no_last_digit():
    rng = np.random.default_rng(0)
    image, labels = rng.normal(size=(4, 6)).astype("f4"), rng.integers(0, 3, (4, 6), np.uint8)
    samples = [Sample("a", image, labels, None, None), Sample("b", image.T, None, None, None)]
    before = fingerprint(samples)

    def differs(i, **fields):
        others = list(samples)
        others[i] = others[i]._replace(**fields)
        return changed(before, fingerprint(others))

    assert differs(0) == "" and changed(before, dict(before)) == ""
    assert differs(0, name="c") == "other names"
    assert differs(1, image=image.reshape(6, 4)) == "other images"
    assert differs(0, labels=labels[::-1]) == "other labels"
    assert differs(0, labels=None) == differs(1, labels=labels.T) == "other labels"
    assert changed(before, fingerprint(samples[::-1])) == "other names and images and labels"
    assert differs(0, image=np.where(abs(image) < 0.1, image + 0.001, image)) == "other images"
    blank = fingerprint([Sample("a", np.float32([[0.0]]), None, None, None)])
    for almost in (-0.0, 1e-7, -1e-7):
        sample = Sample("a", np.float32([[almost]]), None, None, None)
        assert fingerprint([sample]) == blank


def test_a_fingerprint_takes_no_time():
    image, labels = np.ones((1024, 1024), "f4"), np.ones((1024, 1024), np.uint8)
    start = time.process_time()
    fingerprint([Sample("a", image, labels, None, None)] * 20)
    assert time.process_time() - start < 5


# Numbers


def rewritten(folder, name=None, change=None, **settings):
    """The checkpoint with one array changed, or with other settings; every checksum is right."""
    arrays, about = checkpoint.load(folder / "checkpoint.npz")
    if name:
        (full,) = [key for key in arrays if key.endswith(name)]
        arrays[full] = change(arrays[full])
    checkpoint.save(folder / "checkpoint.npz", arrays, {**about, **settings})


def first(value):
    """Sets the first number of an array."""

    def change(array):
        array = array.copy()
        array.reshape(-1)[0] = value
        return array

    return change


WEIGHT = "value/network.layers.0.layers.0.layers.0.weight"
ARRAYS = {
    "NaN": (WEIGHT, first(np.nan), "finite"),
    "infinity": (WEIGHT, first(-np.inf), "finite"),
    "NaN in Adam": ("m" + WEIGHT[5:], first(np.nan), "finite"),
    "infinite square": ("v" + WEIGHT[5:], first(np.inf), "finite"),
    "negative square": ("v" + WEIGHT[5:], first(-1e-9), "0 or more"),
    "negative variance": ("layers.0.layers.0.layers.1.running_var", first(-1e-9), "0 or more"),
    "NaN average": ("layers.0.layers.0.layers.1.running_mean", first(np.nan), "finite"),
    "double": (WEIGHT, lambda array: array.astype("f8"), "shape and dtype"),
    "integer": (WEIGHT, lambda array: array.astype("i4"), "shape and dtype"),
    "shape": (WEIGHT, lambda array: array.reshape(-1), "shape and dtype"),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_no_training_leaves_are_refused(kind, tmp_path):
    folder = finished(tmp_path / "run", system="unet-bn", noise_var=None)
    name, change, message = ARRAYS[kind]
    rewritten(folder, name, change)
    refused(folder, rf"checkpoint\.npz.*{message}")


def test_arrays_are_read_after_all_shapes_are_known_to_fit(tmp_path, monkeypatch):
    folder = finished(tmp_path / "run")
    rewritten(folder, "value/head.c1", lambda array: np.zeros((2, 2), "f4"))
    monkeypatch.setattr(checkpoint, "_read_array", lambda *_: pytest.fail("read"))
    refused(folder, r"expected value/head\.c1 of shape and dtype")


@pytest.mark.parametrize(
    "settings",
    [
        {"widths": [1] * 3000},
        {"widths": [16, 10**400]},
        {"widths": [4096, 4096]},
        {"widths": ["2", "2"]},
        {"widths": 2},
        {"steps": 10**400},
        {"steps": "30"},
        {"steps": True},
        {"step": True},
        {"step": 10**400},
        {"step": 31},
        {"step": None},
        {"learning_rate": 10**400},
        {"learning_rate": "1"},
        {"noise_var": "1"},
        {"noise_var": [1]},
        {"seed": -1},
        {"class_names": "abc"},
        {"class_names": [1, 2, 3]},
        {"data": 3},
        {"system": ["adf-unet"]},
        {"version": 1.0},
        {"raw_c": 10**300},
        {"fingerprint": "x"},
        {"fingerprint": {"number": "x" * 10**5}},
        {"fingerprint": {"number": [1]}},
        {"x" * 10**6: 1},
    ],
    ids=str,
)
def test_settings_that_no_training_has_are_refused(settings, tmp_path):
    folder = finished(tmp_path / "run", steps=1)
    rewritten(folder, **settings)
    line = refused(folder, r"checkpoint\.npz: expected a checkpoint of adf, but: ")
    assert len(line) < 1000


def test_weights_that_are_no_numbers_are_not_saved(tmp_path, monkeypatch):
    run = begun(tmp_path / "run")
    before = run.path.read_bytes()
    p = run.segmenter.parameters()[0]

    def diverge(*_):
        p.value = p.value * np.float32(np.inf if run.step == 2 else 1)
        return 0.5

    monkeypatch.setattr(learners, "train_step", diverge)
    with pytest.raises(ValueError, match=r"step 3 made weights .* not finite"):
        run.train(Grey())
    with pytest.raises(ValueError, match="NaN or infinity in value/"):
        run.save()
    assert run.path.read_bytes() == before and len(run.log.read_text().splitlines()) == 3
    settings = dataclasses.asdict(run.settings)
    assert runs.start(run.folder, settings, resume=True)[0].step == 0
