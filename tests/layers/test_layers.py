"""One row of the table of layers buys every check below: adf/studies/verification/cases.py."""

import copy
import inspect

import numpy as np
import pytest
from cases import CASES, TWO_FACED, make

import adf
from adf import Gaussian, backend, montecarlo
from adf.backend import to_host, xp
from adf.layers.gradients import FOURTH_ORDER, SECOND_ORDER, cast, gradient_errors, random_like

case = pytest.mark.parametrize("name", CASES)
exact_or_approximate = sorted(name for name in CASES if CASES[name].is_exact is not None)
has_one_face = sorted(name for name in CASES if name not in TWO_FACED)


@case
@pytest.mark.parametrize("point", [False, True], ids=["Gaussian", "point mass"])
def test_gradient(name, point):
    layer, x, _ = make(name, point=point)
    # A batch norm bends what it is given; there differences of second order are too rough.
    stencil = FOURTH_ORDER if name == "UNet, batch norm" else SECOND_ORDER
    errors = gradient_errors(layer, x, np.random.default_rng(8), stencil=stencil)
    assert len(errors) == 1 + len(layer.parameters())  # (2.11), (2.12), (5.13), (6.4), (6.5)
    assert max(errors.values()) < 1e-6, errors  # (5.6), (5.7), (5.8), (5.9), (5.10)


@pytest.mark.parametrize("name", exact_or_approximate)
def test_moments_against_samples(name):
    """Exact layers: every z-score within the bound of a false alarm of 1e-9 for the whole suite."""
    layer, x, exact = make(name)
    comparison = montecarlo.compare(layer, x, samples=20_000, rng=9)
    z = np.abs([comparison.mean_z, comparison.var_z])
    if exact:
        assert z.max() < montecarlo.bound(len(CASES) * 1000), z.max()
    else:  # an approximation: the notebooks report its size; here only that it is no nonsense
        assert (
            np.mean(
                np.abs(comparison.sampled_mean - comparison.mean) / np.sqrt(comparison.sampled_var)
            )
            < 0.3
        )
        assert np.abs(np.mean(np.log(comparison.sampled_var / comparison.var))) < np.log(2)


@pytest.mark.parametrize("name", exact_or_approximate)
def test_zero_variance_is_the_plain_layer(name):
    layer, x, _ = make(name, "float32")
    point, point_backward = layer.forward(Gaussian(x.mean))
    certain, certain_backward = layer.forward(Gaussian(x.mean, xp.zeros_like(x.mean)))
    assert (
        point.var is None
        and bool((certain.mean == point.mean).all())
        and bool((certain.var == 0).all())
    )
    dy = random_like(np.random.default_rng(1), point)
    dpoint = point_backward(dy)
    dcertain = certain_backward(Gaussian(dy.mean, xp.zeros_like(dy.mean)))
    assert dpoint.var is None
    np.testing.assert_allclose(to_host(dcertain.mean), to_host(dpoint.mean), rtol=1e-6, atol=1e-6)


@case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("point", [False, True], ids=["Gaussian", "point mass"])
def test_dtype_stays_and_inputs_are_left_alone(name, dtype, point):
    layer, x, _ = make(name, dtype, point)
    y, backward = layer.forward(x)
    dy = random_like(np.random.default_rng(1), y)
    before = copy.deepcopy((x, dy))
    dx = backward(dy)
    for field in (*x, *y, *dx, *(p.grad for p in layer.parameters())):
        assert field is None or field.dtype == dtype
    assert dx.mean.shape == x.mean.shape
    for was, now in zip((*before[0], *before[1]), (*x, *dy), strict=True):
        assert was is now is None or bool((was == now).all())


@pytest.mark.parametrize("name", has_one_face)
def test_predict_is_forward(name):
    """They are the same to the bit on a CPU.

    On a GPU a kink's moments with and without derivatives are two kernels, rounded for themselves:
    they agree to 1e-5.
    """
    rounding = 0 if backend.name == "numpy" else 1e-5
    for point in (False, True):
        layer, x, _ = make(name, "float32", point)
        for a, b in zip(layer.predict(x), layer.forward(x)[0], strict=True):
            assert a is b is None or bool((abs(a - b) <= rounding * abs(b)).all())


