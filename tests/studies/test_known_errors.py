"""Errors of public ADF code.

Each test shows that the naive rule is wrong by its stated amount on the stated input, and that ours
is right on the same. The naive rules are those of adf.studies.verification.naive, in the floating
point that their users have (float32 unless stated). adf.studies.verification.mistakes sets rule,
ours and truth side by side, here and in the table of `python -m adf verify`. Where a naive amount
depends on how Phi is computed, the test says so. The truth is from mpmath
(adf.studies.verification.reference), quadrature in float64, samples, or reasoning that is exact (an
impulse's response, squared).
"""

import math

import mpmath
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.integrate import quad
from scipy.special import expit, ndtr

import adf
from adf import Gaussian, montecarlo
from adf.backend import to_host, xp
from adf.dirichlet import dirichlet_nll
from adf.layers.gradients import cast
from adf.studies.verification import mistakes, naive, reference


def gaussian(mean, var):
    """Of NumPy arrays or numbers; a number takes the other's shape."""
    mean, var = np.broadcast_arrays(mean, var)
    return Gaussian(*(xp.asarray(np.array(f)) for f in (mean, var)))


def predict(layer, mean, var):
    """(mean, var) of the output, on the host."""
    return tuple(to_host(field) for field in layer.predict(gaussian(mean, var)))


def relative_error(values, exact):
    return np.array([abs(float((float(v) - e) / e)) for v, e in zip(values, exact, strict=True)])


# 1. ReLU, variance as E[y^2] - E[y]^2


def test_1_relu_variance_is_negative_over_most_of_a_grid():
    """In float32, sigma 1, mu from -12 to -4 in 8,001 steps, 86 % of the variances are negative.

    The first of them is at mu = -4.48. This depends on Phi: as (1 + erf) / 2 it has no digits
    there; with SciPy's ndtr no variance is negative. Ours is within 10 + z^2 ulp of mpmath at 161
    points.
    """
    z = np.linspace(-12, -4, 8001, dtype="float32")
    theirs = naive.relu(z, np.ones_like(z))[1]
    assert theirs.dtype == "float32" and 0.85 < np.mean(theirs < 0) < 0.87
    assert -4.6 < z[theirs < 0].max() < -4.4
    assert np.all(naive.relu(z, np.ones_like(z), ndtr)[1] >= 0)
    z, found = z[::50], mistakes.relu("float32", z[::50])
    ulps = relative_error(found.ours, found.truth) / np.finfo("float32").eps
    assert len(z) == 161 and np.all(ulps < 10 + z.astype("float64") ** 2), (ulps - z**2).max()


@pytest.mark.parametrize(
    ("dtype", "mean", "low", "high"), [("float32", -6, 745, 760), ("float64", -8, 38, 44)]
)
def test_1_relu_variance_is_off_by_many_times_its_size(dtype, mean, low, high):
    """With sigma 1 and Phi as (1 + erf) / 2, the sign is wrong, and the error is large.

    At mu = -6 in float32 the error is 753 times the true variance 4.8e-11, at -8 in float64 41
    times the true 1.8e-17. (With ndtr 2e-5 of the variance is lost, and less in float64.) Ours is
    within 10 + z^2 ulp.
    """
    found = mistakes.relu(dtype, [mean])
    assert found.naive[0] < 0 and low < relative_error(found.naive, found.truth)[0] < high
    one = np.ones(1, dtype)
    assert relative_error(naive.relu(mean * one, one, ndtr)[1], found.truth)[0] < 1e-4
    assert found.ours.dtype == dtype
    assert relative_error(found.ours, found.truth)[0] < (10 + mean**2) * np.finfo(dtype).eps


# 2. Leaky ReLU, the same cancellation


def test_2_leaky_relu_variance_loses_nine_tenths():
    """The median relative error is 0.907, the largest 1 (a variance of 0).

    This is in float32, with slope 0.01, sigma 1e-3, mu from -10 to 10 in 401 steps, whether Phi
    comes from erf or from ndtr. Ours errs by at most 4 ulp.
    """
    for cdf in (naive.cdf_by_erf, ndtr):
        found = mistakes.leaky_relu(cdf)
        theirs = relative_error(found.naive, found.truth)
        assert 0.88 < np.median(theirs) < 0.93 and theirs.max() == 1
    ours = relative_error(found.ours, found.truth)
    assert len(ours) == 401 and ours.max() < 4 * np.finfo("float32").eps, ours.max()


# 3. The larger of two, the same cancellation


