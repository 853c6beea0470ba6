"""What holds for every layer, shape, dtype and scale.

hypothesis draws them and looks for a counterexample. Inputs are arranged by a seed from a short
list of drawn numbers, so that extremes meet in one window, and a failure shrinks to few of them.
Means reach +-1e30 and variances 1e30, which weights near 1 keep inside float32; where a layer
squares means (BatchNorm2d, Dropout) they reach 1e15.
"""

import copy
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

import adf
from adf import Gaussian, moments
from adf.backend import name as backend_name
from adf.backend import to_host, xp

# Nothing here depends on a clock or on chance: there is no deadline and no health check of speed,
# and the examples are the same every time.
SETTINGS = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow]}
few = settings(max_examples=60, **SETTINGS)
many = settings(max_examples=200, **SETTINGS)
DTYPES = ("float32", "float64")
SUBNORMAL = {dtype: float(np.finfo(dtype).smallest_subnormal) for dtype in DTYPES}
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**16)
slopes = st.sampled_from([0, 1e-30, 0.01, 0.2, 0.5, 1 - 2**-24, 1]) | st.floats(0, 1)


def floats(dtype, low, high):
    low, high = (
        float(np.nextafter(np.dtype(dtype).type(end), 0, dtype=dtype)) for end in (low, high)
    )
    return st.floats(low, high, width=32 if dtype == "float32" else 64)


def numbers(dtype, largest, signed):
    """Of every size up to the largest: drawn ones, and those that have broken such code before."""
    tiny = float(np.finfo(dtype).tiny)
    sizes = st.sampled_from(
        [0.0, SUBNORMAL[dtype], 3 * SUBNORMAL[dtype], tiny, 1e-12, 1.0, 2.0, 3e7, largest / 2]
    )
    drawn = sizes | floats(dtype, 0, largest) | floats(dtype, 0, 4)
    return st.tuples(drawn, st.sampled_from([1, -1])).map(math.prod) if signed else drawn


@st.composite
def arrays(draw, dtype, shape, largest, signed):
    """A few drawn numbers, strewn over the shape by a drawn seed."""
    values = draw(st.lists(numbers(dtype, largest, signed), min_size=1, max_size=6))
    return xp.asarray(np.random.default_rng(draw(seeds)).choice(np.array(values, dtype), shape))


@st.composite
def gaussians(draw, dtype, shape, largest=1e30, point=None):
    mean = draw(arrays(dtype, shape, largest, signed=True))
    if draw(st.booleans()) if point is None else point:
        return Gaussian(mean)
    return Gaussian(mean, draw(arrays(dtype, shape, 1e30, signed=False)))


def with_dtype(layer, dtype):
    for p in layer.parameters():
        p.value = p.value.astype(dtype)
    for s in layer.statistics():
        s.value = s.value.astype(dtype)
    return layer


# Layers of random geometry: each strategy draws (layer, shape of x, shape of y).

small = st.integers(1, 3)
pairs = st.tuples(small, small)
batches = st.integers(0, 2)


def window_counts(size, kernel, stride, padding=(0, 0), dilation=(1, 1)):
    """How many windows fit, counted."""
    return tuple(
        len(range(0, n + 2 * p - d * (k - 1), s))
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )


@st.composite
def sizes(draw, kernel=(1, 1), padding=(0, 0), dilation=(1, 1)):
    """An image with one window at least; often no more, and of one pixel where that is enough."""
    least = [
        max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation, strict=True)
    ]
    return tuple(n + draw(st.integers(0, 4)) for n in least)


@st.composite
def linear(draw):
    n, i, o = draw(batches), draw(small), draw(small)
    return adf.Linear(i, o, draw(st.booleans()), rng=draw(seeds)), (n, i), (n, o)


