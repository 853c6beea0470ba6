"""What is claimed of noise: as numbers by hand, as it is estimated, and where it goes."""

import contextlib

import numpy as np
import pytest
from PIL import Image

import adf
from adf import runs
from adf.__main__ import main
from adf.backend import to_host, xp
from adf.data import camera, synthetic
from adf.files import checkpoint
from adf.inference import claims, tiles
from adf.layers.noise import correlated, white
from adf.normalisation import normalise


def segmenter(noise_var=0.05, channels=1, **options):
    network = adf.UNet(channels, 3, (3, 4), rng=1)
    return adf.Segmenter(network, noise_var, **options)


def images(shape=(3, 1, 24, 20), seed=0):
    return np.random.default_rng(seed).uniform(50, 250, shape)


def host(x):
    return to_host(x.mean), to_host(x.var)


# Variances in grey levels, handed over


def test_variances_of_grey_levels_are_scaled_as_the_image_is():
    """By hand: 100, 104, 108, 112 have the standard deviation sqrt(20)."""
    model = segmenter(normalisation="standard")
    image = np.array([[[[100, 104], [108, 112]]]], np.uint8)
    mean, var = host(model.input(image, [[[[20, 40], [5, 0]]]]))
    np.testing.assert_allclose(mean[0, 0] * np.sqrt(20), [[-6, -2], [2, 6]], rtol=1e-6)
    np.testing.assert_allclose(var[0, 0], [[1, 2], [0.25, 0]], rtol=1e-6)
    _, one = host(model.input(image, 5))
    np.testing.assert_allclose(one, 0.25, rtol=1e-6)


