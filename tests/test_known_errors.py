"""Errors of public ADF code: the naive rule, wrong by its stated amount on the stated input, and beside it ours, right.

The naive rules are written here from their description in words, in the floating point that their users have (float32
unless stated). Naive amounts that hang on how Phi is computed say so. References: mpmath at 120 digits
(test_moments), quadrature in float64, samples, or reasoning that is exact (an impulse's response, squared).
"""

import math

import mpmath
import numpy as np
import pytest
from gradients import in_float64
from numpy.lib.stride_tricks import sliding_window_view
from scipy.integrate import quad
from scipy.special import erf, expit, ndtr
from test_moments import exact_leaky_relu, exact_maximum

import adf
from adf import Gaussian, montecarlo
from adf.backend import to_host, xp
from adf.dirichlet import dirichlet_nll


def gaussian(mean, var):
    """Of NumPy arrays or numbers; a number takes the other's shape."""
    mean, var = np.broadcast_arrays(mean, var)
    return Gaussian(*(xp.asarray(np.array(f)) for f in (mean, var)))


def predict(layer, mean, var):
    """(mean, var) of the output, on the host."""
    return tuple(to_host(field) for field in layer.predict(gaussian(mean, var)))


def relative_error(values, exact):
    return np.array([abs(float((float(v) - e) / e)) for v, e in zip(values, exact, strict=True)])


def phi(z):
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def cdf_by_erf(z):
    return (1 + erf(z / math.sqrt(2))) / 2


def naive_relu(mean, sigma, cdf=cdf_by_erf):
    """E[max(x, 0)], and Var as E[y^2] - E[y]^2."""
    z = mean / sigma
    first = mean * cdf(z) + sigma * phi(z)
    return first, (mean**2 + sigma**2) * cdf(z) + mean * sigma * phi(z) - first**2


def naive_leaky_relu(mean, sigma, slope, cdf):
    """y = max(x, 0) - slope max(-x, 0): each part as above, and their covariance."""
    (up, up_var), (down, down_var) = naive_relu(mean, sigma, cdf), naive_relu(-mean, sigma, cdf)
    return up_var + slope**2 * down_var + 2 * slope * up * down


def naive_maximum(mean_a, var_a, mean_b, var_b, cdf):
    """Clark's first and second moment, and Var as their E[y^2] - E[y]^2."""
    s = np.sqrt(var_a + var_b)
    d = (mean_a - mean_b) / s
    p, q = cdf(d), cdf(-d)
    first = mean_a * p + mean_b * q + s * phi(d)
    return (mean_a**2 + var_a) * p + (mean_b**2 + var_b) * q + (mean_a + mean_b) * s * phi(d) - first**2


# 1. ReLU, variance as E[y^2] - E[y]^2


def test_1_relu_variance_is_negative_over_most_of_a_grid():
    """float32, sigma 1, mu from -12 to -4 in 8,001 steps: 86 % negative, the first at mu = -4.48. It hangs on Phi: as
    (1 + erf) / 2 it has no digits there; with SciPy's ndtr none is negative. Ours: within 10 + z^2 ulp of mpmath at 161
    points."""
    z = np.linspace(-12, -4, 8001, dtype="float32")
    naive = naive_relu(z, np.ones_like(z))[1]
    assert naive.dtype == "float32" and 0.85 < np.mean(naive < 0) < 0.87
    assert -4.6 < z[naive < 0].max() < -4.4
    assert np.all(naive_relu(z, np.ones_like(z), ndtr)[1] >= 0)
    z = z[::50]
    _, ours = predict(adf.LeakyReLU(0), z, np.ones_like(z))
    ulps = relative_error(ours, [exact_leaky_relu(float(m), 1, 0)[1] for m in z]) / np.finfo("float32").eps
    assert len(z) == 161 and np.all(ulps < 10 + z.astype("float64") ** 2), (ulps - z**2).max()


