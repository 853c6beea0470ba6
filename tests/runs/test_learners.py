"""The systems that doubt their weights: killed and resumed, loaded, evaluated, as others are."""

import csv

import numpy as np
import pytest

import adf
from adf import runs
from adf.__main__ import main
from adf.data.source import open_source
from adf.files import checkpoint
from adf.methods.mixture import Mixture
from adf.methods.weights import WeightsSegmenter
from adf.runs import Settings, learners
from adf.runs import run as run_module
from adf.runs.state import flat

TINY = {"widths": [2, 3], "steps": 6, "batch_size": 5, "data": "synthetic:5"}
TINIER = {  # system -> what makes it tiny; two micro-batches a step, which draw differently
    "unet-ensemble": {"members": 3},
    "unet-dropout": {"members": 3, "dropout_p": 0.4},
    "unet-swag": {"members": 3, "steps": 2, "swag_steps": 4, "swag_rate": 0.1},
    "unet-bbb": {"members": 3, "kl_weight": 0.5},
    "unet-weights": {"kl_weight": 0.5},
}
MIXED = [system for system in TINIER if system != "unet-weights"]  # those that predict mixtures
each_system = pytest.mark.parametrize("system", TINIER)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(run_module, "EVERY_STEPS", 2)
    monkeypatch.setattr(learners, "NORM_BATCHES", 3)
    monkeypatch.setattr("adf.data.source.HELD_OUT", 2)


class Killed(Exception):
    pass


def trained(folder, system, monkeypatch=None, kill=None, **given):
    """The run in the folder, trained to the end, or until it is killed at a step: None."""
    given = TINY | TINIER.get(system, {}) | {"system": system} | given
    run, source = runs.start(folder, given, resume=True)
    runs.prepare(run)
    if kill is None:
        run.train(source)
        return runs.load(folder)
    learn = run.learner.learn

    def until(step, rate, batch):
        if step == kill:
            raise Killed
        return learn(step, rate, batch)

    monkeypatch.setattr(run.learner, "learn", until)
    with pytest.raises(Killed):
        run.train(source)


def arrays(folder):
    return checkpoint.load(folder / "checkpoint.npz")[0]


@each_system
def test_killed_and_resumed_ends_the_same_to_the_bit(system, tmp_path, monkeypatch):
    """Killed twice behind a checkpoint, with other threads each time."""
    monkeypatch.setenv("ADF_THREADS", "1")
    whole = trained(tmp_path / "whole", system)
    for kill, threads in ((3, "2"), (5, "1")):
        monkeypatch.setenv("ADF_THREADS", threads)
        trained(tmp_path / "killed", system, monkeypatch, kill)
    resumed = trained(tmp_path / "killed", system)
    one, other = arrays(whole.folder), arrays(resumed.folder)
    assert one.keys() == other.keys()
    for name in one:
        assert (one[name] == other[name]).all(), name
    assert whole.log.read_text() == resumed.log.read_text()
    x = open_source("synthetic").training(0, 1, 7)[0]
    both = [adf.predict(run.predictor(), x) for run in (whole, resumed)]
    for a, b in zip(*both, strict=True):
        assert a is b is None or (a == b).all()


@pytest.mark.parametrize("system", MIXED)
def test_a_loaded_run_predicts_a_mixture_of_members_that_differ(system, tmp_path):
    run = trained(tmp_path / "run", system)
    mixture = run.predictor()
    assert isinstance(mixture, Mixture) and len(mixture.members) == 3
    x = open_source("synthetic").training(0, 1, 7)[0]
    found = adf.predict(mixture, x)
    assert found.class_std.min() >= 0 and found.class_std.max() > 1e-4
    assert found.mutual_information.min() >= 0 and found.mutual_information.max() > 1e-6


def test_a_member_of_an_ensemble_is_the_network_of_its_seed(tmp_path):
    """It is so to the bit, its optimizer included; and no two members share weights or images."""
    run = trained(tmp_path / "ensemble", "unet-ensemble", seed=2)
    found = arrays(run.folder)
    for s in range(3):
        alone = trained(tmp_path / f"{s}", "unet-bn", seed=2000 + s)
        for name, array in arrays(alone.folder).items():
            kind, path = name.split("/", 1)
            assert (found[f"{kind}/members.{s}.{path}"] == array).all(), name
    batch = run.learner.draw(open_source("synthetic"), 0)
    assert (batch[0][0] != batch[1][0]).any() and (batch[1][0] != batch[2][0]).any()


def test_the_loss_of_an_ensemble_is_the_mean_of_its_members(tmp_path):
    losses = []
    for system, seed in (("unet-ensemble", 0), *(("unet-bn", s) for s in range(3))):
        run = trained(tmp_path / f"{system}{seed}", system, seed=seed, steps=2)
        with open(run.log, newline="") as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file)])
    np.testing.assert_allclose(losses[0], np.mean(losses[1:], axis=0), rtol=1e-15)


