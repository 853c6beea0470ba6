"""One network: it is trained and scored, and neither again when that is done."""

import dataclasses
import time

from ... import runs
from . import scores
from .rows import read, write

SYNTHETIC = "synthetic:493"  # as many images as in Prangemeier, Reich & Koeppl 2020


def trained(folder, given, title):
    """(run, source, seconds) of a training that is finished, or is now.

    given: settings; title: how the line for the terminal begins. The seconds are extrapolated from
    the steps of this call to all of its steps.
    """
    # With all settings given, a run that was made with other defaults is refused.
    settings = dataclasses.asdict(runs.Settings.of(given))
    del settings["class_names"]  # they are those of the data
    run, source = runs.start(folder, settings, resume=True)
    steps = run.settings.steps
    print(f"{title}{folder}, {steps - run.step} of {steps} steps to go")
    runs.prepare(run)
    before = run.step
    start = time.perf_counter()
    run.train(source)
    return run, source, (time.perf_counter() - start) * steps / max(1, steps - before)


def scored(run, conditions, validation, labels):
    """The rows of a run, from its scores.csv or newly scored, each with the labels before it."""
    path = run.folder / "scores.csv"
    if not path.exists():
        write(path, [labels | row for row in scores.score(run, conditions, validation)])
    return read(path)
