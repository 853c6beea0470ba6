"""Several networks as one: what is exact about their mean, their spread and their disagreement."""

import numpy as np
import pytest
from scipy.special import digamma, entr, softmax

import adf
from adf.backend import to_host, xp
from adf.evaluation.metrics import brier, nll
from adf.inference import tiles
from adf.inference.pooled import pooled, variances
from adf.methods.mixture import Mixture

WIDTHS = (3, 4)


def networks(count, noise_var=None):
    """Segmenters of seeds of their own, whose batch norms have seen something."""
    found = []
    for seed in range(count):
        network = adf.UNet(1, 3, WIDTHS, norm=True, rng=seed)
        rng = np.random.default_rng(seed)
        for statistic in network.statistics():
            values = rng.uniform(0.5, 1.5, statistic.value.shape)
            statistic.value = xp.asarray(values.astype("float32"))
        network.layers[1].weight.value = 20 * network.layers[1].weight.value
        found.append(adf.Segmenter(network, noise_var))
    return found


def images(*shape):
    return np.random.default_rng(9).normal(size=shape).astype("float32")


def maps(members=7, classes=3, sharpness=3.0, seed=0):
    """Random maps of probabilities, (members, 2, classes, 5, 6)."""
    logits = np.random.default_rng(seed).normal(size=(members, 2, classes, 5, 6))
    return softmax(sharpness * logits, axis=2)


def pool(p):
    return [to_host(field) for field in pooled(xp.asarray(one) for one in p)]


def test_one_pass_gives_what_the_definitions_give():
    p = maps()
    mean, std, information = pool(p)
    np.testing.assert_allclose(mean, p.mean(axis=0), rtol=1e-15)  # (11.1)
    np.testing.assert_allclose(std, p.std(axis=0), rtol=1e-14)  # (11.2)
    direct = entr(p.mean(axis=0)).sum(axis=1) - entr(p).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(information, direct, rtol=0, atol=1e-15)  # (11.3)
    total = p.mean(axis=0) * (1 - p.mean(axis=0))
    np.testing.assert_allclose(total, (p * (1 - p)).mean(axis=0) + std**2, rtol=1e-13)


@pytest.mark.parametrize("members", [1, 2, 5, 20])
def test_copies_of_one_map_have_no_doubt_at_all(members):
    p = maps(1)[0].astype("float32")
    mean, std, information = pool([p] * members)
    assert (mean == p).all() and (std == 0).all() and (information == 0).all()


def test_two_sure_members_that_disagree():
    p = np.zeros((2, 1, 2, 1, 1))
    p[0, 0, 0] = p[1, 0, 1] = 1
    mean, std, information = (field.ravel() for field in pool(p))
    assert mean.tolist() == std.tolist() == [0.5, 0.5]
    assert information == pytest.approx([np.log(2)], rel=4e-16)