@pytest.mark.parametrize(
    ("a", "b", "var", "wrong", "truth"),
    [(100, 99, 1e-4, 0, 1e-4), (5, 5, 1e-6, 1.907e-6, 6.817e-7)],
)
def test_3_maximum_of_two(a, b, var, wrong, truth):
    """The rule fails in float32, whether Phi comes from erf or from ndtr.

    For N(100, 1e-4) and N(99, 1e-4) the rule gives variance 0, the truth is 1e-4. For N(5, 1e-6)
    twice it gives 1.9e-6, the truth is (1 - 1 / pi) 1e-6 = 6.8e-7. Ours is within 4 ulp.
    """
    for cdf in (naive.cdf_by_erf, ndtr):
        found = mistakes.larger(a, b, var, cdf)
        assert found.naive[0] == pytest.approx(wrong, rel=0.01, abs=1e-12)
    assert float(found.truth[0]) == pytest.approx(truth, rel=1e-3)
    ours = found.ours.ravel()
    assert (
        ours.dtype == "float32"
        and relative_error(ours, found.truth)[0] < 4 * np.finfo("float32").eps
    )


# 4. A floor under every variance


def test_4_a_floor_changes_the_network():
    """Adding 1e-3 to every variance makes those of the output 12,800 to 40,800 times too large.

    This is in float64, with four layers that are exact in a row (a 1 x 1 convolution of each
    channel, leaky ReLU, average pooling, a 1 x 1 convolution), noise variance 1e-6, and mu / sigma
    from -2 to 4. Ours agrees with 50,000 samples to the bound of a false alarm of 1e-9.
    """
    net, x = mistakes.network()
    c = montecarlo.compare(net, x, samples=50_000)
    ratio = to_host(naive.floored(net.layers, x).var) / c.var
    assert 10_000 < ratio.min() < 15_000 and 35_000 < ratio.max() < 45_000, ratio
    assert max(np.abs(c.mean_z).max(), np.abs(c.var_z).max()) < montecarlo.bound(2 * c.var.size)


def test_4_a_floor_hides_the_errors_above():
    """The ReLU of N(-6, 1) in float32 has, by test 1, a negative variance without a floor.

    With it the variance is 1.0e-3, which looks harmless and is 2e7 times the truth. Certain inputs
    (variance 0) leave one layer with a standard deviation of 0.03; with ours it is 0.
    """
    one = np.ones(1, "float32")
    found = mistakes.relu("float32", [-6], naive.FLOOR)
    assert 0.9e-3 < found.naive[0] < 1e-3 and 1.9e7 < found.naive[0] / found.truth[0] < 2.2e7
    certain = gaussian(one, 0 * one)
    assert np.sqrt(to_host(naive.floored([adf.LeakyReLU()], certain).var))[0] == pytest.approx(
        0.0316, rel=1e-2
    )
    assert adf.LeakyReLU().predict(certain).var[0] == 0


# 5. Batch norm


@pytest.mark.parametrize(("running_var", "factor"), [(0.01, 1 / 99.9), (100.0, 100.0)])
def test_5_batch_norm_divides_the_variance_too(running_var, factor):
    """At scale 3, eps 1e-5, v = 2, weight**2 v = 18 is (running_var + eps) times the truth.

    So it is 99.9 times too small at running_var 0.01 and 100 times too large at 100. The truth: the
    map is a straight line, so v is multiplied by its slope (from two points) squared; the bound is
    1e-12.
    """
    layer = mistakes.normalisation(running_var)
    layer.shift.value, layer.running_mean.value = xp.asarray([-0.5]), xp.asarray([0.25])
    points = Gaussian(xp.asarray([0.0, 1.0]).reshape(1, 1, 1, 2))
    slope = float(np.diff(to_host(layer.predict(points).mean).ravel())[0])
    assert naive.batch_norm(2.0, 3) / (slope**2 * 2.0) == pytest.approx(factor, rel=1e-4)
    assert predict(layer, np.zeros((1, 1, 1, 1)), 2.0)[1].item() == pytest.approx(
        slope**2 * 2.0, rel=1e-12
    )


# 6. Average pooling