@st.composite
def conv(draw):
    kernel, stride, dilation, groups = draw(pairs), draw(pairs), draw(pairs), draw(small)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    i, o, n, size = (
        groups * draw(small),
        groups * draw(small),
        draw(batches),
        draw(sizes(kernel, padding, dilation)),
    )
    layer = adf.Conv2d(
        i, o, kernel, stride, padding, dilation, groups, draw(st.booleans()), rng=draw(seeds)
    )
    return layer, (n, i, *size), (n, o, *window_counts(size, kernel, stride, padding, dilation))


@st.composite
def conv_transpose(draw):
    kernel, stride, dilation, groups = draw(pairs), draw(pairs), draw(pairs), draw(small)
    extra = tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    padding, size, out = [], [], []
    for k, s, d, e in zip(kernel, stride, dilation, extra, strict=True):
        size.append(draw(st.integers(1, 4)))
        whole = (size[-1] - 1) * s + d * (k - 1) + 1 + e
        padding.append(draw(st.integers(0, min(3, (whole - 1) // 2))))  # so that something is left
        out.append(whole - 2 * padding[-1])
    i, o, n = groups * draw(small), groups * draw(small), draw(batches)
    bias, rng = draw(st.booleans()), draw(seeds)
    layer = adf.ConvTranspose2d(
        i, o, kernel, stride, tuple(padding), extra, groups, bias, dilation, rng=rng
    )
    return layer, (n, i, *size), (n, o, *out)


@st.composite
def avg_pool(draw):
    kernel, stride, n, c = draw(pairs), draw(st.none() | pairs), draw(batches), draw(small)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = draw(sizes(kernel, padding))
    layer = adf.AvgPool2d(kernel, stride, padding)
    return layer, (n, c, *size), (n, c, *window_counts(size, kernel, stride or kernel, padding))


@st.composite
def global_avg_pool(draw):
    n, c, size = draw(batches), draw(small), draw(sizes())
    return adf.GlobalAvgPool2d(), (n, c, *size), (n, c, 1, 1)


@st.composite
def max_pool(draw):
    kernel, stride, n, c = draw(pairs), draw(st.none() | pairs), draw(batches), draw(small)
    size = draw(sizes(kernel))
    return (
        adf.MaxPool2d(kernel, stride),
        (n, c, *size),
        (n, c, *window_counts(size, kernel, stride or kernel)),
    )


@st.composite
def leaky_relu(draw):
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    return adf.LeakyReLU(draw(slopes)), shape, shape


@st.composite
def dropout(draw):
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    p = draw(st.sampled_from([0, 0.5]) | st.floats(0, 0.99))
    return adf.Dropout(p, sample=draw(st.booleans()), rng=draw(seeds)), shape, shape


@st.composite
def batch_norm(draw):
    shape = (draw(st.integers(1, 3)), draw(small), *draw(sizes()))
    if shape[0] * shape[2] * shape[3] == 1:
        shape = (2, *shape[1:])  # one value per channel has no variance
    layer, rng = adf.BatchNorm2d(shape[1]), np.random.default_rng(draw(seeds))
    for p in layer.parameters():
        p.value = xp.asarray(rng.normal(size=shape[1]))
    return layer, shape, shape


@st.composite
def upsample(draw):
    n, c, size, factor = draw(batches), draw(small), draw(sizes()), draw(pairs)
    layer = adf.Upsample(factor, draw(st.sampled_from(["nearest", "bilinear"])))
    return layer, (n, c, *size), (n, c, size[0] * factor[0], size[1] * factor[1])


@st.composite
def concat(draw):
    n, c, o, size = draw(batches), draw(small), draw(small), draw(sizes())
    layer = adf.Concat(
        adf.LeakyReLU(draw(slopes)), adf.Conv2d(c, o, 3, padding=1, rng=draw(seeds)), adf.Identity()
    )
    return layer, (n, c, *size), (n, 2 * c + o, *size)


@st.composite
def add(draw):
    shape = (draw(batches), draw(small), *draw(sizes()))
    convolution = adf.Conv2d(shape[1], shape[1], 3, padding=1, rng=draw(seeds))
    return adf.Add(adf.LeakyReLU(draw(slopes)), adf.Identity(), convolution), shape, shape


@st.composite
def sequential(draw):
    n, c, o, rng = draw(batches), draw(small), draw(small), draw(seeds)
    size = draw(sizes())
    layer = adf.Sequential(
        adf.Conv2d(c, o, 3, padding=1, rng=rng),
        adf.LeakyReLU(draw(slopes)),
        adf.Upsample(2),
        adf.LeakyReLU(draw(slopes)),
        adf.MaxPool2d(2),
        adf.ConvTranspose2d(o, c, 2, stride=2, rng=rng),
    )
    return layer, (n, c, *size), (n, c, 2 * size[0], 2 * size[1])


LAYERS = {
    "Linear": linear(),
    "Conv2d": conv(),
    "ConvTranspose2d": conv_transpose(),
    "AvgPool2d": avg_pool(),
    "GlobalAvgPool2d": global_avg_pool(),
    "MaxPool2d": max_pool(),
    "LeakyReLU": leaky_relu(),
    "BatchNorm2d": batch_norm(),
    "Upsample": upsample(),
    "Dropout": dropout(),
    "Concat": concat(),
    "Add": add(),
    "Sequential": sequential(),
}
SQUARES_MEANS = ("BatchNorm2d", "Dropout")
LINEAR = ("Linear", "Conv2d", "ConvTranspose2d", "AvgPool2d", "GlobalAvgPool2d", "Upsample")
every_layer = pytest.mark.parametrize("name", LAYERS)


def draw_case(data, name, point=None):
    """(layer, x, shape of y), the layer in the dtype of x."""
    layer, shape, out = data.draw(LAYERS[name])
    dtype = data.draw(dtypes)
    x = data.draw(gaussians(dtype, shape, 1e15 if name in SQUARES_MEANS else 1e30, point))
    return with_dtype(layer, dtype), x, out


def standard_normal(rng, shape, dtype):
    return xp.asarray(rng.standard_normal(shape).astype(dtype))


def assert_sound(g, x, shape, variances=True):
    """g has this shape and x's dtype, and a variance where x has one.

    It is finite, and no variance is negative.
    """
    assert (g.var is None) == (x.var is None)
    for field in g:
        if field is not None:
            assert field.shape == shape and field.dtype == x.mean.dtype
            assert np.isfinite(to_host(field)).all()
    assert g.var is None or not variances or (to_host(g.var) >= 0).all()


def assert_same(before, after):
    for was, now in zip(before, after, strict=True):
        assert was is now is None or np.array_equal(to_host(was), to_host(now))


@every_layer
@few
@given(data=st.data())
def test_sound_at_any_shape_and_scale(name, data):
    layer, x, out = draw_case(data, name)
    before = copy.deepcopy((x, [p.value for p in layer.parameters()]))
    assert_sound(layer.predict(x), x, out)
    y, backward = layer.forward(x)
    assert_sound(y, x, out)
    rng = np.random.default_rng(1)
    dy = Gaussian(*(None if f is None else standard_normal(rng, f.shape, f.dtype) for f in y))
    dy_before = copy.deepcopy(dy)
    dx = backward(dy)
    assert_sound(dx, x, x.mean.shape, variances=False)
    for p in layer.parameters():
        assert (
            p.grad.shape == p.value.shape
            and p.grad.dtype == x.mean.dtype
            and np.isfinite(to_host(p.grad)).all()
        )
    for s in layer.statistics():
        assert np.isfinite(to_host(s.value)).all()
    assert_same(
        (*before[0], *before[1], *dy_before), (*x, *(p.value for p in layer.parameters()), *dy)
    )


# the variance of Dropout comes from the mean
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "Dropout"])
@few
@given(data=st.data())
def test_no_variance_is_a_point_mass(name, data):
    layer, x, _ = draw_case(data, name, point=True)
    certain = Gaussian(x.mean, xp.zeros_like(x.mean))
    for use in (layer.predict, lambda x: layer.forward(x)[0]):
        y, y_certain = use(x), use(certain)
        assert y.var is None and not to_host(y_certain.var).any()
        assert_same([y.mean], [y_certain.mean])


@pytest.mark.parametrize("name", LINEAR)
@few
@given(data=st.data())
def test_linear_layers_take_no_variance_from_the_mean(name, data):
    """To the bit: Var[y] reads Var[x] alone. And E[y] reads E[x] alone."""
    layer, x, _ = draw_case(data, name, point=False)
    y = layer.predict(x)
    other = data.draw(arrays(str(x.mean.dtype), x.mean.shape, 1e30, signed=True))
    assert_same([y.var], [layer.predict(Gaussian(other, x.var)).var])
    assert_same([y.mean], [layer.predict(Gaussian(x.mean)).mean])


@pytest.mark.parametrize("name", [*LINEAR, "MaxPool2d", "LeakyReLU"])
@few
@given(data=st.data(), exponent=st.integers(-6, 6))
def test_scaling_by_a_power_of_two(name, data, exponent):
    """c x has the moments c E and c^2 Var, for c a power of two.

    They are so to the bit where nothing leaves the normal range.
    """
    layer, shape, _ = data.draw(LAYERS[name])
    dtype, rng, c = data.draw(dtypes), np.random.default_rng(data.draw(seeds)), 2.0**exponent
    if getattr(layer, "bias", None) is not None:
        layer.bias.value = xp.zeros_like(layer.bias.value)
    layer = with_dtype(layer, dtype)
    mean, var = rng.normal(size=shape), 2.0 ** rng.integers(-6, 6, size=shape) * rng.random(shape)
    x = Gaussian(*(xp.asarray(f.astype(dtype)) for f in (mean, var)))
    y, scaled = layer.predict(x), layer.predict(Gaussian(c * x.mean, c * c * x.var))
    assert_same((c * y.mean, c * c * y.var), scaled)


# Invariants of the kinks, on the functions that the layers call.


@st.composite
def related(draw, count):
    """`count` Gaussians of one dtype and shape, 64 numbers each.

    Every other time they are within a few sigma of each other.
    """
    dtype, shape = draw(dtypes), (64,)
    fields = [tuple(draw(gaussians(dtype, shape, point=False))) for _ in range(count)]
    if draw(st.booleans()):
        rng, (_, var) = np.random.default_rng(draw(seeds)), fields[0]
        fields = [
            (xp.sqrt(var) * xp.asarray(rng.uniform(-12, 12, shape).astype(dtype)), v)
            for _, v in fields
        ]
    return [Gaussian(*pair) for pair in fields]


@many
@given(x=related(1), slope=slopes)
def test_a_kink_takes_variance_away(x, slope):
    """Var[relu(x)] <= Var[x] to the bit, and for any slope (a contraction) up to rounding.

    E[y] >= the kink of E[x].
    """
    (x,) = x
    mean, var = (to_host(f) for f in moments.leaky_relu(*x, 0.0))
    assert (var >= 0).all() and (var <= to_host(x.var)).all()
    assert (mean >= np.maximum(to_host(x.mean), 0)).all()
    mean, var = (to_host(f).astype("float64") for f in moments.leaky_relu(*x, slope))
    eps, smallest = np.finfo(x.mean.dtype).eps, SUBNORMAL[str(x.mean.dtype)]
    mu, v = (to_host(f).astype("float64") for f in x)
    assert (var <= v * (1 + 4 * eps) + smallest).all()
    squared = float(x.mean.dtype.type(slope * slope))  # may underflow
    assert (var >= squared * v * (1 - 4 * eps) - smallest).all()
    kink = np.maximum(mu, slope * mu)
    assert (mean >= kink - 2 * eps * np.abs(kink) - smallest).all()


@many
@given(pair=related(2))
def test_a_maximum_lies_above_both_and_knows_no_order(pair):
    a, b = pair
    (mean, var), (mean_2, var_2) = moments.maximum(*a, *b), moments.maximum(*b, *a)
    mean, var, mean_2, var_2 = (to_host(f) for f in (mean, var, mean_2, var_2))
    eps, smallest = np.finfo(mean.dtype).eps, SUBNORMAL[str(mean.dtype)]
    assert np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0).all()
    assert (mean >= np.maximum(to_host(a.mean), to_host(b.mean))).all()
    assert_same([mean], [mean_2])
    both = to_host(a.var).astype("float64") + to_host(b.var)
    assert (np.abs(var.astype("float64") - var_2) <= 16 * eps * both + smallest).all()
    # Efron-Stein: max changes by no more than its arguments do
    assert (var <= both * (1 + 4 * eps) + smallest).all()


@many
@given(pair=related(2))
def test_the_derivatives_of_a_maximum_know_no_order(pair):
    """Those by a and by b change places with a and b.

    Only of two equal point masses the first takes all.
    """
    a, b = pair
    one, other = (
        [to_host(d) for d in moments.maximum_derivatives(*x, *y)] for x, y in ((a, b), (b, a))
    )
    mean_by_a, var_by_a, by_var, var_by_var_a, mean_by_b, var_by_var_b = one
    swapped = mean_by_b, -var_by_a, by_var, var_by_var_b, mean_by_a, var_by_var_a
    for d in one:
        assert np.isfinite(d).all()
    decided = (to_host(a.mean) != to_host(b.mean)) | (to_host(a.var) + to_host(b.var) > 0)
    s = np.sqrt(to_host(a.var).astype("float64") + to_host(b.var))
    for got, want, scale in zip(
        other, swapped, (1, s, 1 / np.where(s > 0, s, 1), 1, 1, 1), strict=True
    ):
        difference = np.abs(got.astype("float64") - want)
        assert (difference <= 64 * np.finfo(a.mean.dtype).eps * scale)[decided].all()


@few
@given(data=st.data())
def test_a_pooled_maximum_lies_above_every_mean(data):
    layer, x, _ = draw_case(data, "MaxPool2d", point=False)
    y = layer.predict(x)
    assert (to_host(y.mean) >= to_host(layer.predict(Gaussian(x.mean)).mean)).all()


@few
@given(data=st.data(), exponent=st.integers(-3, 6))
def test_batch_norm_forgets_shift_and_scale(data, exponent):
    """In training, k (x - m) of c x + d is that of x.

    This holds where eps is nothing beside the total variance.
    """
    layer, shape, _ = data.draw(LAYERS["BatchNorm2d"])
    layer = with_dtype(layer, "float64")
    layer.eps, rng = 0.0, np.random.default_rng(data.draw(seeds))
    x = Gaussian(xp.asarray(rng.normal(size=shape)), xp.asarray(0.1 + rng.random(shape)))
    c, d = 2.0**exponent, float(rng.normal())
    y, moved = layer.forward(x)[0], layer.forward(Gaussian(c * x.mean + d, c * c * x.var))[0]
    for was, now in zip(y, moved, strict=True):
        np.testing.assert_allclose(to_host(now), to_host(was), rtol=1e-10, atol=1e-10)


# Wrong input: a ValueError in words.


def refused(layer, x, *words):
    for use in (layer.forward, layer.predict):
        with pytest.raises(ValueError, match="expects") as info:
            use(x)
        assert all(word in str(info.value) for word in words), str(info.value)


def zeros(shape, dtype="float32"):
    return Gaussian(xp.zeros(shape, dtype), xp.zeros(shape, dtype))


@every_layer
@few
@given(data=st.data())
def test_wrong_dtypes_are_refused(name, data):
    layer, shape, _ = data.draw(LAYERS[name])
    wrong = data.draw(st.sampled_from(["int64", "uint8", "bool", "float16", "complex64"]))
    refused(layer, zeros(shape, wrong), "float32 or float64", wrong)
    mixed = Gaussian(xp.zeros(shape, "float32"), xp.zeros(shape, "float64"))
    refused(layer, mixed, "one shape and dtype", "float32", "float64")
    refused(
        layer,
        Gaussian(mixed.mean, xp.zeros((*shape, 1), "float32")),
        "one shape and dtype",
        str((*shape, 1)),
    )
    refused(layer, mixed.mean, "a Gaussian(mean, var)", "ndarray")


@pytest.mark.parametrize("name", sorted(LAYERS.keys() - {"LeakyReLU", "Dropout"}))
@few
@given(data=st.data())
def test_wrong_axes_are_refused(name, data):
    layer, shape, _ = data.draw(LAYERS[name])
    axes = "(N, features)" if name == "Linear" else "(N, C, H, W)"
    wrong = tuple(
        data.draw(st.lists(small, min_size=2, max_size=6).filter(lambda s: len(s) != len(shape)))
    )
    refused(layer, zeros(wrong), axes, str(wrong))


@pytest.mark.parametrize(
    "name", ["Linear", "Conv2d", "ConvTranspose2d", "BatchNorm2d", "Concat", "Add", "Sequential"]
)
@few
@given(data=st.data())
def test_wrong_channel_counts_are_refused(name, data):
    layer, shape, _ = data.draw(LAYERS[name])
    n, channels, *size = shape
    wrong = (n, data.draw(st.integers(0, 12).filter(lambda c: c != channels)), *size)
    refused(layer, zeros(wrong), f"expects {channels} input channels", str(wrong))


@pytest.mark.parametrize("name", ["Conv2d", "AvgPool2d", "MaxPool2d", "GlobalAvgPool2d"])
@few
@given(data=st.data())
def test_images_smaller_than_the_window_are_refused(name, data):
    layer, shape, _ = data.draw(LAYERS[name])
    kernel, m = (
        getattr(layer, "kernel_size", (1, 1)),
        getattr(layer, "map", adf.engine.stacks.Correlation()),
    )
    least = [d * (k - 1) + 1 - 2 * p for k, p, d in zip(kernel, m.padding, m.dilation, strict=True)]
    axis = data.draw(st.sampled_from([0, 1]))
    if least[axis] < 1:
        return  # any image will do
    size = list(shape[2:])
    size[axis] = data.draw(st.integers(0, least[axis] - 1))
    words = ["no smaller than its kernel"] if all(size) else []
    refused(layer, zeros((*shape[:2], *size)), f"{size[0]}, {size[1]})", *words)


@few
@given(n=small, size=sizes(), more=st.integers(0, 3), dtype=dtypes)
def test_images_that_a_transposed_convolution_crops_to_nothing_are_refused(n, size, more, dtype):
    layer = adf.ConvTranspose2d(2, 1, 1, padding=(max(size) + more + 1) // 2)
    refused(layer, zeros((n, 2, *size), dtype), "leaves something of", str(size))


# The Dirichlet and its head.


@st.composite
def concentrations(draw):
    classes, seed = draw(st.integers(1, 6)), draw(seeds)
    # NumPy 2.0 refuses to draw from 0.0 to -0.0, and so no zero here is negative.
    low, high = sorted(draw(st.floats(-100, 30)) + 0.0 for _ in range(2))
    exponents = np.random.default_rng(seed).uniform(
        low, high, (draw(st.integers(0, 2)), classes, 3, 2)
    )
    return xp.asarray(10.0**exponents)


@many
@given(concentration=concentrations())
def test_a_dirichlet_keeps_its_bounds(concentration):
    d, classes = adf.Dirichlet(concentration), concentration.shape[1]
    m, std = to_host(d.probabilities), to_host(d.class_std)
    np.testing.assert_allclose(m.sum(axis=1), 1, rtol=1e-14)
    assert (m >= 0).all() and (m <= 1).all()
    assert (std >= 0).all() and (std**2 <= m * (1 - m) + 1e-15).all()
    total, expected, information = (
        to_host(f) for f in (d.entropy, d.expected_entropy, d.mutual_information)
    )
    assert (expected >= -1e-12).all() and (expected <= total + 1e-12).all()
    assert (total >= 0).all() and (total <= math.log(classes) + 1e-12).all()
    assert (information >= -1e-12).all()


@many
@given(data=st.data(), raw=st.floats(-30, 30))
def test_the_head_is_sound_at_any_scale(data, raw):
    """log alpha finite, a Dirichlet from it, and finite gradients; the loss with them."""
    shape = (data.draw(batches), data.draw(st.integers(1, 4)), *data.draw(sizes()))
    dtype, head = data.draw(dtypes), adf.DirichletHead(raw)
    x = data.draw(gaussians(dtype, shape, point=False))
    before = copy.deepcopy(x)
    y, backward = head.forward(x)
    log_concentration = y.mean
    concentration = to_host(xp.exp(log_concentration))
    assert log_concentration.shape == shape and np.isfinite(to_host(log_concentration)).all()
    assert np.isfinite(concentration).all() and (concentration.sum(axis=1) > 0).all()
    labels = xp.asarray(
        np.random.default_rng(data.draw(seeds)).integers(shape[1], size=(shape[0], *shape[2:]))
    )
    loss, loss_backward = adf.dirichlet.dirichlet_nll(log_concentration, labels, 1e-2)
    dx = backward(adf.Gaussian(loss_backward(1.0)))
    assert np.isfinite(float(loss))
    assert_sound(dx, x, shape, variances=False)
    assert all(np.isfinite(to_host(p.grad)).all() for p in head.parameters())
    assert_same(before, x)


def test_the_search_finds_the_textbook_variance():
    """The control: with Var[y] = E[y^2] - E[y]^2 the search finds a counterexample.

    It is one to Var[relu(x)] <= Var[x].
    """

    @settings(few, report_multiple_bugs=False)
    @given(x=related(1))
    def search(x):
        mean, var = (to_host(f) for f in x[0])
        with np.errstate(all="ignore"):
            sigma = np.sqrt(var)
            z = mean / np.maximum(sigma, SUBNORMAL[str(mean.dtype)])
            cdf, pdf = ndtr(z), np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
            textbook = (
                (mean * mean + var) * cdf + mean * sigma * pdf - (mean * cdf + sigma * pdf) ** 2
            )
        assert (textbook >= 0).all() and (textbook <= var).all()

    with pytest.raises(AssertionError):
        search()


# The edges: nothing to average over, no pixels, vectors, no logits, negative variances.


@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (1, 2, 0, 3), (1, 2, 1, 1)])
def test_batch_norm_refuses_to_average_over_nothing_or_one_value(shape):
    layer = adf.BatchNorm2d(2)
    with pytest.raises(ValueError, match=r"BatchNorm2d(.forward)? expects"):
        layer.forward(zeros(shape))
    assert layer.running_mean.updates == 0 and layer.predict(zeros((1, 2, 1, 1))).var is not None


