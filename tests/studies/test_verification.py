"""The command verify: its table is whole, and it fails where a layer is wrong.

Samples are few, for speed.
"""

import re
import sys

import numpy as np
import pytest
from scipy.special import ndtr

from adf import layers, moments
from adf.__main__ import main
from adf.backend import to_host, xp
from adf.studies import verification
from adf.studies.verification import contrast, mistakes, naive, reference, report
from adf.studies.verification.cases import VERIFIED

LAYERS = (
    *(set(layers.__all__) - {"Identity", "Layer", "Parameter", "Sequential", "Statistic"}),
    "Dirichlet",
)


@pytest.fixture
def one_case(monkeypatch):
    """Only the row pair of a leaky ReLU, and one row of errors, a sum.

    What is wrong must be seen there.
    """
    monkeypatch.setattr(verification, "SAMPLES", 50_000)
    monkeypatch.setattr(
        report, "VERIFIED", [case for case in VERIFIED if case.name == "LeakyReLU, slope 0.01"]
    )
    monkeypatch.setattr(report.pooling, "section", lambda: ("", ("-",), []))
    monkeypatch.setattr(mistakes, "ROWS", [m for m in mistakes.ROWS if m.find is mistakes.residual])


@pytest.mark.slow
def test_every_layer_has_its_rows_and_is_inside(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(verification, "SAMPLES", 20_000)
    path = tmp_path / "table.md"
    assert main(["verify", "--out", str(path)]) == 0
    text = re.sub(" +", " ", path.read_text())  # whatever the width of the columns
    for name in LAYERS:
        for dtype in ("float32", "float64"):
            assert re.search(rf"\n\| {name}\b.*\| {dtype} \|.*\| inside \|\n", text), (name, dtype)
    rows = 2 * len(VERIFIED) + len(mistakes.ROWS)
    assert text.count("| inside |") == rows >= 60 and "| **OUTSIDE** |" not in text
    for number in range(1, 12):
        assert re.search(rf"\n\| {number}\. .*\| float(32|64): .*\| inside \|\n", text), number
    # four standard normals: by pairs, and exact
    assert "| 2 x 2 | 1.0300, 1.0294 | 0.4647, 0.4917 |" in text
    assert f"{rows} rows in" in capsys.readouterr().out
    assert not re.search(r"nan|inf\b", text)


def test_equal_runs_give_equal_files(one_case, tmp_path):
    for name in ("a", "b"):
        assert main(["verify", "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def textbook(mean, var, slope):
    """E[y^2] - E[y]^2, as public code has it."""
    y = naive.leaky_relu(to_host(mean), np.sqrt(to_host(var)), slope, ndtr)
    return tuple(xp.asarray(f, mean.dtype) for f in y)


def right_relu(mean, sigma, cdf=None):
    """The mean and the variance, by 60 digits."""
    return np.array(
        [reference.leaky_relu(float(m), float(s) ** 2, 0) for m, s in np.broadcast(mean, sigma)],
        "f8",
    ).T


def slightly_off(*args):
    return tuple((1 + 1e-3 * (i == 4)) * y for i, y in enumerate(CORRECT(*args)))  # dE/dsigma^2


CORRECT = moments.leaky_relu_with_derivatives
WRONG = {
    "textbook variance": ("leaky_relu", textbook, ("float32", "float64")),
    "gradient off by 1e-3": ("leaky_relu_with_derivatives", slightly_off, ("float64",)),
    "NaN": ("leaky_relu", lambda mean, var, slope: (mean * np.nan, var), ("float32", "float64")),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_layer_is_outside(mistake, one_case, tmp_path, capsys, monkeypatch):
    name, function, dtypes = WRONG[mistake]
    monkeypatch.setattr(moments, name, function)
    path = tmp_path / "table.md"
    assert main(["verify", "--out", str(path)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("adf: error:") and "OUTSIDE" in error
    for dtype in dtypes:
        assert f"LeakyReLU, slope 0.01 ({dtype})" in error
    assert path.read_text().count("| **OUTSIDE** |") == len(dtypes)


def test_a_wrong_variance_is_outside_by_samples_alone(one_case, tmp_path, monkeypatch):
    """With the closed form wrong in the same way, the samples still see 5 %."""
    right, exact = moments.leaky_relu, reference.leaky_relu
    monkeypatch.setattr(moments, "leaky_relu", lambda *x: (right(*x)[0], 1.05 * right(*x)[1]))
    monkeypatch.setattr(reference, "leaky_relu", lambda *x: (exact(*x)[0], exact(*x)[1] * 1.05))
    assert main(["verify", "--out", str(tmp_path / "table.md")]) == 1


EVERY_ERROR = mistakes.ROWS


@pytest.mark.parametrize(
    ("module", "name", "function", "numbers", "what"),
    [
        (moments, "leaky_relu", textbook, (1, 1, 1, 2, 4), "ours"),
        (moments, "maximum", lambda *x: naive.maximum(*map(to_host, x)), (3, 3), "ours"),
        (naive, "relu", right_relu, (1, 1, 1, 2), "the naive rule"),
        (naive, "dropout", lambda var: var / 0.7 + 4 * 0.3 / 0.7, (10,), "the naive rule"),
    ],
)
def test_a_row_that_claims_what_is_not_so_is_outside(
    module, name, function, numbers, what, one_case, tmp_path, capsys, monkeypatch
):
    """The library by a naive rule; a naive rule that is right."""
    monkeypatch.setattr(mistakes, "ROWS", EVERY_ERROR)
    monkeypatch.setattr(module, name, function)
    path = tmp_path / "table.md"
    assert main(["verify", "--out", str(path)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    found = re.findall(r"error (\d+), [^;]*: (ours|the naive rule)(?=;|$)", error)
    assert found == [(str(number), what) for number in numbers]


@pytest.mark.parametrize("mistake", mistakes.ROWS, ids=lambda m: f"{m.number}, {m.given}")
def test_every_row_of_errors_can_be_outside(mistake):
    """By a naive rule that gives the truth, and by what this library gives, 10 % off or NaN."""
    found = mistake.find()
    assert contrast.row(mistake)[1] == ""
    wrong = found.naive if mistake.find is mistakes.orders else 0.9 * np.array(found.ours)
    for changed, what in (
        (
            found._replace(naive=np.broadcast_to(found.truth, np.shape(found.naive))),
            "the naive rule",
        ),
        (found._replace(ours=wrong), "ours"),
        (found._replace(ours=np.nan * np.array(found.ours)), "ours"),
    ):
        cells, name = contrast.row(mistake._replace(find=lambda changed=changed: changed))
        assert (
            cells[-1] == "**OUTSIDE**"
            and name == f"error {mistake.number}, {mistake.given}: {what}"
        )


def test_without_mpmath(tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("adf.studies.verification")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mpmath", None)
    assert main(["verify", "--out", str(tmp_path / "table.md")]) == 2
    assert (
        capsys.readouterr().err
        == "adf: error: verify needs the package mpmath: pip install mpmath\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_refused_at_once(tmp_path, capsys):
    assert main(["verify", "--out", str(tmp_path / "nowhere" / "table.md")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_integral_is_clark_for_two():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mean, std = rng.normal(size=2), 10 ** rng.uniform(-1, 0.5, 2)
        clark = reference.maximum(mean[0], std[0] ** 2, mean[1], std[1] ** 2)
        np.testing.assert_allclose(
            reference.maximum_of_many(mean, std), [float(c) for c in clark], rtol=1e-11, atol=1e-12
        )


def test_amounts_by_hand():
    """The smallest factor, either way round; the largest spread of one window over its orders."""
    assert contrast.times([2, 30, 0.2], [1, 1, 1]) == 2
    assert contrast.times([-4, 0.5], [1, 2]) == 4 and contrast.times([0.0], [1]) == np.inf
    assert contrast.by_order([[4, 10, 2], [3, 10, 1]], None) == 0.5