@pytest.mark.parametrize(("dtype", "mean", "low", "high"), [("float32", -6, 745, 760), ("float64", -8, 38, 44)])
def test_1_relu_variance_is_off_by_many_times_its_size(dtype, mean, low, high):
    """sigma 1, Phi as (1 + erf) / 2: at mu = -6 in float32 the error is 753 times the true variance 4.8e-11, at -8 in
    float64 41 times the true 1.8e-17, and the sign is wrong. (With ndtr 2e-5 of it is lost, and less in float64.) Ours:
    within 10 + z^2 ulp."""
    mean, exact = np.array([mean], dtype), exact_leaky_relu(mean, 1, 0)[1]
    naive = naive_relu(mean, np.ones_like(mean))[1]
    assert naive[0] < 0 and low < relative_error(naive, [exact])[0] < high
    assert relative_error(naive_relu(mean, np.ones_like(mean), ndtr)[1], [exact])[0] < 1e-4
    ours = predict(adf.LeakyReLU(0), mean, np.ones_like(mean))[1]
    assert ours.dtype == dtype and relative_error(ours, [exact])[0] < (10 + mean[0] ** 2) * np.finfo(dtype).eps


# 2. Leaky ReLU, the same cancellation


def test_2_leaky_relu_variance_loses_nine_tenths():
    """float32, slope 0.01, sigma 1e-3, mu from -10 to 10 in 401 steps: median relative error 0.907, the largest 1 (a
    variance of 0), whether Phi comes from erf or from ndtr. Ours: at most 4 ulp."""
    mean, sigma = np.linspace(-10, 10, 401, dtype="float32"), np.float32(1e-3)
    var = np.full_like(mean, sigma * sigma)
    exact = [exact_leaky_relu(float(m), float(v), 0.01)[1] for m, v in zip(mean, var, strict=True)]
    for cdf in (cdf_by_erf, ndtr):
        naive = relative_error(naive_leaky_relu(mean, sigma, 0.01, cdf), exact)
        assert 0.88 < np.median(naive) < 0.93 and naive.max() == 1
    ours = relative_error(predict(adf.LeakyReLU(0.01), mean, var)[1], exact)
    assert ours.max() < 4 * np.finfo("float32").eps, ours.max()


# 3. The larger of two, the same cancellation


@pytest.mark.parametrize(
    ("a", "b", "var", "wrong", "truth"), [(100, 99, 1e-4, 0, 1e-4), (5, 5, 1e-6, 1.907e-6, 6.817e-7)]
)
def test_3_maximum_of_two(a, b, var, wrong, truth):
    """float32, Phi from erf or from ndtr. N(100, 1e-4) and N(99, 1e-4): variance 0, truth 1e-4. N(5, 1e-6) twice:
    1.9e-6, truth (1 - 1 / pi) 1e-6 = 6.8e-7. Ours: within 4 ulp."""
    inputs = np.array([a, var, b, var], "float32")
    exact = exact_maximum(*map(float, inputs))[1]
    assert float(exact) == pytest.approx(truth, rel=1e-3)
    for cdf in (cdf_by_erf, ndtr):
        assert naive_maximum(*inputs[:, None], cdf)[0] == pytest.approx(wrong, rel=0.01, abs=1e-12)
    window = inputs.reshape(2, 2).T.reshape(2, 1, 1, 1, 2)  # two pixels: their means, their variances
    ours = predict(adf.MaxPool2d((1, 2)), *window)[1].ravel()
    assert ours.dtype == "float32" and relative_error(ours, [exact])[0] < 4 * np.finfo("float32").eps


# 4. A floor under every variance


def floored(layers, x, floor=1e-3):
    """The usual cure: after every layer, add a constant to every variance."""
    for layer in layers:
        y = layer.predict(x)
        x = Gaussian(y.mean, y.var + floor)
    return x


def test_4_a_floor_changes_the_network():
    """float64, four layers that are exact in a row (a 1 x 1 convolution of each channel, leaky ReLU, average pooling, a
    1 x 1 convolution), noise variance 1e-6, mu / sigma from -2 to 4: + 1e-3 makes the output variances 12,800 to 40,800
    times too large. Ours agrees with 50,000 samples to the bound of a false alarm of 1e-9."""
    first, last = adf.Conv2d(3, 3, 1, groups=3, bias=False, rng=1), adf.Conv2d(3, 2, 1, rng=2)
    net = in_float64(adf.Sequential(first, adf.LeakyReLU(0.1), adf.AvgPool2d(2), last))
    x = gaussian(1e-3 * np.random.default_rng(0).uniform(-2, 4, (1, 3, 4, 4)), 1e-6)
    c = montecarlo.compare(net, x, samples=50_000)
    ratio = to_host(floored(net.layers, x).var) / c.var
    assert 10_000 < ratio.min() < 15_000 and 35_000 < ratio.max() < 45_000, ratio
    assert max(np.abs(c.mean_z).max(), np.abs(c.var_z).max()) < montecarlo.bound(2 * c.var.size)