@case
def test_gradients_accumulate(name):
    layer, x, _ = make(name)
    y, backward = layer.forward(x)
    dy = random_like(np.random.default_rng(1), y)
    backward(dy)
    once = [p.grad.copy() for p in layer.parameters()]
    layer.forward(x)[1](dy)
    for grad, p in zip(once, layer.parameters(), strict=True):
        np.testing.assert_allclose(to_host(p.grad), to_host(2 * grad), rtol=1e-12)


def naive_correlation(x, w, stride, padding, dilation, groups):
    """The definition, one output at a time."""
    (n, _, height, width), (o, c_group, kh, kw) = x.shape, w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    rows = (height + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    columns = (width + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, rows, columns))
    for image, out, row, column in np.ndindex(y.shape):
        for channel, i, j in np.ndindex(c_group, kh, kw):
            source = out // (o // groups) * c_group + channel
            pixel = padded[
                image,
                source,
                row * stride[0] + i * dilation[0],
                column * stride[1] + j * dilation[1],
            ]
            y[image, out, row, column] += w[out, channel, i, j] * pixel
    return y


@pytest.mark.parametrize(
    "stride, padding, dilation, groups",
    [((1, 1), (0, 0), (1, 1), 1), ((2, 1), (1, 2), (1, 2), 2), ((3, 2), (2, 0), (2, 1), 4)],
)
def test_convolution_against_the_naive_loop(stride, padding, dilation, groups, monkeypatch):
    # so that it works in several blocks of rows
    monkeypatch.setattr("adf.engine.stacks.STACK_BLOCK", 300)
    rng = np.random.default_rng(3)
    x, v = rng.normal(size=(2, 4, 8, 7)), rng.random((2, 4, 8, 7))
    layer = cast(adf.Conv2d(4, 8, (3, 2), stride, padding, dilation, groups, rng=3), "float64")
    w, b = to_host(layer.weight.value), rng.normal(size=8)
    layer.bias.value = b
    y = layer.predict(Gaussian(xp.asarray(x), xp.asarray(v)))
    geometry = (stride, padding, dilation, groups)
    mean = naive_correlation(x, w, *geometry) + b.reshape(1, -1, 1, 1)
    np.testing.assert_allclose(to_host(y.mean), mean, rtol=1e-12, atol=1e-12)  # (2.9), (2.10)
    np.testing.assert_allclose(to_host(y.var), naive_correlation(v, w * w, *geometry), rtol=1e-12)
    # the adjoint is tested by its definition <A x, y> = <x, A' y>, the weight gradient by
    # linearity: <A(w) x, y> = <w, dw>
    cotangent = xp.asarray(rng.normal(size=mean.shape))
    right = float((layer.apply(layer.weight.value, xp.asarray(x)) * cotangent).sum())
    left = float(
        (layer.adjoint(layer.weight.value, cotangent, x.shape) * xp.asarray(x)).sum()
    )  # (2.13)
    dw = layer.weight_grad(xp.asarray(x), cotangent)
    np.testing.assert_allclose([left, float((dw * layer.weight.value).sum())], right, rtol=1e-12)


