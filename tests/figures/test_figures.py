"""The figures are made without a warning, and say what they show.

pytest turns warnings into errors.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from adf import Prediction, figures
from adf.evaluation import metrics, rankings

NAMES = ("background", "trap", "cell", "bud", "debris", "dust")


def predicted(images=2, classes=3, size=(24, 32), rng=0):
    alpha = np.random.default_rng(rng).gamma(1.0, 5.0, (images, classes, *size)).astype(np.float32)
    strength = alpha.sum(axis=1, keepdims=True)
    p = alpha / strength
    return Prediction(
        p.argmax(axis=1).astype(np.uint8),
        p,
        alpha,
        np.sqrt(p * (1 - p) / (strength + 1)),
        -(p * np.log(p)).sum(axis=1),
    )


def words(figure):
    axes = figure.axes
    legends = [
        text.get_text() for one in axes if one.get_legend() for text in one.get_legend().get_texts()
    ]
    return (
        [text.get_text() for one in axes for text in one.texts]
        + [one.get_xlabel() for one in axes]
        + legends
    )


def png_size(path):
    with Image.open(path) as picture:
        picture.load()
        return picture.size


@pytest.mark.parametrize(
    "images, classes, size",
    [
        (1, 2, (16, 16)),
        (2, 3, (24, 32)),
        (3, 6, (40, 12)),
        (8, 3, (8, 9)),
        (1, 3, (1, 200)),
        (1, 3, (2, 2)),
    ],
)
def test_overview_draws_any_number_and_size(images, classes, size, tmp_path):
    prediction = predicted(images, classes, size)
    grey = np.arange(images * size[0] * size[1], dtype=np.uint16).reshape(images, *size)
    labels = np.zeros(grey.shape, int)
    figure = figures.overview(grey, prediction, labels, NAMES[:classes], titles=range(images))
    assert len(figure.axes) == 4 * images + 4
    figures.save(figure, tmp_path / "overview.png", dpi=40)
    assert png_size(tmp_path / "overview.png")[0] == int(40 * figure.get_figwidth())


def test_overview_says_what_it_shows():
    prediction = predicted()
    labels = prediction.labels.copy()
    labels[0, :12] = (labels[0, :12] + 1) % 3
    said = words(
        figures.overview(
            np.zeros((2, 1, 24, 32)), prediction, labels, titles=["a $1 trap$.png", "b" * 99]
        )
    )
    for text in (
        "segmentation",
        "misclassified pixels",
        "mean uncertainty over classes",
        "background-class uncertainty",
        "standard deviation of p",
        "standard deviation of p(background)",
        "50.00 % wrong",
        "0.00 % wrong",
        "a $1 trap$.png",
        "background",
        "trap",
        "cell",
    ):
        assert text in said
    assert "b" * 99 not in said


def test_overview_without_truth_shows_the_image(tmp_path):
    figure = figures.overview(np.random.default_rng(0).normal(size=(2, 24, 32)), predicted())
    assert "image (no truth given)" in words(figure) and "misclassified pixels" not in words(figure)
    figures.save(figure, tmp_path / "overview.png")


def test_maps_of_a_column_share_their_scale():
    prediction = predicted()
    prediction.class_std[1] *= 0.1
    figure = figures.overview(np.zeros((2, 24, 32)), prediction)
    mean, background = (np.array(figure.axes[:8]).reshape(2, 4)[:, column] for column in (2, 3))
    for column, std in (
        (mean, prediction.class_std.mean(axis=1)),
        (background, prediction.class_std[:, 0]),
    ):
        for axes, expected in zip(column, std, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), expected)
            assert axes.images[0].get_clim() == (0, std.max())


def test_wrong_pixels_stand_out():
    prediction = predicted(images=1)
    labels = prediction.labels.astype(int)
    labels[0, 3, 5] = (labels[0, 3, 5] + 1) % 3
    shown = (
        figures.overview(np.zeros((1, 24, 32)), prediction, labels).axes[1].images[0].get_array()
    )
    bright = np.argwhere(shown.max(axis=-1) > 0.9)
    assert bright.tolist() == [[3, 5]]


def test_certain_and_constant_is_drawn_too(tmp_path):
    prediction = predicted(images=1)
    prediction.labels[:], prediction.class_std[:] = 0, 0
    figures.save(figures.overview(np.full((1, 24, 32), 7), prediction), tmp_path / "constant.png")


@pytest.mark.parametrize(
    "images, labels, names, titles",
    [
        (np.zeros((2, 24, 31)), None, NAMES[:3], None),
        (np.zeros((2, 3, 24, 32)), None, NAMES[:3], None),
        (np.zeros((2, 24, 32)), np.zeros((1, 24, 32)), NAMES[:3], None),
        (np.zeros((2, 24, 32)), None, NAMES[:2], None),
        (np.zeros((2, 24, 32)), None, NAMES[:3], ["one"]),
    ],
)
def test_overview_refuses_what_does_not_match(images, labels, names, titles):
    with pytest.raises(ValueError, match="overview expects"):
        figures.overview(images, predicted(), labels, names, titles)


def curves(rng):
    prediction = predicted(rng=rng)
    labels = np.random.default_rng(rng).integers(0, 3, prediction.labels.shape)
    return (
        metrics.reliability(labels, prediction.probabilities),
        rankings.sparsification(labels != prediction.labels, prediction.entropy),
        rankings.risk_coverage(labels != prediction.labels, prediction.entropy),
    )


def test_reliability_sparsification_and_risk_coverage(tmp_path):
    calibration, ranking, selection = curves(0)
    for figure, score in (
        (figures.reliability(calibration), f"ECE {calibration.ece:.4f}"),
        (figures.sparsification(ranking), f"AUSE {ranking.ause:.3g}"),
        (figures.risk_coverage(selection), f"AURC {selection.aurc:.3g}"),
    ):
        assert (
            score in words(figure) and figure.axes[-1].get_xlabel() and figure.axes[0].get_ylabel()
        )
        figures.save(figure, tmp_path / "curve.png")


def test_curves_of_several_systems_side_by_side(tmp_path):
    draws = (figures.reliability, figures.sparsification, figures.risk_coverage)
    for j, draw in enumerate(draws):
        figure = draw({f"system {i}": curves(i)[j] for i in range(7)})
        assert sum(text.startswith("system") for text in words(figure)) == 7
        figures.save(figure, tmp_path / "curves.png")


@pytest.mark.parametrize("errors", [[False] * 5, [True] * 5, [True]])
def test_sparsification_and_risk_coverage_of_nothing_to_rank(errors, tmp_path):
    pixels = np.array(errors), np.arange(len(errors))
    figures.save(figures.sparsification(rankings.sparsification(*pixels)), tmp_path / "curve.png")
    figures.save(figures.risk_coverage(rankings.risk_coverage(*pixels)), tmp_path / "curve.png")


def test_risk_coverage_shows_every_risk_but_zero():
    errors = np.arange(100_000) % np.array([[20], [1000]]) == 0
    curves = [rankings.risk_coverage(wrong, np.arange(100_000) % 9 + 5 * wrong) for wrong in errors]
    axes = figures.risk_coverage(dict(zip("ab", curves, strict=True))).axes[0]
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log"
    for line, curve in zip(axes.lines, curves, strict=True):
        coverage, risk = line.get_data()
        assert (coverage[-1], risk[-1]) == (1, curve.risk[-1])
        assert risk[0] == 0 and low < risk[risk > 0].min() and risk.max() < high


def test_save_is_reproducible_and_leaves_nothing_else(tmp_path):
    for name in ("a.png", "b.png", "b.png"):
        figures.save(figures.reliability(curves(0)[0]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    with pytest.raises(ValueError):
        figures.save(figures.reliability(curves(0)[0]), tmp_path / "a.png", dpi=-1)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_figures_work_in_threads(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda i: figures.save(
                    figures.overview(np.zeros((2, 24, 32)), predicted(rng=i)),
                    tmp_path / f"{i}.png",
                    dpi=40,
                ),
                range(4),
            )
        )
    assert len(list(tmp_path.iterdir())) == 4


def test_no_pyplot():
    code = (
        "import sys, adf; assert 'matplotlib' not in sys.modules; "
        "import adf.figures; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sparsification_ends_where_two_percent_of_the_error_are_left():
    """The error falls by a twentieth of its start a step; the axis ends before it is below 2 %."""
    error = np.append(np.linspace(0.4, 0.02, 20), [0.008, 0.0079, 0.0])
    curve = rankings.Sparsification(np.arange(23) / 23, error, np.zeros(23))
    axes = figures.sparsification(curve).axes[0]
    assert axes.get_xlim() == pytest.approx((0, 20 / 23))
    assert axes.get_ylim() == pytest.approx((0, 0.42))


def test_shares_of_pixels_sum_to_one():
    curve = metrics.Reliability(np.full(4, 0.5), np.full(4, 0.5), np.array([2, 3, 0, 15]))
    (histogram,) = figures.reliability(curve).axes[1].patches
    shares, edges, _ = histogram.get_data()
    np.testing.assert_allclose(shares, [0.1, 0.15, 0, 0.75])
    np.testing.assert_allclose(edges, [0, 0.25, 0.5, 0.75, 1])


def test_the_image_shows_through_the_tint():
    """Of its contrast 60 % are left where a class is washed over it, and all in class 0."""
    prediction = predicted(images=1, size=(8, 8))
    image = np.zeros((1, 8, 8))
    image[:, ::2] = 1
    prediction.labels[:] = np.repeat([0, 1, 2, 2], 2)
    shown = figures.overview(image, prediction).axes[0].images[0].get_array()
    contrast = np.array([1, 1, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6])[:, None]
    np.testing.assert_allclose(shown[0] - shown[1], np.broadcast_to(contrast, (8, 3)))
    assert shown[1, 2].argmax() == 2 and (shown[1, 2] == shown[1, 3]).all()  # blue, without grey
    assert not shown[1, 0].any()


@pytest.mark.parametrize(
    "title, shown",
    [
        ("细胞.png", r"\u7ec6\u80de.png"),
        (b"im\xe9.png".decode("utf-8", "surrogateescape"), r"im\udce9.png"),
        ("a\nb\t.png", r"a\nb\t.png"),
        ("Hefe Größe µ.png", "Hefe Größe µ.png"),
        ("\U00020000.png", r"\U00020000.png"),
    ],
    ids=["CJK", "not UTF-8", "control", "Latin", "beyond 16 bits"],
)
def test_what_the_font_lacks_is_escaped(title, shown, tmp_path):
    """A warning of matplotlib would be an error here, and what is no character one at any time."""
    names = ("background", title, "cell")
    figure = figures.overview(np.zeros((2, 24, 32)), predicted(), None, names, [title] * 2)
    figures.save(figure, tmp_path / "overview.png")
    assert words(figure).count(shown) == 3  # over two rows, and in the legend


def test_a_picture_may_say_what_it_is(tmp_path):
    figures.save(figures.reliability(curves(0)[0]), tmp_path / "a.png", description="from a test")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["Description"] == "from a test" and "Software" not in picture.info
