"""Metrics against hand-computed cases, naive loops and scikit-learn.

They are tested against what must not change them, too.
"""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics as sk
from sklearn.calibration import calibration_curve

from adf.evaluation import metrics, rankings
from adf.evaluation.scores import scores as all_scores
from adf.files.tables import markdown_table


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_case(rng, images=2, classes=3, size=5):
    labels = rng.integers(0, classes, (images, size, size))
    probabilities = (
        rng.dirichlet(np.ones(classes), labels.shape).transpose(0, 3, 1, 2).astype(np.float32)
    )
    return labels, probabilities


def one_hot(labels, classes=3):
    return np.moveaxis(np.eye(classes, dtype=np.float32)[labels], -1, 1)


# Segmentation


def test_confusion_dice_iou_by_hand():
    counts = metrics.confusion(
        np.uint8([[0, 0, 1], [1, 1, 2]]), np.uint8([[0, 1, 1], [1, 2, 2]]), 4
    )
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]  # (8.3)
    np.testing.assert_allclose(metrics.dice(counts), [2 / 3, 4 / 6, 2 / 3, np.nan])  # (8.4)
    np.testing.assert_allclose(metrics.iou(counts), [1 / 2, 2 / 4, 1 / 2, np.nan])  # (8.5)


@pytest.mark.parametrize("truth", ["uint8", "int64", "uint64", "bool"])
@pytest.mark.parametrize("called", ["uint8", "int64", "uint64", "bool"])
def test_confusion_of_any_two_integer_types(truth, called):
    counts = metrics.confusion(np.array([0, 1, 1], truth), np.array([1, 1, 1], called), 2)
    assert counts.dtype == np.int64 and counts.tolist() == [[0, 1], [0, 2]]


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
    assert metrics.nll(labels, probabilities) == pytest.approx(
        log_loss / labels.size, rel=1e-6
    )  # (8.6)
    assert metrics.brier(labels, probabilities) == pytest.approx(
        squares / labels.size, rel=1e-6
    )  # (8.7)


def test_nll_and_brier_by_hand():
    probabilities = np.array([[1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 4, 1 / 2]])
    assert metrics.nll([0, 1], probabilities) == pytest.approx((math.log(2) + math.log(4)) / 2)
    # (1/4 + 1/16 + 1/16 + 1/16 + 9/16 + 1/4) / 2 = (20 / 16) / 2
    assert metrics.brier([0, 1], probabilities) == pytest.approx(5 / 8)


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
    assert (
        metrics.ece(labels, probabilities, bins=7) == curve.ece == pytest.approx(expected, rel=1e-6)
    )  # (8.8)


def test_ece_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    # In the bin of 0.9 one of two is right, in the bin of 0.8 both are:
    # (2 * |0.5 - 0.9| + 2 * |1 - 0.8|) / 4.
    assert metrics.ece([0, 1, 1, 1], probabilities) == pytest.approx(0.3)


def test_bins_are_closed_above():
    curve = metrics.reliability([0, 0, 0], np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]), bins=4)
    assert curve.count.tolist() == [0, 1, 1, 1]


# Uncertainty


def test_sparsification_by_hand():
    curve = rankings.sparsification(
        np.array([True, False, True, False]), np.array([4.0, 3.0, 2.0, 1.0])
    )
    np.testing.assert_allclose(curve.removed, [0, 1 / 4, 2 / 4, 3 / 4])
    np.testing.assert_allclose(curve.error, [2 / 4, 1 / 3, 1 / 2, 0])
    np.testing.assert_allclose(curve.oracle, [2 / 4, 1 / 3, 0, 0])
    assert curve.ause == pytest.approx((1 / 2) / 4)  # (8.10)


def test_ties_count_as_the_average_over_all_their_orders():
    errors = np.array([1.0, 0.0, 0.0, 3.0, 0.5])
    uncertainty = np.array([2.0, 2.0, 2.0, 1.0, 2.0])
    left = [
        [np.mean([3.0, *order[: kept - 1]]) for kept in range(5, 0, -1)]
        for order in itertools.permutations([1.0, 0.0, 0.0, 0.5])
    ]
    np.testing.assert_allclose(
        rankings.sparsification(errors, uncertainty).error, np.mean(left, axis=0)
    )


