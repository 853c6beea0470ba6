"""Metrics against hand-computed cases, against naive loops, and against what must not change them."""

import itertools
import math

import numpy as np
import pytest

from adf import markdown, metrics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_case(rng, images=2, classes=3, size=5):
    labels = rng.integers(0, classes, (images, size, size))
    probabilities = rng.dirichlet(np.ones(classes), labels.shape).transpose(0, 3, 1, 2).astype(np.float32)
    return labels, probabilities


def one_hot(labels, classes=3):
    return np.moveaxis(np.eye(classes, dtype=np.float32)[labels], -1, 1)


# Segmentation


def test_confusion_dice_iou_by_hand():
    counts = metrics.confusion(np.uint8([[0, 0, 1], [1, 1, 2]]), np.uint8([[0, 1, 1], [1, 2, 2]]), 4)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(metrics.dice(counts), [2 / 3, 4 / 6, 2 / 3, np.nan])
    np.testing.assert_allclose(metrics.iou(counts), [1 / 2, 2 / 4, 1 / 2, np.nan])


def test_a_class_that_is_only_predicted_scores_zero():
    counts = metrics.confusion([0, 0], [0, 1], 2)
    assert metrics.dice(counts)[1] == metrics.iou(counts)[1] == 0


def test_small_integers_do_not_overflow():
    labels = np.full(1000, 200, np.uint8)
    assert metrics.confusion(labels, labels, 256)[200, 200] == 1000


def test_iou_follows_from_dice(rng):
    counts = rng.integers(0, 50, (4, 4))
    dice = metrics.dice(counts)
    np.testing.assert_allclose(metrics.iou(counts), dice / (2 - dice))


# Probabilities


def test_nll_and_brier_against_loops(rng):
    labels, probabilities = random_case(rng)
    log_loss = squares = 0.0
    for n, i, j in np.ndindex(labels.shape):
        log_loss -= math.log(probabilities[n, labels[n, i, j], i, j])
        for k in range(3):
            squares += (float(probabilities[n, k, i, j]) - (labels[n, i, j] == k)) ** 2
    assert metrics.nll(labels, probabilities) == pytest.approx(log_loss / labels.size, rel=1e-6)
    assert metrics.brier(labels, probabilities) == pytest.approx(squares / labels.size, rel=1e-6)


def test_nll_of_an_impossible_pixel_is_finite():
    assert metrics.nll([0], np.float32([[0, 1]])) == pytest.approx(126 * math.log(2))
    assert metrics.brier([0], np.float32([[0, 1]])) == 2


def test_ece_against_loops(rng):
    labels, probabilities = random_case(rng, images=8)
    curve, expected = metrics.reliability(labels, probabilities, bins=7), 0.0
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    for b in range(7):
        inside = (top > b / 7) & (top <= (b + 1) / 7)
        assert curve.count[b] == inside.sum()
        if inside.any():
            assert curve.confidence[b] == pytest.approx(top[inside].mean(), rel=1e-6)
            assert curve.accuracy[b] == pytest.approx(right[inside].mean())
            expected += inside.mean() * abs(right[inside].mean() - top[inside].mean())
        else:
            assert np.isnan(curve.confidence[b]) and np.isnan(curve.accuracy[b])
    assert metrics.ece(labels, probabilities, bins=7) == curve.ece == pytest.approx(expected, rel=1e-6)


def test_ece_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    # In the bin of 0.9 one of two is right, in the bin of 0.8 both: (2 * |0.5 - 0.9| + 2 * |1 - 0.8|) / 4.
    assert metrics.ece([0, 1, 1, 1], probabilities) == pytest.approx(0.3)


def test_bins_are_closed_above():
    curve = metrics.reliability([0, 0, 0], np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]), bins=4)
    assert curve.count.tolist() == [0, 1, 1, 1]


# Uncertainty


def test_sparsification_by_hand():
    curve = metrics.sparsification(np.array([True, False, True, False]), np.array([4.0, 3.0, 2.0, 1.0]))
    np.testing.assert_allclose(curve.removed, [0, 1 / 4, 2 / 4, 3 / 4])
    np.testing.assert_allclose(curve.error, [2 / 4, 1 / 3, 1 / 2, 0])
    np.testing.assert_allclose(curve.oracle, [2 / 4, 1 / 3, 0, 0])
    assert curve.ause == pytest.approx((1 / 2) / 4)


def test_ties_count_as_the_average_over_all_their_orders():
    errors = np.array([1.0, 0.0, 0.0, 3.0, 0.5])
    uncertainty = np.array([2.0, 2.0, 2.0, 1.0, 2.0])
    left = [
        [np.mean([3.0, *order[: kept - 1]]) for kept in range(5, 0, -1)]
        for order in itertools.permutations([1.0, 0.0, 0.0, 0.5])
    ]
    np.testing.assert_allclose(metrics.sparsification(errors, uncertainty).error, np.mean(left, axis=0))


def test_sparsification_against_loops(rng):
    errors, uncertainty = rng.random(40) ** 2, rng.random(40)
    curve = metrics.sparsification(errors, uncertainty)
    for k in range(40):
        assert curve.error[k] == pytest.approx(errors[np.argsort(-uncertainty)[k:]].mean())
        assert curve.oracle[k] == pytest.approx(np.sort(errors)[: 40 - k].mean())
    assert metrics.ause(errors, uncertainty) == pytest.approx(np.mean(curve.error - curve.oracle))


