"""The ways to doubt weights side by side, and what they say of images that no training saw."""

import re

import numpy as np
import pytest
from PIL import Image

import adf
from adf import runs
from adf.__main__ import main
from adf.data.sample import Sample
from adf.evaluation.rankings import auroc
from adf.runs import learners
from adf.studies import out_of_distribution as ood
from adf.studies.comparison import methods, plan, rows, scores


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Fifteen synthetic images, networks of two levels, two members each; four nuclei."""
    for module in (plan, methods):
        monkeypatch.setattr(module, "SYNTHETIC", "synthetic:15")
    for system in methods.SYSTEMS:
        own = runs.SYSTEMS[system].settings
        monkeypatch.setitem(own, "widths", (2, 3))
        if "members" in own:
            monkeypatch.setitem(own, "members", 2)
    monkeypatch.setattr(learners, "NORM_BATCHES", 1)
    for kind in ("train/images", "train/labels", "test/images", "test/labels"):
        (tmp_path / "nuclei" / kind).mkdir(parents=True)
        for i in range(4):
            grey = np.random.default_rng(i).integers(0, 256, (90, 150)).astype("uint8")
            Image.fromarray(grey).save(tmp_path / "nuclei" / kind / f"{i}.png")
    return tmp_path


def command(folder, *more):
    options = ("--steps", "1", "--runs", folder / "runs", "--out", folder / "out", *more)
    return ["compare", "--methods", *map(str, options)]


def test_from_nothing_to_the_tables_and_not_twice(tiny, monkeypatch):
    assert main(command(tiny)) == 0
    text = (tiny / "out" / "methods.md").read_text()
    found = rows.read(tiny / "out" / "methods.csv")
    told, plain = ([r for r in found if r["told"] is t] for t in (True, False))
    assert {r["system"] for r in told} == {"adf-unet"} and len(told) == len(scores.NOISE)
    conditions = ["test", "noise 0.1", "noise 0.3", "blur 1", "blur 2"]
    strange = ["noise only", "inverted contrast", "half the size", "twice the size", "strong blur"]
    for system in methods.SYSTEMS:
        own = [r for r in plain if r["system"] == system]
        assert [r["condition"] for r in own] == conditions + strange
        assert all(0 <= r["entropy low"] <= r["entropy AUROC"] <= r["entropy high"] <= 1
                   for r in own[5:])  # fmt: skip
        assert len(re.findall(rf"\| +{system} +\|", text)) == 1 + 4 + 1  # test, shift, cost
        assert f"| {system}, entropy " in text
        has_information = system != "unet-bn"
        assert (f"| {system}, MI " in text) is has_information
        assert (own[0]["AUROC MI"] is not None) is has_information
    assert "nan" not in text and "{" not in text
    assert not (tiny / "out" / "README.md").exists() and not (tiny / "out" / "scores.csv").exists()

    monkeypatch.setattr(scores, "score", lambda *_: pytest.fail("scored again"))
    monkeypatch.setattr(ood, "scores", lambda *_: pytest.fail("scored again"))
    monkeypatch.setattr(learners, "train_step", lambda *_: pytest.fail("trained again"))
    assert main(command(tiny)) == 0
    assert (tiny / "out" / "methods.md").read_text() == text
    assert rows.read(tiny / "out" / "methods.csv") == found


def test_images_of_another_kind_are_one_set_more(tiny, monkeypatch):
    """Asked for later, nothing else is done again; without them their scores stay unused."""
    monkeypatch.setattr(methods, "SYSTEMS", ("unet-bn", "unet-weights"))
    assert main(command(tiny)) == 0
    before = rows.read(tiny / "out" / "methods.csv")
    monkeypatch.setattr(learners, "train_step", lambda *_: pytest.fail("trained again"))
    asked = []
    find = ood.scores
    monkeypatch.setattr(ood, "scores", lambda p, s: asked.append(len(s)) or find(p, s))
    assert main(command(tiny, "--nuclei", tiny / "nuclei")) == 0
    after = rows.read(tiny / "out" / "methods.csv")
    assert asked == [4, 4] and len(after) == len(before) + 2
    assert any(row["condition"].startswith("nuclei-") for row in after)
    assert main(command(tiny)) == 0
    assert rows.read(tiny / "out" / "methods.csv") == before and asked == [4, 4]


def test_the_numbers_kept_are_those_of_all_members(tiny):
    """Of one network n, its means and widths 2 n but for batch norms; SWAG keeps 20 more, ..."""
    kept = {}
    for system in methods.SYSTEMS:
        job = plan.Job(plan.Study("synthetic", methods.SYNTHETIC, 1, "flip"), system, 0)
        run, _, _ = job.train(tiny / "runs", 1, "")
        kept[system] = methods.numbers_kept(run)
    network = runs.load(tiny / "runs" / "synthetic" / "unet-bn-0").segmenter.network
    weights = sum(p.value.size for p in network.parameters())
    averages = sum(s.value.size for s in network.statistics())
    norms = averages  # as many scales and shifts as means and variances
    assert kept["unet-bn"] == kept["unet-dropout"] == weights + averages
    assert kept["adf-unet"] == weights + averages + 2  # c1 and c2
    assert kept["unet-ensemble"] == 2 * kept["unet-bn"]
    assert kept["unet-bbb"] == kept["unet-weights"] == 2 * weights - norms + averages
    assert kept["unet-swag"] == kept["unet-bn"] + 22 * weights + 2 * averages


def test_two_kinds_of_comparison_are_not_asked_at_once(tiny, capsys):
    with pytest.raises(SystemExit):
        main(command(tiny, "--tune"))
    assert "not allowed with" in capsys.readouterr().err


def test_a_blur_blurs_before_the_noise_and_spares_the_samples():
    image = np.zeros((9, 9), "float32")
    image[4, 4] = 1
    sample = Sample("s", image, None, None, None)
    (found,) = scores.blurred([sample], 1)
    assert found.image[4, 4] == pytest.approx(1 / (2 * np.pi), rel=0.02) and image[4, 4] == 1
    assert found.image.sum() == pytest.approx(1, rel=1e-4)
    test, *rest = scores.blurred_conditions([sample])
    assert (test.name, test.blur, test.noise, len(rest)) == ("blur 1", 1, 0, 1)


# Out of distribution


def samples(count=3, shape=(64, 48)):
    rng = np.random.default_rng(0)
    smooth = [np.cumsum(rng.normal(size=shape), axis=1).astype("float32") for _ in range(count)]
    return [Sample(str(i), image, None, None, None) for i, image in enumerate(smooth)]


def test_every_set_has_as_many_images_of_the_same_size():
    given = samples()
    others = samples(2, (30, 200))
    sets = ood.strange_sets(given, others, "others")
    assert [len(s) for s in sets.values()] == [3] * 6 + [2]
    for name, found in sets.items():
        assert all(s.image.shape == (64, 48) and s.image.dtype == "float32" for s in found), name
        assert (found[0].image == given[0].image).all() == (name == "test")
    assert (sets["inverted contrast"][1].image == -given[1].image).all()
    assert "other images" not in ood.strange_sets(given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ood, "MOST", 1)
        assert {len(s) for s in ood.strange_sets(given, others, "others").values()} == {1}


def test_sizes_change_about_the_middle():
    """A square of 8 x 8 pixels comes out as one of 4 or 16, at the same place.

    Halved, the image is reflected, so that the middle alone is looked at.
    """
    image = np.zeros((64, 48), "float32")
    image[28:36, 20:28] = 1
    for name, area in (("half the size", 16), ("twice the size", 256)):
        found = ood.changed(image, np.random.default_rng(0))[name][16:48, 12:36]
        centre = [np.average(np.arange(n), weights=found.sum(axis=1 - k))
                  for k, n in enumerate(found.shape)]  # fmt: skip
        assert found.sum() == pytest.approx(area, rel=0.15)
        np.testing.assert_allclose(centre, (15.5, 11.5), atol=0.6)


def test_a_score_is_the_mean_of_the_top_tenth():
    doubt = np.random.default_rng(0).permutation(200).reshape(10, 20).astype("float32")
    assert ood.score(doubt) == np.arange(180, 200).mean()
    assert ood.score(np.full((1, 2), 0.25, "float32")) == 0.25


def test_scores_are_those_of_the_prediction():
    segmenter = adf.Segmenter(adf.UNet(1, 3, (2, 3), rng=0), 0.1)
    (one, two) = samples(2, (16, 16))
    found = ood.scores(segmenter, [one, two])
    p = adf.predict(segmenter, two.image[None, None])
    assert found[1] == {"entropy": ood.score(p.entropy), "MI": ood.score(p.mutual_information)}
    plain = ood.scores(adf.Segmenter(adf.UNet(1, 3, (2, 3), rng=0), None), [one])
    assert plain[0]["MI"] is None


def test_the_auroc_is_that_of_the_metrics_and_its_interval_covers_the_truth():
    """400 times 40 normal images and 30 that are 0.7 higher: AUROC Phi(0.7 / sqrt(2)) = 0.690.

    A 95 % interval misses 20 times on average; more than 45 misses would come once in 1e7 studies,
    and fewer than 4 once in 1e5.
    """
    rng = np.random.default_rng(1)
    misses = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ood, "RESAMPLED", 200)
        for _ in range(400):
            known, strange = rng.normal(size=40), 0.7 + rng.normal(size=30)
            value, low, high = ood.told_apart(known, strange)
            misses += not low <= 0.690 <= high
    assert value == auroc(np.repeat([False, True], [40, 30]), np.concatenate([known, strange]))
    assert low < value < high and 4 <= misses <= 45


def test_images_and_what_became_of_them_are_drawn_together():
    """All are 0.1 more doubtful than before: the interval is that of the images' own spread."""
    known = np.random.default_rng(2).normal(size=60)
    value, low, high = ood.told_apart(known, known + 0.1)
    apart = ood.told_apart(known, np.append(known + 0.1, 0.1))
    assert 0.5 < value < 0.6 and high - low < 0.3 * (apart[2] - apart[1])


def test_ties_count_half_and_a_surer_network_is_below_a_half():
    assert ood.told_apart(np.ones(5), np.ones(4)) == (0.5, 0.5, 0.5)
    assert ood.told_apart(np.arange(5.0), np.arange(5.0) - 9) == (0, 0, 0)