@pytest.mark.parametrize("kind", ["standard", "robust"])
def test_noise_that_is_added_is_the_noise_that_is_claimed(kind):
    """It is scaled by the slope between grey levels and input, of every channel by itself."""
    model = segmenter(channels=2, normalisation=kind)
    model.network.to("float64")
    image = images((2, 2, 24, 20)) * [[[[1]], [[1e-100]]]]
    x, var = host(model.input(image, 1e-2 * image**2))
    slope = np.diff(x, axis=-1) / np.diff(image, axis=-1)
    slope = np.median(slope, axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(np.sqrt(var), 0.1 * slope * image, rtol=1e-9)


def test_any_axis_of_the_variances_may_be_1():
    model = segmenter(channels=2)
    image = images((3, 2, 8, 8))
    full = np.random.default_rng(1).uniform(1, 9, image.shape)
    for cut in (full[:1], full[:, :1], full[:, :, :1, :1], full[:1, :1, :1, :1]):
        _, small = host(model.input(image, cut))
        _, whole = host(model.input(image, np.broadcast_to(cut, image.shape)))
        np.testing.assert_array_equal(small, whole)
    assert np.ptp(small[0, 0]) == 0 < np.ptp(whole[0])


@pytest.mark.parametrize(
    "wrong, said",
    [
        (-1.0, "0 or more"),
        (float("nan"), "0 or more"),
        (float("inf"), "0 or more"),
        (np.full((3, 1, 24, 20), -1e-9), "0 or more"),
        (np.ones((24, 20)), "four axes"),
        (np.ones((2, 1, 24, 20)), "four axes"),
        (np.ones((3, 2, 24, 20)), "four axes"),
        (np.ones((3, 1, 20, 24)), "four axes"),
        (1j, "complex128"),
        ("1", "<U1"),
        (True, "bool"),
    ],
)
def test_variances_that_are_none_are_refused(wrong, said):
    for call in (segmenter().input, lambda *args: adf.predict(segmenter(), *args)):
        with pytest.raises(ValueError, match=r"expected.*grey_var.*" + said):
            call(images(), wrong)


def test_a_point_mass_knows_no_noise():
    for call in (segmenter(None).input, lambda *args: adf.predict(segmenter(None), *args)):
        with pytest.raises(ValueError, match=r"no grey_var.*knows no noise"):
            call(images(), 1.0)
    assert segmenter(None, noise=claims.Camera(1, 0, 1)).input(images()).var is None


@pytest.mark.parametrize("claim", [None, claims.Camera(2, 60, 3), claims.Estimated()])
def test_tiles_and_threads_change_nothing(claim, monkeypatch):
    """Of a map that is handed over, and of claims."""
    shape = (3, 1, 70, 51)
    image = images(shape)
    given = () if claim else (images(shape, 1) ** 2 / 100,)
    model = segmenter(noise=claim)
    x = model.input(image, *given)
    assert np.ptp(to_host(x.var)) > 0
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("ADF_THREADS", threads)
        results.append(adf.predict(model, image, *given))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))
    one = adf.predict(model, image[1:2], *(g[1:2] for g in given))
    for a, b in zip(one, results[0], strict=True):
        np.testing.assert_allclose(a, b[1:2], rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(tiles, "TILE", 16)
    for a, b in zip(adf.predict(model, image, *given), results[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * abs(b).max())


def test_more_noise_is_less_sure():
    """So the variances that are handed over get to the head."""
    model = segmenter()
    little, much = (adf.predict(model, images(), var) for var in (1.0, 1e4))
    plain = adf.predict(model, images())
    assert not np.array_equal(little.class_std, plain.class_std)
    assert (little.concentration.sum(axis=1) > much.concentration.sum(axis=1)).all()


# Claims


def test_a_camera_by_hand():
    """Grey levels of 90 to 600, 2 of them per electron, 100 without light, read noise of 3."""
    claim = claims.parse("camera:2,100,3")
    image = np.array([[[[90, 100], [101, 600]]]], np.uint16)
    var = to_host(claim.grey_var(xp.asarray(image)))
    assert var.tolist() == [[[[9, 9], [11, 1009]]]]
    assert claim.draw(image) is white
    model = segmenter(noise=claim, normalisation="standard")
    np.testing.assert_allclose(host(model.input(image))[1], var / image.var(), rtol=1e-6)


def test_a_camera_has_the_variance_of_its_own_photons():
    """10,000 pictures of four grey levels; 5 standard errors of a variance, sqrt(2 / n)."""
    gain, offset, read = 1.7, 100.0, 4.0
    rng = np.random.default_rng(0)
    electrons = np.array([5, 50, 500, 5000])
    shots = gain * rng.poisson(electrons, (10_000, 4)) + offset
    shots = shots + read * rng.standard_normal(shots.shape)
    expected = to_host(claims.Camera(gain, offset, read).grey_var(xp.asarray(shots.mean(axis=0))))
    np.testing.assert_allclose(shots.var(axis=0), expected, rtol=5 * np.sqrt(2 / 10_000))


def test_a_camera_refuses_images_that_are_standardised():
    image = normalise(images(), "standard")
    with pytest.raises(ValueError, match=r"expected grey levels of 0 or more.*standardised"):
        segmenter(noise=claims.Camera(1, 0, 1)).input(image)


def test_white_is_what_was_there_before():
    for claim in (claims.White(), claims.parse("white"), claims.Correlated(0.3)):
        for a, b in zip(
            host(segmenter(noise=claim).input(images())),
            host(segmenter().input(images())),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    assert claims.White().draw(images()) is white


def test_claims_are_spelled_in_one_way():
    assert claims.parse("white") == claims.White()
    assert claims.parse("correlated:0.45") == claims.Correlated(0.45)
    assert claims.parse("camera:0.5,100,1.6") == claims.Camera(0.5, 100, 1.6)
    assert claims.parse("estimated") == claims.Estimated()
    for text in ("", "whit", "white:", "white:1", "correlated", "correlated:", "correlated:x",
                 "correlated:0.1,2", "camera", "camera:1,2", "camera:1,2,3,4", "estimated:0.3",
                 "x" * 10**6):  # fmt: skip
        with pytest.raises(ValueError, match=r"expected noise as white, correlated:RHO, ") as said:
            claims.parse(text)
        assert len(str(said.value)) < 300
    for text in ("correlated:0.8", "correlated:nan"):
        with pytest.raises(ValueError, match="expected a correlation"):
            claims.parse(text)
    for text in ("camera:-1,0,1", "camera:1,-1,1", "camera:1,0,nan", "camera:inf,0,1",
                 "camera:0,100,0"):  # fmt: skip
        with pytest.raises(ValueError, match="expected a camera's gain, offset and read noise"):
            claims.parse(text)


# The noise that an image shows


def added(rho, std, seed, shape=(128, 128)):
    """Noise whose size is known."""
    return (
        std * to_host(correlated(rho)(np.random.default_rng(seed), xp.ones((1, 1, *shape))))[0, 0]
    )


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.2, 0.45, 0.65])
def test_of_noise_alone_the_estimate_is_right(rho):
    """It scatters by 0.4 % of 512 x 512 pixels, 1.7 % of 128 x 128 where rho = 0: 6 such."""
    for size, scatter in ((128, 0.03), (512, 0.0075)):
        std, found = claims.estimate(7 + 3 * added(rho, 1, size, (size, size)))
        assert abs(std / 3 - 1) < 6 * scatter and abs(found - rho) < 6 * scatter


@pytest.fixture(scope="module")
def noiseless():
    """200 synthetic images as they are before the camera's noise."""
    with pytest.MonkeyPatch.context() as patch:
        original = camera._noise
        patch.setattr(camera, "_noise", lambda rng: 0 * original(rng))
        return synthetic.generate(200, seed=77)[0][:, 0].astype("float64")


# std of the noise; estimate / std in the median, and of nine in ten; by how much rho is off.
KNOWN = [
    (0.05, 1.20, 1.36, 0.135),
    (0.1, 1.11, 1.22, 0.09),
    (0.2, 1.06, 1.14, 0.06),
    (0.5, 1.02, 1.06, 0.035),
]


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.45])
@pytest.mark.parametrize("std, median, most, off", KNOWN)
def test_noise_that_is_known_is_found_in_images(noiseless, rho, std, median, most, off):
    """Texture makes it seem too large, and never too small but for chance (4 %)."""
    pairs = [claims.estimate(image + added(rho, std, i)) for i, image in enumerate(noiseless)]
    found, correlation = np.array(pairs).T
    assert 1 < np.median(found / std) < median
    assert (found / std).min() > 0.95 and np.quantile(found / std, 0.9) < most
    assert 0 < np.median(correlation - rho) and np.quantile(correlation - rho, 0.9) < off


