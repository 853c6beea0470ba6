"""Variances that were learned on unlabelled real images: do they serve better on real images?

Every run stands beside itself: with variances that it learned on what it was trained on, and anew,
on the real images. Their masks and boxes serve to score alone.
"""

import numpy as np

from ... import runs
from ...data.source import open_source
from ...files.tables import markdown_table
from ...runs.recalibration import recalibrate
from ..comparison.claims import with_interval
from ..comparison.scores import conditions, measure, predict

METRICS = ("Dice", "NLL", "ECE", "AUSE", "AUROC", "AUSE std", "AUROC std")


def real(folders, data, out):
    """A table of Markdown for the runs in some folders, and real images in the published format.

    Recalibrated runs are kept in `out`. Raises ValueError without masks and boxes.
    """
    samples = open_source(data).test(0)
    asked = [c for c in conditions([], samples, data) if c.data is not None]
    if not asked:
        raise ValueError(f"{data}: expected masks, or boxes with classes, to score on, got none")
    pairs = [[runs.load(f), recalibrated(f, data, out)] for f in folders]
    lines = []
    for condition in asked:
        found = [[metrics(run, condition) for run in pair] for pair in pairs]
        lines += [line(condition.name, metric, found) for metric in METRICS]
    return markdown_table(lines)


def recalibrated(folder, data, out):
    """The run with variances learned on the images; what is there is not learned again."""
    own = out / f"{folder.name}-on-real"
    if not (own / "checkpoint.npz").exists():
        run = runs.load(folder)
        recalibrate(run, data, run.settings.calibration_steps, own)
    return runs.load(own)


def metrics(run, condition):
    """All metrics of a run on real images."""
    predictions, _ = predict(run.segmenter, condition)
    labels = [s.labels for s in condition.samples]
    return measure(labels, predictions, run.settings.class_names)


def line(name, metric, found):
    """A metric of all runs: before, after, and the mean difference with its interval."""
    before, after = np.array([[row[metric] for row in pair] for pair in found]).T
    cells = {"": f"{metric}, {name}"}
    cells |= {"as trained": f"{before.mean():.4g}", "on real images": f"{after.mean():.4g}"}
    return cells | {"difference": with_interval(after - before)}