def test_uncertainty_that_knows_nothing():
    errors = np.arange(100) < 30
    curve = metrics.sparsification(errors, np.zeros(100))
    np.testing.assert_allclose(curve.error, 0.3)
    assert metrics.auroc(errors, np.zeros(100)) == 0.5


def test_auroc_against_all_pairs(rng):
    errors, uncertainty = rng.random(60) < 0.3, rng.integers(0, 8, 60)
    wrong, right = uncertainty[errors], uncertainty[~errors]
    pairs = [(w > r) + 0.5 * (w == r) for w in wrong for r in right]
    assert metrics.auroc(errors, uncertainty) == pytest.approx(np.mean(pairs))


def test_ranking_extremes():
    errors = np.array([False, True, False, True])
    assert metrics.auroc(errors, errors * 1.0) == 1 and metrics.ause(errors, errors * 1.0) == 0
    assert metrics.auroc(errors, -1.0 * errors) == 0
    assert metrics.ause(errors, np.array([1.0, 3.0, 2.0, 4.0])) == 0
    assert math.isnan(metrics.auroc(np.ones(3, bool), np.arange(3)))


# All together


def test_evaluate_a_perfect_prediction(rng):
    labels = rng.integers(0, 2, (3, 8, 8))
    scores = metrics.evaluate(labels, one_hot(labels), np.zeros(labels.shape), ("background", "trap", "cell"))
    assert list(scores) == [
        "Dice",
        "Dice background",
        "Dice trap",
        "Dice cell",
        "IoU",
        "IoU background",
        "IoU trap",
        "IoU cell",
        "NLL",
        "Brier",
        "ECE",
        "AUSE",
        "AUROC",
    ]
    assert scores["Dice"] == scores["IoU"] == scores["Dice trap"] == 1
    assert scores["NLL"] == scores["Brier"] == scores["ECE"] == scores["AUSE"] == 0
    assert math.isnan(scores["AUROC"]) and math.isnan(scores["Dice cell"])


def test_the_order_of_the_pixels_does_not_matter(rng):
    labels, probabilities = random_case(rng, images=1, size=30)
    entropy = np.round(rng.random(labels.shape), 1)
    order = rng.permutation(900)
    shuffled = (
        array.reshape(*array.shape[:-2], 900)[..., order].reshape(array.shape)
        for array in (labels, probabilities, entropy)
    )
    one, other = metrics.evaluate(labels, probabilities, entropy), metrics.evaluate(*shuffled)
    assert one["AUSE"] == other["AUSE"] and one["AUROC"] == other["AUROC"]  # ties, and still the same bits
    assert one == pytest.approx(other)


def test_the_names_of_the_classes_do_not_matter(rng):
    labels, probabilities = random_case(rng)
    entropy = rng.random(labels.shape)
    one, other = (
        metrics.evaluate(labels, probabilities, entropy),
        metrics.evaluate(2 - labels, probabilities[:, ::-1], entropy),
    )
    assert all(one[key] == pytest.approx(other[key]) for key in ("Dice", "IoU", "NLL", "Brier", "ECE", "AUSE"))
    assert one["Dice 0"] == other["Dice 2"]


def test_arguments_are_left_alone(rng):
    labels, probabilities = random_case(rng)
    entropy = rng.random(labels.shape)
    for array in (labels, probabilities, entropy):
        array.setflags(write=False)
    metrics.evaluate(labels, probabilities, entropy)


# What is refused


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.confusion([0, 3], [0, 0], 3), r"labels from 0 to 2 \(3 classes\), got 0 to 3"),
        (lambda: metrics.confusion([0, -1], [0, 0], 3), "got -1 to 0"),
        (lambda: metrics.confusion([0.0], [0], 3), "integer labels, got float64"),
        (lambda: metrics.confusion([0, 1], [0], 3), r"shape \(2,\), got shape \(1,\)"),
        (lambda: metrics.nll(np.zeros((2, 4, 4), int), np.ones((2, 1, 4, 5))), r"\(2, 4, 4\) and \(2, 1, 4, 5\)"),
        (lambda: metrics.brier([2], [[0.5, 0.5]]), "got 2 to 2"),
        (lambda: metrics.ece([0], [[2.0, 2.0]]), "sums from 4 to 4"),
        (lambda: metrics.nll([0], [[np.nan, 1.0]]), "probabilities of at least 0"),
        (lambda: metrics.nll(np.zeros((0, 2), int), np.zeros((0, 3, 2))), "at least one pixel"),
        (lambda: metrics.ause([True], [1.0, 2.0]), r"\(1,\) and \(2,\)"),
        (lambda: metrics.ause([True, False], [1.0, np.nan]), "1 NaN"),
        (lambda: metrics.ause([-1.0], [1.0]), "errors of at least 0"),
        (lambda: metrics.auroc([0.5, 1.0], [1.0, 2.0]), "boolean errors"),
    ],
)
def test_bad_input_is_refused_with_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_table():
    assert markdown.table(
        [{"system": "adf", "Dice": 0.96258, "ECE": 0.0039}, {"system": "a|b", "Dice": math.nan, "steps": 900}]
    ) == "\n".join(
        [
            "| system |   Dice |    ECE | steps |",
            "| ------ | -----: | -----: | ----: |",
            "| adf    | 0.9626 | 0.0039 |     - |",
            "| a\\|b   |      - |      - |   900 |",
        ]
    )