@pytest.mark.filterwarnings("ignore:overflow")  # of the distance
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_means_and_infinity_are_those_of_a_point_mass(dtype):
    """The distance of two large means overflows; no moment does."""
    large = 0.9 * float(np.finfo(dtype).max)
    mean = xp.asarray(
        [[[[large, -large], [large, 99.0], [np.inf, -large], [-np.inf, 99.0]]]], dtype
    )
    for x in Gaussian(mean, xp.ones_like(mean)), Gaussian(mean, xp.zeros_like(mean)):
        for layer in adf.LeakyReLU(0.2), adf.LeakyReLU(0), adf.MaxPool2d((1, 2)):
            y = layer.predict(x)
            assert_same([y.mean], [layer.predict(Gaussian(mean)).mean])
            assert not np.isnan(to_host(y.mean)).any()
            assert np.isfinite(to_host(y.var)).all()
            gradient = layer.forward(x)[1](Gaussian(xp.ones_like(y.mean), xp.ones_like(y.var)))
            assert np.isfinite(to_host(gradient.mean)).all()


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_variance_that_no_number_holds_is_infinite():
    x = Gaussian(xp.full((1, 1), 1e20, "float32"), xp.ones((1, 1), "float32"))
    assert np.isinf(to_host(adf.Dropout(0.5).predict(x).var)).all()
    x = Gaussian(*(field.astype("float64") for field in x))
    assert to_host(adf.Dropout(0.5).predict(x).var).item() == pytest.approx(1e40)
    # As large as float32 can hold it is right.
    x = Gaussian(xp.full((1, 1), 1.7e19, "float32"), xp.ones((1, 1), "float32"))
    assert to_host(adf.Dropout(0.5).predict(x).var).item() == pytest.approx(2.89e38)


