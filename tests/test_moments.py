"""Moments against arithmetic with digits to spare.

Derivatives are tested against central differences of that arithmetic, and both at the extremes.
"""

import mpmath
import numpy as np
import pytest

from adf import backend, moments
from adf.backend import to_host, xp
from adf.studies.verification.reference import leaky_relu as exact_leaky_relu
from adf.studies.verification.reference import maximum as exact_maximum

DTYPES = ("float32", "float64")
SLOPES = (0.0, 0.01, 0.2, 1.0)
Z = np.unique(
    np.concatenate(
        [np.linspace(-10, 10, 81), [-1e-3, 0, 1e-3, -1.72, 30, 63.9, 64, 64.1, 100, 1000]]
    )
)
SIGMA = 10.0 ** np.arange(-6, 7)


def grid(dtype):
    """(mean, var) as they are after rounding to dtype, and z = mean / sigma."""
    z, sigma = (g.ravel() for g in np.meshgrid(Z, SIGMA))
    mean, var = (z * sigma).astype(dtype), (sigma**2).astype(dtype)
    return mean, var, mean / np.sqrt(var.astype("float64"))


def ulps(value, exact, scale, dtype):
    """Error in units of the last place of `scale`."""
    error = [
        abs(float((mpmath.mpf(float(v)) - e) / s))
        for v, e, s in zip(value, exact, scale, strict=True)
    ]
    return np.array(error) / np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", SLOPES)
def test_leaky_relu_to_the_last_digits(slope, dtype):
    mean, var, z = grid(dtype)
    y_mean, y_var = (
        to_host(y) for y in moments.leaky_relu(xp.asarray(mean), xp.asarray(var), slope)
    )
    assert y_mean.dtype == y_var.dtype == dtype
    exact = [exact_leaky_relu(float(m), float(v), slope) for m, v in zip(mean, var, strict=True)]
    crossing = 0.3 * np.sqrt(var.astype("float64")) * (slope > 0)  # a leaky mean crosses zero
    mean_scale = [abs(e[0]) + c for e, c in zip(exact, crossing, strict=True)]
    bound = 64 + np.where(z < 0, z * z, 0)
    mean_error = ulps(y_mean, [e[0] for e in exact], mean_scale, dtype)
    var_error = ulps(y_var, [e[1] for e in exact], [e[1] for e in exact], dtype)
    assert len(mean_error) == len(Z) * len(SIGMA) > 1000  # the test compares something
    assert np.all(mean_error <= bound), (mean_error / bound).max()
    assert np.all(var_error <= bound), (var_error / bound).max()


def test_the_accuracy_test_rejects_the_textbook_formula():
    """E[y^2] - E[y]^2 in float32, as public code has it, is wrong at the first glance."""
    from scipy.special import erf

    mean, var, _ = grid("float32")
    sigma = np.sqrt(var)
    cdf = ((1 + erf(mean / sigma / np.float32(np.sqrt(2)))) / 2).astype("float32")
    pdf = np.exp(-((mean / sigma) ** 2) / 2) / np.float32(np.sqrt(2 * np.pi))
    first = mean * cdf + sigma * pdf
    naive = (mean**2 + var) * cdf + mean * sigma * pdf - first**2
    exact = [exact_leaky_relu(float(m), float(v), 0)[1] for m, v in zip(mean, var, strict=True)]
    assert np.mean(ulps(naive, exact, exact, "float32") > 1000) > 0.2
    assert (naive < 0).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_maximum_to_the_last_digits(dtype):
    rng = np.random.default_rng(0)
    count = 600
    sigma_a, ratio = 10 ** rng.uniform(-6, 6, count), 10 ** rng.uniform(-3, 3, count)
    gap = (
        rng.uniform(-10, 10, count) * sigma_a * np.hypot(1, ratio) * rng.choice([0, 1e-3, 1], count)
    )
    middle = rng.normal(size=count) * sigma_a * rng.choice([0, 1, 1000], count)
    a, va, b, vb = (
        x.astype(dtype) for x in (middle + gap, sigma_a**2, middle, (ratio * sigma_a) ** 2)
    )
    y_mean, y_var = (to_host(y) for y in moments.maximum(*(xp.asarray(x) for x in (a, va, b, vb))))
    exact = [exact_maximum(*map(float, row)) for row in zip(a, va, b, vb, strict=True)]
    s = np.sqrt(va.astype("float64") + vb)
    # A mean may cross zero: its error is relative to the means and the spread that went in.
    # t = |a - b| / s is as rounded as a - b is, where both are large: hence the second term of the
    # bound.
    mean_error = ulps(
        y_mean, [e[0] for e in exact], np.abs(a.astype("f8")) + np.abs(b.astype("f8")) + s, dtype
    )
    var_error = ulps(y_var, [e[1] for e in exact], [e[1] for e in exact], dtype)
    bound = (
        64 + ((a.astype("f8") - b) / s) ** 2 + (np.abs(a.astype("f8")) + np.abs(b.astype("f8"))) / s
    )
    assert np.all(mean_error <= 64), mean_error.max()
    assert np.all(var_error <= bound), (var_error / bound).max()