@pytest.mark.parametrize(("divisions", "factor"), [(1, 64 * 2048 / 9), (2, (64 * 2048) ** 2 / 9)])
def test_6_average_pooling_divides_by_the_window_not_the_image(divisions, factor):
    """The average of the variances / (H W) is 14,564 times too small; divided twice, 1.9e9 times.

    The windows are 3 x 3, stride 2, padding 1, of a 64 x 2048 range image (SalsaNext's). The truth
    is the sum of the window / 9^2.
    """
    var = np.random.default_rng(0).random((1, 1, 64, 2048))
    exact = sliding_window_view(np.pad(var[0, 0], 1), (3, 3))[::2, ::2].sum(axis=(2, 3)) / 9**2
    np.testing.assert_allclose(
        exact / naive.average_pool(var[0, 0], (3, 3), 2, 1, divisions), factor, rtol=1e-12
    )
    np.testing.assert_allclose(
        predict(adf.AvgPool2d(3, 2, 1), var, var)[1][0, 0], exact, rtol=1e-12
    )


def test_6_only_for_global_pooling_is_it_right():
    """On random variances, 6 x 5, the rule of one division is right.

    It and GlobalAvgPool2d agree with sum / n^2 to 1e-12.
    """
    var = np.random.default_rng(0).random((1, 1, 6, 5))
    exact = math.fsum(var.ravel()) / 30**2
    assert naive.average_pool(var[0, 0], (6, 5), 1, 0).item() == pytest.approx(exact, rel=1e-12)
    assert predict(adf.GlobalAvgPool2d(), var, var)[1].item() == pytest.approx(exact, rel=1e-12)


# 7. Bilinear upsampling


def test_7_bilinear_upsampling_squares_the_weights():
    """Interpolating variances like the means gives 1, in the interior 2.56 times too large.

    This is at factor 2, with variances 1, 8 x 8. The truth is the squared responses to unit
    impulses, summed; the bound is 1e-12, on random variances.
    """
    layer, random = adf.Upsample(2), np.random.default_rng(0).random((8, 8))
    impulses = Gaussian(xp.asarray(np.eye(64).reshape(64, 1, 8, 8)))
    squared = to_host(layer.predict(impulses).mean)[:, 0] ** 2
    ratio = naive.upsample(layer, np.ones((8, 8))) / squared.sum(axis=0)
    np.testing.assert_allclose(ratio[1:-1, 1:-1], 2.56, rtol=1e-12)
    assert ratio[0, 0] == 1  # in a corner both weights fall on one pixel
    exact = np.tensordot(random.ravel(), squared, 1)
    np.testing.assert_allclose(
        predict(layer, np.zeros((1, 1, 8, 8)), random)[1][0, 0], exact, rtol=1e-12
    )


# 8. Softmax as a ratio of log-normals


@pytest.mark.parametrize(
    ("gap", "var", "factor"), [(0, 0.01, 1.42), (3, 1.0, 10.7), (5, 1.0, 41.3)]
)
def test_8_log_normal_softmax_exaggerates(gap, var, factor):
    """The standard deviation of the first probability is too large.

    For logits N(gap, v) and N(0, v) in float64 it is 1.42 times too large at gap 0, v = 0.01; 10.7
    times at gap 3, v = 1; 41 times at gap 5; there is no end to it. At v = 1 it exceeds 0.5, which
    no number in [0, 1] can. The truth is quadrature of the logistic function of N(gap, 2 v), which
    200,000 samples confirm. Ours makes no such claim: its head goes to a Dirichlet (below).
    """
    s = math.sqrt(2 * var)
    mean = quad(lambda e: naive.phi(e) * expit(gap + s * e), -12, 12, epsabs=1e-13)[0]
    std = math.sqrt(
        quad(lambda e: naive.phi(e) * (expit(gap + s * e) - mean) ** 2, -12, 12, epsabs=1e-15)[0]
    )
    np.testing.assert_allclose(reference.logistic(gap, 2 * var), (mean, std**2), rtol=1e-11)
    theirs = math.sqrt(naive.softmax(np.array([gap, 0.0]), var)[1][0])
    assert theirs / std == pytest.approx(factor, rel=5e-3) and (theirs > 0.5) == (var == 1)
    samples = expit(gap + s * np.random.default_rng(0).normal(size=200_000))
    error = np.std((samples - mean) ** 2) / math.sqrt(len(samples))
    assert abs(np.mean((samples - mean) ** 2) - std**2) < montecarlo.bound(3) * error


