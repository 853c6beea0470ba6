"""Weights for the variance are learned from noisy copies; nothing else moves."""

import numpy as np
import pytest
from scipy.special import digamma

import adf
from adf import Gaussian, calibration
from adf.backend import to_host, xp
from adf.layers import free_variance
from adf.layers.gate import Gate
from adf.layers.noise import correlated
from adf.layers.paths import held


def segmenter(noise_var=0.1, **options):
    return adf.Segmenter(adf.UNet(1, 3, widths=(3, 4), norm=True, rng=1), noise_var, **options)


def images(count=6, size=16):
    return np.random.default_rng(0).normal(size=(count, 1, size, size))


def begun(noise_var=0.1):
    model = segmenter(noise_var)
    calibration.begin(model, model.input(images()), np.random.default_rng(1))
    return model


def optimizer(model, rate=0.03):
    return adf.Adam(calibration.variance_weights(model), rate, beta2=0.99)


def host(arrays):
    return [to_host(array).copy() for array in arrays]


def target(model, x, seed=2, copies=4):
    return calibration.measured(model, x, np.random.default_rng(seed), copies)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_measured_are_the_moments_of_the_copies(dtype, monkeypatch):
    """Of micro-batches of 4 and of 1, with the noise that was drawn for them."""
    monkeypatch.setenv("ADF_THREADS", "1")
    model = segmenter()
    model.network.to(dtype)
    x = model.input(images(5))
    drawn = []

    def watched(rng, var):
        drawn.append(calibration.white(rng, var))
        return drawn[-1]

    found = calibration.measured(model, x, np.random.default_rng(2), 3, watched)
    assert [len(noise) for noise in drawn] == [4, 4, 4, 1, 1, 1] and found.var.dtype == dtype
    noises = [xp.concatenate([drawn[i], drawn[i + 3]]) for i in range(3)]
    y = [to_host(model.network.predict(Gaussian(x.mean + n)).mean) for n in noises]
    rtol = 1e-3 if dtype == "float32" else 1e-9
    np.testing.assert_allclose(to_host(found.mean), np.mean(y, axis=0), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(to_host(found.var), np.var(y, axis=0, ddof=1), rtol=rtol)  # (9.12)


def test_the_logarithm_of_what_is_measured_has_the_bias_that_it_is_said_to_have():
    for copies in (8, 16, 64):
        half = (copies - 1) / 2
        exact = digamma(half) - np.log(half)
        assert calibration.log_bias(copies) == pytest.approx(exact, rel=1e-3)  # (9.13)


def test_the_gradient_of_a_step_is_that_of_the_mean_loss():
    """Micro-batches summed, against central differences of the loss of the whole batch."""
    model = segmenter()
    model.network.to("float64")
    x = model.input(images())
    calibration.begin(model, x, np.random.default_rng(1))
    rng = np.random.default_rng(3)
    for p in calibration.variance_weights(model):
        p.value = p.value + xp.asarray(rng.normal(0, 0.1, p.value.shape))
    true = target(model, x)
    adam = optimizer(model)
    adam.step = lambda: None
    loss = calibration.calibrate_step(model, adam, x, true, 4)

    def mean_loss():
        y = model.network.predict(x)
        error = xp.log(y.var) - xp.log(true.var) + calibration.log_bias(4)
        return float((error**2 + 0.3 * (y.mean - true.mean) ** 2 / true.var).mean()) / 2

    np.testing.assert_allclose(loss, mean_loss(), rtol=1e-12)  # (9.14)
    step = 1e-6
    for p in calibration.variance_weights(model):
        value, direction = p.value, xp.asarray(rng.standard_normal(p.value.shape))
        p.value = value + step * direction
        up = mean_loss()
        p.value = value - step * direction
        down = mean_loss()
        p.value = value
        slope = float((p.grad * direction).sum())
        np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-5, atol=1e-9)  # (9.15)


def test_a_step_moves_the_weights_of_the_variance_alone():
    model = begun()
    learned = {id(p) for p in calibration.variance_weights(model)}
    others = [p for p in model.parameters() if id(p) not in learned]
    kept = [*others, *model.network.statistics()]
    before, moved = host(p.value for p in kept), host(p.value for p in optimizer(model).parameters)
    adam = optimizer(model)
    x = model.input(images())
    for step in range(2):
        calibration.calibrate_step(model, adam, x, target(model, x, step), 4)
    for p, value in zip(kept, before, strict=True):
        np.testing.assert_array_equal(to_host(p.value), value)
    for p, value in zip(adam.parameters, moved, strict=True):
        assert (to_host(p.value) != value).all()
    assert not any(s.updates for s in model.network.statistics())


