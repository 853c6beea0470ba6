"""What variances are good for: chances of a flip, rankings of errors, their intervals."""

import shutil

import numpy as np
import pytest
from scipy.special import ndtr
from yeast_folder import write_sample

import adf
from adf import Gaussian, __main__, calibration, runs
from adf.backend import to_host
from adf.calibration import linear_layers
from adf.studies.promise import errors, flips, real, told


def test_two_logits_flip_as_the_difference_of_two_gaussians_does():
    rng = np.random.default_rng(0)
    mean, var = rng.normal(0, 2, (2, 5, 6)), rng.uniform(0.1, 4, (2, 5, 6))
    label = rng.integers(0, 2, (5, 6))
    other = np.take_along_axis(mean, 1 - label[None], 0)[0]
    own = np.take_along_axis(mean, label[None], 0)[0]
    exact = ndtr((other - own) / np.sqrt(var.sum(axis=0)))
    np.testing.assert_allclose(flips.flip_probability(mean, var, label), exact, atol=5e-5)


def test_three_logits_flip_as_often_as_samples_of_them():
    """At 40 pixels, 20,000 samples: |z| below 5, a false alarm in 40,000."""
    rng = np.random.default_rng(1)
    mean, var = rng.normal(0, 1, (3, 1, 40)), rng.uniform(0.1, 4, (3, 1, 40))
    label = mean.argmax(axis=0)
    p = flips.flip_probability(mean, var, label)
    samples = mean + np.sqrt(var) * rng.standard_normal((20_000, *mean.shape))
    frequency = (samples.argmax(axis=1) != label).mean(axis=0)
    assert (abs(frequency - p) < 5 * np.sqrt(p * (1 - p) / 20_000) + 1e-6).all()


def test_a_logit_without_variance_never_flips():
    mean = np.array([1.0, 0, -1]).reshape(3, 1, 1)
    assert flips.flip_probability(mean, 0 * mean, np.array([[0]]))[0, 0] == 0
    assert flips.flip_probability(mean, 0 * mean, np.array([[1]]))[0, 0] == pytest.approx(1)


def observed(chance, rng, copies=200):
    """The Flips of one image whose pixels flip with these chances; "half" says half of them."""
    return flips.Flips(
        rng.random((copies, *chance.shape)) < chance,
        {"right": chance, "half": chance / 2, "one": np.full_like(chance, 0.3 / 3.3)},
        1 - chance,
    )


def test_scores_of_chances_that_are_known():
    rng = np.random.default_rng(2)
    images = [observed(rng.beta(0.3, 3, (40, 50)), rng) for _ in range(3)]
    found = flips.scores(images)
    assert found["right"]["over observed"] == pytest.approx(1, abs=0.02)
    assert found["half"]["over observed"] == pytest.approx(0.5, abs=0.01)
    assert found["right"]["Brier"] == pytest.approx(0, abs=0.01)
    assert found["one"]["Brier"] == pytest.approx(1, abs=0.01)
    assert found["right"]["AUROC"] == found["half"]["AUROC"] > 0.8
    assert found["one"]["AUROC"] == 0.5 > found["margin of the means"]["AUROC"]


class Small:
    """As much of a source as heads are fitted on."""

    def training(self, step, count, seed):
        rng = np.random.default_rng((seed, step))
        return rng.normal(size=(count, 1, 16, 16)), rng.integers(0, 3, (count, 16, 16))


def test_twins_differ_in_their_variances_and_heads_alone():
    settings = runs.Settings(widths=(3, 4), steps=1, calibration_steps=1)
    run = runs.Run("nowhere", settings)
    rng = np.random.default_rng(3)
    x = run.segmenter.input(rng.normal(size=(2, 1, 16, 16)))
    calibration.begin(run.segmenter, x, rng)
    before = float(run.segmenter.head.c2.value[0])
    found = errors.twins(run, Small())
    learned, plain = (found[name].network.predict(x) for name in ("learned", "plain ADF"))
    assert float(run.segmenter.head.c2.value[0]) == before
    assert (to_host(learned.var) != to_host(plain.var)).any()
    point = Gaussian(x.mean)
    for a, b in zip(*(s.network.predict(point) for s in found.values()), strict=True):
        assert a is b is None or (to_host(a) == to_host(b)).all()
    c1, c2 = (float(s.head.c2.value[0]) for s in found.values())
    assert before not in (c1, c2) and c1 != c2