@pytest.mark.parametrize("logit", [44, 85, 1e4])
def test_8_log_normal_softmax_overflows(logit):
    """In float32, logits N(44, 1), N(0, 1) give exp(2 * 44 + 1) = inf (from v = 0.73 on).

    Ours works with logarithms, at 44, 85 and 10,000 (where alpha underflows to 0). log alpha is
    log(softmax) - log(c1 + c2 sqrt(sum m v)) by mpmath within 1e-14 relative, the negative
    log-likelihood of the other class is right within 1e-13, and the class_std is finite.
    """
    mean, var = np.array([logit, 0], "float32"), np.ones(2, "float32")
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(naive.softmax(mean, var)[1][0])
    x = gaussian(mean.reshape(1, 2, 1, 1), var.reshape(1, 2, 1, 1))
    log_alpha = adf.DirichletHead(raw=-3).predict(x).mean
    # the label is the other class
    loss, _ = dirichlet_nll(log_alpha, xp.ones((1, 1, 1), "int64"), 0.01)
    exact, _ = reference.log_concentration(mean.tolist(), var.tolist(), -3, -3)
    exact_loss, _ = reference.dirichlet_nll(exact, 1, 0.01)
    assert relative_error([loss], [exact_loss])[0] < 1e-13
    assert relative_error(to_host(log_alpha).ravel(), exact).max() < 1e-14
    assert bool(xp.isfinite(adf.Dirichlet(xp.exp(log_alpha)).class_std).all())


# 9. The direction of the Dirichlet's evidence


def test_9_evidence_falls_with_the_predicted_variance():
    """alpha = m / (1 / (c1 + c2 std)), as one published script has it, makes evidence grow tenfold.

    The logits are N(1, v), N(0, v), N(-1, v), c1 = c2 = softplus(-3), v = 0.01, 1, 100. Ours falls
    tenfold, as 1 / (c1 + c2 std) by mpmath to 1e-13.
    """
    var = np.array([0.01, 1, 100]).reshape(3, 1, 1, 1) * np.ones((3, 3, 1, 1))
    mean = np.array([1.0, 0, -1]).reshape(1, 3, 1, 1) * np.ones((3, 3, 1, 1))
    c = math.log1p(math.exp(-3))
    flipped = naive.concentration(mean, var, c, c).sum(axis=1)
    assert np.all(np.diff(flipped, axis=0) > 0) and flipped[2, 0, 0] / flipped[
        0, 0, 0
    ] == pytest.approx(10)
    head = adf.DirichletHead(raw=-3)
    ours = to_host(adf.Dirichlet(xp.exp(head.predict(gaussian(mean, var)).mean)).strength).ravel()
    with mpmath.workdps(60):
        c = mpmath.log1p(mpmath.exp(-3))
        exact = [1 / (c * (1 + std)) for std in (mpmath.mpf(1) / 10, 1, 10)]
    assert relative_error(ours, exact).max() < 1e-13 and ours[0] / ours[2] == pytest.approx(10)


# 10. Dropout by ones; a residual that concatenates


def test_10_dropout_by_ones_adds_no_variance():
    """At p = 0.3, x = N(2, 0.5), a mask of ones leaves the variance at 0.5.

    The truth, in fractions, is E[y^2] - E[y]^2: (0.5 + 4) / 0.7 - 4 = 17 / 7 = 2.43, 4.9 times
    that. Ours agrees to 1e-12, and with 200,000 sampled masks.
    """
    mean, var = np.full(200_000, 2.0), np.full(200_000, 0.5)
    theirs = naive.dropout(var)[0]
    assert theirs == 0.5 and 17 / 7 / theirs == pytest.approx(4.857, rel=1e-3)
    ours = predict(adf.Dropout(0.3), mean[:1], var[:1])
    assert ours[0] == 2 and ours[1][0] == pytest.approx(17 / 7, rel=1e-12)
    x = Gaussian(xp.asarray(mean + np.sqrt(var) * np.random.default_rng(1).normal(size=len(mean))))
    squares = (to_host(adf.Dropout(0.3, sample=True, rng=2).predict(x).mean) - 2) ** 2
    assert abs(squares.mean() - 17 / 7) < montecarlo.bound(1) * squares.std() / math.sqrt(len(mean))


