"""Segmenter, Adam, train_step, predict."""

import numpy as np
import pytest
from scipy.stats import dirichlet

import adf
from adf.backend import to_host, xp
from adf.engine.micro_batches import replicate
from adf.runs import Settings
from adf.training import MICRO_BATCH_WITHOUT_NORM


def segmenter(noise_var=1e-3, **options):
    return adf.Segmenter(adf.UNet(1, 3, widths=(4, 6), rng=1), noise_var, **options)


def batch(count=10, size=16):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (count, size // 4, size // 4)).repeat(4, axis=1).repeat(4, axis=2)
    return (labels + 0.3 * rng.normal(size=labels.shape))[:, None], labels


def values(segmenter):
    return [to_host(p.value).copy() for p in segmenter.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize("noise_var", [1e-3, None])
def test_learns(noise_var):
    model, (images, labels) = segmenter(noise_var), batch()
    optimizer = adf.Adam(model.parameters(), 1e-2)
    losses = [adf.train_step(model, optimizer, images, labels) for _ in range(150)]
    assert np.isfinite(losses).all() and (adf.predict(model, images).labels == labels).mean() > 0.9


@pytest.mark.parametrize("noise_var", [1e-3, None])
def test_threads_do_not_change_a_bit(noise_var, monkeypatch):
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("ADF_THREADS", threads)
        model, (images, labels) = segmenter(noise_var), batch()
        optimizer = adf.Adam(model.parameters(), 1e-2)
        losses = [adf.train_step(model, optimizer, images, labels) for _ in range(3)]
        prediction = adf.predict(model, images)
        results.append(
            [np.array(losses), *values(model), *(f for f in prediction if f is not None)]
        )
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("density_weight", [1, 0.3, 0])
def test_gradient_of_a_step_is_that_of_the_mean_loss(density_weight):
    """Micro-batches summed: against central differences of the whole batch's loss, float64."""
    model, (images, labels) = segmenter(density_weight=density_weight), batch()
    for p in model.parameters():
        p.value = p.value.astype("float64")
    optimizer = adf.Adam(model.parameters(), 1e-3)
    optimizer.step = lambda: None  # leave the values where they are
    loss = adf.train_step(model, optimizer, images, labels)
    rng, step = np.random.default_rng(1), 1e-6

    def mean_loss():
        return float(model.loss(model.input(images), labels)[0]) / labels.size

    np.testing.assert_allclose(loss, mean_loss(), rtol=1e-12)  # (6.11), (8.2)
    for p in model.parameters():
        value, direction = p.value, xp.asarray(rng.standard_normal(p.value.shape))
        p.value = value + step * direction
        up = mean_loss()
        p.value = value - step * direction
        down = mean_loss()
        p.value = value
        np.testing.assert_allclose(
            float((p.grad * direction).sum()), (up - down) / (2 * step), rtol=1e-5, atol=1e-8
        )


@pytest.mark.parametrize("w", [0, 0.3])
def test_the_loss_mixes_the_label_under_the_mean_and_the_density(w):
    model, (images, labels) = segmenter(density_weight=w), batch()
    loss, backward = model.loss(model.input(images), labels)
    alpha = np.exp(to_host(model.head.predict(model.network.predict(model.input(images))).mean))
    p = alpha / alpha.sum(axis=1, keepdims=True)
    label = -np.log(np.take_along_axis(p, labels[:, None], axis=1)).sum()
    y = 0.99 * (labels[:, None] == np.arange(3)[:, None, None]) + 0.01 / 3
    density = sum(
        -dirichlet(a).logpdf(t / t.sum())
        for a, t in zip(
            np.moveaxis(alpha, 1, -1).reshape(-1, 3),
            np.moveaxis(y, 1, -1).reshape(-1, 3),
            strict=True,
        )
    )
    assert float(loss) == pytest.approx((1 - w) * label + w * density, rel=1e-6)  # (7.17)
    backward(1.0)
    taught = [abs(float(c.grad[0])) > 1e-9 * labels.size for c in model.head.parameters()]
    assert taught == [w > 0] * 2  # the label says nothing of the strength


def test_replicas_share_values_and_own_gradients():
    model = segmenter()
    replica = replicate(model, [])
    for a, b in zip(model.parameters(), replica.parameters(), strict=True):
        assert a.value is b.value and a.grad is not b.grad and a is not b


def test_every_micro_batch_of_every_step_draws_masks_of_its_own(monkeypatch):
    """Sampled dropout; and whatever the number of threads, the same ones."""
    found, drawn = [], set()

    def watched(segmenter, generators):
        drawn.update(g.bit_generator.state["state"]["state"] for g in generators)
        return replicate(segmenter, generators)

    monkeypatch.setattr("adf.engine.micro_batches.replicate", watched)
    for threads in ("1", "2"):
        monkeypatch.setenv("ADF_THREADS", threads)
        network = adf.Sequential(adf.Conv2d(1, 3, 1, rng=0), adf.Dropout(0.5, sample=True, rng=1))
        model = adf.Segmenter(network, noise_var=None)
        optimizer = adf.Adam(model.parameters())
        optimizer.learning_rate = 0.0  # the masks alone change the loss
        found.append([adf.train_step(model, optimizer, *batch(count=8)) for _ in range(3)])
    assert found[0] == found[1] and len(set(found[0])) == 3
    assert len(drawn) == 3 * -(-8 // MICRO_BATCH_WITHOUT_NORM)


def test_adam_by_hand():
    """Two steps of algorithm 1 of the paper, worked out for one number."""
    p = adf.Parameter(xp.asarray([1.0]))
    adam = adf.Adam([p], learning_rate=0.1)
    want, m, v = 1.0, 0.0, 0.0
    for t, g in enumerate((0.5, -2.0), start=1):
        p.grad = xp.asarray([g])
        adam.step()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g  # (6.12)
        want -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)  # (6.13)
        np.testing.assert_allclose(float(p.value[0]), want, rtol=1e-14)


def test_learning_rate_by_hand():
    """Up in 20 steps, down in half a cosine."""
    settings = Settings(steps=100, learning_rate=2.0)
    assert settings.learning_rate_at(0) == pytest.approx(2 / 20)
    assert settings.learning_rate_at(50) == pytest.approx(1) and settings.learning_rate_at(
        100
    ) == pytest.approx(0)
    assert settings.learning_rate_at(10) == pytest.approx(
        11 / 20 * (1 + np.cos(np.pi / 10))
    )  # (8.1)


def test_a_numpy_learning_rate_keeps_float32():
    model, (images, labels) = segmenter(), batch()
    adf.train_step(model, adf.Adam(model.parameters(), np.float64(1e-3)), images, labels)
    assert all(p.value.dtype == "float32" for p in model.parameters())


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_changes_nothing(loss):
    model, (images, labels) = segmenter(), batch()
    optimizer, before = adf.Adam(model.parameters()), values(model)
    model.loss = lambda x, labels, label_range: (xp.asarray(loss), lambda dloss: None)
    with pytest.raises(ValueError, match="lower learning rate"):
        adf.train_step(model, optimizer, images, labels)
    assert optimizer.t == 0 and all(
        np.array_equal(a, b) for a, b in zip(before, values(model), strict=True)
    )


class Broken(adf.Identity):
    """Its output is right, and its gradient of the mean is this factor times what it should be."""

    factor = np.nan

    def forward(self, x):
        return x, lambda dy: adf.Gaussian(dy.mean * self.factor, dy.var)


class Idle(adf.Identity):
    """It has a weight that no output depends on."""

    def __init__(self, value):
        self.idle = adf.Parameter(xp.asarray([value]))


def network(*between):
    layers = adf.Conv2d(1, 4, 3, padding=1, rng=0), adf.BatchNorm2d(4), *between
    return adf.Sequential(*layers, adf.Conv2d(4, 3, 1, rng=1))


def assert_nothing_is_learned(model, message, images, labels):
    optimizer, before = adf.Adam(model.parameters()), values(model)
    with pytest.raises(ValueError, match=message):
        adf.train_step(model, optimizer, images, labels)
    assert optimizer.t == 0 and all(s.updates == 0 for s in model.network.statistics())
    for a, b in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("factor", [np.nan, np.inf])
@pytest.mark.parametrize("noise_var", [1e-3, None])
def test_a_gradient_that_is_not_finite_changes_nothing(factor, noise_var):
    broken = Broken()
    broken.factor = factor
    model = adf.Segmenter(network(broken), noise_var)
    message = "network.layers.0.weight or its gradient is not finite, so nothing was learned"
    assert_nothing_is_learned(model, message, *batch())
    broken.factor = 1.0
    adf.train_step(model, adf.Adam(model.parameters()), *batch())


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_weight_that_is_not_finite_is_named(value):
    model = adf.Segmenter(network(Idle(value)))
    assert_nothing_is_learned(model, "network.layers.2.idle or its gradient", *batch())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_step_that_overflows_is_noticed_by_the_next():
    model = adf.Segmenter(network())
    optimizer = adf.Adam(model.parameters(), 3e38)
    adf.train_step(model, optimizer, *batch())
    before = values(model)
    assert not all(np.isfinite(value).all() for value in before)
    with pytest.raises(ValueError, match="so nothing was learned"):
        adf.train_step(model, optimizer, *batch())
    assert optimizer.t == 1
    for a, b in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("noise_var", [1e30, 1e37, 3e38])
def test_noise_that_overflows_leaves_finite_weights(noise_var):
    """Either a step is refused in words, or it leaves finite weights."""
    model = segmenter(noise_var)
    optimizer = adf.Adam(model.parameters(), 1e-2)
    try:
        for _ in range(3):
            adf.train_step(model, optimizer, *batch())
    except ValueError as error:
        assert "nothing was learned" in str(error) or "variances of 0 or more" in str(error)
    assert all(np.isfinite(value).all() for value in values(model))


def test_numpy_settings_of_adam_keep_float32():
    model, (images, labels) = segmenter(), batch()
    settings = {"beta1": np.float64(0.9), "beta2": np.float64(0.999), "eps": np.float64(1e-8)}
    adf.train_step(model, adf.Adam(model.parameters(), **settings), images, labels)
    assert all(p.value.dtype == "float32" for p in model.parameters())


def test_one_class_is_refused():
    """The softmax of one class is 1, and every loss 0: it would seem to learn."""
    model = adf.Segmenter(adf.Conv2d(1, 1, 1))
    images, labels = batch()
    assert_nothing_is_learned(model, "2 classes or more, got 1", images, np.zeros_like(labels))


@pytest.mark.parametrize("shape", [(2, 13, 9, 1), (2, 16, 16, 1)])
def test_channels_last_is_said_of_the_shape_that_came(shape):
    model = segmenter()
    message = rf"UNet expects 1 input channels, got images of shape \({str(shape)[1:-1]}\).*last\?"
    for use in model.input, lambda images: adf.predict(model, images):
        with pytest.raises(ValueError, match=message):
            use(np.zeros(shape))
    with pytest.raises(ValueError, match=r"got images of shape \(2, 3, 13, 9\); .*W\)$"):
        model.input(np.zeros((2, 3, 13, 9)))


def test_prediction_is_what_it_says():
    model, (images, _) = segmenter(), batch(3)
    p = adf.predict(model, images)
    assert p.labels.shape == (3, 16, 16) and p.labels.dtype == "uint8"
    assert all(f.dtype == "float32" and isinstance(f, np.ndarray) for f in p[1:])
    np.testing.assert_allclose(p.probabilities.sum(axis=1), 1, rtol=1e-5)
    strength = p.concentration.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p.probabilities, p.concentration / strength, rtol=1e-5)
    m = p.probabilities.astype("float64")
    np.testing.assert_allclose(
        p.class_std, np.sqrt(m * (1 - m) / (strength + 1)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(p.entropy, -(m * np.log(m)).sum(axis=1), rtol=1e-4, atol=1e-6)
    assert (p.labels == m.argmax(axis=1)).all()


def test_point_mass_prediction():
    model, images = segmenter(None), batch(2)[0]
    p = adf.predict(model, images)
    assert p.concentration is None and p.entropy.shape == (2, 16, 16)
    odds = np.exp(to_host(model.network.predict(model.input(images)).mean).astype("f8"))
    m = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p.probabilities, m, rtol=1e-4)
    np.testing.assert_allclose(p.entropy, -(m * np.log(m)).sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(
        p.class_std, np.sqrt(p.probabilities * (1 - p.probabilities)), rtol=1e-4, atol=1e-6
    )


def test_any_size_and_any_units():
    model, image = segmenter(), batch(1)[0]
    for height, width in ((1, 1), (5, 7), (16, 9), (33, 16)):
        tall = np.tile(image, (1, 1, 3, 1))[:, :, :height, :width]
        assert adf.predict(model, tall).labels.shape == (1, height, width)
    eight_bit = np.round(40 * image + 120).astype("uint8")
    reference = adf.predict(model, eight_bit)
    for same in (
        eight_bit.astype("uint16") * 257,
        eight_bit.astype("float32") / 255,
        eight_bit * 1e300 - 5e301,
    ):
        np.testing.assert_allclose(
            adf.predict(model, same).probabilities, reference.probabilities, rtol=1e-4, atol=1e-6
        )


def test_the_answer_for_an_image_does_not_depend_on_its_neighbours():
    model, images = segmenter(), batch(5)[0]
    together, alone = adf.predict(model, images), adf.predict(model, images[2:3])
    assert all(np.array_equal(a[2:3], b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (np.zeros((2, 16, 16)), np.zeros((2, 16, 16), int), r"\(N, C, H, W\)"),
        (np.zeros((2, 1, 0, 16)), np.zeros((2, 0, 16), int), "at least one pixel"),
        (np.full((2, 1, 16, 16), np.nan), np.zeros((2, 16, 16), int), "finite"),
        (np.zeros((2, 1, 16, 16), complex), np.zeros((2, 16, 16), int), "real numbers"),
        (np.zeros((2, 1, 16, 16)), np.zeros((2, 16, 15), int), r"labels of shape \(2, 16, 16\)"),
        (np.zeros((2, 1, 16, 16)), np.zeros((2, 16, 16)), "integer labels"),
        (np.zeros((2, 1, 16, 16)), np.full((2, 16, 16), 3), "0 to 2"),
        (np.zeros((2, 1, 16, 16)), np.full((2, 16, 16), -1), "0 to 2"),
        (np.zeros((2, 3, 16, 16)), np.zeros((2, 16, 16), int), "expects 1 input channels"),
    ],
)
@pytest.mark.parametrize("noise_var", [1e-3, None])
def test_bad_input_changes_nothing(images, labels, message, noise_var):
    model = segmenter(noise_var)
    optimizer, before = adf.Adam(model.parameters()), values(model)
    with pytest.raises(ValueError, match=message):
        adf.train_step(model, optimizer, images, labels)
    assert optimizer.t == 0 and all(
        np.array_equal(a, b) for a, b in zip(before, values(model), strict=True)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"noise_var": -1},
        {"noise_var": float("nan")},
        {"label_smoothing": 0},
        {"label_smoothing": None},
        {"density_weight": 2},
    ],
)
def test_bad_settings(options):
    with pytest.raises(ValueError, match="expects a"):
        segmenter(**options)
    for rate in (0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="learning_rate"):
            adf.Adam([], learning_rate=rate)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_bad_number_of_threads(text, monkeypatch):
    monkeypatch.setenv("ADF_THREADS", text)
    with pytest.raises(ValueError, match="ADF_THREADS"):
        adf.predict(segmenter(), batch(1)[0])


def test_a_network_says_which_parameters_learn():
    """`parameters()` may be overridden: what it leaves out stays as it is."""

    class Frozen(adf.UNet):
        def parameters(self):
            return super().parameters()[-2:]

    model = adf.Segmenter(Frozen(1, 3, widths=(4, 6), rng=1))
    assert len(model.parameters()) == 4  # two of the network, two of the head
    all_parameters = super(Frozen, model.network).parameters()
    before = [to_host(p.value).copy() for p in all_parameters]
    adf.train_step(model, adf.Adam(model.parameters()), *batch())
    changed = [
        not np.array_equal(a, to_host(p.value)) for a, p in zip(before, all_parameters, strict=True)
    ]
    assert changed[-2:] == [True, True] and not any(changed[:-2])


def test_a_bare_array_is_no_input():
    model, (images, labels) = segmenter(), batch(2)
    for call in (lambda: model.predict(images), lambda: model.loss(images, labels)):
        with pytest.raises(
            ValueError, match=r"expects what its `input\(images\)` returns.*adf.predict"
        ):
            call()


def test_the_range_of_all_labels_is_told():
    model, (images, labels) = segmenter(), batch(5)
    labels[0, 0, 0] = 5
    labels[-1, 0, 0] = 7
    with pytest.raises(ValueError, match="labels from 0 to 2, got 0 to 7"):
        adf.train_step(model, adf.Adam(model.parameters()), images, labels)


def test_the_loss_is_that_of_the_paper_unless_one_says_otherwise():
    """Nearly certain pixels, the density alone, of a label smoothed by 1 %; c1 and c2 near 0.05."""
    model = adf.Segmenter(adf.UNet(1, 3, widths=(4,)))
    x = model.input(batch(1)[0])
    assert bool((x.var == np.float32(1e-3)).all())
    assert (model.density_weight, model.label_smoothing) == (1, 0.01)
    assert [float(c.value[0]) for c in model.head.parameters()] == [-3, -3]
    assert adf.Adam([]).learning_rate == 1e-3


def test_a_step_hears_the_noise_of_each_image():
    """The loss is that of `Segmenter.input` with this noise; without it, it is another."""
    images, labels = batch()
    var = np.random.default_rng(0).uniform(0.01, 0.5, (len(images), 1, 1, 1))
    found = []
    for told in ([var], []):
        model = segmenter()
        found.append(adf.train_step(model, adf.Adam(model.parameters()), images, labels, *told))
    model = segmenter()
    with pytest.raises(ValueError, match="grey_var"):
        adf.train_step(model, adf.Adam(model.parameters()), images, labels, -var)
    expected, _ = model.loss(model.input(images, var), labels)
    assert found[0] == pytest.approx(float(expected) / labels.size, rel=1e-5)
    assert abs(found[0] - found[1]) > 1e-4
