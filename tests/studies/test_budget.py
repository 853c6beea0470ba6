"""The error budget finds each cause where theory puts it.

It finds nothing where there is nothing to find.
"""

import math

import numpy as np
import pytest
from scipy.stats import norm

import adf
from adf import Gaussian
from adf.backend import xp
from adf.studies import budget
from adf.studies.budget.figure import error_budget
from adf.studies.budget.plain import learned, plain
from adf.studies.budget.report import Row, summarise, table
from adf.studies.budget.score import Score
from adf.studies.budget.stages import Stage, moments

SAMPLES = 20_000
SCORE = Score(1, 1, 1, 0, 1, 9)
# six standard errors of the mean logarithm of 16 independent sampled variances
NOISE = 6 * math.sqrt(2 / (16 * SAMPLES))


def normal(shape=(1, 1, 4, 4)):
    return Gaussian(xp.zeros(shape), xp.ones(shape))


def factors(network, x=None, samples=SAMPLES):
    stages = budget.measure(network, normal() if x is None else x, samples)
    return [dict(zip(budget.CAUSES, s.factors, strict=True)) for s in stages], stages


def test_one_layer_on_what_it_is_made_for_has_no_error():
    (only,), stages = factors(adf.LeakyReLU(0.1))
    assert len(stages[0].ratio) == 16 and all(
        abs(math.log(f)) < 2 * NOISE for f in only.values()
    ), only
    # each output has one input: shuffling changes nothing
    assert only["not independent"] == pytest.approx(1, rel=1e-12)


def test_a_second_relu_sees_no_gaussian():
    """relu(relu(x)) = relu(x) has variance 1/2 - 1/(2 pi).

    ADF takes relu(x) for a Gaussian and cuts it again.
    """
    (_, second), stages = factors(adf.Sequential(adf.LeakyReLU(0), adf.LeakyReLU(0)))
    m, v = 1 / math.sqrt(2 * math.pi), 0.5 - 0.5 / math.pi
    z, s = m / math.sqrt(v), math.sqrt(v)
    mean = m * norm.cdf(z) + s * norm.pdf(z)
    assumed = (m * m + v) * norm.cdf(z) + m * s * norm.pdf(z) - mean**2
    assert (
        second["not Gaussian"] == pytest.approx(assumed / v, rel=2 * NOISE) and assumed / v < 0.65
    )
    assert second["not independent"] == pytest.approx(1, rel=1e-12)
    assert np.median(stages[1].mean_error) == pytest.approx((mean - m) / s, abs=0.03)


def test_the_sum_of_a_thing_and_itself_is_not_independent():
    """x + x has variance 4; ADF says 2.

    The sum is a stage: its branches are nothing but their input.
    """
    (only,), stages = factors(adf.Add(adf.Identity(), adf.Identity()))
    assert only["not independent"] == pytest.approx(0.5, rel=2 * NOISE)  # (9.4)
    assert only["not Gaussian"] == pytest.approx(1, rel=2 * NOISE)
    assert isinstance(stages[0].layer, adf.Add)


def test_the_tree_of_max_pooling_is_its_own_approximation():
    """Four standard normals: 0.4647 by the tree, 0.4917 in truth."""
    x = normal((1, 1, 16, 16))
    (only,), _ = factors(adf.MaxPool2d(2), x, 5000)
    noise = 6 * math.sqrt(2 / (64 * 5000))
    assert only["own approximation"] == pytest.approx(0.4647 / 0.4917, rel=noise)
    assert only["not Gaussian"] == pytest.approx(1, rel=noise) == only["not independent"]


def test_the_next_layer_inherits():
    double = adf.Conv2d(1, 1, 1, bias=False)
    double.weight.value = xp.full((1, 1, 1, 1), 2.0)
    found, _ = factors(adf.Sequential(adf.Add(adf.Identity(), adf.Identity()), double))
    assert found[1]["inherited"] == pytest.approx(0.5, rel=2 * NOISE) and found[1][
        "not independent"
    ] == pytest.approx(1)


def test_the_books_balance():
    """The four factors multiply to the geometric mean of ADF / true.

    They do so in every stage of a U-Net, and all stages are found.
    """
    network = adf.UNet(1, 3, widths=(4, 8), norm=True)
    x = Gaussian(
        *(xp.asarray(f, "float32") for f in np.random.default_rng(0).random((2, 1, 1, 8, 8)))
    )
    stages = budget.measure(network, x, samples=64)
    kinds = [type(s.layer).__name__ for s in stages]
    assert (
        len(stages) == 6 + 1 + 6 + 2 + 6 + 1
        and kinds.count("Conv2d") == 7
        and kinds.count("Concat") == 1
    )
    for s in stages:
        assert np.prod(s.factors) == pytest.approx(
            np.exp(np.log(s.ratio).mean()), rel=1e-9
        )  # (9.5)
        assert s.adf.var.shape == s.true.var.shape
    y = network.predict(x)
    np.testing.assert_allclose(
        stages[-1].adf.var, np.asarray(adf.backend.to_host(y.var))[0], rtol=1e-6
    )
    again = budget.measure(network, x, samples=64)
    assert all((a.factors == b.factors).all() for a, b in zip(stages, again, strict=True))
    rows = summarise([stages, again])
    assert (
        rows[0].name == "Conv2d, 4 x 8 x 8"
        and rows[0].score.low < rows[0].score.median < rows[0].score.high
    )
    assert len(table(rows).splitlines()) == len(stages) + 2


