"""The last stage of a run: it can be killed at any moment, and it changes what it says alone."""

import dataclasses

import numpy as np
import pytest

from adf import Gaussian, runs
from adf.backend import default_rng, to_host
from adf.files import checkpoint
from adf.runs import calibrating
from adf.runs import run as run_module
from adf.segmenter import Segmenter

TINY = {"widths": [2, 3], "steps": 3, "batch_size": 2, "calibration_steps": 4, "noise_var": 0.1}


@pytest.fixture(autouse=True, scope="module")
def small_crops():
    """As small as the images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrating, "CROP", 16)
        yield


class Killed(Exception):
    pass


class Small:
    """A source of images of 16 x 16 pixels; it fails after so many."""

    def __init__(self, last=None):
        self.last = last

    def training(self, step, size, seed):
        if step == self.last:
            raise Killed
        rng = default_rng((step, size, seed))
        return rng.normal(size=(size, 1, 16, 16)), rng.integers(0, 3, (size, 16, 16))


def begun(folder, resume=False, **given):
    run, _ = runs.start(folder, {} if resume else TINY | given, resume)
    runs.prepare(run)
    return run


def finished(folder, **given):
    run = begun(folder, **given)
    run.train(Small())
    return run


def content(run):
    return run.path.read_bytes(), run.log.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("runs") / "whole")


def test_it_follows_training_and_is_logged_like_it(whole):
    run = whole
    lines = [line.split(",") for line in run.log.read_text().splitlines()[1:]]
    assert [line[0] for line in lines] == list("1234567") and run.step == 7
    rates = [float(line[2]) for line in lines]
    assert rates == [run.settings.rate_at(step) for step in range(7)]
    assert rates[:3] == [run.settings.learning_rate_at(step) for step in range(3)]
    assert rates[3] == pytest.approx(0.05 / 10)
    arrays, about = checkpoint.load(run.path)
    assert about["step"] == 7 and about["calibration_steps"] == 4
    segmenter = runs.load(run.folder).segmenter
    parameters = segmenter.parameters()
    assert len(arrays) == 3 * len(parameters) + len(segmenter.network.statistics())
    for p, q in zip(parameters, run.segmenter.parameters(), strict=True):
        np.testing.assert_array_equal(to_host(p.value), to_host(q.value))


@pytest.mark.parametrize("last", [1, 3, 4, 6, 7, 9])
def test_killed_and_resumed_it_ends_the_same(last, whole, tmp_path, monkeypatch):
    """In training, between the stages, while truth is measured, and while the head is fitted."""
    monkeypatch.setattr(run_module, "EVERY_STEPS", 2)
    run = begun(tmp_path / "run")
    with pytest.raises(Killed):
        run.train(Small(last))
    resumed = begun(tmp_path / "run", resume=True)
    assert resumed.step <= last
    resumed.train(Small())
    assert content(resumed) == content(whole)


@pytest.mark.parametrize("last", [3, 4, 5, 6])
def test_killed_in_a_step_of_calibration_it_ends_the_same(last, whole, tmp_path, monkeypatch):
    """What it learns from is not in the checkpoint, and is measured again."""
    monkeypatch.setattr(run_module, "EVERY_STEPS", 1)
    run = begun(tmp_path / "run")
    learn = calibrating.learn

    def killed(run, rate):
        if run.step == last:
            raise Killed
        return learn(run, rate)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(calibrating, "learn", killed)
        run.train(Small())
    resumed = begun(tmp_path / "run", resume=True)
    assert resumed.step == last and resumed.pool is None
    resumed.train(Small())
    assert content(resumed) == content(whole)


def test_it_changes_the_variances_and_the_head_alone(whole, tmp_path):
    plain = finished(tmp_path / "plain", calibration_steps=0)
    run = whole
    before, _ = checkpoint.load(plain.path)
    after, _ = checkpoint.load(run.path)
    changed = {n for n in before if not np.array_equal(before[n], after[n])}
    assert changed == {"value/head.c1", "value/head.c2"}
    new = {n.rsplit(".", 1)[1] for n in after.keys() - before.keys()}
    assert new == {"log_gain", "loading", "gate", "drift"}
    x = run.segmenter.input(Small().training(99, 2, 0)[0])
    point = Gaussian(x.mean)
    one, other = (r.segmenter.network.predict(point).mean for r in (plain, run))
    np.testing.assert_array_equal(to_host(one), to_host(other))


def test_a_run_of_before_knows_of_no_calibration_and_stays_as_it_was(tmp_path):
    plain = finished(tmp_path / "run", calibration_steps=0)
    arrays, about = checkpoint.load(plain.path)
    del about["calibration_steps"]
    checkpoint.save(plain.path, arrays, about)
    run = begun(tmp_path / "run", resume=True)
    assert run.settings.calibration_steps == 0 and run.settings.all_steps == run.step == 3
    run.train(Small())
    x = run.segmenter.input(Small().training(99, 2, 0)[0])
    for a, b in zip(*(r.segmenter.network.predict(x) for r in (plain, run)), strict=True):
        np.testing.assert_array_equal(to_host(a), to_host(b))


@pytest.mark.parametrize("given", [{"system": "unet-bn", "noise_var": None}, {"noise_var": 0.0}])
def test_without_noise_there_is_nothing_to_calibrate_for(given, tmp_path):
    run = finished(tmp_path / "run", **given)
    assert run.step == 3 and run.calibrator is None
    assert not any("loading" in name for name in checkpoint.load(run.path)[0])


def test_weights_of_a_wrong_stage_are_refused(whole, tmp_path):
    arrays, about = checkpoint.load(whole.path)
    for step in (3, 8):
        checkpoint.save(tmp_path / "checkpoint.npz", arrays, about | {"step": step})
        with pytest.raises(ValueError, match="expected"):
            runs.load(tmp_path)


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (128, 128), (70, 90), (5, 300), (1, 1)])
def test_a_crop_has_one_size_and_lies_inside(size, monkeypatch):
    """Images are normalised as a whole, and reflected where they are smaller than a crop."""
    monkeypatch.setattr(calibrating, "CROP", 64)
    segmenter = runs.Settings(widths=[2, 3, 4], noise_var=0.2).segmenter()
    image = np.random.default_rng(0).normal(size=(1, *size))
    seen = {round(float(v), 4) for v in to_host(segmenter.input(image[None]).mean).ravel()}
    x = calibrating.crops(segmenter, [image, image[:, ::-1]], np.random.default_rng(1))
    assert x.mean.shape == x.var.shape == (2, 1, 64, 64) and x.mean.dtype == "float32"
    assert {round(float(v), 4) for v in to_host(x.mean).ravel()} <= seen
    assert (to_host(x.var) == np.float32(0.2)).all()


def test_every_step_sees_other_crops_of_the_pool(tmp_path, monkeypatch):
    """Of one image there are other crops, and of one crop other noise."""
    seen = []

    def watched(segmenter, optimizer, x, true):
        seen.append([to_host(field).copy() for field in (x.mean, true.mean, true.var)])
        return 0.5

    monkeypatch.setattr(calibrating, "calibrate_step", watched)
    monkeypatch.setattr(Small, "training", lambda *_: Small.same)
    rng = default_rng(0)
    Small.same = rng.normal(size=(8, 1, 18, 18)), rng.integers(0, 3, (8, 18, 18))
    run = finished(tmp_path / "run", calibration_steps=5)
    pool = [to_host(field) for field in (run.pool.x.mean, run.pool.true.mean, run.pool.true.var)]
    assert len(pool[0]) == 5 * calibrating.IMAGES
    assert len({step[0].tobytes() for step in seen}) == 5
    for step in seen:
        places = [int((pool[2] == var).all(axis=(1, 2, 3)).argmax()) for var in step[2]]
        assert len(set(places)) == calibrating.IMAGES
        for all_of_it, some in zip(pool, step, strict=True):
            np.testing.assert_array_equal(all_of_it[places], some)
    assert len({image.tobytes() for image in pool[0]}) < len(pool[0])
    assert len({image.tobytes() for image in pool[2]}) == len(pool[2])


def test_short_calibrations_measure_no_more_than_they_show(tmp_path, monkeypatch):
    monkeypatch.setattr(calibrating, "POOL", 2)
    pools = [finished(tmp_path / str(n), calibration_steps=n).pool for n in (1, 3)]
    assert [len(pool.x.mean) for pool in pools] == [8, 16]


def test_the_head_fits_the_new_variances(tmp_path):
    """Its loss on other images is nearer to the best than with c1 and c2 of before."""
    run = finished(tmp_path / "run", steps=20, calibration_steps=20, density_weight=1.0)
    old, _ = checkpoint.load(finished(tmp_path / "old", steps=20, calibration_steps=0).path)
    images, labels = Small().training(1000, 16, 0)
    x = run.segmenter.input(images)
    fitted = float(run.segmenter.loss(x, labels)[0])
    for name in ("c1", "c2"):
        getattr(run.segmenter.head, name).value = old[f"value/head.{name}"]
    assert fitted < float(run.segmenter.loss(x, labels)[0])
    assert isinstance(run.segmenter, Segmenter) and dataclasses.is_dataclass(run.settings)
