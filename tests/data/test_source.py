"""Where images come from.

They are the same for the same step and seed; training never sees the held-out ones.
"""

import numpy as np
import pytest
from yeast_folder import write_sample

from adf.data import source


def test_synthetic_batches_are_a_function_of_step_and_seed():
    data = source.open_source("synthetic")
    images, labels = data.training(3, 2, seed=5)
    again, _ = data.training(3, 2, seed=5)
    assert np.array_equal(images, again) and labels.shape == (2, 128, 128)
    # the batch size only cuts the stream
    assert np.array_equal(data.training(0, 8, 5)[0][6:], images)
    assert not np.array_equal(data.training(3, 2, seed=6)[0], images)


def test_held_out_images_are_others(monkeypatch):
    monkeypatch.setattr(source, "HELD_OUT", 3)
    data = source.open_source("synthetic")
    validation, test = data.validation(0), data.test(0)
    assert len(validation) == len(test) == 3 and not np.array_equal(
        validation[0].image, test[0].image
    )
    assert not np.array_equal(data.training(0, 1, 0)[0][0, 0], validation[0].image)


def write_pictures(folder, count, size=(128, 128), labels=True):
    """Images 0, 1, ... of noise, labelled with their number everywhere."""
    for kind in ("images", "labels") if labels else ("images",):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        np.save(folder / "images" / f"{i}.npy", np.random.default_rng(i).normal(size=size))
        if labels:
            np.save(folder / "labels" / f"{i}.npy", np.full(size, i))


def names(samples):
    return [s.name for s in samples]


def test_an_epoch_shows_every_image_once(tmp_path):
    write_pictures(tmp_path / "train", 5)
    write_pictures(tmp_path / "val", 1)
    data = source.ImageFolder(tmp_path, classes=5, augment="none")
    seen = [label.max() for step in range(5) for label in data.training(step, 3, seed=0)[1]]
    assert [sorted(seen[i : i + 5]) for i in (0, 5, 10)] == [list(range(5))] * 3
    assert len({tuple(seen[i : i + 5]) for i in (0, 5, 10)}) > 1


def test_training_does_not_depend_on_what_was_asked_before(tmp_path):
    write_pictures(tmp_path, 6, size=(200, 150))
    for kind in (lambda: source.ImageFolder(tmp_path, 6), lambda: source.SyntheticSet(10)):
        first, again = kind(), kind()
        for step in range(3):
            images, labels = first.training(step, 4, seed=1)
        source._shuffled.cache_clear()
        source._drawn.cache_clear()
        for array, other in zip((images, labels), again.training(2, 4, seed=1), strict=True):
            np.testing.assert_array_equal(array, other)
        assert (
            images.shape == (4, 1, 128, 128)
            and images.dtype == np.float32
            and labels.shape == (4, 128, 128)
        )
        assert not np.array_equal(images, again.training(2, 4, seed=2)[0])


def test_images_look_different_in_every_epoch(tmp_path):
    write_pictures(tmp_path, 1)
    plain, augmented = (
        source.ImageFolder(tmp_path, 2, augment="none"),
        source.ImageFolder(tmp_path, 2, "dihedral"),
    )
    same = [plain.training(step, 1, 0)[0] for step in range(2)]
    np.testing.assert_array_equal(*same)
    others = [augmented.training(step, 1, 0)[0] for step in range(2)]
    assert not np.array_equal(*others) and not np.array_equal(others[0], same[0])


def test_crops_lie_elsewhere_in_every_batch(tmp_path):
    write_pictures(tmp_path, 1, size=(200, 200))
    data = source.ImageFolder(tmp_path, augment="none")
    images = np.concatenate([data.training(step, 4, seed=0)[0] for step in range(2)])
    assert len({image.tobytes() for image in images}) == 8