def test_4_a_floor_hides_the_errors_above():
    """The ReLU of N(-6, 1) in float32 by test 1: negative without, with it 1.0e-3, which looks harmless and is 2e7
    times the truth. Certain inputs (variance 0) leave one layer with a standard deviation of 0.03; ours: 0."""
    one = np.ones(1, "float32")
    hidden = naive_relu(-6 * one, one)[1] + np.float32(1e-3)
    assert 0.9e-3 < hidden[0] < 1e-3 and 1.9e7 < hidden[0] / exact_leaky_relu(-6, 1, 0)[1] < 2.2e7
    certain = gaussian(one, 0 * one)
    assert np.sqrt(to_host(floored([adf.LeakyReLU()], certain).var))[0] == pytest.approx(0.0316, rel=1e-2)
    assert adf.LeakyReLU().predict(certain).var[0] == 0


# 5. Batch norm


@pytest.mark.parametrize(("running_var", "factor"), [(0.01, 1 / 99.9), (100.0, 100.0)])
def test_5_batch_norm_divides_the_variance_too(running_var, factor):
    """scale 3, eps 1e-5, v = 2: weight**2 v = 18 is (running_var + eps) times the truth, so 99.9 times too small at
    0.01 and 100 times too large at 100. Truth: the map is a straight line, so v times its slope (from two points)
    squared; bound 1e-12."""
    layer = in_float64(adf.BatchNorm2d(1))
    layer.scale.value, layer.shift.value = xp.asarray([3.0]), xp.asarray([-0.5])
    layer.running_mean.value, layer.running_var.value = xp.asarray([0.25]), xp.asarray([running_var])
    points = Gaussian(xp.asarray([0.0, 1.0]).reshape(1, 1, 1, 2))
    slope = float(np.diff(to_host(layer.predict(points).mean).ravel())[0])
    assert 3**2 * 2.0 / (slope**2 * 2.0) == pytest.approx(factor, rel=1e-4)
    assert predict(layer, np.zeros((1, 1, 1, 1)), 2.0)[1].item() == pytest.approx(slope**2 * 2.0, rel=1e-12)


# 6. Average pooling


@pytest.mark.parametrize(("divisions", "factor"), [(1, 64 * 2048 / 9), (2, (64 * 2048) ** 2 / 9)])
def test_6_average_pooling_divides_by_the_window_not_the_image(divisions, factor):
    """3 x 3 windows, stride 2, padding 1, of a 64 x 2048 range image (SalsaNext's): average of the variances / (H W)
    is 14,564 times too small; divided twice, 1.9e9 times. Truth: sum of the window / 9^2."""
    var = np.random.default_rng(0).random((1, 1, 64, 2048))
    windows = sliding_window_view(np.pad(var[0, 0], 1), (3, 3))[::2, ::2]
    naive, exact = windows.mean(axis=(2, 3)) / (64 * 2048) ** divisions, windows.sum(axis=(2, 3)) / 9**2
    np.testing.assert_allclose(exact / naive, factor, rtol=1e-12)
    np.testing.assert_allclose(predict(adf.AvgPool2d(3, 2, 1), var, var)[1][0, 0], exact, rtol=1e-12)


def test_6_only_for_global_pooling_is_it_right():
    """Random variances, 6 x 5: the rule of one division and GlobalAvgPool2d agree with sum / n^2 to 1e-12."""
    var = np.random.default_rng(0).random((1, 1, 6, 5))
    exact = math.fsum(var.ravel()) / 30**2
    assert var.mean() / (6 * 5) == pytest.approx(exact, rel=1e-12)
    assert predict(adf.GlobalAvgPool2d(), var, var)[1].item() == pytest.approx(exact, rel=1e-12)


# 7. Bilinear upsampling


