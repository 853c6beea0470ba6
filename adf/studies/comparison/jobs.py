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
    # With all settings given, a run that was made with other defaults is refused. What is compared
    # is what training makes; calibration comes after it.
    settings = dataclasses.asdict(runs.Settings.of({"calibration_steps": 0} | given))
    del settings["class_names"]  # they are those of the data
    run, source = runs.start(folder, settings, resume=True)
    steps = run.settings.training_steps
    print(f"{title}{folder}, {steps - run.step} of {steps} steps to go")
    runs.prepare(run)
    before = run.step
    start = time.perf_counter()
    run.train(source)
    return run, source, (time.perf_counter() - start) * steps / max(1, steps - before)


def scored(run, conditions, validation, labels):
    """The rows of a run, each with the labels before it: read from its scores.csv or newly scored.

    What is not asked for stays in the file. A deterministic network cannot be told the noise.
    """
    path = run.folder / "scores.csv"
    rows = read(path) if path.exists() else []
    told = run.settings.noise_var is not None
    asked = [condition for condition in conditions if told or not condition.noise_known]
    missing = [c for c in asked if not _answers(rows, c)]
    # A later call may ask for more, or for the same of other images.
    if missing:
        names = [(c.name, c.noise_known) for c in missing]
        others = [row for row in rows if (row["condition"], row["told"]) not in names]
        # Of a training that was done before, its time is known from then.
        labels |= {"training s": rows[0]["training s"]} if rows and "training s" in labels else {}
        new = [labels | row for row in scores.score(run, missing, validation)]
        write(path, others + new)
        rows = read(path)
    return [row for condition in asked for row in _answers(rows, condition)]


def _answers(rows, condition):
    """The rows about a condition; those of files from before have no column `tested on`."""
    key = (condition.name, condition.noise_known)
    where = (None, condition.data)
    return [r for r in rows if (r["condition"], r["told"]) == key and r.get("tested on") in where]