def test_where_the_estimate_fails(noiseless):
    """Texture as fine as pixels is taken for noise; a correlation of 0.6 or more says so."""
    found = []
    for image in noiseless:
        with contextlib.suppress(ValueError):  # some have no texture either
            found.append(claims.estimate(image))
    std, rho = np.array(found).T
    assert len(found) > 190 and std.max() < 0.026 and np.median(rho) > 0.6
    std, rho = claims.estimate(camera.smooth(np.random.default_rng(0), 64))
    assert std > 0.05 and rho == pytest.approx(0.7)


def test_frames_and_the_scale_of_greys_do_not_count():
    image = added(0.3, 1, 0)
    std, rho = claims.estimate(image)
    framed = np.full((200, 300), image.min() - 1)
    framed[40:168, 50:178] = image
    np.testing.assert_allclose(claims.estimate(framed), (std, rho), rtol=1e-12)
    np.testing.assert_allclose(claims.estimate(1000 - 50 * image), (50 * std, rho), rtol=1e-9)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 20)),
        np.full((9, 9), 7, np.uint8),
        np.ones((1, 1)),
        np.arange(400.0).reshape(20, 20) / 7,
        np.kron(np.random.default_rng(0).normal(size=(20, 20)), np.ones((5, 5))),
    ],
    ids=["black", "constant", "a pixel", "a slope", "enlarged"],
)
def test_an_image_without_noise_to_be_seen_is_refused(image):
    with pytest.raises(ValueError, match="expected an image whose noise can be estimated"):
        claims.estimate(image)


def test_every_channel_of_every_image_is_estimated_by_itself():
    image = np.stack([[added(0.2, 1, 0), added(0.2, 5, 1)], [added(0.6, 2, 2), added(0.6, 3, 3)]])
    var = to_host(claims.Estimated().grey_var(xp.asarray(image)))
    assert var.shape == (2, 2, 1, 1)
    np.testing.assert_allclose(var[:, :, 0, 0] ** 0.5, [[1, 5], [2, 3]], rtol=0.15)
    _, claimed = host(segmenter(channels=2, noise=claims.Estimated()).input(image))
    np.testing.assert_allclose(claimed, 1, rtol=0.25)  # these images are nothing but noise
    drawn = claims.Estimated().draw(image[:1])(np.random.default_rng(0), np.ones((1, 1, 200, 200)))
    assert (drawn[..., 1:] * drawn[..., :-1]).mean() == pytest.approx(0.2, abs=0.06)


# What is drawn


def test_samples_have_the_noise_that_is_claimed():
    """An identity as a network: the neighbours of a pixel differ by what is left of the noise."""
    pixels = images((1, 2, 32, 32))
    outputs = {}
    for claim in (None, claims.White(), claims.Correlated(0.6)):
        model = adf.Segmenter(adf.AvgPool2d(2), 0.1, noise=claim)
        outputs[claim] = adf.montecarlo.sampled(model, pixels, 400)
    np.testing.assert_array_equal(outputs[None].class_std, outputs[claims.White()].class_std)
    x = adf.Gaussian(xp.zeros((1, 1, 32, 32)), xp.full((1, 1, 32, 32), 0.1))
    found = [
        to_host(adf.montecarlo.sampled_output(adf.AvgPool2d(2), x, 400, 0, patterns).var).mean()
        for patterns in ("independent", white, correlated(0.6))
    ]
    # The mean of a square of four: (1 + rho)^2 / 4 of the variance. 256 of them, 400 samples each.
    bound = 5 * np.sqrt(2 / 400 / 256 * 2)
    np.testing.assert_allclose(found, [0.025, 0.025, 0.025 * 1.6**2], rtol=bound)
    sure, unsure = (outputs[c].concentration.sum() for c in (None, claims.Correlated(0.6)))
    assert sure > unsure