def test_sparsification_against_loops(rng):
    errors, uncertainty = rng.random(40) ** 2, rng.random(40)
    curve = rankings.sparsification(errors, uncertainty)
    for k in range(40):
        assert curve.error[k] == pytest.approx(errors[np.argsort(-uncertainty)[k:]].mean())
        assert curve.oracle[k] == pytest.approx(np.sort(errors)[: 40 - k].mean())
    assert rankings.ause(errors, uncertainty) == pytest.approx(np.mean(curve.error - curve.oracle))


def test_uncertainty_that_knows_nothing():
    errors = np.arange(100) < 30
    curve = rankings.sparsification(errors, np.zeros(100))
    np.testing.assert_allclose(curve.error, 0.3)
    assert rankings.auroc(errors, np.zeros(100)) == 0.5


def test_risk_coverage_by_hand():
    errors, uncertainty = np.array([True, False, True, False]), np.array([4.0, 3.0, 2.0, 1.0])
    curve, oracle = (
        rankings.risk_coverage(errors, uncertainty),
        rankings.risk_coverage(errors, errors),
    )
    np.testing.assert_allclose(curve.coverage, [1 / 4, 2 / 4, 3 / 4, 1])
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1 / 3, 2 / 4])
    np.testing.assert_allclose(oracle.risk, [0, 0, 1 / 3, 2 / 4])
    assert curve.aurc == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)  # (8.9)
    assert curve.aurc - oracle.aurc == pytest.approx((1 / 2) / 4)  # the AUSE of the case above


def test_risk_of_a_tie_by_hand():
    # The two surest pixels, one of them wrong, come in either order:
    # (1 + 0) / 2, then 1 / 2 for sure, then 1 / 3.
    curve = rankings.risk_coverage(np.array([True, False, False]), np.array([1, 1, 2]))
    np.testing.assert_allclose(curve.risk, [1 / 2, 1 / 2, 1 / 3])
    assert curve.aurc == pytest.approx(4 / 9)
    one = rankings.risk_coverage([True], [0.0])
    assert one.coverage.tolist() == one.risk.tolist() == [1] and one.aurc == 1


@pytest.mark.parametrize("levels", [1, 6, 10**9])
@pytest.mark.parametrize("boolean", [True, False])
def test_risk_coverage_is_sparsification_from_right_to_left(rng, levels, boolean):
    errors = rng.random(500) < 0.2 if boolean else rng.random(500) ** 2
    uncertainty = rng.integers(0, levels, 500) / 7
    risk, sparse = (
        rankings.risk_coverage(errors, uncertainty),
        rankings.sparsification(errors, uncertainty),
    )
    np.testing.assert_array_equal(risk.risk[::-1], sparse.error)
    np.testing.assert_allclose(risk.coverage[::-1], 1 - sparse.removed)
    oracle = rankings.risk_coverage(errors, errors)
    assert risk.aurc - oracle.aurc == pytest.approx(rankings.ause(errors, uncertainty), abs=1e-14)


def test_aurc_of_the_oracle_and_of_a_ranking_that_knows_nothing():
    # At error rate r the oracle's risk is 0 up to coverage 1 - r, then 1 - (1 - r) / c:
    # the area is r + (1 - r) ln(1 - r).
    errors = np.arange(100_000) < 20_000
    assert rankings.risk_coverage(errors, errors).aurc == pytest.approx(
        0.2 + 0.8 * math.log(0.8), rel=1e-4
    )
    assert rankings.risk_coverage(errors, np.zeros(errors.shape)).aurc == pytest.approx(0.2)


def test_auroc_by_hand():
    # Wrong pixels are at 3 and 2, right ones at 1 and 2: 3 > 1, 3 > 2, 2 > 1, and half a point for
    # 2 = 2, of four pairs.
    assert rankings.auroc(
        np.array([True, True, False, False]), np.array([3, 2, 1, 2])
    ) == pytest.approx(3.5 / 4)


