"""One network: trained, scored, and neither again when that is done."""

import dataclasses
import time

from ... import runs
from . import scores
from .rows import read, write

SYNTHETIC = "synthetic:493"  # as many images as in Prangemeier, Reich & Koeppl 2020


def trained(folder, given, title):
    """(run, source, seconds) of a training that is finished, or is now; the seconds extrapolated to all its steps."""
    given = dataclasses.asdict(
        runs.Settings.of(given)
    )  # all of them: a run made with other defaults is refused
    del given["class_names"]  # as the data has them
    run, source = runs.start(folder, given, resume=True)
    print(f"{title}{folder}, {run.settings.steps - run.step} of {run.settings.steps} steps to go")
    runs.prepare(run)
    before, start = run.step, time.perf_counter()
    run.train(source)
    steps = run.settings.steps
    return run, source, (time.perf_counter() - start) * steps / max(1, steps - before)


def scored(run, asked, validation, labels):
    """The rows of a run, from its scores.csv or newly scored, each with the labels before it."""
    path = run.folder / "scores.csv"
    if not path.exists():
        write(path, [labels | row for row in scores.score(run, asked, validation)])
    return read(path)