@pytest.mark.parametrize("slope", SLOPES)
def test_leaky_relu_derivatives(slope):
    """Against central differences of the 120-digit moments, which have no rounding to speak of."""
    z = np.array([-9, -3, -1, -1e-3, 0.0, 1e-3, 0.5, 2, 6])
    mean, var = z * 0.7, np.full(len(z), 0.49)
    got = np.array(
        [
            to_host(d)
            for d in moments.leaky_relu_derivatives(xp.asarray(mean), xp.asarray(var), slope)
        ]
    )
    for which in (0, 1):
        for i, point in enumerate(zip(mean, var, strict=True)):
            want = derivatives(
                lambda m, v, which=which: exact_leaky_relu(m, v, slope)[which], point
            )
            np.testing.assert_allclose(got[which::2, i], want, rtol=1e-10, atol=1e-25)  # (3.9)


def test_maximum_derivatives():
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(4, 24))
    inputs[1::2] = np.exp(inputs[1::2])
    d = np.array(
        [to_host(d) for d in moments.maximum_derivatives(*(xp.asarray(x) for x in inputs))]
    )
    got = np.array([d[[0, 2, 4, 2]], [d[1], d[3], -d[1], d[5]]])
    for which in (0, 1):
        for i in range(24):
            want = derivatives(lambda *x, which=which: exact_maximum(*x)[which], inputs[:, i])
            np.testing.assert_allclose(got[which, :, i], want, rtol=1e-10, atol=1e-14)  # (4.7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_moments_with_derivatives_are_the_moments_and_the_derivatives(dtype):
    """They are so to the bit on a CPU, so that `predict` is `forward`.

    On a GPU they are so to rounding: each is a kernel of its own.
    """
    x = np.random.default_rng(3).random((4, 1000)) * [[4], [1], [4], [1]] - [[2], [0], [2], [0]]
    x, tolerance = (
        [xp.asarray(row.astype(dtype)) for row in x],
        0 if backend.name == "numpy" else 1e-5,
    )
    for name, args in (("leaky_relu", (*x[:2], 0.2)), ("maximum", x)):
        both, alone, derivatives = (
            getattr(moments, name + end) for end in ("_with_derivatives", "", "_derivatives")
        )
        for got, want in zip(both(*args), (*alone(*args), *derivatives(*args)), strict=True):
            np.testing.assert_allclose(to_host(got), to_host(want), rtol=tolerance, atol=tolerance)


def test_vector_jacobian_product():
    rng = np.random.default_rng(4)
    # the Jacobian is that of E[y], Var[y] by mu, sigma^2
    jacobian, row = rng.normal(size=(10, 2, 2)), rng.normal(size=(10, 1, 2))
    columns = (jacobian[:, 0, 0], jacobian[:, 1, 0], jacobian[:, 0, 1], jacobian[:, 1, 1])
    got = moments.vector_jacobian_product(
        *(xp.asarray(a) for a in (row[:, 0, 0], row[:, 0, 1], *columns))
    )
    np.testing.assert_allclose(
        np.stack([to_host(g) for g in got], 1), (row @ jacobian)[:, 0], rtol=1e-13
    )  # (6.1)


