"""The ruler: variances that were sampled are worth as many samples as they were made of."""

import math

import numpy as np
import pytest

from adf.studies.budget import ruler

COUNT = 200_000


def sampled_variance(rng, samples):
    """Variances of so many samples of N(0, 1): chi-square."""
    return rng.chisquare(samples - 1, COUNT) / (samples - 1)


def log_spread(rng, samples):
    return np.log(sampled_variance(rng, samples))


@pytest.mark.parametrize("samples", [2, 4, 16, 64])
@pytest.mark.parametrize("truth", [64, 256, math.inf])
def test_k_samples_are_worth_k(samples, truth):
    """Within 6 standard errors: those of a variance of COUNT logarithms, by the fourth moment."""
    rng = np.random.default_rng(samples)
    true = 1 if truth == math.inf else sampled_variance(rng, truth)
    ratio = sampled_variance(rng, samples) / true
    deviation = np.log(ratio) - np.log(ratio).mean()
    error = np.std(deviation**2) / math.sqrt(COUNT)
    scatter = ruler.log_scatter(samples)
    low, high = (ruler.from_scatter(scatter + s * 6 * error) for s in (1, -1))
    assert low < ruler.worth(ratio, truth) < high  # (9.18)
    assert high / low < 1.15  # so the bound says something


def test_a_common_factor_costs_nothing():
    ratio = sampled_variance(np.random.default_rng(0), 8)
    assert ruler.worth(0.0024 * ratio) == pytest.approx(ruler.worth(ratio), rel=1e-9)


def test_many_samples_are_near_the_rule_of_thumb():
    """K = 1 + 2 / s**2 holds for many samples; for few it is one too small."""
    assert ruler.from_scatter(2 / 999) == pytest.approx(1001, abs=0.01)
    assert ruler.from_scatter(math.pi**2 / 2) == pytest.approx(2)  # psi'(1/2)
    assert ruler.from_scatter(math.pi**2 / 6) == pytest.approx(3)  # psi'(1)


@pytest.mark.parametrize("samples", [2, 16, 256])
def test_the_bias_of_a_logarithm(samples):
    logs = log_spread(np.random.default_rng(1), samples)
    bound = 6 * math.sqrt(ruler.log_scatter(samples) / COUNT)
    assert abs(logs.mean() + ruler.log_bias(samples)) < bound
    assert logs.var() == pytest.approx(ruler.log_scatter(samples), rel=0.03)


def test_what_cannot_be_told():
    assert ruler.worth([1.0, 1.0]) == math.inf
    assert ruler.worth([1.0, 1.01], samples=16) == math.inf
    assert math.isnan(ruler.worth([1.0])) and math.isnan(ruler.worth([]))
    assert ruler.log_bias(math.inf) == ruler.log_scatter(math.inf) == 0