def learned_sum(log_gain, loading):
    """The sum of a value and itself, by weights that were learned for its variance."""
    total = adf.Conv2d(2, 1, 1, bias=False)
    total.weight.value = xp.ones((1, 2, 1, 1))
    total.log_gain = adf.Parameter(xp.full((1, 2, 1, 1), log_gain))
    total.loading = adf.Parameter(xp.full((1, 2, 1, 1), loading))
    return adf.Sequential(adf.Concat(adf.Identity(), adf.Identity()), total)


@pytest.mark.parametrize("log_gain, loading", [(-20.0, 1.0), (math.log(2), 0.0)])
def test_learned_weights_make_up_for_dependence(log_gain, loading):
    """x + x has variance 4, and learned weights may know it: by what is common, or by a gain.

    Beside it stands plain ADF, which says 2.
    """
    network = learned_sum(log_gain, loading)
    (_, found), stages = factors(network)
    assert all(abs(math.log(f)) < 2 * NOISE for f in found.values()), found
    assert np.log(stages[1].ratio).mean() == pytest.approx(0, abs=NOISE)
    bare = dict(zip(budget.CAUSES, stages[1].plain.factors, strict=True))
    assert bare["not independent"] == pytest.approx(0.5, rel=2 * NOISE)  # (9.4)
    np.testing.assert_allclose(stages[1].plain.adf.var, 2)
    assert (stages[1].plain.true.var == stages[1].true.var).all()


def test_weights_that_were_learned_wrong_are_found():
    """A gain of 6 where 2 is right: a cause of the same layer, which the next one inherits."""
    total = learned_sum(math.log(6), 0.0)
    found, stages = factors(adf.Sequential(total, adf.Conv2d(1, 1, 1)))
    assert found[1]["not independent"] == pytest.approx(3, rel=2 * NOISE)
    assert found[2]["inherited"] == pytest.approx(3, rel=2 * NOISE)
    for s in stages:
        for books in (s, s.plain):
            balance = np.exp(np.log(books.ratio).mean())
            assert np.prod(books.factors) == pytest.approx(balance, rel=1e-9)  # (9.5)


def test_plain_adf_shares_all_but_the_learned_weights():
    network = learned_sum(0.5, 0.3)
    twin = plain(network)
    assert learned(network) == [network.layers[1]] and not learned(twin)
    assert twin.layers[1].weight is network.layers[1].weight
    x = normal((1, 1, 2, 2))
    np.testing.assert_allclose(twin.predict(x).var, 2)
    assert (twin.predict(x).mean == network.predict(x).mean).all()
    untouched = adf.LeakyReLU()
    assert plain(untouched) is untouched


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(ValueError, match="point mass"):
        budget.measure(adf.LeakyReLU(), Gaussian(xp.zeros((1, 1, 4, 4)), None))
    with pytest.raises(ValueError, match="one image"):
        budget.measure(adf.LeakyReLU(), normal((2, 1, 4, 4)))
    with pytest.raises(ValueError, match="at least 2 samples"):
        budget.measure(adf.LeakyReLU(), normal(), samples=1)


def test_moments_of_samples_are_unbiased_and_do_not_cancel():
    samples = 1e6 + np.random.default_rng(0).normal(size=(5, 2, 3))
    found = moments(samples)
    np.testing.assert_allclose(found.mean, samples.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(found.var, samples.var(axis=0, ddof=1), rtol=1e-9)


def stage(ratios, factors):
    """A Stage whose variances by ADF are `ratios` times the true ones, which are 4."""
    ones = np.ones(np.shape(ratios))
    adf_, true = Gaussian(3 * ones, 4.0 * np.array(ratios)), Gaussian(2 * ones, 4 * ones)
    return Stage(adf.LeakyReLU(), adf_, true, np.array(factors))


def test_rows_by_hand():
    """Nine in ten of 1, 2, ..., 101 lie from 6 to 96; twice and half, on average, are once.

    Outputs of both images count: 1 to 50 are in the first, the others in the second.
    """
    first = stage(np.arange(1.0, 51), (4, 1, 0.5, 1))
    second = stage(np.arange(51.0, 102), (1, 9, 2, 1))
    (row,) = summarise([[first], [second]])
    assert (row.score.low, row.score.median, row.score.high) == pytest.approx((6, 51, 96))
    assert row.score.mean_error == pytest.approx(1 / 2)
    np.testing.assert_allclose(row.factors, [2, 3, 1, 1])


def test_bars_are_stacked_by_factors():
    """From 1 upwards by 2 and then by 3, downwards by 1/2 and 1/5; a third one the other way."""
    rows = [
        Row("a", SCORE, np.array([7, 2, 3, 0.25])),
        Row("b", SCORE, np.array([7, 0.5, 4, 0.2])),
    ]
    figure = error_budget(rows, np.ones((2, 3, 3)))
    bars = [(p.get_y(), p.get_y() + p.get_height()) for p in figure.axes[1].patches]
    np.testing.assert_allclose(bars, [(1, 2), (1, 0.5), (2, 6), (1, 4), (1, 0.25), (0.5, 0.1)])
