"""`adf calibrate`: on anyone's images, into the run or beside it, and nothing before the end."""

import itertools

import numpy as np
import pytest
from PIL import Image

from adf import runs
from adf.__main__ import main
from adf.backend import to_host
from adf.files import checkpoint
from adf.inference import claims
from adf.runs import calibrating, recalibration

TINY = {"widths": [2, 3], "steps": 2, "batch_size": 1, "calibration_steps": 2, "noise_var": 0.1}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(calibrating, "IMAGES", 2)
    monkeypatch.setattr(calibrating, "CROP", 16)


def trained(folder, **given):
    run, source = runs.start(folder, TINY | given, resume=False)
    runs.prepare(run)
    run.train(source)
    return run


@pytest.fixture
def run(tmp_path):
    return trained(tmp_path / "run")


def pictures(folder, count=3):
    folder.mkdir(parents=True)
    for i in range(count):
        image = np.random.default_rng(i).integers(0, 256, (20 + i, 31), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def calibrates(*args):
    return main(["calibrate", *map(str, args)])


def arrays(folder):
    return checkpoint.load(folder / "checkpoint.npz")


def test_into_the_run_or_beside_it_is_the_same(run, tmp_path):
    beside = tmp_path / "new" / "beside"
    before = run.path.read_bytes(), run.log.read_bytes()
    images = pictures(tmp_path / "images")
    options = ("--data", images, "--steps", "3")
    assert calibrates(run.folder, *options, "--out", beside) == 0
    assert (run.path.read_bytes(), run.log.read_bytes()) == before
    assert calibrates(run.folder, *options) == 0
    for name in ("checkpoint.npz", "log.csv"):
        assert (run.folder / name).read_bytes() == (beside / name).read_bytes()
    lines = run.log.read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == list("12345")
    assert lines[:3] == before[1].decode().splitlines()[:3]
    again = runs.load(run.folder)
    assert again.step == 5 and again.settings.calibration_steps == 3
    assert main(["train", "--out", str(run.folder), "--resume"]) == 0  # which has nothing to do
    assert run.path.read_bytes() == (beside / "checkpoint.npz").read_bytes()


def test_on_its_own_data_it_is_the_stage_of_training_again(run, tmp_path):
    """Its random numbers are those of the step. The head goes on from where it is."""
    assert calibrates(run.folder, "--steps", "2", "--out", tmp_path / "again") == 0
    first, _ = arrays(run.folder)
    second, _ = arrays(tmp_path / "again")
    assert first.keys() == second.keys()
    for name, array in first.items():
        if not name.startswith("value/head"):
            np.testing.assert_array_equal(array, second[name])


def test_a_run_of_before_is_calibrated(tmp_path):
    run = trained(tmp_path / "run", calibration_steps=0)
    assert calibrates(run.folder, "--steps", "2", "--data", "synthetic") == 0
    found, about = arrays(run.folder)
    assert about["step"] == 4 and any(name.endswith("log_gain") for name in found)


def test_what_learns_is_said_by_the_images(run, tmp_path):
    """A folder of images, of a data set without labels, and a pattern are the same images."""
    images = pictures(tmp_path / "set" / "train" / "images")
    for number, data in enumerate((images, tmp_path / "set", images / "*.png")):
        assert (
            calibrates(run.folder, "--steps", "1", "--data", data, "--out", tmp_path / str(number))
            == 0
        )
    one, two, three = (arrays(tmp_path / name)[0] for name in "012")
    other = arrays(run.folder)[0]
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])
        np.testing.assert_array_equal(array, three[name])
    assert any(not np.array_equal(one[name], other[name]) for name in one if "log_gain" in name)


def test_pictures_of_a_test_set_are_left_out(tmp_path):
    for split, count in (("train", 2), ("val", 1), ("test", 3)):
        pictures(tmp_path / "set" / split / "images", count)
    assert len(recalibration.open_pictures(tmp_path / "set").images) == 3
    assert len(recalibration.open_pictures(tmp_path / "set" / "test").images) == 3


def test_every_picture_is_shown():
    images = [np.full((4, 4), i) for i in range(5)]
    source = recalibration.Pictures(images)
    seen = {int(image[0, 0, 0]) for step in range(20) for image in source.training(step, 2, 0)[0]}
    assert seen == set(range(5)) and len(source.training(0, 12, 0)[0]) == 12


def test_without_its_training_data_the_head_keeps_its_strength_on_average(tmp_path, monkeypatch):
    run = trained(tmp_path / "run", calibration_steps=0)

    def gone(*_):
        raise ValueError("no such folder")

    monkeypatch.setattr(recalibration, "open_data", gone)
    images = pictures(tmp_path / "images")
    old = runs.load(run.folder)
    source = recalibration.open_pictures(images)
    assert calibrates(run.folder, "--steps", "2", "--data", images) == 0
    new = runs.load(run.folder)

    def strength(run):
        c2 = np.log1p(np.exp(float(run.segmenter.head.c2.value[0])))
        return c2 * calibrating.spread(run, source)

    assert strength(new) == pytest.approx(strength(old), rel=1e-4)
    assert new.segmenter.head.c1.value == old.segmenter.head.c1.value


