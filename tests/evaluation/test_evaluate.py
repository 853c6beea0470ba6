"""Held-out images of any sizes: whole ones are measured, and the table outlives the terminal."""

import csv

import numpy as np
import pytest

import adf
from adf.data.sample import Sample
from adf.evaluation import evaluate as module
from adf.evaluation.evaluate import (
    boxes_with_right_majority,
    evaluate,
    inscribed_ellipse,
    predict_samples,
    spread,
)
from adf.evaluation.scores import scores

NAMES = ("background", "trap", "cell")
SIZES = ((40, 24), (24, 24), (24, 24), (33, 57), (40, 24), (24, 24))


@pytest.fixture(scope="module")
def segmenter():
    return adf.Segmenter(adf.UNet(1, 3, (4, 6), rng=0), noise_var=0.05)


def samples(sizes=SIZES, labelled=lambda i: True):
    rng = np.random.default_rng(0)
    found = []
    for i, size in enumerate(sizes):
        image = rng.normal(size=size).astype("float32")
        labels = rng.integers(0, 3, size).astype(np.uint8) if labelled(i) else None
        found.append(Sample(str(i), image, labels, None, None))
    return found


def table(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return dict(csv.reader(file))


def by_hand(segmenter, given, shift=0):
    """The scores of all pixels in a row; shift: whose entropy an image gets, 0 for its own."""
    given = [sample for sample in given if sample.labels is not None]
    found = [adf.predict(segmenter, sample.image[None, None]) for sample in given]
    labels = np.concatenate([sample.labels.ravel() for sample in given])
    probabilities = np.concatenate([p.probabilities[0].reshape(3, -1).T for p in found])
    entropy = np.concatenate([p.entropy.ravel() for p in found[shift:] + found[:shift]])
    std = np.concatenate([p.class_std[0].mean(axis=0).ravel() for p in found])
    return scores(labels, probabilities, entropy, std, NAMES)


@pytest.mark.parametrize(
    "labelled",
    [lambda i: True, lambda i: i % 2, lambda i: i > 3, lambda i: i < 1],
    ids=["all", "every other", "the last", "the first"],
)
def test_every_pixel_of_images_of_all_sizes_is_measured_beside_its_own_entropy(
    segmenter, labelled, tmp_path
):
    given = samples(labelled=labelled)
    text = evaluate(segmenter, given, NAMES, tmp_path, "here")
    found = table(tmp_path)
    for metric, value in by_hand(segmenter, given).items():
        assert float(found[metric]) == pytest.approx(value, rel=1e-4), metric
    assert int(found["images"]) == len(SIZES) and text + "\n" == (
        tmp_path / "metrics.md"
    ).read_text(encoding="utf-8")
    count = sum(bool(labelled(i)) for i in range(len(SIZES)))
    assert found.get("of these with labels", str(len(SIZES))) == str(count)


def test_a_misaligned_entropy_would_be_noticed(segmenter):
    """The test above can fail: with the entropies of other images the numbers are others."""
    given = samples(((24, 24),) * 6, lambda i: i % 2)
    right = by_hand(segmenter, given)
    wrong = by_hand(segmenter, given, shift=1)
    for metric in ("AUSE", "AUROC", "AURC"):
        assert right[metric] != pytest.approx(wrong[metric], rel=1e-3)


def test_the_std_that_ranks_is_the_mean_over_classes(segmenter, tmp_path, monkeypatch):
    """One class is very unsure where the others are sure: maximum and mean rank differently."""
    given = samples(((24, 24),))

    def predict(_, images):
        p = adf.predict(segmenter, images)
        p.class_std[:] = np.random.default_rng(1).random(p.class_std.shape)
        return p

    monkeypatch.setattr(module, "predict", predict)
    evaluate(segmenter, given, NAMES, tmp_path, "here")
    p = predict(None, given[0].image[None, None])
    mean = p.class_std.mean(axis=1)
    expected = scores(given[0].labels[None], p.probabilities, p.entropy, mean, NAMES)
    assert float(table(tmp_path)["AUROC std"]) == pytest.approx(expected["AUROC std"], rel=1e-6)


def test_the_prediction_of_a_sample_is_its_own(segmenter):
    for sample, (p, seconds) in zip(samples(), predict_samples(segmenter, samples()), strict=True):
        alone = adf.predict(segmenter, sample.image[None, None])
        np.testing.assert_allclose(p.probabilities, alone.probabilities, atol=1e-6)
        assert seconds > 0


def test_images_are_predicted_a_few_at_a_time(segmenter, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "CHUNK_PIXELS", 3 * 24 * 24)
    predict = module.predict
    monkeypatch.setattr(module, "predict", lambda s, x: seen.append(x.shape) or predict(s, x))
    list(predict_samples(segmenter, samples(((24, 24),) * 5 + ((99, 99),) * 2)))
    assert [shape[0] for shape in seen] == [3, 2, 1, 1]


def test_training_images_are_called_so(segmenter, tmp_path):
    given = [s._replace(trained_on=s.name == "2") for s in samples()]
    text = evaluate(segmenter, given, NAMES, tmp_path, "here")
    assert table(tmp_path)["of these trained on"] == "1" and "of these trained on" in text
    assert "trained on" not in evaluate(segmenter, samples(), NAMES, tmp_path, "here")


def test_the_table_is_there_before_a_drawing_fails(segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(segmenter, samples(), NAMES, tmp_path, "here")
    assert float(table(tmp_path)["Dice"]) > 0


@pytest.mark.parametrize(
    "name",
    ["a|b", "new\nline", b"im\xe9".decode("utf-8", "surrogateescape")],
    ids=["bar", "control", "not UTF-8"],
)
def test_any_name_fits_into_the_table(segmenter, tmp_path, name):
    text = evaluate(segmenter, samples(), NAMES, tmp_path, name)
    widths = {len(line) for line in text.splitlines()}
    text.encode()
    assert len(widths) == 1 and len(text.splitlines()) == len(table(tmp_path)) + 1


def test_the_pictures_shown_are_of_the_most_frequent_size():
    assert spread(samples()) == [1, 2, 5]
    assert spread(samples(((24, 24),) * 9)) == [0, 3, 5, 8]
    assert spread(samples(((24, 24),))) == [0]


# Boxes


def test_the_ellipse_touches_its_box():
    inside = inscribed_ellipse((10, 20, 30, 50), (64, 64))
    rows, columns = np.nonzero(inside)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 49, 10, 29)
    assert inside.sum() == pytest.approx(np.pi * 10 * 15, rel=0.02)


def test_a_box_is_right_by_majority():
    box = np.array([[10, 20, 30, 50]], "float32")
    sample = Sample("a", None, None, box, np.array([2]))
    labels = np.zeros((1, 64, 64), np.uint8)
    assert boxes_with_right_majority([sample], labels, 3) == (0, 1)
    labels[0, 20:38, 10:30] = 2  # a little more than half
    assert boxes_with_right_majority([sample], labels, 3) == (1, 1)
    assert boxes_with_right_majority([sample._replace(boxes=None)], labels, 3) == (0, 0)


SMALL = {
    "one pixel": (10, 20, 11, 21),
    "the indices of one pixel": (10, 20, 10, 20),
    "half a pixel, beside its centre": (10.0, 20.0, 10.4, 20.4),
    "a line": (10.0, 20, 10.3, 21),
    "the last pixel": (63, 63, 64, 64),
}


@pytest.mark.parametrize("kind", SMALL)
def test_a_box_around_one_pixel_holds_it(kind):
    x, y = (int(edge) for edge in SMALL[kind][:2])
    inside = inscribed_ellipse(SMALL[kind], (64, 64))
    assert np.argwhere(inside).tolist() == [[y, x]]
    sample = Sample("a", None, None, np.array([SMALL[kind]] * 2, "float32"), np.array([2, 1]))
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0, y, x] = 2
    assert boxes_with_right_majority([sample], labels, 3) == (1, 2)


def test_a_box_beside_the_image_holds_nothing():
    assert not inscribed_ellipse((70, 10, 71, 11), (64, 64)).any()
    assert not inscribed_ellipse((-3, -3, -3, -3), (64, 64)).any()


def test_the_corners_of_a_box_do_not_count():
    """Of the box nearly all corners are of another class, of the ellipse nothing."""
    labels = np.full((1, 64, 64), 1, np.uint8)
    labels[0][inscribed_ellipse((10, 20, 30, 50), (64, 64))] = 2
    box = np.array([[10, 20, 30, 50]], "float32")
    sample = Sample("a", None, None, box, np.array([2]))
    assert boxes_with_right_majority([sample], labels, 3) == (1, 1)