def test_the_order_of_the_members_does_not_matter():
    p = maps(20)
    for one, other in zip(pool(p), pool(p[::-1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-7, 1e-3, 1.0, 300.0])
def test_no_disagreement_is_negative_however_small_or_large(size):
    """300: probabilities as small as float32 has them, 0 among them."""
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(1, 40, 3, 8, 8)) + size * rng.normal(size=(9, 40, 3, 8, 8))
    p = softmax(logits, axis=2).astype("float32")
    _, std, information = pool(p)
    assert (information >= 0).all() and (std >= 0).all()
    assert (information <= np.log(3) + 1e-12).all()
    exact = p.astype("longdouble")
    m = exact.mean(axis=0)
    ratio = np.log(np.where(exact > 0, exact, 1) / np.where(m > 0, m, 1))
    direct = np.where(exact > 0, exact * ratio, 0).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(information, direct.astype(float), rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("seed", range(20))
def test_a_mixture_costs_no_more_than_its_members_on_average(seed):
    """Jensen: NLL and Brier are convex in the probabilities, whatever the labels."""
    rng = np.random.default_rng(seed)
    p = maps(int(rng.integers(2, 9)), sharpness=rng.uniform(0.1, 9), seed=seed)
    labels = rng.integers(0, 3, (2, 5, 6))
    mean = pool(p)[0]
    for score in (nll, brier):
        assert score(labels, mean) <= np.mean([score(labels, one) for one in p]) + 1e-15  # (11.4)


def test_a_prediction_is_that_of_the_pooled_members():
    members = networks(3)
    x = images(2, 1, 12, 16)
    found = adf.predict(Mixture(members), x)
    each = np.array([adf.predict(member, x).probabilities for member in members])
    mean, std, information = pool(each)
    assert found.concentration is None and found.labels.dtype == "uint8"
    assert (found.labels == mean.argmax(axis=1)).all()
    for field, expected in (
        (found.probabilities, mean),
        (found.class_std, std),
        (found.entropy, entr(mean).sum(axis=1)),
        (found.mutual_information, information),
    ):
        assert field.dtype == "float32" and field.max() > 0.01
        np.testing.assert_allclose(field, expected, rtol=2e-7, atol=1e-12)


def test_copies_of_one_network_predict_as_it_does():
    (member,) = networks(1)
    x = images(2, 1, 12, 16)
    alone, several = adf.predict(member, x), adf.predict(Mixture([member] * 4), x)
    assert (several.probabilities == alone.probabilities).all()
    assert (several.labels == alone.labels).all()
    assert not several.class_std.any() and not several.mutual_information.any()


def test_the_bits_depend_on_no_thread_and_no_neighbour(monkeypatch):
    mixture, x = Mixture(networks(3)), images(5, 1, 20, 18)
    found = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("ADF_THREADS", threads)
        found.append(adf.predict(mixture, x))
    found.append(adf.predict(mixture, x[2:3]))
    for other in found[1:3]:
        for one, two in zip(found[0], other, strict=True):
            assert one is two is None or (one == two).all()
    assert (found[3].mutual_information == found[0].mutual_information[2:3]).all()


def test_tiles_give_what_the_whole_gives(monkeypatch):
    mixture, x = Mixture(networks(3)), images(1, 1, 130, 96)
    whole = adf.predict(mixture, x)
    monkeypatch.setattr(tiles, "TILE", 16)
    assert len(tiles.tiles((130, 96), mixture.network)) > 6
    for one, two in zip(adf.predict(mixture, x), whole, strict=True):
        assert one is two is None or one.shape == two.shape
        if one is not None and one.dtype != "uint8":
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5 * two.max())


def test_a_dirichlet_says_its_mutual_information_and_a_point_none():
    x = images(2, 1, 12, 16)
    (gaussian,) = networks(1, 0.05)
    found = adf.predict(gaussian, x)
    a = found.concentration.astype("float64")
    total = a.sum(axis=1, keepdims=True)
    expected = (a / total * (digamma(a + 1) - digamma(total + 1) - np.log(a / total))).sum(axis=1)
    np.testing.assert_allclose(found.mutual_information, expected, rtol=1e-4, atol=1e-7)  # (7.7)
    assert found.mutual_information.min() > 0
    assert adf.predict(networks(1)[0], x).mutual_information is None
    assert adf.Prediction._fields[-1] == "mutual_information"


def test_an_ensemble_of_adf_networks_has_both_variances():
    """Their sum is that of the mixture of the members' Dirichlets, by its second moment.

    E[p**2] = a (a + 1) / (A (A + 1)) of each, A the sum of a.
    """
    members, x = networks(3, 0.05), images(2, 1, 12, 16)
    each = [adf.predict(member, x) for member in members]
    within, between = map(to_host, variances(each))
    a = np.array([p.concentration for p in each], "float64")
    total = a.sum(axis=2, keepdims=True)
    second = (a * (a + 1) / (total * (total + 1))).mean(axis=0)
    direct = second - (a / total).mean(axis=0) ** 2
    np.testing.assert_allclose(within + between, direct, rtol=0, atol=1e-7)
    assert within.max() > 1e-3 and between.max() > 1e-3
    std = adf.predict(Mixture(members), x).class_std
    np.testing.assert_allclose(np.sqrt(between), std, rtol=1e-6, atol=1e-9)


def test_of_deterministic_members_both_variances_are_that_of_the_class():
    each = [adf.predict(member, images(1, 1, 12, 16)) for member in networks(3)]
    p = np.mean([one.probabilities for one in each], axis=0, dtype="float64")
    within, between = map(to_host, variances(each))
    np.testing.assert_allclose(within + between, p * (1 - p), rtol=0, atol=1e-7)


def test_a_mixture_of_none_is_refused():
    with pytest.raises(ValueError, match="one segmenter or more, got none"):
        Mixture([])
