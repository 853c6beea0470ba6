"""Does it help to be told how noisy an image is? Trained networks learn on, on images of any noise.

White noise of a standard deviation drawn for each image is added to synthetic images, whose own
variance is 1. All systems go on from the same weights, with the same images in the same order.
"""

import copy
import dataclasses
import math

import numpy as np
from tqdm import tqdm

from ...backend import default_rng, to_host
from ...calibration import begin, calibrate_step, measured
from ...data.source import open_source
from ...evaluation.metrics import confusion, dice, ece, nll
from ...files.tables import markdown_table
from ...runs import calibrating
from ...training import Adam, train_step
from ..budget.plain import plain
from ..comparison.claims import with_interval
from ..comparison.rows import read, write

SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.5)  # of the test; training draws log-uniformly between the ends
MEAN_VAR = (SIGMAS[-1] ** 2 - SIGMAS[0] ** 2) / 2 / math.log(SIGMAS[-1] / SIGMAS[0])
MORE = {"steps": 200, "learning_rate": 2e-3, "calibration_steps": 200}  # for all alike
BATCH = 8
CROP = 64  # pixels a side, in training
TEST_IMAGES = 64
POOL = 96  # crops, of which the true variances are learned
STREAM = 7  # random numbers of their own: (seed, step, STREAM)
POINT = "deterministic"
CONSTANT = "ADF, one variance for all"
TOLD = "ADF, told each image's"
LEARNED = "ADF, told, learned variances"
ALL = (POINT, CONSTANT, TOLD, LEARNED)
CONTRASTS = ((TOLD, POINT), (TOLD, CONSTANT), (LEARNED, TOLD))  # the first less the second
METRICS = ("Dice", "NLL", "ECE")


def told(runs, out):
    """Trains every system once a run, unless out/told.csv has it -> tables as Markdown."""
    path = out / "told.csv"
    rows = read(path, {"run", "system", "sigma"}) if path.exists() else []
    for run in tqdm(runs, "noise told", unit=" runs"):
        if str(run.folder) not in [row["run"] for row in rows]:
            rows += run_rows(run)
            write(path, rows)
    names = [str(run.folder) for run in runs]
    own = [row for row in rows if row["run"] in names]
    return "\n\n".join(table(own, metric) for metric in METRICS)


def words():
    """What the text says of the networks."""
    return {
        "least": SIGMAS[0],
        "most": SIGMAS[-1],
        "steps": MORE["steps"],
        "learning": MORE["calibration_steps"],
        "batch": BATCH,
        "crop": CROP,
        "pool": POOL,
        "mean_var": MEAN_VAR,
        "images": TEST_IMAGES,
    }


def run_rows(run):
    """The scores of all systems that go on from one run."""
    rows = []
    for system in (POINT, CONSTANT, TOLD):
        segmenter, settings = trained(system, run)
        rows += scored(segmenter, system, run)
    # The last one goes on from the third.
    learn(segmenter, settings)
    return rows + scored(segmenter, LEARNED, run)


def noisy(settings, step, count):
    """Crops of training images, their labels and the variances of their noise, (count, 1, 1, 1)."""
    images, labels = open_source("synthetic").training(step, count, settings.seed)
    rng = default_rng((settings.seed, step, STREAM))
    # One place for the crops of a batch, then noise of a size of its own for each.
    start = rng.integers(images.shape[-1] - CROP, size=2)
    crop = (..., *(slice(n, n + CROP) for n in start))
    images = images[crop]
    ends = np.log([SIGMAS[0], SIGMAS[-1]])
    sigma = np.exp(rng.uniform(*ends, (count, 1, 1, 1)))
    return images + sigma * rng.standard_normal(images.shape), labels[crop], sigma**2


def trained(system, run):
    """(segmenter, settings) of a system after its steps, from the weights of the run."""
    own = {"system": "unet-bn", "noise_var": None} if system == POINT else {"noise_var": MEAN_VAR}
    settings = dataclasses.replace(run.settings, noise="white", **own, **MORE)
    segmenter = settings.segmenter()
    segmenter.network = copy.deepcopy(plain(run.segmenter.network))
    optimizer = Adam(segmenter.parameters())
    is_told = system == TOLD
    for step in tqdm(range(settings.steps), system, leave=False, disable=None):
        optimizer.learning_rate = settings.rate_at(step)
        images, labels, var = noisy(settings, step, BATCH)
        train_step(segmenter, optimizer, images, labels, var if is_told else None)
    # What the head says of the variances is fitted to them, for they are others now.
    if segmenter.head:
        images, labels, var = noisy(settings, settings.steps, POOL)
        calibrating.fit_to(segmenter, [(segmenter.input(images, var if is_told else None), labels)])
    return segmenter, settings


def learn(segmenter, settings):
    """Gives the variances weights, learned as `adf train` learns them, and fits the head."""
    images, labels, var = noisy(settings, settings.steps, POOL)
    x = segmenter.input(images, var)
    rng = default_rng((settings.seed, settings.steps, STREAM + 1))
    true = measured(segmenter, x, rng)
    begin(segmenter, some(x, slice(BATCH)), rng)
    optimizer = calibrating.freed(segmenter)
    numbers = range(settings.steps, settings.all_steps)
    for step in tqdm(numbers, LEARNED, leave=False, disable=None):
        optimizer.learning_rate = settings.rate_at(step)
        rows = rng.choice(POOL, BATCH, replace=False)
        calibrate_step(segmenter, optimizer, some(x, rows), some(true, rows))
    calibrating.fit_to(segmenter, [(x, labels)])


def some(x, rows):
    return x.map(lambda field: field[rows])


def scored(segmenter, system, run):
    """A row of scores for each standard deviation of the noise, on the same test images."""
    samples = open_source("synthetic").test(0)[:TEST_IMAGES]
    labels = np.stack([s.labels for s in samples]).astype("int64")
    images = np.stack([s.image for s in samples])[:, None]
    white = default_rng(STREAM).standard_normal(images.shape)
    rows = []
    # Noise of all sizes is the same but for its size, so that systems and columns compare.
    for sigma in SIGMAS:
        var = sigma**2 if system in (TOLD, LEARNED) else None
        x = segmenter.input(images + sigma * white, var)
        p = to_host(segmenter.predict(x).probabilities)
        counts = confusion(labels, p.argmax(axis=1), p.shape[1])
        row = {"run": str(run.folder), "system": system, "sigma": sigma}
        row["Dice"] = dice(counts).mean()
        rows.append(row | {"NLL": nll(labels, p), "ECE": ece(labels, p)})
    return rows


def table(rows, metric):
    """A metric against the noise: of every system, then the differences, as Markdown."""
    of = {
        (system, sigma): np.array(
            [r[metric] for r in rows if (r["system"], r["sigma"]) == (system, sigma)]
        )
        for system in ALL
        for sigma in SIGMAS
    }
    # First means over the seeds, then paired differences.
    lines = [
        {metric: system} | {f"{s:g}": f"{of[system, s].mean():.4f}" for s in SIGMAS}
        for system in ALL
    ]
    for first, second in CONTRASTS:
        line = {metric: f"*{first}* less *{second}*"}
        for s in SIGMAS:
            d = of[first, s] - of[second, s]
            line[f"{s:g}"] = with_interval(d, ".4f")
        lines.append(line)
    return markdown_table(lines)
