"""Probabilistic backpropagation against posteriors that are known, and on data."""

import csv

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import gamma, norm
from sklearn.datasets import load_diabetes

import adf
from adf import Gaussian
from adf.__main__ import main
from adf.backend import to_host, xp
from adf.methods.pbp import PBP, tilted, with_precision

KNOWN = 1e15  # alpha of a precision that is known


def linear(features, mean=0.0, var=1.0, noise_var=0.5):
    """A linear model without bias, every weight N(mean, var), of known noise."""
    model = PBP(adf.Sequential(adf.Linear(features, 1, bias=False)))
    law = model.network.layers[0]
    law.weight.value = xp.asarray(np.broadcast_to(mean, (1, features)), "float64")
    law.weight_var.value = xp.asarray(np.full((1, features), var))
    model.noise = (KNOWN, KNOWN * noise_var)
    return model


def network(hidden=8, features=3, rng=0):
    layers = adf.Linear(features, hidden), adf.LeakyReLU(0), adf.Linear(hidden, 1)
    return PBP(adf.Sequential(*layers), rng)


def posterior(model):
    """m and v of all weights, flat, on the host: copies."""
    return [np.concatenate([to_host(w[i].value).ravel() for w in model.weights]) for i in (0, 1)]


def row(*values):
    return xp.asarray([values], "float64")


# The update of the weights