def test_7_bilinear_upsampling_squares_the_weights():
    """Factor 2, variances 1, 8 x 8: interpolating them like the means gives 1, in the interior 2.56 times too large.
    Truth: the squared responses to unit impulses, summed; bound 1e-12, on random variances."""
    layer, random = adf.Upsample(2), np.random.default_rng(0).random((8, 8))
    impulses = Gaussian(xp.asarray(np.eye(64).reshape(64, 1, 8, 8)))
    squared = to_host(layer.predict(impulses).mean)[:, 0] ** 2
    naive = to_host(layer.predict(Gaussian(xp.ones((1, 1, 8, 8)))).mean)[0, 0] / squared.sum(axis=0)
    np.testing.assert_allclose(naive[1:-1, 1:-1], 2.56, rtol=1e-12)
    assert naive[0, 0] == 1  # in a corner both weights fall on one pixel
    exact = np.tensordot(random.ravel(), squared, 1)
    np.testing.assert_allclose(predict(layer, np.zeros((1, 1, 8, 8)), random)[1][0, 0], exact, rtol=1e-12)


# 8. Softmax as a ratio of log-normals


def naive_softmax(mean, var):
    """Mean and variance of exp(x_k), log-normal, each divided by the sum of the means (squared)."""
    first, total = np.exp(mean + var / 2), np.exp(mean + var / 2).sum()
    return first / total, np.exp(2 * mean + var) * (np.exp(var) - 1) / total**2


@pytest.mark.parametrize(("gap", "var", "factor"), [(0, 0.01, 1.42), (3, 1.0, 10.7), (5, 1.0, 41.3)])
def test_8_log_normal_softmax_exaggerates(gap, var, factor):
    """Logits N(gap, v) and N(0, v), float64: the standard deviation of the first probability is 1.42 times too large at
    gap 0, v = 0.01; 10.7 times at gap 3, v = 1; 41 times at gap 5; no end to it. At v = 1 it exceeds 0.5, which no
    number in [0, 1] can. Truth: quadrature of the logistic function of N(gap, 2 v), which 200,000 samples confirm. Ours
    makes no such claim: its head goes to a Dirichlet (below)."""
    s = math.sqrt(2 * var)
    mean = quad(lambda e: phi(e) * expit(gap + s * e), -12, 12, epsabs=1e-13)[0]
    std = math.sqrt(quad(lambda e: phi(e) * (expit(gap + s * e) - mean) ** 2, -12, 12, epsabs=1e-15)[0])
    naive = math.sqrt(naive_softmax(np.array([gap, 0.0]), var)[1][0])
    assert naive / std == pytest.approx(factor, rel=5e-3) and (naive > 0.5) == (var == 1)
    samples = expit(gap + s * np.random.default_rng(0).normal(size=200_000))
    error = np.std((samples - mean) ** 2) / math.sqrt(len(samples))
    assert abs(np.mean((samples - mean) ** 2) - std**2) < montecarlo.bound(3) * error


@pytest.mark.parametrize("logit", [44, 85, 1e4])
def test_8_log_normal_softmax_overflows(logit):
    """float32, logits N(44, 1), N(0, 1): exp(2 * 44 + 1) = inf (from v = 0.73 on). Ours works with logarithms, at 44,
    85 and 10,000 (where alpha underflows to 0): log alpha is log(softmax) - log(c1 + c2 sqrt(sum m v)) by mpmath within
    1e-14 relative, the negative log-likelihood of the other class within 1e-13, and the class_std is finite."""
    mean, var = np.array([logit, 0], "float32"), np.ones(2, "float32")
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(naive_softmax(mean, var)[1][0])
    x = gaussian(mean.reshape(1, 2, 1, 1), var.reshape(1, 2, 1, 1))
    log_alpha = adf.DirichletHead(raw=-3).predict(x)
    loss, _ = dirichlet_nll(log_alpha, xp.ones((1, 1, 1), "int64"), 0.01)  # the label is the other class
    with mpmath.workdps(60):
        c = mpmath.log1p(mpmath.exp(-3))
        log_sum = logit + mpmath.log1p(mpmath.exp(-mpmath.mpf(logit)))
        exact = [x - log_sum - mpmath.log(2 * c) for x in (logit, 0)]  # sum m v = 1
        alpha, log_y = [mpmath.exp(a) for a in exact], [mpmath.log(y) for y in (0.005, 0.995)]
        exact_loss = sum(mpmath.loggamma(a) - (a - 1) * y for a, y in zip(alpha, log_y, strict=True))
        exact_loss -= mpmath.loggamma(sum(alpha))
    assert relative_error([loss], [exact_loss])[0] < 1e-13
    assert relative_error(to_host(log_alpha).ravel(), exact).max() < 1e-14
    assert bool(xp.isfinite(adf.Dirichlet(xp.exp(log_alpha)).class_std).all())


# 9. The direction of the Dirichlet's evidence