def test_auroc_against_all_pairs(rng):
    errors, uncertainty = rng.random(60) < 0.3, rng.integers(0, 8, 60)
    wrong, right = uncertainty[errors], uncertainty[~errors]
    pairs = [(w > r) + 0.5 * (w == r) for w in wrong for r in right]
    assert rankings.auroc(errors, uncertainty) == pytest.approx(np.mean(pairs))  # (8.11)


def test_ranking_extremes():
    errors = np.array([False, True, False, True])
    assert rankings.auroc(errors, errors * 1.0) == 1 and rankings.ause(errors, errors * 1.0) == 0
    assert rankings.auroc(errors, -1.0 * errors) == 0
    assert rankings.ause(errors, np.array([1.0, 3.0, 2.0, 4.0])) == 0
    assert math.isnan(rankings.auroc(np.ones(3, bool), np.arange(3)))


# Against scikit-learn


CASES = {
    "all classes": {},
    "two classes": {"classes": 2},
    "a class that is only called, one in neither": {"true": (0, 1, 2), "guessed": (0, 1, 2, 4)},
    "a class that is never called": {"guessed": (0, 1, 2, 3)},
    "one true class": {"true": (3,)},
    "one pixel, right": {"true": (1,), "guessed": (1,), "images": 1, "size": 1},
    "one pixel, wrong": {"true": (1,), "guessed": (3,), "images": 1, "size": 1},
}


def tied_case(rng, classes=5, true=None, guessed=None, images=3, size=20):
    """labels (N, H, W), probabilities (N, K, H, W), and their entropy, with many ties.

    The probabilities take few values, none of them 0.
    """
    true, guessed = np.array(true or range(classes)), np.array(guessed or range(classes))
    labels = rng.choice(true, (images, size, size))
    weights = np.ones((*labels.shape, classes))
    weights[..., guessed] += rng.integers(1, 6, (*labels.shape, len(guessed))) + 3 * (
        labels[..., None] == guessed
    )
    probabilities = np.moveaxis(weights / weights.sum(axis=-1, keepdims=True), -1, 1)
    entropy = -(probabilities * np.log(probabilities)).sum(axis=1)
    return labels, probabilities, entropy.round(2)


def in_a_row(labels, probabilities):
    return labels.ravel(), np.moveaxis(probabilities, 1, -1).reshape(labels.size, -1)


def called(probabilities):
    return probabilities.argmax(axis=1)


def counts(labels, probabilities):
    return metrics.confusion(labels, called(probabilities), probabilities.shape[1])


def per_class(score, labels, p):
    """Of every class, NaN for one in neither: there scikit-learn has a number of one's choice."""
    every = np.arange(p.shape[1])
    values = score(labels, called(p), labels=every, average=None, zero_division=0)
    return np.where(np.isin(every, labels) | np.isin(every, called(p)), values, np.nan)


def brier_by_scikit_learn(labels, p):
    return sk.brier_score_loss(labels, p, labels=range(p.shape[1]), scale_by_half=False)