def test_a_gaussian_likelihood_gives_the_conjugate_posterior():
    model = linear(1, mean=0.4, var=0.7, noise_var=0.3)
    model.step(row(1.5), 2.0)
    precision = 1 / 0.7 + 1.5**2 / 0.3
    mean = (0.4 / 0.7 + 1.5 * 2.0 / 0.3) / precision
    assert np.ravel(posterior(model)) == pytest.approx((mean, 1 / precision), rel=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_probit_likelihood_gives_what_quadrature_gives(sign):
    """Z = Phi(sign m / sqrt(1 + v)) is exact, and so are the moments that its derivatives give."""
    m, v = 0.3, 1.7
    z = sign * m / np.sqrt(1 + v)
    ratio = norm.pdf(z) / norm.cdf(z)
    found = tilted(m, v, sign * ratio / np.sqrt(1 + v), -ratio * z / (2 * (1 + v)))
    whole, first, second = (
        integrate.quad(lambda w, k=k: w**k * norm.cdf(sign * w) * norm.pdf(w, m, v**0.5), -15, 15)
        for k in range(3)
    )
    mean = first[0] / whole[0]
    assert found == pytest.approx((mean, second[0] / whole[0] - mean**2), rel=1e-9)


def test_the_change_of_a_variance_is_the_curvature():
    """2 h - g**2 is d2 log Z / dm2, by differences, for what the layers' backward gives."""
    x, t, step = row(1.3, -0.4), 0.9, 1e-3

    def log_z(mean):
        y = linear(2, mean, 0.6).network.predict(Gaussian(x))
        return norm.logpdf(t, y.mean.item(), (y.var.item() + 0.5) ** 0.5)

    model = linear(2, [0.2, -0.7], 0.6)
    before = posterior(model)[1]
    model.step(x, t)
    after = posterior(model)[1]
    for k, unit in enumerate(np.eye(2) * step):
        mean = np.array([0.2, -0.7])
        second = (log_z(mean + unit) - 2 * log_z(mean) + log_z(mean - unit)) / step**2
        assert (after[k] - before[k]) / before[k] ** 2 == pytest.approx(second, rel=1e-6)


def test_one_pass_is_the_exact_posterior_where_no_datum_meets_two_weights():
    rng = np.random.default_rng(1)
    model = linear(4, mean=0.1, var=2.0, noise_var=0.3)
    x = np.eye(4)[rng.integers(0, 4, 40)] * rng.normal(size=(40, 1))
    t = rng.normal(size=40)
    for datum, target in zip(x, t.tolist(), strict=True):
        model.step(row(*datum), target)
    precision = 1 / 2.0 + (x * x).sum(axis=0) / 0.3
    np.testing.assert_allclose(posterior(model)[1], 1 / precision, rtol=1e-10)
    mean = (0.1 / 2.0 + x.T @ t / 0.3) / precision
    np.testing.assert_allclose(posterior(model)[0], mean, rtol=1e-9)
    assert model.rejected == 0


def test_scaled_inputs_and_weights_leave_the_predictions():
    """Inputs times k, first weights N(m / k, v / k**2): so a scale may stand in the prior."""
    rng = np.random.default_rng(2)
    x, t = rng.normal(size=(30, 3)), rng.normal(size=30)
    found = []
    for k in (1.0, 7.0):
        model = network()
        first = model.network.layers[0]
        first.weight.value = first.weight.value / k
        first.weight_var.value = first.weight_var.value / (k * k)
        for datum, target in zip(k * x, t.tolist(), strict=True):
            model.step(row(*datum), target)
        found.append(model.predict(xp.asarray(k * x)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(to_host(a), to_host(b), rtol=1e-9, atol=1e-12)


def test_an_update_without_a_variance_is_undone_and_counted():
    model = linear(2)
    model.network.layers[0].weight.grad = row(0.5, 2.0)
    model._update()
    assert model.rejected == 1
    np.testing.assert_array_equal(posterior(model), [[0.5, 0.0], [0.75, 1.0]])


@pytest.mark.parametrize(
    ("x", "t", "message"),
    [
        (np.ones((2, 3)), 1.0, "one datum with one target"),
        (np.ones((1, 3)), float("nan"), "finite numbers"),
        (np.full((1, 3), np.inf), 1.0, "finite numbers"),
        (np.ones((1, 4)), 1.0, "3 input channels"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_no_datum_is_refused_and_changes_nothing(x, t, message):
    model = network()
    before = posterior(model)
    with pytest.raises(ValueError, match=message):
        model.step(xp.asarray(x), t)
    assert model.noise == (6, 6)
    np.testing.assert_array_equal(posterior(model), before)


# The precisions


@pytest.mark.parametrize("r, var, c", [(0.8, 0.3, 1.0), (-1.5, 0.1, 1.0), (0.2, 0.05, 0.1)])
def test_a_precision_has_the_moments_of_the_integral_over_both(r, var, c):
    """Over the weight, by Gauss-Hermite sums, and over the precision, from Gamma(40, 30).

    The mean is right to 4e-4, the variance to 1e-3: each Z is a Gaussian for a Student t.
    """
    e, weight = np.polynomial.hermite_e.hermegauss(80)

    def density(g):
        return gamma.pdf(g, 40, scale=1 / 30) * (
            weight @ norm.pdf(r + np.sqrt(var) * e, 0, np.sqrt(c / g))
        )

    whole, first, second = (
        integrate.quad(lambda g, k=k: g**k * density(g), 0, 8, points=[1, 2], epsabs=0)[0]
        for k in range(3)
    )
    mean = first / whole
    alpha, beta = with_precision(40, 30, r * r, var, c)
    assert alpha / beta == pytest.approx(mean, rel=4e-4)
    assert alpha / beta**2 == pytest.approx(second / whole - mean**2, rel=1e-3)


def test_the_prior_is_refined_towards_its_fixed_point():
    model = network(hidden=20, rng=3)
    rng = np.random.default_rng(4)
    for x in rng.normal(size=(60, 3)):
        model.step(row(*x), float(x[0] - x[1] ** 2))
    gaps = []
    for _ in range(30):
        before = model.prior
        model.refine_prior()
        gaps.append(abs(model.prior[0] / model.prior[1] - before[0] / before[1]))
    assert gaps[-1] < 1e-3 * max(gaps)
    # A factor more or less: the posterior is their product with what the data have said.
    alpha, beta = (6 + sum(f[i] for *_, fs in model.weights for f in fs) for i in (1, 2))
    assert model.prior == pytest.approx((alpha, beta), rel=1e-9)


def test_a_refined_weight_is_its_cavity_times_the_prior_of_its_cavity():
    """Of one weight: first with the prior that it began with, so that it stays; then with another.

    The product of N(mean, s) and N(0, p) has the precision 1 / s + 1 / p.
    """
    model = PBP(adf.Sequential(adf.Linear(1, 1, bias=False)))
    model.step(row(1.5), 2.0)
    (m, v), c = np.ravel(posterior(model)), 1 / 2
    s = 1 / (1 / v - 1 / (c * 6 / 5))
    model.refine_prior()
    assert np.ravel(posterior(model)) == pytest.approx((m, v), rel=1e-12)
    assert model.prior == pytest.approx(with_precision(6, 6, (m * s / v) ** 2, s, c), rel=1e-12)
    # Without its own factor lambda is the prior's Gamma(6, 6), to which another weight adds.
    model.prior = (model.prior[0] + 2, model.prior[1] + 1)
    model.refine_prior()
    new = 1 / (1 / s + 1 / (c * 7 / 7))
    assert np.ravel(posterior(model)) == pytest.approx((m / v * new, new), rel=1e-9)


def test_before_any_data_there_is_nothing_to_refine():
    """A weight without its factor has no distribution yet."""
    model = network(hidden=20)
    before = posterior(model)
    model.refine_prior()
    np.testing.assert_array_equal(posterior(model), before)
    assert model.prior == (6, 6)


# On data


def write(folder, x, t, splits=5):
    """The form in which the UCI sets are published; every split's test rows are others."""
    rng = np.random.default_rng(0)
    np.savetxt(folder / "data.txt", np.column_stack([x, t]))
    np.savetxt(folder / "index_features.txt", np.arange(x.shape[1]), "%d")
    np.savetxt(folder / "index_target.txt", [x.shape[1]], "%d")
    for split in range(splits):
        order = rng.permutation(len(t))
        np.savetxt(folder / f"index_test_{split}.txt", order[: len(t) // 10], "%d")
        np.savetxt(folder / f"index_train_{split}.txt", order[len(t) // 10 :], "%d")
    return folder


def test_diabetes_is_learned(tmp_path, capsys):
    """On 5 splits RMSE and NLL beat the Gaussian of all targets, and no update is rejected."""
    x, t = load_diabetes(return_X_y=True)
    folder = write(tmp_path, x, t)
    out = tmp_path / "new" / "scores.csv"
    args = ["pbp", str(folder), "--epochs", "5", "--hidden", "20", "--out", str(out)]
    assert main(args) == 0
    with open(out) as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == list("01234")
    rmse, nll = (np.array([float(row[name]) for row in rows]) for name in ("rmse", "nll"))
    assert rmse.mean() < 0.8 * t.std()
    assert nll.mean() < norm.entropy(scale=t.std()) - 0.2
    assert {row["rejected"] for row in rows} == {"0"}
    said = capsys.readouterr().out
    assert f"{rmse.mean():.3f} ± {rmse.std(ddof=1) / 5**0.5:.3f}" in said and "5 splits" in said


def test_the_toy_of_the_paper():
    """y = x**3 + N(0, 9): 20 points on [-4, 4] leave more doubt beyond them than among them."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-4, 4, 20)
    t = x**3 + 3 * rng.normal(size=20)
    model = network(hidden=100, features=1)
    for _ in range(40):
        for i in rng.permutation(20):
            model.step(row((x[i] - x.mean()) / x.std()), (t[i] - t.mean()) / t.std())
        model.refine_prior()
    grid = np.array([-6.0, -3, 0, 3, 6])
    y = model.predict(xp.asarray(((grid - x.mean()) / x.std())[:, None]))
    mean = to_host(y.mean)[:, 0] * t.std() + t.mean()
    std = np.sqrt(to_host(y.var)[:, 0]) * t.std()
    assert model.rejected == 0
    assert (np.abs(mean - grid**3)[1:4] < 3 * std[1:4]).all()
    assert min(std[0], std[4]) > 1.5 * std[2]


DAMAGED = {
    "no data": ("data.txt", None, "data.txt"),
    "words": ("data.txt", "1 2 three", "expected numbers"),
    "a column that is not there": ("index_features.txt", "0 7", "expected integers from 0 to 2"),
    "half a row": ("index_test_0.txt", "0.5", "expected integers"),
    "nothing": ("index_train_0.txt", "", "expected finite numbers"),
    "no split": ("index_train_0.txt", None, "expected index_train_0.txt"),
}


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_damaged_folder_is_refused_in_one_line(what, tmp_path, capsys):
    name, text, message = DAMAGED[what]
    rng = np.random.default_rng(0)
    folder = write(tmp_path, rng.normal(size=(20, 2)), rng.normal(size=20), splits=1)
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    assert main(["pbp", str(folder), "--out", str(tmp_path / "out.csv")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("option", ["--epochs", "--hidden", "--splits"])
def test_less_than_one_is_refused(option, tmp_path, capsys):
    assert main(["pbp", str(tmp_path), option, "0"]) == 2
    assert f"expected {option} of 1 or more, got 0" in capsys.readouterr().err