def test_9_evidence_falls_with_the_predicted_variance():
    """Logits N(1, v), N(0, v), N(-1, v), c1 = c2 = softplus(-3), v = 0.01, 1, 100: alpha = m / (1 / (c1 + c2 std)), as
    one published script has it, makes the evidence grow tenfold; ours falls tenfold, as 1 / (c1 + c2 std) by mpmath to
    1e-13."""
    var = np.array([0.01, 1, 100]).reshape(3, 1, 1, 1) * np.ones((3, 3, 1, 1))
    mean = np.array([1.0, 0, -1]).reshape(1, 3, 1, 1) * np.ones((3, 3, 1, 1))
    c = math.log1p(math.exp(-3))
    m = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    flipped = (m / (1 / (c + c * np.sqrt(var)))).sum(axis=1)
    assert np.all(np.diff(flipped, axis=0) > 0) and flipped[2, 0, 0] / flipped[0, 0, 0] == pytest.approx(10)
    head = adf.DirichletHead(raw=-3)
    ours = to_host(adf.Dirichlet(xp.exp(head.predict(gaussian(mean, var)))).strength).ravel()
    with mpmath.workdps(60):
        c = mpmath.log1p(mpmath.exp(-3))
        exact = [1 / (c * (1 + std)) for std in (mpmath.mpf(1) / 10, 1, 10)]
    assert relative_error(ours, exact).max() < 1e-13 and ours[0] / ours[2] == pytest.approx(10)


# 10. Dropout by ones; a residual that concatenates


def test_10_dropout_by_ones_adds_no_variance():
    """p = 0.3, x = N(2, 0.5): a mask of ones leaves the variance at 0.5. Truth, in fractions of E[y^2] - E[y]^2:
    (0.5 + 4) / 0.7 - 4 = 17 / 7 = 2.43, 4.9 times that. Ours to 1e-12, and by 200,000 sampled masks."""
    mean, var = np.full(200_000, 2.0), np.full(200_000, 0.5)
    naive = (var * np.ones_like(var) ** 2)[0]
    assert naive == 0.5 and 17 / 7 / naive == pytest.approx(4.857, rel=1e-3)
    ours = predict(adf.Dropout(0.3), mean[:1], var[:1])
    assert ours[0] == 2 and ours[1][0] == pytest.approx(17 / 7, rel=1e-12)
    x = Gaussian(xp.asarray(mean + np.sqrt(var) * np.random.default_rng(1).normal(size=len(mean))))
    squares = (to_host(adf.Dropout(0.3, sample=True, rng=2).predict(x).mean) - 2) ** 2
    assert abs(squares.mean() - 17 / 7) < montecarlo.bound(1) * squares.std() / math.sqrt(len(mean))


def test_10_a_residual_of_tuples_concatenates():
    """`out += shortcut` on (mean, variance): four fields, the first two those of the branch alone, so that N(1, 2) +
    N(10, 20) comes out as N(1, 2). Ours: N(11, 22), by `+=` and by Add of two branches that read different channels;
    20,000 samples agree. Branches that share their input are correlated: x + x has variance 4 v, and Add, as ADF does,
    says 2 v."""
    out = (1.0, 2.0)
    out += (10.0, 20.0)
    assert len(out) == 4 and out[:2] == (1.0, 2.0)
    y = Gaussian(1.0, 2.0)
    y += Gaussian(10.0, 20.0)
    assert y == Gaussian(11.0, 22.0) and len(y) == 2
    first, second = (in_float64(adf.Conv2d(2, 1, 1, bias=False)) for _ in range(2))
    for branch, pick in ((first, [1.0, 0.0]), (second, [0.0, 1.0])):
        branch.weight.value = xp.asarray(pick).reshape(1, 2, 1, 1)
    x = gaussian(*(np.array(f).reshape(1, 2, 1, 1) for f in ([1.0, 10.0], [2.0, 20.0])))
    c = montecarlo.compare(adf.Add(first, second), x, samples=20_000)
    assert c.mean.item() == 11 and c.var.item() == 22
    assert max(abs(c.mean_z.item()), abs(c.var_z.item())) < montecarlo.bound(2)
    assert bool((adf.Add(adf.Identity(), adf.Identity()).predict(x).var == 2 * x.var).all())


# 11. The largest of four