@each_system
def test_the_command_line(system, tmp_path, capsys, monkeypatch):
    """Train, evaluate and predict, on the defaults' widths; the pictures say what they show."""
    run, out = tmp_path / "run", tmp_path / "out"
    quick = ["--steps", "1", "--batch-size", "1"]
    quick += ["--members", "2"] if system in MIXED else []
    quick += ["--swag-steps", "2"] if system == "unet-swag" else []
    said = []
    headers = adf.figures.pictures._write
    monkeypatch.setattr(
        adf.figures.pictures,
        "_write",
        lambda a, text, *r, **k: said.append(text) or headers(a, text, *r, **k),
    )
    assert main(["train", "--system", system, *quick, "--out", str(run)]) == 0
    assert main(["evaluate", str(run)]) == 0
    with open(run / "evaluate-synthetic" / "metrics.csv", newline="") as file:
        table = dict(csv.reader(file))
    assert float(table["AUSE MI"]) >= 0 and 0 <= float(table["AUROC MI"]) <= 1
    np.save(tmp_path / "image.npy", np.random.default_rng(0).normal(size=(40, 52)))
    assert main(["predict", str(run), str(tmp_path / "image.npy"), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "image_labels.png",
        "image_overview.png",
        "image_std.tif",
    ]
    assert said.count("mean doubt about the weights") == 3
    assert main(["train", "--system", system, "--out", str(run), "--resume"]) == 0
    capsys.readouterr()


def test_gaussian_weights_predict_in_one_pass(tmp_path, monkeypatch):
    """One segmenter, whose network sees an image once, says doubt about the weights."""
    run = trained(tmp_path / "run", "unet-weights")
    assert isinstance(run.predictor(), WeightsSegmenter)
    network, passes = run.segmenter.network, []
    predict = type(network).predict
    monkeypatch.setattr(
        type(network), "predict", lambda self, x: passes.append(len(x.mean)) or predict(self, x)
    )
    found = adf.predict(run.predictor(), open_source("synthetic").training(0, 1, 7)[0])
    assert passes == [1] and found.concentration is None
    assert found.class_std.max() > 1e-4 and found.mutual_information.max() > 1e-6


def test_a_deterministic_network_has_no_information_and_says_uncertainty(tmp_path):
    run = trained(tmp_path / "run", "unet-bn", steps=1)
    samples = open_source("synthetic").test(0)
    names = run.settings.class_names
    table = adf.evaluation.evaluate.evaluate(run.predictor(), samples, names, tmp_path, "here")
    assert "AUROC std" in table and "MI" not in table


@pytest.mark.parametrize(
    "given, message",
    [
        ({"system": "unet-bn", "members": 3}, "expected no members of unet-bn"),
        ({"system": "adf-unet", "dropout_p": 0.1}, "expected no dropout_p of adf-unet"),
        ({"system": "unet-ensemble", "dropout_p": 0.1}, "expected no dropout_p of unet-ensemble"),
        ({"system": "unet-ensemble", "members": 0}, "expected members of 1 or more"),
        ({"system": "unet-ensemble", "members": 101}, "expected members of at most 100"),
        ({"system": "unet-dropout", "noise_var": 0.1}, "expects no noise variance"),
        ({"system": "unet-bn", "swag_steps": 3}, "expected no swag_steps of unet-bn"),
        ({"system": "unet-dropout", "kl_weight": 1.0}, "expected no kl_weight of unet-dropout"),
        ({"system": "unet-bbb", "kl_weight": -1.0}, "expected a kl_weight of 0 or more, got -1.0"),
        ({"system": "unet-weights", "members": 3}, "expected no members of unet-weights"),
        ({"system": "unet-swag", "swag_steps": 0}, "swag_steps of 1 or more"),
        ({"system": "unet-swag", "swag_rate": -0.1}, "a positive swag_rate, got 320 and -0.1"),
    ],
)
def test_what_a_system_has_not_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Settings.of(given)


def test_a_checkpoint_that_claims_more_members_than_it_holds_is_refused(tmp_path):
    run = trained(tmp_path / "run", "unet-ensemble", steps=1)
    found, about = checkpoint.load(run.path)
    checkpoint.save(run.path, found, about | {"members": 100})
    with pytest.raises(ValueError, match="expected the weights of widths"):
        runs.load(run.folder)
    checkpoint.save(run.path, found, about | {"members": 2})
    with pytest.raises(ValueError, match=r"members\.2"):
        runs.load(run.folder)


# SWAG


def test_swag_collects_what_sgd_leaves_behind(tmp_path):
    """Two steps of Adam, four of SGD, each of which is collected; every member's norms are its own.

    The first network that is collected has no deviation.
    """
    run = trained(tmp_path / "run", "unet-swag")
    found = arrays(run.folder)
    swag = run.learner.swag
    assert swag.n == 4 and not found["swag/deviations"][4:].any()
    assert not found["swag/deviations"][0].any() and found["swag/deviations"][3].any()
    assert not any(name.startswith("v/network") for name in found)  # SGD has first moments alone
    assert (found["v/swag"] >= 0).all() and found["v/swag"].any()
    members = run.predictor().members
    x = [open_source(TINY["data"]).training(i, 4, 0)[0] for i in range(learners.NORM_BATCHES)]
    for member, kept in zip(members, found["swag/statistics"], strict=True):
        assert (flat(member.network.statistics()) == kept).all()
        learners.renew_statistics(member, x)
        np.testing.assert_allclose(flat(member.network.statistics()), kept, rtol=1e-6, atol=1e-6)
    assert (found["swag/statistics"][0] != found["swag/statistics"][1]).any()


def test_members_of_a_path_that_stands_still_are_one_network(tmp_path):
    """A rate too small for float32: they are the network of Adam after its own pass, no doubt."""
    run = trained(tmp_path / "run", "unet-swag", swag_rate=1e-30)
    x = open_source("synthetic").training(0, 1, 7)[0]
    found = adf.predict(run.predictor(), x)
    assert not found.class_std.any() and not found.mutual_information.any()
    alone = adf.predict(run.predictor().members[0], x)
    assert (alone.probabilities == found.probabilities).all()


def test_swag_before_its_end_says_so(tmp_path, monkeypatch):
    trained(tmp_path / "run", "unet-swag", monkeypatch, kill=5)
    run = runs.load(tmp_path / "run")
    assert run.step == 4 and run.learner.swag.n == 2
    with pytest.raises(ValueError, match="whose training is done"):
        run.predictor()
    assert main(["evaluate", str(run.folder)]) == 2


def test_the_rate_of_sgd_is_constant_behind_that_of_adam():
    settings = Settings.of({"system": "unet-swag", "steps": 100, "swag_steps": 40})
    assert settings.all_steps == settings.training_steps == 140
    assert settings.rate_at(99) < 1e-5
    assert {settings.rate_at(step) for step in range(100, 140)} == {0.03}


def test_calibration_has_nothing_to_do_for_swag(tmp_path):
    run = trained(tmp_path / "run", "unet-swag")
    with pytest.raises(ValueError, match="expected steps of calibration and a noise variance"):
        runs.recalibrate(run, None, 3)


# Bayes by Backprop


@pytest.mark.parametrize("size", [4, 8])
def test_the_shares_of_an_epoch_add_up_to_the_kl(size):
    """24 images in batches of 4 or 8, and these in micro-batches: lambda KL, whatever the batch.

    The learning rate is 0, so that every step has the same KL; the weight is all there in half the
    steps.
    """
    count, pixels = 24, 128 * 128
    given = TINY | TINIER["unet-bbb"] | {"system": "unet-bbb", "batch_size": size, "steps": 12}
    learner = learners.BayesLearner(Settings.of(given | {"kl_weight": 0.7}))
    rng = np.random.default_rng(0)
    shares = []
    loss = type(learner.segmenter).loss

    def told(segmenter, x, labels, label_range=None):
        shares.append(segmenter.kl_share * labels.size * float(segmenter.kl()))
        return loss(segmenter, x, labels, label_range)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(learner.segmenter), "loss", told)
        before = float(learner.segmenter.kl())
        for _ in range(count // size):
            images = rng.normal(size=(size, 1, 128, 128)).astype("float32")
            labels = rng.integers(0, 3, (size, 128, 128))
            learner.learn(11, 1e-30, (images, labels, count))
    assert len(shares) == count // 4
    assert sum(shares) == pytest.approx(0.7 * before, rel=1e-6)
    assert learner.segmenter.kl_share * count * pixels == pytest.approx(0.7)


@pytest.mark.parametrize("system", ["unet-bbb", "unet-weights"])
def test_the_kl_comes_in_over_the_first_half(system):
    settings = Settings.of(TINY | TINIER[system] | {"system": system})
    learner = runs.SYSTEMS[system].learner(settings)
    source = open_source("synthetic:5")
    found = []
    for step in range(6):
        learner.learn(step, 1e-3, learner.draw(source, step))
        found.append(learner.segmenter.kl_share * 3 * 128 * 128)
    assert found == pytest.approx([0.5 / 3, 1 / 3, 0.5, 0.5, 0.5, 0.5])
    assert learner.draw(open_source("synthetic"), 0)[2] == 30