@pytest.mark.parametrize(
    "splits", [("train",), ("train", "test"), ("train", "val"), ("train", "val", "test"), ("test",)]
)
def test_missing_splits(tmp_path, splits):
    for split in splits:
        write_pictures(tmp_path / split, 6 if split == "train" else 2)
    data = source.open_source(tmp_path)
    fifth = splits[0] == "train" and "val" not in splits
    assert names(data.validation(0)) == (["0", "5"] if fifth else ["0", "1"])
    assert names(data.test(0)) == (["0", "1"] if "test" in splits else names(data.validation(0)))
    assert len(data.splits["train"]) == (0 if splits == ("test",) else 4 if fifth else 6)


def test_the_published_format(tmp_path):
    for name in range(6):
        write_sample(tmp_path / "train", str(name), classes=(2, 2, 2))
    write_sample(tmp_path / "test", "9", instances=False)
    data = source.open_source(tmp_path)
    assert names(data.test(0)) == ["9"] and names(data.validation(0)) == ["0", "5"]
    images, labels = data.training(0, 2, seed=0)
    assert images.shape == (2, 1, 128, 128) and set(np.unique(labels)) == {0, 2}
    assert data.class_names == source.CLASS_NAMES
    with pytest.raises(ValueError, match="instances/ to train on"):
        source.YeastFolder(tmp_path / "test").training(0, 1, 0)


def test_published_images_without_splits_all_test(tmp_path):
    for name in range(6):
        write_sample(tmp_path, str(name))
    data = source.open_source(tmp_path)
    assert names(data.validation(0)) == ["0", "5"] and len(data.test(0)) == 6
    assert names(data.splits["train"]) == ["1", "2", "3", "4"]


def test_pictures_without_splits_and_labels(tmp_path):
    write_pictures(tmp_path, 6)
    data = source.open_source(str(tmp_path))
    assert (
        names(data.validation(0)) == names(data.test(0)) == ["0", "5"]
        and len(data.splits["train"]) == 4
    )
    assert data.class_names == ("background", "object")
    write_pictures(tmp_path / "train", 2, size=(128, 256), labels=False)
    bare = source.open_source(tmp_path / "train")
    assert names(bare.test(0)) == names(bare.validation(0)) == ["0", "1"]
    assert all(s.labels is None and s.image.shape == (128, 256) for s in bare.test(0))
    with pytest.raises(ValueError, match="labels/ or"):
        bare.training(0, 1, 0)


def test_a_finite_synthetic_set_is_493_images_split_as_published():
    data = source.open_source("synthetic:493")
    train, val, test = (data.splits[split] for split in ("train", "val", "test"))
    assert source.open_source("synthetic:0493").name == "synthetic:493"
    assert (len(train), len(val), len(test)) == (296, 99, 98) and [*train, *val, *test] == list(
        range(493)
    )


def test_a_finite_synthetic_set_is_the_same_for_every_seed(monkeypatch):
    source._drawn.cache_clear()
    drawn, draw = [], source._draw
    monkeypatch.setattr(
        source, "_draw", lambda count, *rest: drawn.append(count) or draw(count, *rest)
    )
    data = source.open_source("synthetic:10")
    val, again = data.validation(0), source.open_source("synthetic:10").validation(1)
    assert drawn == [2]  # no other split, and only once
    assert names(val) == ["6", "7"] and all(
        np.array_equal(a.image, b.image) for a, b in zip(val, again, strict=True)
    )
    train, test = data.split("train"), data.test(0)
    assert len({s.image.tobytes() for s in [*train, *val, *test]}) == 10 and drawn == [2, 6, 2]
    images, _ = source.SyntheticSet(10, augment="none").training(0, 6, seed=3)
    assert {image.tobytes() for image in images} == {s.image.tobytes() for s in train}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_small_sets_have_every_split(count):
    splits = source.open_source(f"synthetic:{count}").splits
    assert all(splits.values()) and {i for split in splits.values() for i in split} == set(
        range(count)
    )


