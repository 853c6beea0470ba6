"""`adf variants`: what every variant learns and measures, and that no row is measured twice."""

import dataclasses
import functools

import numpy as np
import pytest

import adf
from adf import Gaussian, calibration, montecarlo, runs
from adf.backend import default_rng, to_host, xp
from adf.layers.free_variance import free
from adf.layers.gate import Gate
from adf.layers.paths import held
from adf.runs import calibrating
from adf.studies.budget.plain import plain, strip
from adf.studies.comparison.rows import read
from adf.studies.variants import bench as benches
from adf.studies.variants import table, ways

TINY = {"widths": [2, 8, 16], "steps": 2, "batch_size": 1, "calibration_steps": 2}
STEPS = 3


@pytest.fixture(autouse=True, scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrating, "IMAGES", 2)
        patch.setattr(calibrating, "CROP", 16)
        patch.setattr(calibrating, "POOL", 2)
        patch.setattr("adf.data.source.HELD_OUT", 1)
        patch.setattr("adf.studies.budget.report.SIDE", 16)
        patch.setattr("adf.studies.budget.rivals.ROUNDS", 1)
        patch.setattr(benches, "SAMPLES", 8)
        patch.setattr(benches, "PIXELS", 3)
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run, source = runs.start(folder, TINY, False)
    runs.prepare(run)
    run.train(source)
    return folder


@pytest.fixture(scope="module")
def bench(path):
    return benches.Bench(runs.load(path), None)


def host(parameters):
    return [to_host(p.value) for p in parameters]


def has(network):
    """The layers with log_gain, loading, gate or drift, and the gates behind batch norms."""
    laws = calibration.linear_layers(network)
    names = ("log_gain", "loading", "gate", "drift")
    found = {name: [law for law in laws if getattr(law, name)] for name in names}
    found["gates"] = held(network, Gate)
    return {name: len(layers) for name, layers in found.items()}


