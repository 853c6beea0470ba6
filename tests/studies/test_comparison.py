"""The comparison of systems: what is asked of them, and what is concluded.

Nothing finished is done again.
"""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from yeast_folder import SIZE, write, write_sample

from adf import runs
from adf.__main__ import main
from adf.data.yeast import Sample
from adf.evaluation import metrics
from adf.studies.comparison import claims, jobs, plan, rows, scores, tables, tuning
from adf.studies.comparison.noise_figure import against_noise


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Five synthetic images, two of nuclei, one noise."""
    for module in (plan, tuning):
        monkeypatch.setattr(module, "SYNTHETIC", "synthetic:5")
    monkeypatch.setattr(scores, "NOISE", (0.2,))
    monkeypatch.setattr("adf.studies.comparison.noise_figure.NOISE", (0.2,))
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / "nuclei" / split / kind).mkdir(parents=True)
        for i in range(2):
            labels = np.zeros((128, 128), np.uint8)
            labels[20:60, 30:90] = 3
            image = (100 * (labels > 0) + rng.integers(0, 50, labels.shape)).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / "nuclei" / split / "images" / f"{i}.png")
            Image.fromarray(labels).save(tmp_path / "nuclei" / split / "labels" / f"{i}.png")
    return tmp_path


@pytest.mark.slow
def test_compare_from_nothing_to_the_report_and_not_twice(small, monkeypatch, capsys):
    options = ("--seeds", "1", "--steps", "1", "--runs", small / "runs", "--out", small / "out")
    command = ["compare", "--nuclei", small / "nuclei", *options]
    assert main([*map(str, command)]) == 0
    text = (small / "out" / "README.md").read_text()
    for system in runs.SLIDES:
        assert (
            f"| {system} " in text
            and (small / "out" / f"synthetic-test-{system}.png").stat().st_size > 10_000
        )
    assert (
        "(b) Fluorescence nuclei" in text
        and "(c)" not in text.split("## The claims")[1]
        and "nan" not in text
    )
    for name in (
        "noise",
        "nuclei-test-sparsification",
        "synthetic-test-reliability",
        "synthetic-test-risk_coverage",
    ):
        assert (small / "out" / f"{name}.png").stat().st_size > 5_000
    # yeast: test, noise, and but for unet-bn, told; nuclei: test
    found = rows.read(small / "out" / "scores.csv")
    assert len(found) == (2 + 3 + 3) + 3 and {r["study"] for r in found} == {"synthetic", "nuclei"}
    for link in [part.split(")")[0] for part in text.split("](")[1:]]:
        assert link in ("discussion.md", "tuning.csv") or (small / "out" / link).exists(), link

    monkeypatch.setattr(scores, "score", lambda *_: pytest.fail("scored again"))
    monkeypatch.setattr("adf.runs.learners.train_step", lambda *_: pytest.fail("trained again"))
    assert main([*map(str, command)]) == 0
    assert (small / "out" / "README.md").read_text() == text


def answers(path):
    """The cells of scores.csv that are not empty."""
    return [{k: v for k, v in row.items() if v is not None} for row in rows.read(path)]


@pytest.mark.slow
def test_compare_goes_on_with_yeast_and_with_other_yeast(small, monkeypatch):
    """The second call asks more of the same networks, the third the same of other images."""
    for name, classes in (("one", (1, 2, 3)), ("two", (2, 1, 1))):
        write_sample(small / name, "1", classes, instances=False)
    options = ("--seeds", "1", "--steps", "1", "--runs", small / "runs", "--out", small / "out")
    command = ["compare", *map(str, options)]
    assert main(command) == 0
    plain = answers(small / "out" / "scores.csv")
    monkeypatch.setattr("adf.runs.learners.train_step", lambda *_: pytest.fail("trained again"))
    found = []
    for name in ("one", "two", "two"):
        assert main([*command, "--yeast", str(small / name)]) == 0
        found.append(rows.read(small / "out" / "scores.csv"))
        assert len(found[-1]) == 8 + 3 and "(c)" in (small / "out" / "README.md").read_text()
    values = [[r["NLL"] for r in f if r["condition"] == "boxes"] for f in found]
    assert values[0] != values[1] == values[2]
    assert len({r["training s"] for r in found[-1] if r["system"] == "adf-unet"}) == 1
    assert main(command) == 0 and answers(small / "out" / "scores.csv") == plain


@pytest.mark.slow
def test_compare_leaves_unlabelled_images_out(small):
    """Those are of other sizes, too."""
    for split in ("train", "val"):
        Image.new("L", (140, 90), 7).save(small / "nuclei" / split / "images" / "z.png")
    labels = np.zeros((150, 131), np.uint8)
    labels[9:60, 9:99] = 1
    Image.fromarray(labels).save(small / "nuclei" / "val" / "labels" / "y.png")
    Image.fromarray(200 * labels).save(small / "nuclei" / "val" / "images" / "y.png")
    options = ("--seeds", "1", "--steps", "1", "--runs", small / "runs", "--out", small / "out")
    assert main([*map(str, ("compare", "--nuclei", small / "nuclei", *options))]) == 0
    assert len(rows.read(small / "out" / "scores.csv")) == 8 + 3


def test_data_without_labels_to_test_with_are_refused_before_training(small, capsys):
    for i in range(2):
        (small / "nuclei" / "val" / "labels" / f"{i}.png").unlink()
    (small / "yeast" / "inputs").mkdir(parents=True)
    write(small / "yeast", "inputs", "1", np.random.default_rng(0).normal(size=SIZE))
    for option, message in (("nuclei", "labels of images to validate"), ("yeast", "or masks")):
        where = ("--runs", str(small / "runs"), "--out", str(small / "out"))
        assert main(["compare", f"--{option}", str(small / option), *where]) == 2
        assert message in capsys.readouterr().err and not (small / "runs").exists()


@pytest.mark.parametrize("option", ["--steps", "--seeds"])
@pytest.mark.parametrize("number", ["0", "-1"])
def test_compare_of_nothing_is_refused(small, option, number, capsys):
    where = ("--runs", str(small / "runs"), "--out", str(small / "out"))
    assert main(["compare", option, number, *where]) == 2
    assert "of 1 or more" in capsys.readouterr().err and not (small / "runs").exists()


ROWS = [
    {"condition": c, "told": False, "system": "s", "seed": 0, "NLL": 0.125} for c in ("test", "n")
]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.97])
def test_cut_scores_are_refused_in_one_line(tmp_path, keep):
    path = tmp_path / "scores.csv"
    rows.write(path, ROWS)
    assert rows.read(path) == ROWS
    content = path.read_bytes()
    for damaged in (content[: int(keep * len(content))], content.replace(b"told", b"said"), b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"scores\.csv: expected rows") as error:
            rows.read(path)
        assert "\n" not in str(error.value)


def test_what_is_missing_is_scored_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "scores.csv"
    rows.write(path, [r | {"training s": 9.0} for r in ROWS])
    asked = []

    def score(run, conditions, validation):
        asked.append([c.name for c in conditions])
        return [ROWS[0] | {"condition": c.name, "told": c.noise_known} for c in conditions]

    monkeypatch.setattr(scores, "score", score)
    run = SimpleNamespace(folder=tmp_path, settings=SimpleNamespace(noise_var=None))
    conditions = [
        scores.Condition(n, [], 0.0, told) for n, told in (("test", False), ("boxes", False))
    ]
    conditions.append(scores.Condition("noise", [], 0.1, True))
    for _ in range(2):
        found = jobs.scored(run, conditions, [], {"training s": 1e-9})
        assert [r["condition"] for r in found] == ["test", "boxes"]
        assert {r["training s"] for r in found} == {9.0}
    assert asked == [["boxes"]] and len(rows.read(path)) == 3


def test_tune_writes_a_row_for_every_variant(small, monkeypatch):
    monkeypatch.setattr(tuning, "STEPS", 1)
    monkeypatch.setattr(tuning, "CHANGES", {"unet-bn": ({}, {"augment": "none"})})
    assert (
        main(["compare", "--tune", "--runs", str(small / "runs"), "--out", str(small / "out")]) == 0
    )
    found = rows.read(small / "out" / "tuning.csv")
    assert [r["augment"] for r in found] == ["flip", "none"] and {
        r["condition"] for r in found
    } == {"validation"}


def test_the_defaults_of_every_system_are_the_chosen_settings():
    best = tuning.chosen(rows.read(Path(__file__).parents[2] / "results" / "tuning.csv"))
    assert set(best) == set(runs.SLIDES)
    for system, row in best.items():
        settings = dataclasses.asdict(runs.Settings.of({"system": system}))
        names = [
            name for name in ("augment", *tuning.START, "label_smoothing") if row[name] is not None
        ]
        assert {name: settings[name] for name in names} == {name: row[name] for name in names}


def test_what_only_asks_why_is_not_chosen():
    row = {"system": "adf-unet", "noise_var": 0.1, "density_weight": 1e-3, "NLL": 0.2}
    better = [row | {"noise_var": 0.0, "NLL": 0.1}, row | {"density_weight": 0.0, "NLL": 0.1}]
    assert tuning.chosen([better[0], row, better[1], row | {"NLL": 0.3}]) == {"adf-unet": row}


def test_what_is_missing_is_refused_before_training(tmp_path, capsys):
    where = ("--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"))
    for option in ("--nuclei", "--yeast"):
        assert main(["compare", option, str(tmp_path / "nowhere"), *where]) == 2
        assert "nowhere" in capsys.readouterr().err and not (tmp_path / "runs").exists()


def test_a_box_around_one_pixel_determines_its_class():
    boxes = np.array([[10, 20, 10, 20], [30, 5, 31, 6]], float)
    sample = Sample("s", np.zeros((64, 96), np.float32), None, boxes, np.array([1, 2]))
    labels = scores.labels_from_boxes(sample)
    assert labels[20, 10] == 1 and labels[5, 30] == 2 and (labels == 0).sum() == 64 * 96 - 2


def test_pixels_whose_class_the_boxes_determine():
    """Two boxes of different classes overlap.

    Each ellipse has the class of its box but where both meet; outside of both is background.
    """
    boxes = np.array([[10, 10, 50, 40], [46, 10, 86, 40]], float)
    sample = Sample("s", np.zeros((64, 96), np.float32), None, boxes, np.array([1, 2]))
    labels = scores.labels_from_boxes(sample)
    assert labels[25, 20] == 1 and labels[25, 70] == 2 and labels[25, 47] == scores.UNKNOWN
    assert labels[11, 11] == scores.UNKNOWN and labels[5, 5] == 0 and labels[60, 90] == 0
    area = np.pi / 4 * 40 * 30
    assert abs((labels == 1).sum() - area) < 0.1 * area and (labels == 0).sum() == 64 * 96 - 76 * 30


def test_noise_is_what_it_says_and_the_network_is_told_the_truth():
    image = np.random.default_rng(1).normal(3, 2, (128, 128)).astype(np.float32)
    (sample,) = scores.noisy([Sample("s", image, None, None, None)], 0.4)
    added = sample.image - image
    assert added.std() == pytest.approx(0.4 * image.std(), rel=0.03)
    assert added.var() / sample.image.var() == pytest.approx(
        scores.told_noise_var(0, 0.4), rel=0.06
    )
    assert scores.told_noise_var(1e-3, 0) == 1e-3


def test_the_temperature_undoes_what_was_done_to_the_probabilities():
    """Probabilities that are right are sharpened by 2.5.

    Tempered by 2.5 they come back, and the fit finds it.
    """
    rng = np.random.default_rng(0)
    right = rng.dirichlet([0.3, 0.5, 0.4], 200_000)
    labels = (rng.random((len(right), 1)) > right.cumsum(axis=1)).sum(axis=1).clip(max=2)
    sharp = scores.tempered(right, 1 / 2.5)
    np.testing.assert_allclose(scores.tempered(sharp, 2.5), right, atol=1e-12)
    assert scores.best_temperature(labels, sharp) == pytest.approx(2.5, rel=0.02)
    assert metrics.ece(labels, sharp) > 0.05 > 0.005 > metrics.ece(labels, right)


def made_up(**changes):
    """Rows in which the ADF U-Net is as good as the others, but for the changes."""
    equal = {"Dice": 0.95, "IoU": 0.9, "NLL": 0.1, "NLL T": 0.1, "ECE": 0.01, "ECE T": 0.01}
    equal |= {"AUSE": 0.001, "AUSE std": 0.001}
    row = {"study": "synthetic", "condition": "test", "told": False, "seed": 0.0}
    found = [row | {"system": system} | equal for system in runs.SLIDES]
    found[list(runs.SLIDES).index("adf-unet")].update(changes)
    return found


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({}, "beats"),
        ({"IoU": 0.91}, None),
        ({"IoU": 0.91, "Dice": 0.941}, None),
        ({"IoU": 0.91, "Dice": 0.939}, "within 0.01"),
        ({"IoU": 0.91, "NLL": 0.11}, "NLL"),
        ({"IoU": 0.91, "ECE": 0.02}, "ECE"),
        ({"IoU": 0.91, "AUSE": 0.002}, "AUSE"),
    ],
)
def test_claims_are_stated_as_found(changes, fails):
    found = claims.claims(made_up(**changes))
    failed = [claim["the ADF U-Net ..."] for claim in found if claim["holds"] == "no"]
    assert len(found) == 9 and (
        (fails is None and not failed) or (len(failed) == 1 and fails in failed[0])
    ), failed


def test_three_seeds_give_an_interval():
    """d = 0.01, 0.02, 0.03: mean 0.02, standard deviation 0.01, t = 4.303: 0.02 ± 0.0248."""
    found = [
        row | {"seed": s}
        for s in (1, 2, 3)
        for row in made_up(Dice=0.95 + 0.01 * s, IoU=0.9 + 0.01 * s)
    ]
    claim = claims.claims(found)[0]
    assert claim["difference"] == "+0.02 ± 0.025" and claim["holds"] == "yes"  # (10.8)
    assert claims.claims(found[:3])[0]["difference"] == "+0.01"


def test_where_boxes_of_one_class_meet_the_class_is_known():
    boxes = np.array([[0, 0, 20, 20], [10, 0, 30, 20]], "float32")
    image = np.zeros((24, 32), "float32")
    for classes, there in (((2, 2), 2), ((1, 2), scores.UNKNOWN), ((2, 1), scores.UNKNOWN)):
        labels = scores.labels_from_boxes(Sample("s", image, None, boxes, np.array(classes)))
        assert labels[10, 15] == there
        assert (labels[10, 5], labels[10, 25]) == classes and labels[22, 15] == 0


@pytest.mark.parametrize("temperature", [1 / 15, 15])
def test_temperatures_far_from_1_are_found(temperature):
    rng = np.random.default_rng(0)
    right = rng.dirichlet([5, 4], 20_000)
    labels = (rng.random(len(right)) > right[:, 0]).astype(int)
    given = scores.tempered(right, 1 / temperature)
    assert scores.best_temperature(labels, given) == pytest.approx(temperature, rel=0.05)


def test_a_network_that_is_always_right_is_not_made_certain():
    """There is no least NLL; the temperature ends at e^-3, so that its logarithm is finite."""
    always = np.tile([0.6, 0.4], (100, 1))
    found = scores.best_temperature(np.zeros(100, int), always)
    assert found == pytest.approx(np.exp(-3), rel=0.01)


def test_spreads_are_those_of_a_sample():
    """0.1, 0.2, 0.3 scatter by 0.1; a single seed says nothing, a missing number is a dash."""
    row = made_up()[0] | dict.fromkeys(tables.METRICS, 0.5) | {"IoU cell": 0.5}
    seeds = [row | {"system": s, "Dice": d} for s in runs.SLIDES for d in (0.1, 0.2, 0.3)]
    first = tables.scores_table(seeds).splitlines()[2]
    assert "| 0.200 ± 0.100 |" in first and "| 0.500 ± 0.000 |" in first
    one = [row | {"system": system, "AUROC": None} for system in runs.SLIDES]
    assert "±" not in tables.scores_table(one) and "     - |" in tables.scores_table(one)


@pytest.mark.parametrize(("done", "seconds"), [(0, 30), (15, 120), (20, 0)])
def test_the_time_of_a_resumed_training_is_that_of_all_its_steps(
    done, seconds, monkeypatch, capsys
):
    """It takes 30 s from here; what was done before took as long a step. 0 s: nothing was left."""

    class Run:
        settings = runs.Settings(steps=20)
        step = done

        def train(self, source):
            clock[0] += 30 if self.step < 20 else 0
            self.step = 20

    clock = [100.0]
    monkeypatch.setattr(jobs.runs, "start", lambda *_, **__: (Run(), "source"))
    monkeypatch.setattr(jobs.runs, "prepare", lambda run: None)
    monkeypatch.setattr(jobs.time, "perf_counter", lambda: clock[0])
    _, source, found = jobs.trained("folder", {}, "")
    assert source == "source" and found == seconds
    assert f"folder, {20 - done} of 20 steps to go" in capsys.readouterr().out


def test_told_and_untold_lines_begin_at_the_same_point():
    """Without noise there is nothing to tell."""
    asked = [("test", False, 0.9)]
    for sigma in scores.NOISE:
        asked += [(f"noise {sigma:g}", False, 0.5), (f"noise {sigma:g}", True, 0.7)]
    row = {"study": "synthetic", "system": "adf-unet"}
    found = [
        row | {"condition": c, "told": told} | dict.fromkeys(("Dice", "NLL", "ECE", "AUSE"), value)
        for c, told, value in asked
    ]
    for axes in against_noise(found).axes[:4]:
        lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
        noise = list(scores.NOISE)
        assert lines == {
            "adf-unet": [[0, 0.9], *([sigma, 0.5] for sigma in noise)],
            "adf-unet, told": [[0, 0.9], *([sigma, 0.7] for sigma in noise)],
        }