def test_the_last_layer_alone_reads_means():
    for build in (adf.UNet, adf.DeepLabV3Plus):
        widths = (2, 3, 4)
        model = adf.Segmenter(build(1, 3, widths=widths, rng=1), 0.1)
        calibration.free_all(model.network)
        *others, last = calibration.linear_layers(model.network)
        assert last is model.network.layers[-1] and last.gate and last.drift
        assert not any(law.gate or law.drift for law in others)
        assert not held(model.network, Gate)
        assert len(calibration.variance_weights(model)) == 2 * len(others) + 4


@pytest.mark.parametrize("share", [0, 1, 2])
def test_what_is_freed_can_be_chosen(share):
    """Of all layers, of the widest, of none."""
    model = adf.Segmenter(adf.UNet(1, 3, widths=(2, 4, 8), norm=True, rng=1), 0.1)
    x = model.input(images(1))
    rng = np.random.default_rng(1)
    calibration.begin(model, x, rng, common_modes=share, is_finished=False)
    laws = calibration.linear_layers(model.network)
    assert all(law.log_gain and not law.gate and not law.drift for law in laws)
    least = share * 8
    assert all((law.loading is not None) == (law.out_channels >= least) for law in laws)


def test_threads_do_not_change_a_bit(monkeypatch):
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("ADF_THREADS", threads)
        model = begun()
        adam = optimizer(model)
        x = model.input(images(10))
        true = target(model, x)
        losses = [calibration.calibrate_step(model, adam, x, true, 4) for _ in range(2)]
        results.append([np.array(losses), *host([*true, *(p.value for p in adam.parameters)])])
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


