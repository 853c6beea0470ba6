"""The command line as its user types it.

The tests say what it writes, what it refuses, and what a kill leaves behind.
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import hostile
import numpy as np
import pytest
from PIL import Image
from yeast_folder import write, write_sample

import adf
from adf import runs
from adf.__main__ import main
from adf.files import checkpoint, manifest

ROOT = Path(__file__).parents[1]
QUICK = ("--steps", "2", "--batch-size", "1", "--calibration-steps", "0")


# A shell's background job ignores SIGINT, and so would its children.
IMPATIENT = """
import signal, sys, adf.runs, adf.data.source
signal.signal(signal.SIGINT, signal.default_int_handler)
adf.runs.run.EVERY_STEPS, adf.data.source.HELD_OUT = 2, 2
from adf.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def process(*args, program=("-c", IMPATIENT), **options):
    """The command line in a process of its own."""
    command = [sys.executable, *program, *map(str, args)]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "trained"
    assert main(["train", *QUICK, "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="module", autouse=True)
def few_held_out():
    patch = pytest.MonkeyPatch()
    patch.setattr("adf.data.source.HELD_OUT", 2)
    yield
    patch.undo()


def test_a_checkpoint_of_version_1_is_refused_by_name(trained, tmp_path, monkeypatch, capsys):
    """Its arrays had numbers instead of paths."""
    arrays, settings = checkpoint.load(trained / "checkpoint.npz")
    monkeypatch.setattr(manifest, "VERSION", 1)
    checkpoint.save(tmp_path / "checkpoint.npz", arrays, settings)
    monkeypatch.undo()
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "version 1" in capsys.readouterr().err


def test_train_writes_what_it_promises(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"checkpoint.npz", "log.csv", "overview.png"} <= names
    lines = (trained / "log.csv").read_text().splitlines()
    assert lines[0] == "step,loss,learning_rate" and [line.split(",")[0] for line in lines[1:]] == [
        "1",
        "2",
    ]
    arrays, settings = checkpoint.load(trained / "checkpoint.npz")
    assert settings["step"] == 2 and settings["system"] == "adf-unet"
    assert settings["noise_var"] == runs.Settings().noise_var
    assert np.load(trained / "checkpoint.npz", allow_pickle=False)[
        "value/network.layers.0.layers.0.layers.0.weight"
    ].shape == (16, 1, 3, 3)
    segmenter = runs.load(trained).segmenter
    assert len(arrays) == 3 * len(segmenter.parameters()) + len(segmenter.network.statistics())


def test_evaluate_prints_the_table(trained, capsys, tmp_path):
    assert main(["evaluate", str(trained)]) == 0
    table = capsys.readouterr().out
    for metric in ("Dice cell", "IoU trap", "NLL", "Brier", "ECE", "AUSE", "ms per image"):
        assert metric in table
    assert (trained / "evaluate-synthetic" / "overview.png").stat().st_size > 10_000
    for name in ("1", "2"):
        write_sample(tmp_path / "yeast", name, instances=name == "1")
    assert main(["evaluate", str(trained), "--data", str(tmp_path / "yeast")]) == 0
    assert re.search(r"boxes right\s*\|\s*\d of 6", capsys.readouterr().out)


@pytest.mark.slow
def test_budget_writes_a_table_and_a_picture(trained, tmp_path):
    assert (
        main(["budget", str(trained), "--images", "1", "--samples", "4", "--out", str(tmp_path)])
        == 0
    )
    text = (tmp_path / "error_budget.md").read_text()
    assert " Conv2d, 3 x 128 x 128 |" in text and "--samples 4`" in text and "nan" not in text
    assert (tmp_path / "error_budget.png").stat().st_size > 10_000
    assert (tmp_path / "error_budget_worth.png").stat().st_size > 10_000


@pytest.mark.slow
def test_variants_writes_a_table_and_its_rows(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("adf.studies.variants.bench.SAMPLES", 2)
    monkeypatch.setattr("adf.studies.variants.bench.PIXELS", 2)
    monkeypatch.setattr("adf.runs.calibrating.POOL", 1)
    options = ("--steps", "1", "2", "--out", str(tmp_path / "variants"))
    assert main(["variants", str(trained), *options]) == 0
    text = (tmp_path / "variants" / "variants.md").read_text()
    assert "| linearised " in text and "--steps 1 2`" in text
    assert len((tmp_path / "variants" / "variants.csv").read_text().splitlines()) == 19


def pictures(folder):
    """The same picture of 50 x 70 pixels in every format that predict reads."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (50, 70), dtype=np.uint8)
    Image.fromarray(grey).save(folder / "a.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "b.png")
    Image.fromarray(grey.astype(np.float32)).save(folder / "c.tif")
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(folder / "d.png")
    np.save(folder / "e.npy", grey[None] / 255)
    (folder / "f.pt").write_bytes(hostile.tensor_file(grey.astype(np.float32)))
    return [folder / name for name in ("a.png", "b.png", "c.tif", "d.png", "e.npy", "f.pt")]


def test_predict_reads_every_format_alike(trained, tmp_path):
    paths, out = pictures(tmp_path), tmp_path / "out"
    assert main(["predict", str(trained), *map(str, paths), "--out", str(out)]) == 0
    assert len(list(out.iterdir())) == 3 * len(paths)
    reference = np.array(Image.open(out / "a_labels.png"))
    assert reference.shape == (50, 70) and reference.dtype == np.uint8 and reference.max() <= 2
    for path in paths:
        std = Image.open(out / f"{path.stem}_std.tif")
        assert std.mode == "F" and std.size == (70, 50) and np.isfinite(np.array(std)).all()
        assert (np.array(Image.open(out / f"{path.stem}_labels.png")) == reference).mean() > 0.99
        assert (out / f"{path.stem}_overview.png").exists()


def test_train_on_a_folder(tmp_path):
    for split in ("train", "val"):
        for name in ("1", "2", "3"):
            write_sample(tmp_path / "yeast" / split, name)
    assert (
        main(["train", *QUICK, "--data", str(tmp_path / "yeast"), "--out", str(tmp_path / "run")])
        == 0
    )


def refused(capsys, *args, status=2):
    """Runs main, expects status 2 and one line on standard error, and returns the line."""
    try:
        got = main([str(a) for a in args])
    except SystemExit as exit:
        got = exit.code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert got == status and len(lines) == 1 and "error:" in lines[0], (got, lines)
    return lines[0]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--system", "resnet"], "invalid choice: 'resnet'"),
        (["--batch-size", "0"], "batch_size of 1 or more, got 0"),
        (["--steps", "-1"], "steps of 1 or more"),
        (["--steps", "many"], "invalid int value"),
        (["--learning-rate", "0"], "positive, finite learning_rate"),
        (["--learning-rate", "inf"], "positive, finite learning_rate"),
        (["--noise-var", "-1"], "noise_var"),
        (["--noise-var", "nan"], "noise_var"),
        (["--seed", "-1"], "seed of 0 or more"),
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--steps", "9" * 401], "steps of at most"),
        (["--steps", "9" * 5000], "invalid int value"),
        (["--batch-size", "9" * 401], "batch_size of at most"),
        (["--seed", "9" * 401], "seed of at most"),
        (["--classes", "9" * 401], "classes of at most"),
        (["--learning-rate", "9" * 401], "positive, finite learning_rate"),
        (["--data", "synthetic:1000000000000000000000"], "images up to 100000"),
        (["--data", "synthetic:" + "9" * 5000], "images up to 100000"),
    ],
)
def test_train_refuses_bad_arguments(options, message, tmp_path, capsys):
    assert message in refused(capsys, "train", *QUICK, *options, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def empty(folder):
    folder.mkdir()


def without_a_class_file(folder):
    for name in ("1", "2"):
        write_sample(folder, name)
    (folder / "classes" / "2.pt").unlink()


def label_out_of_range(folder):
    write_sample(folder, "1", classes=(1, 2, 4))


def more_masks_than_classes(folder):
    write_sample(folder, "1")
    write(folder, "classes", "1", np.array([1, 2], np.int64))


def runs_code(folder):
    write_sample(folder, "1")
    (folder / "inputs" / "1.pt").write_bytes(hostile.legacy(hostile.SING))


def without_labels(folder):
    write_sample(folder, "1", instances=False)


FOLDERS = {
    empty: "expected",
    without_a_class_file: "expected a file for every image",
    label_out_of_range: "4",
    more_masks_than_classes: "expected a box for each class",
    runs_code: "1.pt",
    without_labels: "instances/ to train on",
}


@pytest.mark.parametrize("make", FOLDERS, ids=lambda make: make.__name__)
def test_train_refuses_a_bad_folder(make, tmp_path, capsys):
    make(tmp_path / "yeast")
    line = refused(capsys, "train", *QUICK, "--data", tmp_path / "yeast", "--out", tmp_path / "run")
    assert FOLDERS[make] in line and not (tmp_path / "run").exists()


def truncated(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(
        path.with_suffix(".png")
    )
    path.with_suffix(".png").write_bytes(path.with_suffix(".png").read_bytes()[:700])
    return path.with_suffix(".png")


def saved(array):
    def save(path):
        np.save(path.with_suffix(".npy"), array, allow_pickle=True)
        return path.with_suffix(".npy")

    return save


def huge_array(path):
    path = path.with_suffix(".npy")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header += b" " * (118 - len(header)) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    return path


def terabyte_tensor(path):
    tensor = hostile.rebuilt(hostile.storage(size=2**38), shape=(2**19, 2**19), strides=(2**19, 1))
    path.with_suffix(".pt").write_bytes(hostile.legacy(tensor, count=2**38))
    return path.with_suffix(".pt")


def singing_tensor(path):
    path.with_suffix(".pt").write_bytes(hostile.legacy(hostile.SING))
    return path.with_suffix(".pt")


IMAGES = {
    "truncated": truncated,
    "NaN": saved(np.full((32, 32), np.nan)),
    "objects": saved(np.array([[{}, {}]], dtype=object)),
    "five axes": saved(np.zeros((1, 1, 1, 8, 8))),
    "no pixels": saved(np.zeros((0, 8))),
    "huge": huge_array,
    "terabyte": terabyte_tensor,
    "code": singing_tensor,
    "missing": lambda path: path.with_suffix(".png"),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_predict_refuses_a_bad_image(kind, trained, tmp_path, capsys):
    path = IMAGES[kind](tmp_path / "image")
    assert path.name in refused(capsys, "predict", trained, path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_predict_hints_at_the_scale_of_a_large_image(trained, tmp_path, capsys):
    """A long strip is none: its cells are as large as its shorter side lets them be."""
    for size, hinted in (((256, 256), False), ((257, 257), True), ((64, 300), False)):
        path = tmp_path / f"{size}.npy"
        np.save(path, np.random.default_rng(0).normal(size=size))
        assert main(["predict", str(trained), str(path), "--out", str(tmp_path / "out")]) == 0
        assert ("scale it down" in capsys.readouterr().out) == hinted


def test_predict_goes_on_after_a_bad_image(trained, tmp_path, capsys):
    good = pictures(tmp_path)[0]
    args = [trained, tmp_path / "missing.png", good, "--out", tmp_path / "out"]
    assert main(["predict", *map(str, args)]) == 2
    assert "missing.png" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 3


def predicts(*args):
    return main(["predict", *map(str, args)])


def test_predict_keeps_two_images_of_one_name_apart(trained, tmp_path):
    image = pictures(tmp_path)[0]
    for site in ("siteA", "siteB"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "a.png").write_bytes(image.read_bytes())
    out = tmp_path / "out"
    for _ in range(2):
        assert predicts(trained, tmp_path / "siteA", tmp_path / "siteB", "--out", out) == 0
    found = {str(path.relative_to(out)) for path in out.rglob("*_*")}
    kinds = ("labels.png", "std.tif", "overview.png")
    assert found == {f"{site}/a_{kind}" for site in ("siteA", "siteB") for kind in kinds}


def test_predict_takes_folders_and_patterns(trained, tmp_path, capsys):
    pictures(tmp_path)
    for name in ("notes.txt", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"")
    assert predicts(trained, tmp_path / "[ab].p*", tmp_path, "--out", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").iterdir())) == 18
    assert "2 other files skipped" in capsys.readouterr().out
    # The outputs beside their images are no images to the next call.
    for skipped in (2, 20):
        assert predicts(trained, tmp_path, "--out", tmp_path) == 0
        assert f"{skipped} other files skipped" in capsys.readouterr().out


def test_predict_overwrites_nothing_that_it_did_not_write(trained, tmp_path, capsys):
    """NAME_labels.png is the obvious name for a user's own truth, here or in another folder."""
    a, b = pictures(tmp_path)[:2]
    for out in (tmp_path, tmp_path / "labels"):
        out.mkdir(exist_ok=True)
        (out / "a_labels.png").write_bytes(b"the user's own")
        line = refused(capsys, "predict", trained, b, a, "--out", out)
        assert "may be yours" in line and "--overwrite" in line
        assert (out / "a_labels.png").read_bytes() == b"the user's own"
        assert len(list(out.glob("*_*"))) == 1  # refused before b was predicted
        for _ in range(2):
            assert predicts(trained, b, "--out", out) == 0
        assert predicts(trained, a, "--out", out, "--overwrite") == 0
        with Image.open(out / "a_labels.png") as labels:
            assert labels.size == (70, 50)


def test_predict_does_not_overwrite_an_image_of_the_same_call(trained, tmp_path, capsys):
    a = pictures(tmp_path)[0]
    (tmp_path / "a_labels.png").write_bytes(a.read_bytes())
    args = ("predict", trained, a, tmp_path / "a_labels.png", "--out", tmp_path, "--overwrite")
    assert "of this very call" in refused(capsys, *args)


@pytest.mark.parametrize("error", [MemoryError, ValueError("no"), OSError("no")])
def test_what_fails_while_drawing_leaves_no_file(error, trained, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise error

    image = pictures(tmp_path)[0]
    monkeypatch.setattr("adf.figures.overview", fail)
    refused(capsys, "predict", trained, image, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


STRANGE = (b"im\xe9.png", "细胞.png".encode(), b"a\nb.png", b"z.png")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_any_name_is_predicted_whatever_the_console_can_print(trained, tmp_path, encoding):
    content = pictures(tmp_path)[0].read_bytes()
    images = tmp_path / "images"
    images.mkdir()
    for name in STRANGE:
        Path(os.fsdecode(os.fsencode(images) + b"/" + name)).write_bytes(content)
    # A large one, whose name is printed beside a hint, and a damaged one, named in an error.
    np.save(images / "大.npy", np.random.default_rng(0).normal(size=(257, 257)))
    (images / "é.png").write_bytes(b"damaged")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    program = ("-W", "error", "-m", "adf")
    command = ("predict", trained, images, "--out", tmp_path / "out")
    done = process(*command, program=program, env=environment, errors="replace")
    errors = done.communicate()[1]
    assert done.returncode == 2 and "Traceback" not in errors and "Warning" not in errors
    assert errors.count("adf: error:") == 1
    assert len(list((tmp_path / "out").iterdir())) == 3 * 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_prediction_leaves_whole_sets_only(number, trained, tmp_path):
    image = pictures(tmp_path)[0]
    images = tmp_path / "images"
    images.mkdir()
    for i in range(200):
        (images / f"{i}.png").write_bytes(image.read_bytes())
    out = tmp_path / "out"
    running = process("predict", trained, images, "--out", out)
    while running.poll() is None and not (out.is_dir() and len(list(out.iterdir())) > 3):
        time.sleep(0.01)
    running.send_signal(number)
    running.communicate()
    assert running.returncode == (130 if number == signal.SIGINT else -number)
    found = [path.name for path in out.iterdir()]
    assert 0 < len(found) < 600 and len(found) == 3 * len({n.split("_")[0] for n in found})
    assert not any(name.endswith(".tmp") for name in found)


def test_predict_removes_what_a_killed_call_left(trained, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".adf-999999999-0123456789abcdef.tmp").write_bytes(b"half")
    assert predicts(trained, pictures(tmp_path)[0], "--out", out) == 0
    assert len(list(out.iterdir())) == 3


def labelled_folder(folder, size, count=2, classes=2):
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng(i)
        np.save(folder / "images" / f"{i}.npy", rng.normal(size=size))
        np.save(folder / "labels" / f"{i}.npy", rng.integers(0, classes, size))


def tables(run):
    """The numbers of metrics.csv, by the folders they lie in."""
    found = {}
    for path in run.glob("evaluate-*/metrics.csv"):
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        found[path.parent.name] = dict(line.rsplit(",", 1) for line in lines)
    return found


def test_evaluate_tells_folders_of_one_name_apart_and_keeps_the_table(trained, tmp_path, capsys):
    names = ("--class-names", "background,trap,cell")
    for site, size in (("siteA", (200, 131)), ("siteB", (40, 255))):
        labelled_folder(tmp_path / site / "cells", size, classes=3)
        data = ("--data", str(tmp_path / site / "cells"))
        assert main(["evaluate", str(trained), *data, *names]) == 0
    printed = capsys.readouterr().out
    found = tables(trained)
    cells = sorted(name for name in found if name.startswith("evaluate-cells-"))
    assert len(cells) == 2 and found[cells[0]] != found[cells[1]]
    for name in cells:
        assert (trained / name / "metrics.md").read_text(encoding="utf-8").strip() in printed
        assert re.search(rf"Dice cell +\| +{float(found[name]['Dice cell']):.4f} \|", printed)


def test_evaluate_refuses_classes_it_does_not_know_with_both_lists(trained, tmp_path, capsys):
    labelled_folder(tmp_path / "cells", (20, 20), classes=3)
    data = ("evaluate", trained, "--data", tmp_path / "cells")
    line = refused(capsys, *data, "--classes", 3)
    assert "background, trap, cell" in line and "background, class 1, class 2" in line
    assert "background, yeast" in refused(capsys, *data, "--class-names", "background,yeast")


def test_evaluate_prints_and_writes_whatever_the_console_can_print(trained, tmp_path):
    folder = tmp_path / "細胞"
    labelled_folder(folder, (20, 20))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    options = ("--data", folder, "--class-names", "background,cell")
    done = process("evaluate", trained, *options, program=("-m", "adf"), env=environment)
    assert "Traceback" not in done.communicate()[1] and done.returncode == 0
    assert any(name.startswith("evaluate-細胞-") for name in tables(trained))


def test_one_image_is_no_validation_and_train_says_so(tmp_path, capsys):
    labelled_folder(tmp_path / "one", (40, 40), count=1)
    run = tmp_path / "run"
    assert main(["train", *QUICK, "--data", str(tmp_path / "one"), "--out", str(run)]) == 0
    assert re.search(r"of these trained on\s*\|\s*1 ", capsys.readouterr().out)
    assert main(["evaluate", str(run), "--data", str(tmp_path / "one")]) == 0
    assert "of these trained on" in capsys.readouterr().out
    labelled_folder(tmp_path / "others", (40, 40), count=1)
    assert main(["evaluate", str(run), "--data", str(tmp_path / "others")]) == 0
    assert "of these trained on" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [("--images", "0"), ("--images", "-1"), ("--samples", "0"), ("--samples", "1")],
)
def test_budget_of_nothing_is_refused(options, trained, capsys):
    assert "expected --images of 1 or more" in refused(capsys, "budget", trained, *options)


def test_variants_of_no_steps_are_refused(trained, capsys):
    assert "expected --steps of 1" in refused(capsys, "variants", trained, "--steps", "9", "0")


def test_variants_on_images_that_are_not_there_are_refused(trained, capsys, monkeypatch):
    work = "adf.studies.variants.bench.sampled_output"
    monkeypatch.setattr(work, lambda *_: pytest.fail("worked"))
    assert "missing" in refused(capsys, "variants", trained, "--data", "missing")


def test_budget_of_images_that_are_not_there_is_refused(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("adf.studies.budget.report.measure", lambda *_: pytest.fail("worked"))
    assert "missing" in refused(capsys, "budget", trained, "--data", tmp_path / "missing")


COMMANDS = {
    "budget": lambda run, place: ("budget", run, "--out", place),
    "compare": lambda run, place: ("compare", "--out", place, "--runs", run / "compare"),
    "compare runs": lambda run, place: ("compare", "--runs", place, "--out", run / "compare"),
    "predict": lambda run, place: ("predict", run, run / "overview.png", "--out", place),
    "variants": lambda run, place: ("variants", run, "--out", place),
    "verify": lambda run, place: ("verify", "--out", place / "file.md"),
    "verify to a folder": lambda run, place: ("verify", "--out", place.parent),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_written_is_refused_before_any_work(
    command, trained, tmp_path, capsys, monkeypatch
):
    for work in ("adf.inference.predict.predict", "adf.runs.learners.train_step"):
        monkeypatch.setattr(work, lambda *_: pytest.fail("worked"))
    monkeypatch.setattr("adf.__main__.predict_image", lambda *_: pytest.fail("worked"))
    monkeypatch.setattr("adf.studies.budget.report.measure", lambda *_: pytest.fail("worked"))
    monkeypatch.setattr("adf.studies.variants.table.Bench", lambda *_: pytest.fail("worked"))
    monkeypatch.setattr("adf.studies.verification.verify", lambda *_: pytest.fail("worked"))
    (tmp_path / "file").write_bytes(b"")
    refused(capsys, *COMMANDS[command](trained, tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == b""


def test_predict_on_a_full_disk_leaves_nothing(trained, tmp_path):
    def full():
        # labels and std fit, the overview does not
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    image = pictures(tmp_path)[0]
    failed = process("predict", trained, image, "--out", tmp_path / "out", preexec_fn=full)
    error = failed.communicate()[1]
    assert failed.returncode == 2 and len(error.splitlines()) == 1 and "a_overview.png" in error
    assert not list((tmp_path / "out").iterdir())


def test_a_wrong_number_of_threads_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ADF_THREADS", "none")
    assert "ADF_THREADS" in refused(capsys, "train", *QUICK, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "damage",
    [
        "missing",
        "truncated",
        "flipped",
        "foreign",
        "other arrays",
        "other settings",
        "no step",
        "wide",
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_bad_checkpoint_is_refused(command, damage, trained, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    path, good = run / "checkpoint.npz", trained / "checkpoint.npz"
    arrays, settings = checkpoint.load(good)
    if damage == "truncated":
        path.write_bytes(good.read_bytes()[:-1000])
    elif damage == "flipped":
        content = bytearray(good.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "foreign":
        np.savez(path, weights=np.zeros(3))
    elif damage == "other arrays":
        checkpoint.save(path, {"value/0": np.zeros(3)}, settings)
    elif damage == "no step":
        checkpoint.save(path, arrays, {k: v for k, v in settings.items() if k != "step"})
    elif damage == "wide":
        checkpoint.save(path, arrays, {**settings, "widths": [200_000, 400_000]})
    elif damage == "other settings":
        checkpoint.save(path, arrays, {"colour": "blue"})
    images = pictures(tmp_path)[:1] if command == "predict" else []
    options = ["--out", tmp_path / "out"] if command == "predict" else []
    assert "checkpoint.npz" in refused(capsys, command, run, *images, *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_is_not_overwritten_and_a_finished_one_not_changed(trained, capsys):
    before = (trained / "checkpoint.npz").read_bytes()
    assert "--resume" in refused(capsys, "train", *QUICK, "--out", trained)
    assert "steps 2 (now 3)" in refused(
        capsys, "train", "--steps", 3, "--batch-size", 1, "--out", trained, "--resume"
    )
    for given in ((), QUICK):  # what is not given comes from the checkpoint
        assert main(["train", *given, "--out", str(trained), "--resume"]) == 0
        assert (trained / "checkpoint.npz").read_bytes() == before


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    run = tmp_path / "run"
    failed = process("train", *QUICK, "--noise-var", "1e37", "--out", run)
    error = failed.communicate()[1]
    assert failed.returncode == 2 and "finite" in error.splitlines()[-1], error
    assert "Traceback" not in error and runs.load(run).step == 0


@pytest.mark.parametrize("name", ["checkpoint.npz", "log.csv"])
def test_a_run_of_pipes_is_refused_at_once(name, trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    os.mkfifo(tmp_path / "run" / name)
    assert "regular file" in refused(capsys, "train", "--out", tmp_path / "run", "--resume")


def test_two_trainings_of_one_run_at_once(tmp_path, capsys):
    """The second is refused; a killed first keeps nobody out."""
    run = tmp_path / "run"
    first = process("train", "--steps", "400", "--batch-size", "1", "--out", run)
    while not (run / "log.csv").exists() or len((run / "log.csv").read_text().splitlines()) < 2:
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    assert "another process trains now" in refused(capsys, "train", "--out", run, "--resume")
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    run_again, _ = runs.start(run, {}, resume=True)
    runs.prepare(run_again)
    assert len((run / "log.csv").read_text().splitlines()) == run_again.step + 1
    run_again.release()


@pytest.mark.slow
def test_killed_and_resumed_ends_the_same(tmp_path, monkeypatch):
    """SIGKILL comes at a few moments of a run of 6 steps, and of 4 that calibrate it.

    The last of them is perhaps in the middle of a write.
    """
    command = ["train", "--steps", "6", "--batch-size", "2", "--seed", "3"]
    command += ["--calibration-steps", "4", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    interrupted = tmp_path / "interrupted"
    log, kills = interrupted / "log.csv", 0
    for steps in (1, 3, 6, 8):
        training = process(*command, interrupted, "--resume")
        while training.poll() is None and (
            not log.exists() or len(log.read_text().splitlines()) <= steps
        ):
            time.sleep(0.005)
        training.send_signal(signal.SIGKILL)
        training.communicate()
        kills += training.returncode == -signal.SIGKILL
    assert kills > 0
    assert main([*command, str(interrupted), "--resume"]) == 0
    for name in ("checkpoint.npz", "log.csv"):
        assert (interrupted / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(interrupted.glob("*tmp*"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limits on file sizes here")
def test_a_full_disk_keeps_the_old_checkpoint(tmp_path):
    run = tmp_path / "run"
    assert main(["train", *QUICK, "--out", str(run)]) == 0
    arrays, settings = checkpoint.load(run / "checkpoint.npz")
    checkpoint.save(run / "checkpoint.npz", arrays, {**settings, "step": 1})  # one step to go
    before = (run / "checkpoint.npz").read_bytes()

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    failed = process("train", *QUICK, "--out", run, "--resume", preexec_fn=full)
    line = failed.communicate()[1].strip().splitlines()[-1]
    assert failed.returncode == 2 and "checkpoint.npz" in line and "File too large" in line, line
    assert (run / "checkpoint.npz").read_bytes() == before and len(list(run.glob("*.npz"))) == 1


@pytest.mark.parametrize(
    "value, message", [("torch", "unknown"), ("", "unknown"), ("cupy", "ADF_BACKEND=cupy")]
)
def test_a_backend_that_cannot_be_had_is_one_line(value, message):
    if value == "cupy" and os.environ.get("ADF_BACKEND") == "cupy":
        pytest.skip("there is a GPU")
    environment = {**os.environ, "ADF_BACKEND": value, "CUDA_VISIBLE_DEVICES": ""}
    failed = process("train", program=("-m", "adf"), env=environment)
    error = failed.communicate()[1]
    assert failed.returncode == 2 and len(error.splitlines()) == 1 and message in error


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"adf {adf.__version__}\n"