WITHOUT_PIXELS = {
    "Conv2d": lambda: adf.Conv2d(2, 3, 3, padding=2),
    "ConvTranspose2d": lambda: adf.ConvTranspose2d(2, 3, 3),
    "AvgPool2d": lambda: adf.AvgPool2d(2, padding=2),
    "Upsample": lambda: adf.Upsample(2),
}


@pytest.mark.parametrize("name", WITHOUT_PIXELS)
def test_images_without_pixels_are_refused(name):
    refused(WITHOUT_PIXELS[name](), zeros((1, 2, 0, 4)), name, "(1, 2, 0, 4)")


def test_add_goes_forward_on_vectors():
    x, layer = zeros((3,)), adf.Add(adf.LeakyReLU(), adf.LeakyReLU())
    y, backward = layer.forward(x)
    assert_same(y, layer.predict(x))
    assert backward(y).mean.shape == (3,)


def test_concat_refuses_vectors():
    refused(adf.Concat(adf.LeakyReLU(), adf.LeakyReLU()), zeros((3,)), "Concat")


def test_class_std_of_an_empty_batch():
    assert adf.Dirichlet(xp.ones((0, 3, 2, 2))).class_std.shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    "x", [zeros((2, 3)), zeros((1, 0, 2, 2)), zeros((1, 3, 2, 2), "int64"), xp.zeros((1, 3, 2, 2))]
)
def test_the_head_refuses_what_are_no_logits(x):
    refused(adf.DirichletHead(), x, "DirichletHead expects")