def refused(capsys, *args):
    assert calibrates(*args) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_what_cannot_be_calibrated_is_refused(run, tmp_path, capsys):
    before = run.path.read_bytes()
    empty = tmp_path / "empty"
    empty.mkdir()
    for options, message in (
        (("--steps", "0"), "expected steps of calibration"),
        (("--steps", "-1"), "calibration_steps of 0 or more"),
        (("--data", empty), "expected images"),
        (("--data", tmp_path / "nowhere"), "nowhere"),
        (("--out", run.folder), "exists already"),
    ):
        capsys.readouterr()
        assert message in refused(capsys, run.folder, *options)
    assert run.path.read_bytes() == before and not (run.folder / ".adf-lock").exists()
    points = trained(tmp_path / "points", system="unet-bn", noise_var=None)
    capsys.readouterr()
    assert "a noise variance above 0" in refused(capsys, points.folder)


def test_a_run_in_training_is_refused(tmp_path, capsys):
    run, _ = runs.start(tmp_path / "run", TINY, resume=False)
    runs.prepare(run)
    run.release()
    assert "2 steps of training are done, got 0" in refused(capsys, run.folder)


def test_killed_it_leaves_the_run_as_it_was(run, monkeypatch):
    before = run.path.read_bytes(), run.log.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrating, "fit", killed)
    assert calibrates(run.folder, "--steps", "1") == 130
    assert (run.path.read_bytes(), run.log.read_bytes()) == before
    assert not (run.folder / ".adf-lock").exists()


def test_noise_is_claimed_and_kept(run, tmp_path):
    """Each kind teaches other weights; the run says which. A camera counts the grey levels."""
    images = pictures(tmp_path / "images")
    found = {}
    for claim in ("white", "correlated:0.6", "camera:40,0,3", "estimated"):
        folder = tmp_path / claim.partition(":")[0]
        options = ("--data", images, "--noise", claim, "--noise-var", "0.2", "--out", folder)
        assert calibrates(run.folder, *options, "--steps", "2") == 0
        arrays_of, about = arrays(folder)
        assert about["noise"] == claim and about["noise_var"] == 0.2
        again = runs.load(folder).segmenter
        assert again.noise == claims.parse(claim) and again.noise_var == 0.2
        found[claim] = np.concatenate([a.ravel() for n, a in arrays_of.items() if "loading" in n])
    for one, other in itertools.combinations(found.values(), 2):
        assert not np.allclose(one, other, rtol=1e-3)


@pytest.mark.parametrize("claim, expected", [("white", 0), ("correlated:0.6", 0.6)])
def test_copies_have_the_noise_that_is_claimed(run, claim, expected, monkeypatch):
    """Those of the pool, and those that the weights begin from: 2 crops of 16 x 16, 3 x 200 copies.

    The correlation has a standard error of about 1 / sqrt(480 * 600) = 0.002.
    """
    drawn = []

    def watched(name):
        original = getattr(calibrating, name)

        def call(segmenter, x, *args, noise=None, **options):
            *args, noise = (*args, noise) if noise else args
            drawn.append([to_host(noise(np.random.default_rng(i), x.var)) for i in range(200)])
            return original(segmenter, x, *args, noise=noise, **options)

        monkeypatch.setattr(calibrating, name, call)

    watched("measured")
    watched("begin")
    run.claim(noise=claim)
    source = recalibration.open_pictures("synthetic")
    recalibration.restart(run, 2)
    run.pool = calibrating.Pool(run, source)
    calibrating.learn(run, 0.01)
    assert len(drawn) == 3
    for copies in np.array(drawn) / np.sqrt(0.1):
        found = (copies[..., 1:] * copies[..., :-1]).mean() / (copies**2).mean()
        assert found == pytest.approx(expected, abs=0.02)


def test_a_camera_without_grey_levels_is_refused(run, tmp_path, capsys):
    """The run's own images are standardised; a folder's are read as the camera counted them."""
    camera = ("--noise", "camera:2,0,1", "--steps", "1")
    before = run.path.read_bytes()
    for data in ((), ("--data", "synthetic")):
        assert "expected grey levels of 0 or more" in refused(capsys, run.folder, *data, *camera)
    assert run.path.read_bytes() == before
    # The labels are of images without grey levels, so the head keeps its strength.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrating, "fit", None)
        data = ("--data", pictures(tmp_path / "images"))
        assert calibrates(run.folder, *data, *camera, "--out", tmp_path / "new") == 0


def test_noise_that_cannot_be_is_refused(run, tmp_path, capsys):
    for options, said in (
        (("--noise", "pink"), "expected noise as white, correlated:RHO"),
        (("--noise", "correlated:2"), "expected a correlation of neighbours"),
        (("--noise-var", "-1"), "noise_var (a variance) of 0 or more"),
        (("--noise-var", "nan"), "expected a finite noise_var"),
    ):
        assert said in refused(capsys, run.folder, *options)
    point = trained(tmp_path / "point", system="unet-bn", noise_var=None)
    capsys.readouterr()  # the progress of its training
    assert "expects no noise, got estimated" in refused(
        capsys, point.folder, "--noise", "estimated"
    )
    assert "expects no noise variance" in refused(capsys, point.folder, "--noise-var", "1")
