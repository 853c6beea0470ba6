"""Which networks are trained on what, one after the other; what is finished is not done again."""

import time
from typing import NamedTuple

from .. import runs
from ..data.source import open_source
from . import report, scores
from .rows import read, write

SYNTHETIC = "synthetic:493"  # as many images as in Prangemeier, Reich & Koeppl 2020
TUNING_STEPS = 160
START = {"learning_rate": 5e-3, "augment": "flip"}
ADF_START = START | {"noise_var": 1e-3, "raw_c": -3.0, "label_smoothing": 1e-2}
TUNING = {  # where the search starts, and what is changed there, one thing at a time; two changes ask why, not what
    "unet-bn": (START, ({}, {"learning_rate": 1e-2}, {"augment": "none"}, {"augment": "dihedral"})),
    "adf-unet": (
        ADF_START,
        (
            {},
            {"learning_rate": 2.5e-3},
            {"learning_rate": 1e-2},
            {"raw_c": -4.0},
            {"raw_c": -1.0},
            {"label_smoothing": 1e-1},
            {"label_smoothing": None},
            {"noise_var": 0.0},
            {"noise_var": 1e-2},
        ),
    ),
    "adf-deeplabv3plus": (ADF_START, ({}, {"learning_rate": 1e-2}, {"raw_c": -5.0})),
}


class Study(NamedTuple):
    """A data set on which all systems are trained, once for each seed."""

    name: str
    data: str
    seeds: int
    augment: str  # traps stand upright, nuclei lie anyhow

    def asked(self, source, real):
        """Noise and real yeast for the networks of synthetic yeast; for others, their test images."""
        test = source.test(0)
        return scores.conditions(test, real) if self.data == SYNTHETIC else [scores.Condition("test", test)]


def compare(folder, out, nuclei=None, yeast=None, seeds=3, steps=None):
    """Trains what is not trained yet, scores what is not scored yet, writes the report into `out`.

    folder: of the runs. nuclei: images/ and labels/ to train on as well, one seed; yeast: the published format, to test
    the networks of the synthetic images on. steps: None, or fewer than suit the systems, for a quick look. Everything
    that can be refused is refused before the first training.
    """
    studies = [Study("synthetic", SYNTHETIC, seeds, "flip")]
    studies += [Study("nuclei", str(nuclei), 1, "dihedral")] if nuclei else []
    real = open_source(str(yeast)).test(0) if yeast else None
    for study in studies:
        open_source(study.data)
    jobs = [(study, system, seed) for study in studies for seed in range(study.seeds) for system in runs.SYSTEMS]
    rows, start = [], time.perf_counter()
    for i, (study, system, seed) in enumerate(jobs, 1):
        given = {"system": system, "data": study.data, "augment": study.augment, "seed": seed}
        given |= {"steps": steps} if steps else {}
        run, source, seconds = trained(folder / study.name / f"{system}-{seed}", given, f"{i} of {len(jobs)}: ")
        asked = study.asked(source, real)
        labels = {"study": study.name, "training s": seconds}
        rows += _cached(run, asked, source.validation(seed), labels)
    write(out / "scores.csv", rows)
    report.write(out, folder, studies, rows, real)
    print(f"{len(jobs)} networks in {(time.perf_counter() - start) / 60:.0f} minutes; look at {out / 'README.md'}")


def tune(folder, out):
    """Trains every variant of TUNING on the synthetic images, scores it on validation images; writes tuning.csv."""
    jobs = [(system, start, changes) for system, (start, variants) in TUNING.items() for changes in variants]
    rows = []
    for i, (system, start, changes) in enumerate(jobs, 1):
        name = " ".join(f"{key} {value}" for key, value in changes.items()) or "start"
        given = {"system": system, "data": SYNTHETIC, "seed": 0, "steps": TUNING_STEPS} | start | changes
        run, source, _ = trained(folder / f"{system} {name}", given, f"{i} of {len(jobs)}: ")
        asked = [scores.Condition("validation", source.validation(0))]
        rows += _cached(run, asked, source.validation(0), given)
    write(out / "tuning.csv", rows)
    print(f"look at {out / 'tuning.csv'}")


def trained(folder, given, title):
    """(run, source, seconds) of a training that is finished, or is now; the seconds extrapolated to all its steps."""
    run, source = runs.start(folder, given, resume=True)
    print(f"{title}{folder}, {run.settings.steps - run.step} of {run.settings.steps} steps to go")
    runs.prepare(run)
    before, start = run.step, time.perf_counter()
    run.train(source)
    steps = run.settings.steps
    return run, source, (time.perf_counter() - start) * steps / max(1, steps - before)


def _cached(run, asked, validation, labels):
    """The rows of a run, from its scores.csv or newly scored, each with the labels before it."""
    path = run.folder / "scores.csv"
    if not path.exists():
        write(path, [labels | row for row in scores.score(run, asked, validation)])
    return read(path)