def test_10_a_residual_of_tuples_concatenates():
    """`out += shortcut` on tuples (mean, variance) makes four fields.

    The first two are those of the branch alone, so that N(1, 2) + N(10, 20) comes out as N(1, 2).
    Ours gives N(11, 22), by `+=` and by Add of two branches that read different channels; 20,000
    samples agree. Branches that share their input are correlated: x + x has variance 4 v, and Add,
    as ADF does, says 2 v.
    """
    out = naive.residual((1.0, 2.0), (10.0, 20.0))
    assert len(out) == 4 and out[:2] == (1.0, 2.0)
    y = Gaussian(1.0, 2.0)
    y += Gaussian(10.0, 20.0)
    assert y == Gaussian(11.0, 22.0) and len(y) == 2
    first, second = (cast(adf.Conv2d(2, 1, 1, bias=False), "float64") for _ in range(2))
    for branch, pick in ((first, [1.0, 0.0]), (second, [0.0, 1.0])):
        branch.weight.value = xp.asarray(pick).reshape(1, 2, 1, 1)
    x = gaussian(*(np.array(f).reshape(1, 2, 1, 1) for f in ([1.0, 10.0], [2.0, 20.0])))
    c = montecarlo.compare(adf.Add(first, second), x, samples=20_000)
    assert c.mean.item() == 11 and c.var.item() == 22
    assert max(abs(c.mean_z.item()), abs(c.var_z.item())) < montecarlo.bound(2)
    assert bool((adf.Add(adf.Identity(), adf.Identity()).predict(x).var == 2 * x.var).all())


# 11. The largest of four


def test_11_largest_of_four_standard_normals():
    """The variance by pairs is 0.4647, one after the other 0.4702, exact (d/dx Phi^4) 0.4917.

    The first two are 5.5 and 4.4 % too small. Ours is the tournament, an approximation: it gives
    0.4647 to 1e-4, and each of its pairs is exact (test 3).
    """

    def density(x):
        return 4 * ndtr(x) ** 3 * naive.phi(x)

    mean = quad(lambda x: x * density(x), -12, 12, epsabs=1e-13)[0]
    exact = quad(lambda x: (x - mean) ** 2 * density(x), -12, 12, epsabs=1e-13)[0]
    found = mistakes.normals()
    ours = found.ours.item()
    assert exact == pytest.approx(0.4917, abs=1e-4) and found.naive[0] == pytest.approx(
        0.4702, abs=1e-4
    )
    assert ours == pytest.approx(0.4647, abs=1e-4) and 1 - ours / exact == pytest.approx(
        0.055, abs=1e-3
    )
    assert found.truth[0] == pytest.approx(exact, rel=1e-10)


LAWS = {
    "equal": lambda rng: np.ones((4, 1000)),
    "uniform in [0.1, 2]": lambda rng: rng.uniform(0.1, 2, (4, 1000)),
    "log-uniform in [0.1, 10]": lambda rng: 10 ** rng.uniform(-1, 1, (4, 1000)),
}


@pytest.mark.parametrize(
    ("law", "largest", "median"),
    list(zip(LAWS, (0.049, 0.339, 0.592), (0.016, 0.047, 0.134), strict=True)),
)
def test_11_the_order_of_a_window_changes_the_variance(law, largest, median):
    """Of the three ways to pair four, the smallest variance lies well below the largest.

    It does so by up to 4.9 % (median 1.6 %) with equal variances, 34 % (4.7 %) with uniform ones,
    59 % (13 %) with log-uniform ones. The largest of 1,000 is this seed's: over seeds 0 to 19 it
    goes from 22 to 34 % with uniform variances. Ours depends on the order, too.
    """
    ours = mistakes.by_pairs(*mistakes.windows(LAWS[law]))
    spread = 1 - np.min(ours, axis=0) / np.max(ours, axis=0)
    assert spread.max() == pytest.approx(largest, abs=1e-3) and np.median(spread) == pytest.approx(
        median, abs=1e-3
    )


def test_11_size_of_the_approximation():
    """Ours is set beside the exact integral on the uniform windows.

    The variance is too small in 99.5 % of them, by 6.2 % in the median and 30 % at most, and never
    more than 0.4 % too large; the mean is within 0.05 standard deviations.
    """
    mean, var = mistakes.windows(LAWS["uniform in [0.1, 2]"])
    ours = [
        f.ravel()
        for f in predict(adf.MaxPool2d(2), *(f.reshape(1000, 1, 2, 2) for f in (mean, var)))
    ]
    exact = np.array(
        [reference.maximum_of_many(m, s) for m, s in zip(mean, np.sqrt(var), strict=True)]
    ).T
    error = ours[1] / exact[1] - 1
    assert -0.32 < error.min() < -0.28 and 0.003 < error.max() < 0.004
    assert -0.065 < np.median(error) < -0.058 and 0.99 < np.mean(error < 0) < 1
    bias = np.abs(ours[0] - exact[0]) / np.sqrt(exact[1])
    assert 0.04 < bias.max() < 0.05