@pytest.mark.skipif(backend_name == "cupy", reason="a GPU is not asked for the smallest variance")
@every_layer
def test_negative_variances_are_refused(name):
    shape = (2, 3) if name == "Linear" else (1, 3, 4, 4)
    layers = {
        "Linear": adf.Linear(3, 2),
        "Conv2d": adf.Conv2d(3, 2, 3),
        "ConvTranspose2d": adf.ConvTranspose2d(3, 2, 3),
        "AvgPool2d": adf.AvgPool2d(2),
        "GlobalAvgPool2d": adf.GlobalAvgPool2d(),
        "MaxPool2d": adf.MaxPool2d(2),
        "LeakyReLU": adf.LeakyReLU(),
        "BatchNorm2d": adf.BatchNorm2d(3),
        "Upsample": adf.Upsample(2),
        "Dropout": adf.Dropout(),
        "Concat": adf.Concat(adf.LeakyReLU(), adf.LeakyReLU()),
        "Add": adf.Add(adf.LeakyReLU(), adf.LeakyReLU()),
        "Sequential": adf.Sequential(adf.LeakyReLU()),
    }
    var = xp.ones(shape, "float32")
    var[0, 0] = -1
    refused(layers[name], Gaussian(xp.zeros(shape, "float32"), var), "variance")