def exact_largest(mean, std):
    """Mean and variance of the largest of independent Gaussians: trapezoids of x and x^2 against d/dx prod Phi."""
    x = np.linspace((mean - 12 * std).min(), (mean + 12 * std).max(), 2001)
    z = (x - mean[:, None]) / std[:, None]
    cdf = ndtr(z)
    density = sum(phi(z[i]) / std[i] * np.delete(cdf, i, axis=0).prod(axis=0) for i in range(len(mean)))
    first = np.trapezoid(x * density, x)
    return first, np.trapezoid((x - first) ** 2 * density, x)


def test_11_largest_of_four_standard_normals():
    """Variance by pairs 0.4647, one after the other 0.4702, exact (d/dx Phi^4) 0.4917: 5.5 and 4.4 % too small. Ours is
    the tournament, an approximation: 0.4647 to 1e-4, and each of its pairs exact (test 3)."""

    def density(x):
        return 4 * ndtr(x) ** 3 * phi(x)

    mean = quad(lambda x: x * density(x), -12, 12, epsabs=1e-13)[0]
    exact = quad(lambda x: (x - mean) ** 2 * density(x), -12, 12, epsabs=1e-13)[0]
    one = (np.zeros(1), np.ones(1))
    running = one
    for _ in range(3):
        running = tuple(to_host(f) for f in adf.moments.maximum(*(xp.asarray(f) for f in (*running, *one))))
    ours = predict(adf.MaxPool2d(2), np.zeros((1, 1, 2, 2)), 1.0)[1].item()
    assert exact == pytest.approx(0.4917, abs=1e-4) and running[1][0] == pytest.approx(0.4702, abs=1e-4)
    assert ours == pytest.approx(0.4647, abs=1e-4) and 1 - ours / exact == pytest.approx(0.055, abs=1e-3)
    assert exact_largest(np.zeros(4), np.ones(4))[1] == pytest.approx(exact, rel=1e-10)


def random_windows(law):
    """1,000 windows of four: means N(0, 1), variances by the law; (1000, 4), float64, seed 0."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 1000)).T, law(rng).T


LAWS = {
    "equal": lambda rng: np.ones((4, 1000)),
    "uniform in [0.1, 2]": lambda rng: rng.uniform(0.1, 2, (4, 1000)),
    "log-uniform in [0.1, 10]": lambda rng: 10 ** rng.uniform(-1, 1, (4, 1000)),
}


@pytest.mark.parametrize(
    ("law", "largest", "median"), list(zip(LAWS, (0.049, 0.339, 0.592), (0.016, 0.047, 0.134), strict=True))
)
def test_11_the_order_of_a_window_changes_the_variance(law, largest, median):
    """Of the three ways to pair four, the smallest variance lies below the largest by up to 4.9 % (median 1.6 %) with
    equal variances, 34 % (4.7 %) with uniform ones, 59 % (13 %) with log-uniform ones. The largest of 1,000 is this
    seed's: over seeds 0 to 19 it goes from 22 to 34 % with uniform variances. Ours depends on it too."""
    windows = random_windows(LAWS[law])
    orders = [(0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)]
    ours = [predict(adf.MaxPool2d(2), *(f[:, order].reshape(1000, 1, 2, 2) for f in windows))[1] for order in orders]
    spread = 1 - np.min(ours, axis=0) / np.max(ours, axis=0)
    assert spread.max() == pytest.approx(largest, abs=1e-3) and np.median(spread) == pytest.approx(median, abs=1e-3)


def test_11_size_of_the_approximation():
    """The uniform windows, ours against the exact integral: the variance is too small in 99.5 % of them, by 6.2 % in
    the median and 30 % at most, never more than 0.4 % too large; the mean is within 0.05 standard deviations."""
    mean, var = random_windows(LAWS["uniform in [0.1, 2]"])
    ours = [f.ravel() for f in predict(adf.MaxPool2d(2), *(f.reshape(1000, 1, 2, 2) for f in (mean, var)))]
    exact = np.array([exact_largest(m, s) for m, s in zip(mean, np.sqrt(var), strict=True)]).T
    error = ours[1] / exact[1] - 1
    assert -0.32 < error.min() < -0.28 and 0.003 < error.max() < 0.004
    assert -0.065 < np.median(error) < -0.058 and 0.99 < np.mean(error < 0) < 1
    bias = np.abs(ours[0] - exact[0]) / np.sqrt(exact[1])
    assert 0.04 < bias.max() < 0.05