LAWS = {
    "Linear": (lambda: adf.Linear(3, 4, rng=1), (5, 3)),
    "Conv2d": (lambda: adf.Conv2d(4, 6, 3, padding=1, groups=2, rng=1), (2, 4, 5, 6)),
    "a tap on padding alone": (lambda: adf.Conv2d(1, 2, 3, padding=1, rng=1), (2, 1, 1, 4)),
    "ConvTranspose2d": (
        lambda: adf.ConvTranspose2d(4, 6, 3, stride=2, groups=2, rng=1),
        (2, 4, 5, 4),
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_variances_are_scaled_by_channels(name):
    build, shape = LAWS[name]
    layer, rng = build(), np.random.default_rng(2)
    free_variance.free(layer, 0.3)
    x = Gaussian(*(xp.asarray(rng.random(shape).astype("float32")) for _ in range(2)))
    before = layer.predict(x).var
    gain = xp.asarray(rng.uniform(0.1, 10, (1, before.shape[1], *[1] * (before.ndim - 2))))
    calibration.scale_variance(layer, x.mean, gain)
    np.testing.assert_allclose(to_host(layer.predict(x).var), to_host(gain * before), rtol=1e-5)


def test_it_begins_right_on_average_in_every_channel():
    """On the very images and noise that it began with; and anew, the same again."""
    model = segmenter()
    for _ in range(2):
        x = model.input(images(8, 32))
        calibration.begin(model, x, np.random.default_rng(1))
        a, b = calibration.noisy_pair(x, np.random.default_rng(1))
        a, b = (to_host(model.network.predict(noisy).mean) for noisy in (a, b))
        v = to_host(model.network.predict(x).var)
        ratio = v.mean(axis=(0, 2, 3)) / ((a - b) ** 2 / 2).mean(axis=(0, 2, 3))  # (9.11)
        np.testing.assert_allclose(ratio, 1, rtol=0.01)


def test_channels_without_noise_stay_as_they_are():
    d, var = (xp.asarray([[a, b, c]]) for a, b, c in ((0.0, 3.0, 0.0), (2.0, 0.5, 0.0)))
    assert to_host(calibration.channel_gain(d, var)).tolist() == [[1, 6, 1]]


def agreeing():
    """A network whose weights mostly agree in sign, so that neighbours vary together."""
    layers = []
    for seed, channels in enumerate(((1, 6), (6, 6), (6, 6), (6, 2))):
        layers += [adf.Conv2d(*channels, 3, padding=1, rng=seed), adf.LeakyReLU(0.1)]
    network = adf.Sequential(*layers[:-1])
    for p in network.parameters():
        p.value = abs(p.value) - np.float32(0.3) * p.value
    return adf.Segmenter(network, 0.1)


def test_learning_brings_variances_near_to_the_true_ones():
    """Those of 400 samples: log(variance / true variance), its median and its scatter.

    The scatter of the truth itself is sqrt(2 / 399) = 0.07.
    """
    model, rng = agreeing(), np.random.default_rng(5)
    x = model.input(images(2, 32))
    samples = [
        to_host(model.network.predict(calibration.noisy_pair(x, rng)[0]).mean) for _ in range(400)
    ]
    true = np.var(samples, axis=0, ddof=1)

    def logarithms():
        return np.log(to_host(model.network.predict(x).var) / true)

    plain = logarithms()
    calibration.begin(model, model.input(images(8, 32)), rng)
    adam = optimizer(model)
    for step in range(40):
        crops = model.input(np.random.default_rng(step).normal(size=(4, 1, 32, 32)))
        calibration.calibrate_step(model, adam, crops, calibration.measured(model, crops, rng))
    learned = logarithms()
    assert np.median(plain) < -5 and abs(np.median(learned)) < 0.15
    assert learned.std() < 0.5 * plain.std(), (learned.std(), plain.std())


def test_under_correlated_noise_variances_become_those_of_correlated_noise():
    """Those of 200 samples. Begun from white noise, which is right for it, they are far too low.

    The input, which has no correlation to tell, is the same for both.
    """
    together = correlated(0.45)
    model, rng = agreeing(), np.random.default_rng(5)
    x = model.input(images(2, 32))
    y = adf.montecarlo.sampled_output(model.network, x, 200, 1, together)

    def ratio():
        return np.median(to_host(model.network.predict(x).var / y.var))

    calibration.begin(model, model.input(images(8, 32)), rng)
    assert ratio() < 0.5
    calibration.begin(model, model.input(images(8, 32)), rng, together)
    adam = optimizer(model)
    for step in range(40):
        crops = model.input(np.random.default_rng(step).normal(size=(4, 1, 32, 32)))
        true = calibration.measured(model, crops, rng, noise=together)
        calibration.calibrate_step(model, adam, crops, true)
    assert abs(np.log(ratio())) < 0.1


def test_means_that_are_off_are_learned():
    """By half a true standard deviation each; those of a network that learned nothing are right."""
    model = begun(0.5)
    x = model.input(images(4))
    true = target(model, x, copies=100)
    true = Gaussian(true.mean + xp.sqrt(true.var) / 2, true.var)

    def mean_error():
        off = model.network.predict(x).mean - true.mean
        return np.median(to_host(abs(off) / xp.sqrt(true.var)))

    assert mean_error() > 0.4
    adam = optimizer(model, 0.05)
    for _ in range(60):
        calibration.calibrate_step(model, adam, x, true, 100)
    assert mean_error() < 0.2


def test_no_noise_gives_no_variance_and_more_noise_more():
    """In proportion through the linear layers; here all of the network is linear."""
    layers = adf.Conv2d(1, 4, 3, padding=1, rng=0), adf.Conv2d(4, 3, 1, rng=1)
    model = adf.Segmenter(adf.Sequential(*layers), 0.1)
    x = model.input(images())
    calibration.begin(model, x, np.random.default_rng(1))
    once = to_host(model.network.predict(x).var)
    four = to_host(model.network.predict(Gaussian(x.mean, 4 * x.var)).var)
    none = to_host(model.network.predict(Gaussian(x.mean, 0 * x.var)).var)
    np.testing.assert_allclose(four, 4 * once, rtol=1e-5)
    assert (once > 0).all() and (none == 0).all()


def test_noise_of_another_kind_is_learned_from():
    """Whoever knows the noise better draws it: here every pixel of an image alike."""

    def together(rng, var):
        return xp.sqrt(var) * xp.asarray(rng.standard_normal((len(var), 1, 1, 1)), "float32")

    model = segmenter()
    x = model.input(images())
    calibration.begin(model, x, np.random.default_rng(1), together)
    a, b = calibration.noisy_pair(x, np.random.default_rng(1), together)
    assert np.ptp(to_host(a.mean - b.mean), axis=(1, 2, 3)).max() < 1e-5
    white, alike = (
        calibration.measured(model, x, np.random.default_rng(1), 16, noise)
        for noise in (calibration.white, together)
    )
    assert abs(np.log(float((alike.var / white.var).mean()))) > 0.2
    assert np.isfinite(calibration.calibrate_step(model, optimizer(model), x, alike))


def test_the_head_is_fitted_alone_and_its_loss_falls():
    model = begun()
    labels = np.random.default_rng(6).integers(0, 3, (6, 16, 16))
    logits = model.network.predict(model.input(images()))
    before = host(p.value for p in model.network.parameters())
    adam = adf.Adam(model.head.parameters(), 0.1)
    losses = [calibration.fit_head(model, adam, logits, labels) for _ in range(20)]
    assert losses[-1] < losses[0]
    for p, value in zip(model.network.parameters(), before, strict=True):
        np.testing.assert_array_equal(to_host(p.value), value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_changes_nothing():
    model = begun()
    adam = optimizer(model)
    before = host(p.value for p in adam.parameters)
    x = model.input(images())
    none = target(model, Gaussian(x.mean, 0 * x.var))
    with pytest.raises(ValueError, match=r"nothing was learned"):
        calibration.calibrate_step(model, adam, x, none)
    assert adam.t == 0
    for p, value in zip(adam.parameters, before, strict=True):
        np.testing.assert_array_equal(to_host(p.value), value)


def test_an_input_without_noise_is_refused():
    model = begun()
    x = Gaussian(model.input(images()).mean)
    for call in (calibration.begin, calibration.measured):
        with pytest.raises(ValueError, match="expects an input with variances"):
            call(model, x, np.random.default_rng(1))