@pytest.mark.parametrize(
    "count", ["", "0", "-3", "1.5", "many", "100001", "1" + "0" * 21, "9" * 5000, "²"]
)
def test_refuses_a_set_of_no_size(count):
    text = f"synthetic:{count}"
    with pytest.raises(ValueError, match="positive number") as refused:
        source.open_source(text)
    assert len(str(refused.value)) < 200


def test_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(ValueError, match=r"images/.*inputs/"):
        source.open_source(tmp_path)
    with pytest.raises(ValueError, match="expected a folder, got none"):
        source.open_source(tmp_path / "missing")
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="expected images, got none"):
        source.open_source(tmp_path)
    write_sample(tmp_path / "yeast", "1")
    for text in ("synthetic", "synthetic:493", tmp_path / "yeast"):
        with pytest.raises(ValueError, match="3 classes"):
            source.open_source(text, classes=3)


@pytest.mark.parametrize("size", [(200, 200), (255, 131), (20, 383)])
def test_held_out_images_are_whole(tmp_path, size):
    write_pictures(tmp_path, 6, size)
    data = source.open_source(tmp_path, classes=6)
    for samples in (data.validation(0), data.test(0)):
        assert {s.image.shape for s in samples} == {s.labels.shape for s in samples} == {size}


def test_all_that_is_drawn_for_training_has_a_stream_of_its_own(tmp_path, monkeypatch):
    """Else a crop's place would tell how it is mirrored."""
    write_pictures(tmp_path, 3, size=(150, 150))
    streams, crop, augment = [], source.random_crop, source.augment

    def start(rng):
        streams.append(rng.bit_generator.state["state"]["state"])
        return rng

    monkeypatch.setattr(source, "random_crop", lambda sample, rng: crop(sample, start(rng)))
    monkeypatch.setattr(source, "augment", lambda *a: augment(*a[:3], start(a[3])))
    data = source.ImageFolder(tmp_path, 3)
    for seed in range(2):
        for step in range(3):
            data.training(step, 4, seed)
    assert len(streams) == len(set(streams)) == 2 * 3 * (4 + 1)


def test_the_fixed_set_shares_no_image_with_the_stream_of_any_small_seed(monkeypatch):
    """Else what tests a run on synthetic:COUNT would have trained one on synthetic."""
    monkeypatch.setattr(source, "HELD_OUT", 4)
    fixed, stream = source.open_source("synthetic:4"), source.open_source("synthetic")
    seen = {image.tobytes() for seed in range(2) for image in stream.training(0, 4, seed)[0][:, 0]}
    for held_out in (stream.validation, stream.test):
        seen |= {sample.image.tobytes() for seed in range(2) for sample in held_out(seed)}
    own = {sample.image.tobytes() for split in fixed.splits for sample in fixed.split(split)}
    assert len(seen) == 2 * 12 and len(own) == 4 and not seen & own


@pytest.mark.parametrize("count, seen", [(1, 1), (2, 0), (6, 0)])
def test_what_is_trained_on_and_held_out_at_once_is_marked(tmp_path, count, seen):
    write_pictures(tmp_path, count)
    synthetic_set = source.open_source(f"synthetic:{count}")
    for data in (source.open_source(tmp_path), synthetic_set):
        for samples in (data.validation(0), data.test(0)):
            assert sum(s.trained_on for s in samples) == (
                seen if data is not synthetic_set or count != 2 else len(samples)
            )
        assert not any(s.trained_on for s in data.split("train"))


def test_published_images_without_splits_say_which_of_them_are_trained_on(tmp_path):
    for name in range(6):
        write_sample(tmp_path, str(name), instances=name < 4)
    data = source.open_source(tmp_path)
    marked = [s.name for s in data.test(0) if s.trained_on]
    assert marked == names(data.splits["train"]) == ["1", "2", "3"]
    assert not any(s.trained_on for s in data.validation(0))