# On the command line

TINY = {"widths": [3, 4], "steps": 2, "batch_size": 1, "calibration_steps": 0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two steps, as its folder."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    run, source = runs.start(folder, TINY, resume=False)
    runs.prepare(run)
    run.train(source)
    return folder


def command(folder, *options):
    """(pixels, folder, arguments) of a prediction of one picture."""
    out = folder / "-".join(("out", *options)).replace(":", "-")
    path, pixels = folder / "cells.png", images((40, 30)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels, out, [str(path), "--out", str(out), *options]


@pytest.mark.parametrize(
    "options, var",
    [
        ((), None),
        (("--noise", "white"), None),
        (("--noise", "correlated:0.4"), None),
        (("--noise", "camera:2,60,3"), lambda p: 2 * np.maximum(p - 60.0, 0) + 9),
        (("--noise", "estimated"), lambda p: np.full(p.shape, claims.estimate(p)[0] ** 2)),
        (("--noise-var", "0.3"), 0.3),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, tuple) else "",
)
def test_predict_follows_the_claim(trained, tmp_path, options, var):
    """From the grey levels in the file to the standard deviations that are written."""
    pixels, out, args = command(tmp_path, *options)
    assert main(["predict", str(trained), *args]) == 0
    model = runs.load(trained).segmenter
    plain = adf.predict(model, pixels[None, None])
    if var == 0.3:
        model.noise_var = var
    given = var(pixels.astype("float64"))[None, None] if callable(var) else None
    expected = adf.predict(model, pixels[None, None], given)
    with Image.open(out / "cells_std.tif") as picture:
        found = np.array(picture)
    np.testing.assert_allclose(found, expected.class_std[0].mean(axis=0), rtol=1e-6)
    assert (var is None) == np.array_equal(expected.class_std, plain.class_std)


def test_predict_refuses_what_cannot_be(trained, tmp_path, capsys):
    for options, said in (
        (("--noise", "camera:2,60"), "expected noise as white, correlated:RHO, camera:GAIN"),
        (("--noise", "correlated:1"), "expected a correlation of neighbours from -0.7 to 0.7"),
        (("--noise-var", "-3"), "noise_var (a variance) of 0 or more"),
    ):
        _, out, args = command(tmp_path, *options)
        assert main(["predict", str(trained), *args]) == 2
        assert said in capsys.readouterr().err and not out.exists()
    np.save(tmp_path / "flat.npy", np.zeros((20, 20)))
    arguments = ["--noise", "estimated", "--out", str(tmp_path / "flat")]
    assert main(["predict", str(trained), str(tmp_path / "flat.npy"), *arguments]) == 2
    assert "whose noise can be estimated" in capsys.readouterr().err


def test_training_follows_the_claim(trained, tmp_path):
    """It has the variances alone; what correlates is drawn in calibration."""
    weights = {}
    for claim in ("white", "correlated:0.4", "estimated"):
        given = TINY | {"noise": claim}
        run, source = runs.start(tmp_path / claim, given, resume=False)
        runs.prepare(run)
        run.train(source)
        run = runs.load(run.folder)
        assert run.settings.noise == claim and run.segmenter.noise == claims.parse(claim)
        weights[claim] = to_host(run.segmenter.network.parameters()[0].value)
    np.testing.assert_array_equal(weights["white"], weights["correlated:0.4"])
    assert not np.array_equal(weights["white"], weights["estimated"])


def test_a_camera_needs_grey_levels_that_data_sets_have_lost(
    trained, tmp_path, capsys, monkeypatch
):
    """Nothing is written. To evaluate a run, other noise may be claimed."""
    monkeypatch.setattr("adf.data.source.HELD_OUT", 2)
    camera = ["--noise", "camera:2,100,3"]
    assert main(["train", *camera, "--out", str(tmp_path / "camera")]) == 2
    assert "expected grey levels of 0 or more" in capsys.readouterr().err
    assert not (tmp_path / "camera").exists()
    assert main(["evaluate", str(trained), *camera]) == 2
    assert "expected grey levels of 0 or more" in capsys.readouterr().err
    assert main(["evaluate", str(trained), "--noise", "estimated"]) == 0


def test_a_run_of_before_has_white_noise(trained, tmp_path):
    arrays, about = checkpoint.load(trained / "checkpoint.npz")
    assert about.pop("noise") == "white"
    checkpoint.save(tmp_path / "checkpoint.npz", arrays, about)
    run = runs.load(tmp_path)
    assert run.settings.noise == "white" and run.segmenter.noise == claims.White()