def derivatives(function, point):
    h = mpmath.mpf(10) ** -30
    with mpmath.workdps(120):
        point = [mpmath.mpf(float(x)) for x in point]
        steps = [[x + h * (i == j) for j, x in enumerate(point)] for i in range(len(point))]
        back = [[x - h * (i == j) for j, x in enumerate(point)] for i in range(len(point))]
        return [
            float((function(*up) - function(*down)) / (2 * h))
            for up, down in zip(steps, back, strict=True)
        ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_finite_input_gives_finite_moments(dtype):
    """Means go to +-1e30 and variances from 0 to 1e30.

    There is no NaN, no infinity, no negative variance, no warning.
    """
    size = np.array([0, 1e-45, 1e-38, 1e-30, 1e-10, 1, 1e10, 1e30])
    mean, var = (g.ravel().astype(dtype) for g in np.meshgrid(np.concatenate([-size, size]), size))
    for slope in SLOPES:
        y = moments.leaky_relu_with_derivatives(*map(xp.asarray, (mean, var)), slope)
        assert all(bool(xp.isfinite(x).all()) for x in y)
        assert bool((y[1] >= 0).all()) and bool((y[1] <= xp.asarray(var) * (1 + 4e-7)).all())
    i, j = (g.ravel() for g in np.meshgrid(np.arange(len(mean)), np.arange(len(mean))))
    pairs = [xp.asarray(x) for x in (mean[i], var[i], mean[j], var[j])]
    y = moments.maximum_with_derivatives(*pairs)
    assert (
        len(i) == (2 * 8 * 8) ** 2
        and all(bool(xp.isfinite(x).all()) for x in y)
        and bool((y[1] >= 0).all())
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_far_out_the_moments_are_normal_numbers_or_zero(dtype):
    """Subnormal ones have fewer digits, and on some processors take a hundred times as long."""
    code, least = np.dtype(dtype).char, np.finfo(dtype).tiny
    t = xp.asarray(np.linspace(0, 1.5 * moments.T_MAX[code], 20_001).astype(dtype))
    got, *parts = (to_host(part) for part in moments.tail(t, xp.ones_like(t)))
    end = np.sqrt(-2 * moments.LOG_PDF_MIN[code])
    for part in parts:  # phi, P, G, V
        # one step may round
        assert ((part == 0) == (got > end)).mean() > 0.9999 and (part[part > 0] >= least).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_million_random_inputs(dtype):
    """Var >= 0 and Var[relu(x)] <= Var[x].

    The textbook formula in float32 breaks each of these thousands of times.
    """
    rng = np.random.default_rng(2)
    mean = xp.asarray(
        (rng.normal(size=1_000_000) * 10 ** rng.uniform(-3, 3, 1_000_000)).astype(dtype)
    )
    var = xp.asarray((10 ** rng.uniform(-6, 6, 1_000_000)).astype(dtype))
    for slope in (0.0, 0.01):
        _, y_var = moments.leaky_relu(mean, var, slope)
        assert bool((y_var >= 0).all()) and bool((y_var <= var).all())


@pytest.mark.parametrize(("dtype", "last"), [("float32", 12.25), ("float64", 37.0)])
def test_what_lies_far_out_keeps_its_digits_to_the_last(dtype, last):
    """Up to t = 12.25 and 37 phi, P, G, V are right to 1e-4 or 1e-12, and soon after that 0.

    Half a place of t^2 / 2 in log phi makes an error of 4e-6 or 6e-14 alone.
    """
    t = np.append(np.linspace(0.01, last, 25), last + 0.3).astype(dtype)
    got, *parts = (
        to_host(part) for part in moments.tail(xp.asarray(t), xp.ones_like(xp.asarray(t)))
    )
    assert (got[:-1] == t[:-1]).all() and not any(part[-1] for part in parts)
    with mpmath.workdps(50):
        for i, x in enumerate(map(mpmath.mpf, t[:-1].astype(float))):
            pdf, p = mpmath.npdf(x), mpmath.ncdf(-x)
            g = pdf - x * p
            exact = (pdf, p, g, (1 + x * x) * p - x * pdf - g * g)
            for part, want in zip(parts, exact, strict=True):
                error = abs(float(mpmath.mpf(float(part[i])) / want - 1))
                assert error < {"float32": 1e-4, "float64": 1e-12}[dtype], (x, error)