PAIRS = {
    "confusion": (counts, lambda y, p: sk.confusion_matrix(y, called(p), labels=range(p.shape[1]))),
    "Dice": (lambda y, p: metrics.dice(counts(y, p)), lambda y, p: per_class(sk.f1_score, y, p)),
    "mean Dice": (
        lambda y, p: np.nanmean(metrics.dice(counts(y, p))),
        lambda y, p: sk.f1_score(y, called(p), average="macro"),
    ),
    "IoU": (lambda y, p: metrics.iou(counts(y, p)), lambda y, p: per_class(sk.jaccard_score, y, p)),
    "mean IoU": (
        lambda y, p: np.nanmean(metrics.iou(counts(y, p))),
        lambda y, p: sk.jaccard_score(y, called(p), average="macro"),
    ),
    "NLL": (metrics.nll, lambda y, p: sk.log_loss(y, p, labels=range(p.shape[1]))),
    "Brier": (metrics.brier, brier_by_scikit_learn),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_scikit_learn(rng, case, pair):
    labels, probabilities, _ = tied_case(rng, **CASES[case])
    ours, theirs = PAIRS[pair]
    np.testing.assert_allclose(
        ours(labels, probabilities), theirs(*in_a_row(labels, probabilities)), rtol=1e-12
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_scores_of_permuted_labels_are_not_those_of_scikit_learn(rng, pair):
    labels, probabilities, _ = tied_case(rng)
    ours, theirs = PAIRS[pair]
    permuted = rng.permutation(labels.ravel()).reshape(labels.shape)
    assert not np.allclose(
        ours(permuted, probabilities), theirs(*in_a_row(labels, probabilities)), rtol=0.01
    )


def test_the_cases_lack_the_classes_they_say(rng):
    def of(case):
        labels, probabilities, entropy = tied_case(rng, **CASES[case])
        assert len(np.unique(entropy)) < max(labels.size / 5, 2)
        return set(labels.flat), set(called(probabilities).flat)

    assert of("all classes") == ({0, 1, 2, 3, 4}, {0, 1, 2, 3, 4})
    assert of("a class that is only called, one in neither") == ({0, 1, 2}, {0, 1, 2, 4})
    assert of("a class that is never called") == ({0, 1, 2, 3, 4}, {0, 1, 2, 3})
    assert of("one pixel, wrong") == ({1}, {3})


@pytest.mark.parametrize("case", [case for case in CASES if "pixel" not in case])
@pytest.mark.parametrize("digits", [0, 1, 2, 15])
def test_auroc_is_that_of_scikit_learn(rng, case, digits):
    labels, probabilities, entropy = tied_case(rng, **CASES[case])
    wrong, uncertainty = (
        called(probabilities) != labels,
        (entropy + 1e-3 * rng.random(labels.shape)).round(digits),
    )
    expected = sk.roc_auc_score(wrong.ravel(), uncertainty.ravel())
    assert rankings.auroc(wrong, uncertainty) == pytest.approx(expected, rel=1e-12)
    assert digits == 0 or rankings.auroc(
        wrong, rng.permutation(uncertainty.ravel()).reshape(wrong.shape)
    ) != (pytest.approx(expected, rel=1e-3))


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("eighths, bins", [(True, 8), (False, 8), (False, 15)])
def test_reliability_is_that_of_scikit_learn(rng, classes, eighths, bins):
    # Eighths lie on the edges of eight bins, and those are the same floats in both; fifteenths are
    # not.
    labels = rng.integers(0, classes, 3000)
    shares = rng.dirichlet(np.ones(classes), 3000)
    probabilities = rng.multinomial(8, shares) / 8 if eighths else shares
    right, confidence = called(probabilities) == labels, probabilities.max(axis=1)
    accuracy, mean = calibration_curve(right, confidence, n_bins=bins)
    curve = metrics.reliability(labels, probabilities, bins)
    full = curve.count > 0
    np.testing.assert_allclose(curve.accuracy[full], accuracy, rtol=1e-12)
    np.testing.assert_allclose(curve.confidence[full], mean, rtol=1e-12)
    assert np.isnan(curve.accuracy[~full]).all() and full.sum() < bins
    other = metrics.reliability(rng.permutation(labels), probabilities, bins)
    assert not np.allclose(other.accuracy[full], accuracy, rtol=0.01)


def test_scikit_learn_is_for_the_tests_only():
    code = (
        "import sys, adf.evaluation.scores, adf.evaluation.evaluate; "
        "assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# All together


def test_evaluate_a_perfect_prediction(rng):
    labels = rng.integers(0, 2, (3, 8, 8))
    scores = all_scores(
        labels, one_hot(labels), *np.zeros((2, *labels.shape)), ("background", "trap", "cell")
    )
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
        "AURC",
        "AUSE std",
        "AUROC std",
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
        for array in (labels, probabilities, entropy, entropy)
    )
    one, other = (
        all_scores(labels, probabilities, entropy, entropy),
        all_scores(*shuffled),
    )
    # there are ties, and still the bits are the same
    assert one["AUSE"] == other["AUSE"] and one["AUROC"] == other["AUROC"]
    assert one == pytest.approx(other)


def test_the_names_of_the_classes_do_not_matter(rng):
    labels, probabilities = random_case(rng)
    entropy = rng.random(labels.shape)
    one, other = (
        all_scores(labels, probabilities, entropy, entropy),
        all_scores(2 - labels, probabilities[:, ::-1], entropy, entropy),
    )
    assert all(
        one[key] == pytest.approx(other[key])
        for key in ("Dice", "IoU", "NLL", "Brier", "ECE", "AUSE")
    )
    assert one["Dice 0"] == other["Dice 2"]


def test_arguments_are_left_alone(rng):
    labels, probabilities = random_case(rng)
    entropy = rng.random(labels.shape)
    for array in (labels, probabilities, entropy):
        array.setflags(write=False)
    all_scores(labels, probabilities, entropy, entropy)


# What is refused


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: metrics.confusion([0, 3], [0, 0], 3),
            r"labels from 0 to 2 \(3 classes\), got 0 to 3",
        ),
        (lambda: metrics.confusion([0, -1], [0, 0], 3), "got -1 to 0"),
        (lambda: metrics.confusion([0.0], [0], 3), "integer labels, got float64"),
        (lambda: metrics.confusion([0, 1], [0], 3), r"shape \(2,\), got shape \(1,\)"),
        (
            lambda: metrics.nll(np.zeros((2, 4, 4), int), np.ones((2, 1, 4, 5))),
            r"\(2, 4, 4\) and \(2, 1, 4, 5\)",
        ),
        (lambda: metrics.brier([2], [[0.5, 0.5]]), "got 2 to 2"),
        (lambda: metrics.ece([0], [[2.0, 2.0]]), "sums from 4 to 4"),
        (lambda: metrics.nll([0], [[np.nan, 1.0]]), "probabilities of at least 0"),
        (lambda: metrics.brier([0], [[1.5, -0.5]]), "values from -0.5"),
        (lambda: metrics.nll([0, 1], [0.5, 0.5]), r"\(2,\) and \(2,\)"),
        (lambda: metrics.nll(np.zeros((0, 2), int), np.zeros((0, 3, 2))), "at least one pixel"),
        (lambda: rankings.ause([True], [1.0, 2.0]), r"\(1,\) and \(2,\)"),
        (lambda: rankings.ause([True, False], [1.0, np.nan]), "1 NaN"),
        (lambda: rankings.ause([-1.0], [1.0]), "errors of at least 0"),
        (lambda: rankings.ause([-1.0, 1.0], [1.0, 2.0]), "errors from -1 "),
        (lambda: rankings.risk_coverage([True], [1.0, 2.0]), r"\(1,\) and \(2,\)"),
        (lambda: rankings.risk_coverage([], []), "at least one pixel"),
        (lambda: rankings.auroc([0.5, 1.0], [1.0, 2.0]), "boolean errors"),
    ],
)
def test_bad_input_is_refused_with_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_table():
    assert markdown_table(
        [
            {"system": "adf", "Dice": 0.96258, "ECE": 0.0039},
            {"system": "a|b", "Dice": math.nan, "steps": 900},
        ]
    ) == "\n".join(
        [
            "| system |   Dice |    ECE | steps |",
            "| ------ | -----: | -----: | ----: |",
            "| adf    | 0.9626 | 0.0039 |     - |",
            "| a\\|b   |      - |      - |   900 |",
        ]
    )


def test_probabilities_may_be_rounded_but_not_wrong():
    """To three digits they sum to 1.001 at most; 1.005 is another mistake."""
    for score in (metrics.nll, metrics.brier, metrics.ece):
        score([0], [[0.5005, 0.5]])
        score([0], [[0.4995, 0.5]])
        for total in (0.995, 1.005):
            with pytest.raises(ValueError, match="sum to 1"):
                score([0, 0], [[0.5, 0.5], [total - 0.5, 0.5]])


def test_there_are_fifteen_bins_as_in_the_literature(rng):
    labels, probabilities = random_case(rng, images=4)
    default = metrics.reliability(labels, probabilities)
    assert len(default.count) == 15
    assert metrics.ece(labels, probabilities) == default.ece
    assert default.ece != metrics.ece(labels, probabilities, bins=14)
