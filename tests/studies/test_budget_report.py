"""The report of the error budget: scores, ADF beside samples, tables, pictures."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

import adf
from adf import Gaussian, montecarlo, runs
from adf.backend import to_host, xp
from adf.data.source import open_source
from adf.layers.free_variance import free
from adf.studies import budget
from adf.studies.budget import report as reporting
from adf.studies.budget import rivals as rivalry
from adf.studies.budget.curve import worth_and_price
from adf.studies.budget.figure import error_budget
from adf.studies.budget.plain import learned
from adf.studies.budget.report import Row, summarise, table, two_digits
from adf.studies.budget.rivals import Rival
from adf.studies.budget.score import Score, rank_correlation, score
from adf.studies.budget.stages import Stage
from adf.studies.budget.two_weights import two_weights


def stage(ratio, rng, samples=None, shape=(2, 50, 50)):
    """A Stage whose true variances, 4, are known from so many samples."""
    true = np.full(shape, 4.0)
    found = Gaussian(np.zeros(shape), true * ratio)
    if samples:
        true = true * rng.chisquare(samples - 1, shape) / (samples - 1)
    return Stage(adf.LeakyReLU(), found, Gaussian(np.zeros(shape), true), np.ones(4))


def test_a_score_takes_off_what_the_truth_scatters():
    """Variances of 8 samples against truth of 32: 5,000 outputs tell within 10 %."""
    rng = np.random.default_rng(0)
    ratio = 3 * rng.chisquare(7, (2, 50, 50)) / 7
    exact, found = score([stage(ratio, rng)]), score([stage(ratio, rng, 32)], 32)
    assert exact.worth == pytest.approx(8, rel=0.1) == found.worth
    assert found.median == pytest.approx(exact.median, rel=0.05)
    assert score([stage(ratio, rng, 32)]).worth < 0.9 * found.worth  # nothing taken off
    assert exact.mean_error == 0 and math.isnan(exact.rank)  # 4 is 4 everywhere


def test_the_bias_of_sampled_variances_is_taken_off():
    """Variances that are right, against truth of 4 samples: their geometric mean is 1."""
    rng = np.random.default_rng(1)
    stages = [stage(1.0, rng, 4, (4, 100, 100))]
    logs = np.log(stages[0].ratio)
    (row,) = summarise([stages], 4)
    assert row.factors[1] == pytest.approx(np.exp(-logs.mean()), abs=0.05)
    assert row.score.median == pytest.approx(np.median(stages[0].ratio) * row.factors[1], rel=1e-9)
    assert row.score.worth > 1000 and " > 4 |" in table([row], samples=4)


def test_a_rank_is_that_of_the_pixels_of_a_channel():
    """Channels of other sizes do not count for an order; a constant one has none."""
    true = np.array([[[1.0, 2, 3, 4]], [[100, 200, 300, 400]], [[5, 5, 5, 5]]])
    assert rank_correlation(true**2, true) == pytest.approx(1)
    assert rank_correlation(true[:, :, ::-1], true) == pytest.approx(-1)
    turned = np.array([true[0, :, ::-1], true[1], true[2]])
    assert rank_correlation(turned, true) == pytest.approx(0)
    assert math.isnan(rank_correlation(true[2:], true[2:]))
    assert math.isnan(rank_correlation(true[:, :, :2], true[:, :, :2]))


@pytest.mark.parametrize("shape", [(4, 5, 6), (2, 1, 3)])
def test_a_rank_is_the_mean_of_spearmans(shape):
    rng = np.random.default_rng(0)
    true = rng.integers(1, 9, shape).astype(float)  # with ties
    true[:, 0, :2] = 1, 9
    var = true + 3 * rng.random(shape)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(var, true, strict=True)]
    assert rank_correlation(var, true) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    "value, text",
    [
        (1.004, "1.0"),
        (0.0000234, "2.3e-05"),
        (0.0024, "0.0024"),
        (9.96, "10"),
        (86.4, "86"),
        (412, "410"),
        (0, "0.0"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_two_digits(value, text):
    assert two_digits(value) == text


def network(has_learned, rng=1):
    net = adf.UNet(1, 2, widths=(3, 4), rng=rng)
    for law in adf.calibration.linear_layers(net) if has_learned else ():
        free(law, 0.3)
    return net


def image(size=16):
    mean = xp.asarray(np.random.default_rng(0).normal(size=(1, 1, size, size)), "float32")
    return Gaussian(mean, xp.full_like(mean, 0.1))


@pytest.mark.parametrize("has_learned", [False, True])
def test_rivals_are_measured_by_one_truth(has_learned):
    net, x = network(has_learned), image()
    stages = budget.measure(net, x, 512)
    found = rivalry.rivals(net, [x], [stages], 512)
    names = [r.name for r in found]
    first = ["ADF, learned weights", "plain ADF"] if has_learned else ["ADF"]
    assert names[: len(first)] == first and names[-1] == "64 samples, orthogonal"
    assert len(names) == len(first) + 9 == len(set(names))
    assert found[0].score == score([stages[-1]], 512)
    # What was sampled is worth what it was made of; 512 outputs of one image tell within a third.
    for r in found[len(first) :]:
        assert r.price == int(r.name.split()[0])
        if r.kind == "independent" and r.price < 64:
            assert r.score.worth == pytest.approx(r.price, rel=0.35), r
    assert all(r.price > 0 for r in found[: len(first)])


def test_a_rival_has_other_noise_than_the_truth():
    x = Gaussian(xp.zeros((1, 1, 8, 8)), xp.ones((1, 1, 8, 8)))
    true = budget.measure(adf.Conv2d(1, 1, 1), x, 16)[-1].true.var
    found = montecarlo.sampled_output(adf.Identity(), x, 16, (rivalry.SEED, 0)).var
    assert abs(np.corrcoef(to_host(found).ravel(), true.ravel())[0, 1]) < 0.6


def test_price_is_a_ratio_of_times(monkeypatch):
    times = iter([1.0, 3.0, 2.0, 8.0, 1.0, 100.0])
    monkeypatch.setattr(rivalry, "ROUNDS", 3)
    monkeypatch.setattr(rivalry, "seconds", lambda *_: next(times))
    assert rivalry.price(adf.Identity(), image()) == 4


def test_the_curve_shows_every_rival_that_has_a_worth():
    def rival(kind, price, worth):
        return Rival(kind, kind, price, Score(1, 1, 1, 0, 1, worth))

    found = [
        rival("ADF", 4, 30.0),
        rival("plain ADF", 3, 4.0),
        *(rival("independent", k, float(k)) for k in (2, 4)),
        rival("orthogonal", 4, math.inf),
    ]
    (axes,) = worth_and_price(found).axes
    *lines, diagonal = axes.lines
    points = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in lines}
    assert points == {
        "samples, independent noise": [(2, 2), (4, 4)],
        "plain ADF": [(3, 4)],
        "ADF": [(4, 30)],
    }
    assert list(diagonal.get_xdata()) == [1, 32] == list(axes.get_ylim())
    (axes,) = worth_and_price([rival("ADF", 4, math.inf)]).axes
    assert len(axes.lines) == 1  # the diagonal


def test_plain_adf_is_drawn_beside():
    rows = [Row("a", Score(1, 1, 1, 0, 1, 9), np.array([1, 1, 1, 2.0]))]
    figure = error_budget(rows, np.ones((2, 3, 3)), reporting.LEARNED_CAUSES, rows)
    labels = [t.get_text() for axes in figure.axes[:2] for t in axes.get_legend().get_texts()]
    assert "plain ADF, median" in labels and "learned weights" in labels


def run_of(net, folder):
    """A Run, untrained, with this network."""
    run = runs.Run(folder, runs.Settings.of({"steps": 1}))
    run.segmenter.network = net
    return run


@pytest.mark.parametrize("has_learned", [False, True])
def test_a_report_of_anyones_images(has_learned, tmp_path, monkeypatch):
    """Images of 150 x 21, without labels: their middle, in multiples of 2, is measured."""
    (tmp_path / "images").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 255, (150, 21)).astype(np.uint8)
        np.save(tmp_path / "images" / f"{i}.npy", pixels)
    run = run_of(network(has_learned), tmp_path / "run")
    (x,) = reporting.middle_inputs(run, 1, str(tmp_path))
    assert x.mean.shape == x.var.shape == (1, 1, 128, 20)
    monkeypatch.setattr(reporting, "SIDE", 16)
    text, figures = reporting.report(run, 2, 8, str(tmp_path))
    assert set(figures) == {"error_budget.png", "error_budget_worth.png"}
    assert f"--data {tmp_path} --images 2 --samples 8`" in text
    assert text.count("| learned weights |") == has_learned == text.count("plain ADF:")
    assert text.count("| not independent |") == 1 and "nan" not in text
    assert "| 64 samples, orthogonal |" in text and "Conv2d, 2 x 16 x 16" in text


def test_the_budget_has_the_noise_that_is_claimed(tmp_path, monkeypatch):
    """Its truth and its rivals are drawn so; the mean of four neighbours tells which."""
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "0.npy", np.random.default_rng(0).normal(size=(32, 32)))
    monkeypatch.setattr(reporting, "SIDE", 32)
    run = run_of(adf.Sequential(adf.Conv2d(1, 2, 1, rng=0), adf.AvgPool2d(2)), tmp_path / "run")
    means = {}
    for claim in ("white", "correlated:0.5"):
        run.claim(noise=claim)
        measured = []
        monkeypatch.setattr(
            reporting, "rivals", lambda *args, to=measured: to.append(args) or rivalry.rivals(*args)
        )
        text, _ = reporting.report(run, 1, 64, str(tmp_path))
        ((_, _, ((*_, last),), _, _),) = measured
        means[claim] = (last.true.var / last.adf.var).mean()
        assert ("orthogonal |" in text) == (claim == "white")
        assert ("of variance 0.01, correlated:0.5;" in text) == (claim != "white")
        assert "| 64 samples" in text
    # (1 + rho)^2 of what independent neighbours have; 256 outputs of 64 samples each, 5 sigma.
    bound = 5 * np.sqrt(2 / 63 / 256)
    assert means["white"] == pytest.approx(1, rel=bound)
    assert means["correlated:0.5"] == pytest.approx(2.25, rel=1.5 * bound)


def test_images_that_show_the_most_classes_come_first(tmp_path):
    """An empty field, two classes, none known, three; of equals the earlier one."""
    for kind in ("images", "labels"):
        (tmp_path / "test" / kind).mkdir(parents=True)
    for i, classes in enumerate((1, 2, 0, 3, 3)):
        np.save(tmp_path / "test" / "images" / f"{i}.npy", np.eye(8) + np.eye(8)[i])
        if classes:
            labels = (np.arange(64) % classes).astype(np.uint8).reshape(8, 8)
            np.save(tmp_path / "test" / "labels" / f"{i}.npy", labels)
    source = open_source(str(tmp_path), classes=3)
    found = [s.name for s in sorted(source.test(0), key=reporting._classes, reverse=True)]
    assert found == ["3", "4", "1", "0", "2"]


@pytest.mark.parametrize(
    "size, expected", [(128, (0, 128)), (131, (1, 129)), (60, (2, 58)), (5, (0, 5))]
)
def test_the_middle_of_an_image(size, expected):
    found = reporting._middle(size, 8)
    assert (found.start, found.stop) == expected


def test_networks_at_two_weights_are_trained_once(tmp_path, monkeypatch):
    """A line for each weight and seed; plain ADF, and only the weight and the seed differ."""
    small = {"system": "adf-unet", "widths": [3, 4], "steps": 2, "batch_size": 2}
    monkeypatch.setattr("adf.studies.budget.two_weights.GIVEN", small)
    monkeypatch.setattr("adf.studies.budget.two_weights.SAMPLES", 4)
    run = runs.Run(tmp_path, runs.Settings(data="synthetic:8"))
    assert two_weights(run, 0, None) == "" and not list(tmp_path.iterdir())
    text = two_weights(run, 2, "synthetic")
    names = [f"density-{w}-{seed}" for w in ("0.001", "1") for seed in (0, 1)]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert "3, 4, 2 steps on synthetic:8" in text and "worth, real" in text
    assert [line.split()[1] for line in text.splitlines()[-4:]] == ["0.001", "0.001", "1", "1"]
    found = [runs.load(tmp_path / name) for name in names]
    assert [r.settings.density_weight for r in found] == [0.001, 0.001, 1, 1]
    assert not any(learned(r.segmenter.network) for r in found)
    before = (tmp_path / names[0] / "checkpoint.npz").read_bytes()
    assert two_weights(run, 2, "synthetic") == text
    assert (tmp_path / names[0] / "checkpoint.npz").read_bytes() == before