def test_the_command_writes_its_answers(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    arguments = ["train", "--data", "synthetic:8", "--steps", "2", "--calibration-steps", "2"]
    assert __main__.main([*arguments, "--batch-size", "2", "--out", str(folder)]) == 0
    monkeypatch.setattr("adf.studies.promise.flips.COPIES", 4)
    for name, count in (("RESAMPLED", 3), ("FLIP_IMAGES", 2), ("ERROR_IMAGES", 2)):
        monkeypatch.setattr(f"adf.studies.promise.report.{name}", count)
    monkeypatch.setattr("adf.studies.promise.told.told", lambda runs, out: f"{len(runs)} told")
    asked = ["promise", str(folder), str(folder), "--told", "--data", "pictures"]
    monkeypatch.setattr("adf.studies.promise.real.real", lambda folders, *_: f"{len(folders)} runs")
    assert __main__.main(asked) == 0
    text = (folder / "promise.md").read_text()
    assert "2 told" in text and "--told --data pictures`" in text and "2 runs" in text
    assert "| plain ADF" in text and "AUROC std" in text and "## Over the runs" in text
    assert str(folder / "promise.md") in capsys.readouterr().out
    assert adf.__version__


@pytest.fixture
def small(monkeypatch):
    """Studies of what is told, in seconds."""
    more = {"steps": 2, "learning_rate": 5e-3, "calibration_steps": 2}
    few = {"MORE": more, "BATCH": 2, "CROP": 16, "TEST_IMAGES": 2, "POOL": 4}
    for name, value in few.items():
        monkeypatch.setattr(told, name, value)
    return [runs.Run(name, runs.Settings(widths=(3, 4), seed=n)) for n, name in enumerate("ab")]


def test_networks_that_are_told_the_noise_are_scored_once_a_run(small, tmp_path, monkeypatch):
    text = told.told(small, tmp_path)
    assert text.count(f"| {told.LEARNED} ") == 3 and text.count(" less ") == 9
    assert text.count(" ± ") == 45 and "nan" not in text
    assert " ± " not in told.told(small[:1], tmp_path)
    monkeypatch.setattr(told, "run_rows", None)  # all is known
    assert told.told(small, tmp_path) == text


def test_networks_go_on_alike_but_for_what_they_are_told(small):
    """They begin with the run's weights; the network that is told hears each image's own."""
    run = small[1]
    before = to_host(run.segmenter.network.parameters()[0].value).copy()
    heard = []

    def hear(segmenter, optimizer, images, labels, var):
        assert (to_host(segmenter.network.parameters()[0].value) == before).all()
        heard.append((images.sum(), None if var is None else var.shape))

    # Steps that only listen.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(told, "train_step", hear)
        for system in (told.POINT, told.CONSTANT, told.TOLD):
            segmenter, _ = told.trained(system, run)
            assert (segmenter.head is None) == (system == told.POINT)
    images = [total for total, _ in heard]
    assert images[0] != images[1] and images == images[:2] * 3
    assert [shape for _, shape in heard] == [None] * 4 + [(2, 1, 1, 1)] * 2


def test_the_noise_that_is_added_is_the_noise_that_is_told(monkeypatch):
    """Of 40 crops of 64 x 64, chi-squared: |z| below 5, a false alarm in 40,000."""
    settings = runs.Settings()
    images, _, var = told.noisy(settings, 1, 40)

    def silent(seed):
        rng = np.random.default_rng(seed)
        rng_like = type("Silent", (), {"integers": rng.integers, "uniform": rng.uniform})()
        rng_like.standard_normal = np.zeros
        return rng_like

    monkeypatch.setattr(told, "default_rng", silent)
    clean = told.noisy(settings, 1, 40)[0]
    ratio = ((images - clean) ** 2).mean(axis=(1, 2, 3), keepdims=True) / var
    assert (abs(ratio - 1) < 5 * np.sqrt(2 / 64**2)).all()


def test_runs_are_recalibrated_once_and_scored_by_masks_and_boxes(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for seed, folder in enumerate(folders):
        settings = {"widths": [3, 4], "steps": 1, "calibration_steps": 1, "seed": seed}
        given = settings | {"data": "synthetic:8", "batch_size": 2}
        run, source = runs.start(folder, given, resume=False)
        runs.prepare(run)
        run.train(source)
    for name in ("1", "2"):
        write_sample(tmp_path / "real" / "test", name)
    out = tmp_path / "out"
    text = real.real(folders, str(tmp_path / "real"), out)
    assert text.count("masks") == text.count("boxes") == len(real.METRICS)
    assert text.count(" ± ") == 2 * len(real.METRICS) and "nan ±" not in text
    first = runs.load(out / "a-on-real").segmenter
    before = runs.load(folders[0]).segmenter
    assert (to_host(first.parameters()[0].value) == to_host(before.parameters()[0].value)).all()
    gains = [linear_layers(s.network)[0].log_gain.value for s in (first, before)]
    assert (to_host(gains[0]) != to_host(gains[1])).any()
    stamp = (out / "a-on-real" / "checkpoint.npz").stat().st_mtime_ns
    assert real.real(folders, str(tmp_path / "real"), out) == text
    assert (out / "a-on-real" / "checkpoint.npz").stat().st_mtime_ns == stamp
    for kind in ("classes", "instances"):  # without these there is nothing to score on
        shutil.rmtree(tmp_path / "real" / "test" / kind)
    with pytest.raises(ValueError, match="masks, or boxes"):
        real.real(folders, str(tmp_path / "real"), out)