LAWS = 13  # of a U-Net with three levels, the last one included
STRUCTURES = {
    "plain ADF": (0, 0, 0, 0, 0),
    "one scalar a layer, fitted to its outputs": (LAWS, 0, 0, 0, 0),
    "one gain a channel, fitted to its outputs": (LAWS, 0, 0, 0, 0),
    "one scalar a layer, learned": (LAWS, 0, 0, 0, 0),
    "u, by local losses": (LAWS, 0, 0, 0, 0),
    "u": (LAWS, 0, 0, 0, 0),
    "r everywhere; u as it begins": (LAWS, LAWS, 0, 0, 0),
    "u and r everywhere": (LAWS, LAWS, 0, 0, 0),
    "u and gates": (LAWS, 0, 0, 0, 6),
    "u, gates, r in wide layers": (LAWS, 7, 0, 0, 6),
    "u, r in wide layers, last layer too": (LAWS, 7, 1, 1, 0),
    table.DEFAULT: (LAWS, LAWS, 1, 1, 0),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_variant_has_the_parameters_that_it_says(name, bench, monkeypatch):
    jobs = {name: measure for name, _, measure in table.jobs([STEPS])}
    strip(bench.network)
    measured = []
    price = benches.price
    monkeypatch.setattr(benches, "price", lambda n, x: measured.append(n) or price(n, x))
    row = jobs[name](bench)
    assert tuple(has(measured[0]).values()) == STRUCTURES[name]
    assert not held(bench.network, Gate)
    learned = calibration.variance_weights(bench.run.segmenter)
    assert row["price"] > 0 and np.isfinite([row["median"], row["mean_error"]]).all()
    # By how much it moves in a layer: by one number a layer, a channel or a weight.
    if "scalar" in name:
        assert all(np.ptp(value) < 1e-6 for value in host(learned))
    elif "channel" in name:
        for law, value in zip(calibration.linear_layers(bench.network), host(learned), strict=True):
            axis = 1 if isinstance(law, adf.ConvTranspose2d) else 0
            others = tuple({0, 1, 2, 3} - {axis})
            assert np.ptp(value, axis=others).max() < 1e-6 and np.ptp(value) > 1e-3


def test_all_structures_are_looked_at():
    names = [name for name, _, _ in table.jobs([STEPS])]
    others = [f"{n} samples, {kind}" for kind in ("independent", "orthogonal") for n in (4, 16)]
    assert names == [*STRUCTURES, *others, "linearised"]


def test_other_noise_than_white_is_refused(path):
    run = runs.load(path)
    run.settings = dataclasses.replace(run.settings, noise="estimated")
    with pytest.raises(ValueError, match="expects a run with white noise, got estimated"):
        benches.Bench(run, None)


def test_a_stripped_network_is_plain_adfs(path):
    whole, bare = runs.load(path).segmenter, runs.load(path).segmenter
    strip(bare.network)
    x = bare.input(np.random.default_rng(0).normal(size=(1, 1, 16, 16)))
    found, expected, learned = (
        s.predict(x) for s in (bare.network, plain(whole.network), whole.network)
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(to_host(one), to_host(other))
    assert not calibration.variance_weights(bare)
    assert not np.allclose(to_host(found.var), to_host(learned.var))


def test_the_default_learns_what_a_run_learns_to_the_bit(bench):
    strip(bench.network)
    benches.learned(bench, STEPS)
    found = host(calibration.variance_weights(bench.run.segmenter))
    strip(bench.network)
    runs.recalibration.restart(bench.run, STEPS)
    bench.run.pool = bench.pool
    for _ in range(STEPS):
        calibrating.learn(bench.run, bench.run.settings.rate_at(bench.run.step))
        bench.run.step += 1
    expected = host(calibration.variance_weights(bench.run.segmenter))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_r_alone_leaves_u_where_it_began(bench):
    options = table.LEARNED["r everywhere; u as it begins"]
    values = []
    for steps in (0, STEPS):
        strip(bench.network)
        benches.learned(bench, steps, **options)
        values.append(host(calibration.variance_weights(bench.run.segmenter)))
    moved = [not np.array_equal(a, b) for a, b in zip(*values, strict=True)]
    assert moved == [False, True] * LAWS


def test_a_scalar_is_the_ratio_of_means_over_all_of_a_layer():
    d = xp.asarray([[1.0, 2, 3], [4, 5, 9]])
    var = xp.asarray([[1.0, 1, 1], [1, 1, 7]])
    assert to_host(ways.layer_gain(d, var)).tolist() == [[2, 2, 2]]
    # Two channels of which one is 9 times as uncertain: their mean variance becomes right.
    layer = adf.Conv2d(1, 2, 1, bias=False)
    layer.weight.value = xp.asarray([[[[1.0]]], [[[3.0]]]], "float32")
    x = Gaussian(xp.zeros((400, 1, 8, 8), "float32"), xp.full((400, 1, 8, 8), 0.5, "float32"))
    model = adf.Segmenter(adf.Sequential(layer), 0.5)

    def twice_as_strong(rng, var):
        return 2 * calibration.white(rng, var)

    calibration.begin(model, x, default_rng(0), twice_as_strong, ways.layer_gain, **table.U)
    # 2 * 25,600 samples of either channel tell 4 times the variance within 5 standard errors.
    found = to_host(layer.predict(x).var)[0, :, 0, 0]
    np.testing.assert_allclose(found, [2, 18], rtol=5 * np.sqrt(2 / 25_600))
    assert found[1] / found[0] == pytest.approx(9, rel=1e-5)


def test_one_number_a_layer_moves_by_the_whole_gradient():
    p = adf.layers.Parameter(xp.zeros((2, 3)))
    p.grad = xp.asarray([[1.0, -5, 2], [0, 0, 1]])
    ways.OnePerLayer([p], 0.1).step()
    np.testing.assert_allclose(to_host(p.value), np.full((2, 3), 0.1), rtol=1e-6)


def test_local_losses_bring_the_variances_of_a_layer_near_to_the_true_ones():
    """Behind a first layer whose outputs vary together; no gradient of the second reaches it."""
    first, second = adf.Conv2d(1, 4, 3, padding=1, rng=1), adf.Conv2d(4, 2, 1, rng=2)
    for law in (first, second):
        law.weight.value = abs(law.weight.value)
        free(law)
    model = adf.Segmenter(adf.Sequential(first, second), 0.1)
    x = model.input(np.random.default_rng(0).normal(size=(2, 1, 16, 16)))
    adam = adf.Adam(calibration.variance_weights(model), 0.05)
    true = montecarlo.sampled_output(model.network, x, 400, 1).var

    def median():
        return float(np.median(to_host(model.network.predict(x).var / true)))

    before = median()
    for _ in range(60):
        ways.local_step(model, adam, x, None)
    assert before < 0.5 and median() == pytest.approx(1, abs=0.1)
    # Independent inputs need no gain: that of the first layer stays near 0.
    assert abs(to_host(first.log_gain.value)).max() < 0.2


def test_the_linearised_variance_of_a_linear_network_is_exact():
    """A(w)**2 of the whole network, from its answers to every unit of the input."""
    first = adf.Conv2d(1, 3, 3, padding=1, rng=1)
    network = adf.Sequential(first, adf.Conv2d(3, 2, 3, padding=1, rng=2))
    network.to("float64")
    rng = np.random.default_rng(0)
    x = Gaussian(*(xp.asarray(rng.random((1, 1, 4, 5))) for _ in range(2)))
    units = xp.asarray(np.eye(20).reshape(20, 1, 4, 5))
    zero = network.predict(Gaussian(units * 0)).mean
    answers = to_host(network.predict(Gaussian(units)).mean - zero).reshape(20, 2, 20)
    var = np.einsum("ikp,i->kp", answers**2, to_host(x.var).ravel())
    pixels = [0, 7, 19]
    found = ways.linearised(network, x, pixels)
    mean = to_host(network.predict(x).mean).reshape(2, 20)
    np.testing.assert_allclose(found.var, var[:, pixels], rtol=1e-12)
    np.testing.assert_allclose(found.mean, mean[:, pixels], rtol=1e-12)


def test_a_row_that_is_there_is_not_measured_again(path, tmp_path, monkeypatch):
    """A call that was killed goes on, and further steps are further rows."""
    measured = []

    def jobs(steps):
        for name, count in [("a", 0), *(("b", n) for n in steps)]:
            yield name, count, functools.partial(measure, name)

    def measure(name, bench):
        assert not calibration.variance_weights(bench.run.segmenter)
        calibration.free_all(bench.network)
        measured.append(name)
        if name == "b" and len(measured) == 2:
            raise KeyboardInterrupt
        return benches.sampled(bench, "independent", 2)

    monkeypatch.setattr(table, "jobs", jobs)
    with pytest.raises(KeyboardInterrupt):
        table.variants(runs.load(path), [1], None, tmp_path)
    for steps in ([1], [1], [1, 2]):
        table.variants(runs.load(path), steps, None, tmp_path)
    assert measured == ["a", "b", "b", "b"]
    rows = read(tmp_path / "variants.csv", set(table.KEY))
    assert [(row["variant"], row["steps"]) for row in rows] == [("a", 0), ("b", 1), ("b", 2)]
    lines = (tmp_path / "variants.md").read_text().splitlines()
    cells = [line.split("|")[1:3] for line in lines if line.startswith("| ")]
    assert [(a.strip(), b.strip()) for a, b in cells[2:]] == [("a", "0"), ("b", "1"), ("b", "2")]
    # Other images ask for other rows.
    table.variants(runs.load(path), [1], "synthetic:5", tmp_path)
    assert measured[4:] == ["a", "b"]
    assert "worth, real" in (tmp_path / "variants.md").read_text()


def test_a_line_shows_the_interval_of_what_few_pixels_say():
    score = {"median": 1, "low": 0.5, "high": 2, "mean_error": 0.1, "rank": 0.9, "worth": 19.2}
    row = {"variant": "x", "steps": 0.0, "price": 2e5, "least worth": 12.34, "most worth": 31}
    cells = table.line(row | score | {"seconds": None, "worth, real": None})
    assert cells["worth"] == "19 (12 to 31)" and cells["price"] == "2.0e+05"
    assert cells["seconds"] is None and "worth, real" not in cells


def test_the_interval_of_a_worth_holds_the_worth(bench):
    strip(bench.network)
    row = benches.of_gradients(bench)
    assert row["least worth"] <= row["worth"] <= row["most worth"]
    assert row["logits"] == 3 * 3 * len(bench.held[""]) and row["price"] > 100