def test_transposed_convolution_spreads_every_pixel():
    """By definition, each input pixel spreads over a window.

    It adds its weights times itself to the window.
    """
    rng = np.random.default_rng(4)
    layer = cast(
        adf.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1, bias=False, rng=4),
        "float64",
    )
    x, w = rng.normal(size=(1, 2, 4, 3)), to_host(layer.weight.value)
    full = np.zeros((1, 3, 2 * 3 + 3 + 1, 2 * 2 + 3 + 1))
    for c, i, j in np.ndindex(2, 4, 3):
        full[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += w[c] * x[0, c, i, j]
    y = layer.predict(Gaussian(xp.asarray(x)))
    np.testing.assert_allclose(to_host(y.mean), full[:, :, 1:-1, 1:-1], rtol=1e-12, atol=1e-12)


def test_max_pool_pairs_along_rows_then_down():
    """3 x 3: (0, 1) then 2, in every row; then the winners of rows 0 and 1, then row 2."""
    rng = np.random.default_rng(5)
    x = Gaussian(
        *(xp.asarray(f) for f in (rng.normal(size=(1, 1, 3, 3)), rng.random((1, 1, 3, 3))))
    )

    def best(a, b):
        return adf.moments.maximum(*a, *b)

    pixels = [[tuple(f[..., i, j] for f in x) for j in range(3)] for i in range(3)]
    rows = [best(best(row[0], row[1]), row[2]) for row in pixels]
    mean, var = best(best(rows[0], rows[1]), rows[2])
    y = adf.MaxPool2d(3).predict(x)
    assert float(y.mean[0, 0, 0, 0]) == float(mean[0, 0]) and float(y.var[0, 0, 0, 0]) == float(
        var[0, 0]
    )


def test_a_tie_goes_to_the_first():
    x = Gaussian(xp.zeros((1, 1, 2, 2)))
    _, backward = adf.MaxPool2d(2).forward(x)
    assert to_host(backward(Gaussian(xp.ones((1, 1, 1, 1)))).mean).ravel().tolist() == [1, 0, 0, 0]


def test_containers_go_back_once():
    x = Gaussian(xp.ones((1, 2, 2, 2)))
    for layer in (
        adf.Sequential(adf.LeakyReLU()),
        adf.Concat(adf.Identity()),
        adf.Add(adf.Identity()),
    ):
        _, backward = layer.forward(x)
        backward(x)
        with pytest.raises(RuntimeError, match="called twice"):
            backward(x)


def test_a_layer_may_be_used_twice():
    conv = adf.Conv2d(2, 2, 3, padding=1, rng=1)
    layer = cast(adf.Sequential(conv, adf.LeakyReLU(), conv), "float64")
    rng = np.random.default_rng(1)
    x = Gaussian(xp.asarray(rng.normal(size=(1, 2, 4, 4))), xp.asarray(rng.random((1, 2, 4, 4))))
    assert layer.parameters() == [conv.weight, conv.bias]
    assert max(gradient_errors(layer, x, rng).values()) < 1e-6


def test_one_pixel_is_spread_and_its_gradient_gathered():
    x = Gaussian(*(xp.asarray(f) for f in np.random.default_rng(1).random((2, 2, 3, 4, 5))))
    layer = adf.Concat(adf.Identity(), adf.GlobalAvgPool2d())
    y, backward = layer.forward(x)
    pooled, dy = adf.GlobalAvgPool2d().predict(x), random_like(np.random.default_rng(2), y)
    for spread, pixel in zip(y, pooled, strict=True):
        assert spread.shape == (2, 6, 4, 5) and bool((spread[:, 3:] == pixel).all())
    dx = backward(dy)
    for df, dfield, n in zip(dx, dy, (20, 400), strict=True):
        expected = dfield[:, :3] + dfield[:, 3:].sum(axis=(2, 3), keepdims=True) / n
        np.testing.assert_allclose(to_host(df), to_host(expected), rtol=1e-12)


@case
def test_a_loss_that_ignores_the_variance(name):
    """backward(Gaussian(dmean, None)) is backward(Gaussian(dmean, 0))."""
    layer, x, _ = make(name)
    y, backward = layer.forward(x)
    dmean = random_like(np.random.default_rng(1), y).mean
    short, full = (
        backward(Gaussian(dmean)),
        layer.forward(x)[1](Gaussian(dmean, xp.zeros_like(dmean))),
    )
    np.testing.assert_allclose(to_host(short.mean), to_host(full.mean), rtol=1e-12, atol=1e-12)
    if short.var is not None:
        np.testing.assert_allclose(to_host(short.var), to_host(full.var), rtol=1e-12, atol=1e-12)


def test_a_branch_without_variance_is_certain():
    class Certain(adf.Identity):
        def forward(self, x):
            return Gaussian(x.mean), lambda dy: dy

    x = Gaussian(xp.ones((1, 2, 3, 3)), xp.ones((1, 2, 3, 3)))
    assert to_host(adf.Concat(adf.Identity(), Certain()).predict(x).var).sum() == 18
    assert to_host(adf.Add(adf.Identity(), Certain()).predict(x).var).sum() == 18


def test_layers_in_a_list_are_found_and_integers_do_not_learn():
    class Rows(adf.Layer):
        def __init__(self):
            self.rows = [adf.Linear(2, 3), adf.Linear(3, 2)]

    assert len(Rows().parameters()) == 4
    with pytest.raises(ValueError, match="float32 or float64"):
        adf.Parameter([1, 2])


WRONG = {
    "gradient of the variance forgotten": lambda dx: Gaussian(dx.mean, 0 * dx.var),
    "0.1 % off": lambda dx: Gaussian(1.001 * dx.mean, 1.001 * dx.var),
    "wrong by 1e-5": lambda dx: Gaussian((1 + 1e-5) * dx.mean, (1 + 1e-5) * dx.var),
    "mean and variance swapped": lambda dx: Gaussian(dx.var, dx.mean),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_the_gradient_check_rejects_a_wrong_backward(mistake):
    class Mistaken(adf.LeakyReLU):
        def forward(self, x):
            y, backward = super().forward(x)
            return y, lambda dy: WRONG[mistake](backward(dy))

    _, x, _ = make("LeakyReLU, slope 0.01")
    assert max(gradient_errors(Mistaken(), x, np.random.default_rng(8)).values()) > 1e-6


def test_the_sampling_check_rejects_a_wrong_variance():
    class Textbook(adf.AvgPool2d):
        def predict(self, x):
            y = super().predict(x)
            return y if x.var is None else Gaussian(y.mean, 1.1 * y.var)

    _, x, _ = make("AvgPool2d 2 x 2")
    comparison = montecarlo.compare(Textbook(2), x, samples=20_000, rng=9)
    assert np.abs(comparison.var_z).max() > montecarlo.bound(len(CASES) * 1000)


BAD_INPUT = {
    "channels": (
        lambda: adf.Conv2d(16, 4, 3),
        lambda: Gaussian(xp.zeros((8, 3, 64, 64))),
        "expects 16 input channels",
    ),
    "axes": (
        lambda: adf.Conv2d(3, 4, 3),
        lambda: Gaussian(xp.zeros((3, 64, 64))),
        r"expects axes \(N, C, H, W\)",
    ),
    "features": (
        lambda: adf.Linear(3, 4),
        lambda: Gaussian(xp.zeros((2, 5))),
        "expects 3 input channels",
    ),
    "an array": (
        lambda: adf.LeakyReLU(),
        lambda: xp.zeros((2, 5)),
        r"expects a Gaussian\(mean, var\)",
    ),
    "integers": (
        lambda: adf.LeakyReLU(),
        lambda: Gaussian(xp.zeros((2, 5), "int64")),
        "expects float32 or float64",
    ),
    "lists": (
        lambda: adf.Linear(2, 3),
        lambda: Gaussian([[1.0, 2.0]], [[0.1, 0.1]]),
        "Linear expects mean to be an array of .*, got list",
    ),
    "one variance for all": (
        lambda: adf.LeakyReLU(),
        lambda: Gaussian(xp.zeros((2, 5)), 0.1),
        "expects var to be an array of .*, got float; .*full_like",
    ),
    "a NumPy number": (
        lambda: adf.LeakyReLU(),
        lambda: Gaussian(np.int64(3)),
        "expects mean to be an array of .*, got int64",
    ),
    "no mean": (
        lambda: adf.LeakyReLU(),
        lambda: Gaussian(None, xp.zeros(5)),
        "expects mean to be an array of .*, got NoneType",
    ),
    "other variance": (
        lambda: adf.LeakyReLU(),
        lambda: Gaussian(xp.zeros((2, 5)), xp.zeros(5)),
        "one shape",
    ),
    "small image": (
        lambda: adf.Conv2d(1, 1, 5),
        lambda: Gaussian(xp.zeros((1, 1, 4, 9))),
        "no smaller than",
    ),
    "small for pooling": (
        lambda: adf.MaxPool2d(3),
        lambda: Gaussian(xp.zeros((1, 1, 2, 9))),
        "no smaller than",
    ),
    "odd U-Net": (
        lambda: adf.UNet(1, 2),
        lambda: Gaussian(xp.zeros((1, 1, 12, 16), "float32")),
        "multiples of 8",
    ),
    "Concat of other sizes": (
        lambda: adf.Concat(adf.Identity(), adf.AvgPool2d(2)),
        lambda: Gaussian(xp.zeros((1, 1, 4, 4))),
        "differ in channels only",
    ),
    "Concat of one row": (
        lambda: adf.Concat(adf.Identity(), adf.AvgPool2d((4, 1))),
        lambda: Gaussian(xp.zeros((1, 1, 4, 4))),
        "or of 1 x 1 pixels",
    ),
    "Add of other sizes": (
        lambda: adf.Add(adf.Identity(), adf.AvgPool2d(2)),
        lambda: Gaussian(xp.zeros((1, 1, 4, 4))),
        "one shape",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_says_what_was_expected(name):
    build, x, message = BAD_INPUT[name]
    layer = build()
    for use in (layer.forward, layer.predict):
        with pytest.raises(ValueError, match=message):
            use(x())


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: adf.LeakyReLU(-0.1), "from 0 to 1"),
        (lambda: adf.LeakyReLU(1.1), "from 0 to 1"),
        (lambda: adf.Conv2d(3, 4, 0), "kernel_size"),
        (lambda: adf.Conv2d(3, 4, 3, stride=0), "stride"),
        (lambda: adf.Conv2d(3, 4, (3, 3, 3)), "pair"),
        (lambda: adf.Conv2d(3, 4, 3, groups=2), "groups"),
        (lambda: adf.Conv2d(0, 4, 3), "in_channels"),
        (lambda: adf.ConvTranspose2d(3, 4, 3, stride=2, output_padding=2), "output_padding"),
        (lambda: adf.Sequential(), "one layer or more"),
        (lambda: adf.Upsample(2, "bicubic"), "'nearest' or 'bilinear'"),
        (lambda: adf.Upsample(1.5), "scale_factor"),
        (lambda: adf.Dropout(1), "from 0 to below 1"),
        (lambda: adf.Dropout(-0.1), "from 0 to below 1"),
        (lambda: adf.Dropout(1.5), "from 0 to below 1"),
        (lambda: adf.Linear(0, 3), "in_features"),
        (lambda: adf.Linear(3, 0), "out_features"),
        (lambda: adf.BatchNorm2d(0), "num_features"),
        (lambda: adf.Conv2d(3, 0, 3), "out_channels"),
        (lambda: adf.Conv2d(3, 3, 3, padding=-1), "padding"),
        (lambda: adf.Conv2d(3, 3, 3, dilation=0), "dilation"),
        (lambda: adf.Conv2d(3, 3, 3, groups=0), "groups"),
        (lambda: adf.MaxPool2d(0), "kernel_size"),
        (lambda: adf.MaxPool2d(2, 0), "stride"),
        (lambda: adf.Concat(3), "one layer or more"),
        (lambda: adf.Conv2d(True, 4, 3), "in_channels"),
        (lambda: adf.Linear(np.float64(3), 4), "in_features"),
        (lambda: adf.BatchNorm2d(0), "num_features"),
        (lambda: adf.UNet(1, 2, widths=()), "at least one width"),
        (lambda: adf.UNet(1, 1), "UNet expects classes to be an int of 2 or more, got 1"),
        (lambda: adf.DeepLabV3Plus(1, 1), "DeepLabV3Plus expects classes"),
    ],
)
def test_bad_arguments_say_what_was_expected(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_numpy_numbers_are_taken_and_keep_float32():
    """As arguments of a layer. As scalars in an expression they would promote float32."""
    three, eps = np.int64(3), np.float64(1e-5)
    layers = (
        adf.Conv2d(three, three, three, padding=np.int32(1), groups=three, rng=0),
        adf.ConvTranspose2d(three, three, (three, 3), stride=np.uint8(2), rng=0),
        adf.BatchNorm2d(three, eps=eps, momentum=np.float64(0.1)),
        adf.LeakyReLU(np.float64(0.2)),
        adf.Dropout(np.float64(0.2)),
        adf.MaxPool2d(np.int64(2)),
        adf.AvgPool2d((np.int64(2), 1)),
        adf.Upsample(np.int64(2)),
        adf.GlobalAvgPool2d(),
    )
    x = Gaussian(*(xp.ones((2, 3, 6, 6), "float32") for _ in range(2)))
    for layer in layers:
        y, backward = layer.forward(x)
        fields = [*y, *layer.predict(x), *backward(y), *(p.grad for p in layer.parameters())]
        fields += [s.value for s in layer.statistics()]
        assert {str(field.dtype) for field in fields} == {"float32"}, type(layer)


@case
def test_float32_weights_are_squared_in_the_dtype_of_the_result(name):
    layer, x, _ = make(name)
    layer.to("float32")
    exact = copy.deepcopy(layer).to("float64")
    for rounded, y in zip(layer.predict(x), exact.predict(x), strict=True):
        assert rounded.dtype == "float64"
        np.testing.assert_allclose(to_host(rounded), to_host(y), rtol=1e-13, atol=1e-300)


def test_a_layer_becomes_one_of_float64_in_one_call():
    layer = adf.UNet(1, 2, widths=(3, 4), norm=True)
    assert layer.to("float64") is layer
    held = [a for p in layer.parameters() for a in (p.value, p.grad)]
    held += [s.value for s in layer.statistics()]
    assert {str(a.dtype) for a in held} == {"float64"}
    assert cast(layer, "float32") is layer and layer.parameters()[0].value.dtype == "float32"
    with pytest.raises(ValueError, match="float32 or float64"):
        layer.to("int64")
    segmenter = adf.Segmenter(layer.to("float64"))
    assert segmenter.input(np.zeros((1, 1, 8, 8))).mean.dtype == "float64"


def test_parameters_are_assignable_and_checked():
    layer = adf.Conv2d(2, 3, 3)
    assert [p.value.shape for p in layer.parameters()] == [(3, 2, 3, 3), (3,)]
    layer.weight.value = xp.ones((3, 2, 3, 3))  # float64
    layer.bias.value = xp.zeros(3)
    x = Gaussian(xp.ones((1, 2, 4, 4)), xp.ones((1, 2, 4, 4)))
    y, backward = layer.forward(x)
    assert y.mean.dtype == "float64" and float(y.var[0, 0, 0, 0]) == 18
    backward(y)
    assert layer.weight.grad.dtype == "float64"
    layer.weight.grad = xp.zeros_like(layer.weight.value)
    with pytest.raises(ValueError, match=r"shape \(3, 2, 3, 3\)"):
        layer.weight.value = xp.ones((2, 3, 3, 3))


@pytest.mark.parametrize("var", [None, 0.0], ids=["point mass", "variance 0"])
def test_the_slope_of_a_leaky_relu_at_zero_is_that_of_its_left(var):
    """As in torch.nn: its derivative is 1 for x > 0 alone."""
    mean = xp.asarray([-1.0, 0.0, 1.0])
    x = Gaussian(mean, None if var is None else xp.full_like(mean, var))
    _, backward = adf.LeakyReLU(0.25).forward(x)
    dx = backward(Gaussian(xp.asarray([4.0, 8.0, 12.0]), None))
    assert to_host(dx.mean).tolist() == [1, 2, 12]


@pytest.mark.parametrize(
    "layer, shape",
    [
        (adf.Linear(288, 48, rng=1), (200, 288)),
        (adf.Conv2d(32, 48, 3, rng=1), (8, 32, 26, 26)),
        (adf.Conv2d(32, 48, (3, 5), groups=4, rng=1), (8, 32, 26, 26)),
        (adf.ConvTranspose2d(32, 48, 3, rng=1), (8, 32, 26, 26)),
        (adf.ConvTranspose2d(32, 48, 4, stride=2, rng=1), (8, 32, 14, 14)),
        (adf.ConvTranspose2d(32, 48, (4, 6), stride=(2, 3), groups=4, rng=1), (8, 32, 14, 14)),
        (adf.ConvTranspose2d(32, 48, 2, stride=4, rng=1), (8, 32, 14, 14)),
    ],
)
def test_new_weights_keep_the_size_of_activations(layer, shape):
    """The mean square of what comes in, behind a ReLU, is half that of what goes out: 2.

    It is so on average over all outputs, where a stride leaves gaps, too; within 15 %.
    """
    x = np.maximum(np.random.default_rng(0).normal(size=shape), 0) * np.sqrt(2)
    y = to_host(layer.predict(Gaussian(xp.asarray(x, "float32"))).mean).astype("f8")
    inner = y[:, :, 8:-6, 8:-6] if y.ndim == 4 else y  # where no window is cut off
    assert inner.size > 5000 and np.mean(inner**2) == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("name", [name for name in CASES if name != "Identity"])
def test_every_layer_refuses_what_is_no_gaussian_of_floats(name):
    """An array, integers, a variance of another shape or below 0; with and without a way back."""
    layer, x, _ = make(name, "float32")
    below = x.var.copy()
    below.ravel()[-1] = -1e-3
    for wrong, message in (
        (x.mean, "expects a Gaussian"),
        (x.map(lambda field: field.astype("int64")), "expects float32 or float64"),
        (Gaussian(x.mean, x.var[None]), "one shape"),
        (Gaussian(x.mean, x.var.astype("float64")), "float32 .* float64"),
        *[(Gaussian(x.mean, below), "variances of 0 or more")] * (backend.name == "numpy"),
    ):
        for use in (layer.forward, layer.predict):
            with pytest.raises(ValueError, match=message):
                use(wrong)


DEFAULTS = {  # of torch.nn
    adf.Linear: {"bias": True},
    adf.Conv2d: {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True},
    adf.ConvTranspose2d: {
        "stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "bias": True, "dilation": 1
    },
    adf.LeakyReLU: {"negative_slope": 0.01},
    adf.MaxPool2d: {"stride": None},
    adf.AvgPool2d: {"stride": None, "padding": 0},
    adf.BatchNorm2d: {"eps": 1e-5, "momentum": 0.1},
    adf.Dropout: {"p": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("layer", DEFAULTS, ids=lambda layer: layer.__name__)
def test_defaults_are_those_of_torch(layer):
    """Under the same names, in the same order."""
    parameters = inspect.signature(layer).parameters.values()
    found = {p.name: p.default for p in parameters if p.default is not p.empty}
    ours = {name: value for name, value in found.items() if name not in ("rng", "sample")}
    assert list(ours.items()) == list(DEFAULTS[layer].items())


def test_features_are_put_side_by_side_and_nothing_else_is():
    """Two axes are enough, (N, features); one is not, nor are other numbers of images."""
    x = Gaussian(*(xp.asarray(f) for f in np.random.default_rng(1).random((2, 4, 3))))
    y = adf.Concat(adf.Identity(), adf.Identity()).predict(x)
    for field, part in zip(y, x, strict=True):
        assert bool((field == xp.concatenate([part, part], axis=1)).all())
    one_axis, fewer = x.map(lambda f: f[:, 0]), x.map(lambda f: f[:1])
    for outputs in ([x, one_axis], [one_axis, one_axis], [x, fewer], [fewer, x]):
        with pytest.raises(ValueError, match="differ in channels only"):
            adf.Concat(adf.Identity()).join(outputs)


@pytest.mark.parametrize("width", range(1, 9))
def test_the_largest_wins_wherever_it_stands(width):
    """In windows of one row of up to 8: a point mass's maximum, and all of the gradient to it."""
    image = np.zeros((width, 1, 1, width))
    image[np.arange(width), 0, 0, np.arange(width)] = 1
    y, backward = adf.MaxPool2d((1, width)).forward(Gaussian(xp.asarray(image)))
    assert y.mean.shape == (width, 1, 1, 1) and bool((y.mean == 1).all())
    np.testing.assert_array_equal(to_host(backward(Gaussian(3 * y.mean)).mean), 3 * image)
