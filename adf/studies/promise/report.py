"""What the variances of some runs are good for, as tables with intervals over images and seeds."""

import numpy as np
from tqdm import tqdm

from ...files.tables import markdown_table
from ...runs import open_data
from ..budget.plain import plain
from ..budget.report import middle_inputs
from ..comparison.claims import with_interval
from . import errors, flips, real, told
from .text import ERRORS, FLIPS, REAL, SEEDS, TOLD

RESAMPLED = 200  # sets of images, drawn from them with replacement
FLIP_IMAGES = 16
ERROR_IMAGES = 64
SEED = 2


def report(runs, command, are_told, data, out):
    """The answers for these runs, trained alike with other seeds, as Markdown.

    are_told: they also learn on, told the noise of images or not; data: real images to calibrate
    and to score them on, or None. What is learned is kept in `out`.
    """
    text = ""
    differences = []
    for run in runs:
        observed = _observed(run)
        differences.append(_differences(run))
        rows = _flip_rows(observed)
        text += FLIPS.format(run=run.folder, copies=flips.COPIES, images=len(observed), table=rows)
        text += ERRORS.format(images=ERROR_IMAGES, table=_error_rows(differences[-1]))
    # What needs several seeds comes last.
    if len(runs) > 1:
        text += SEEDS.format(table=_seed_rows(differences))
    if are_told:
        text += TOLD.format(**told.words(), tables=told.told(runs, out))
    if data:
        text += REAL.format(data=data, table=real.real([run.folder for run in runs], data, out))
    return f"# What the variances are good for\n\nWritten by `{command}`.\n{text}"


def _observed(run):
    """The Flips of some test images that show all classes."""
    network = run.segmenter.network
    networks = {"learned": network, "plain ADF": plain(network)}
    inputs = middle_inputs(run, FLIP_IMAGES)
    numbered = tqdm(list(enumerate(inputs)), unit=" images", desc=f"{run.folder}: flips")
    return [flips.observe(networks, x, (SEED, n)) for n, x in numbered]


def _flip_rows(observed):
    """A line for each method."""
    found = flips.scores(observed)
    again = [flips.scores([observed[i] for i in rows]) for rows in _resampled(len(observed))]
    lines = []
    for name, row in found.items():
        cells = {key: _interval(value, [a[name][key] for a in again]) for key, value in row.items()}
        lines.append({"": name} | cells)
    return markdown_table(lines)


def _differences(run):
    """{score: (learned, plain ADF, their differences over resampled images)} on test images."""
    source = open_data(run, run.settings.data)
    samples = [s for s in source.test(run.settings.seed) if s.labels is not None][:ERROR_IMAGES]
    found = {n: errors.maps(s, samples) for n, s in errors.twins(run, source).items()}
    whole = [errors.rankings(f, slice(None)) for f in found.values()]
    resampled = _resampled(len(samples))
    again = [
        [errors.rankings(f, rows) for f in found.values()]
        for rows in tqdm(resampled, unit=" sets", desc=f"{run.folder}: errors")
    ]
    return {
        key: (whole[0][key], whole[1][key], [a[key] - b[key] for a, b in again]) for key in whole[0]
    }


def _error_rows(differences):
    """A line for each score."""
    return markdown_table(
        [
            {
                "": key,
                "learned": f"{learned:.4g}",
                "plain ADF": f"{bare:.4g}",
                "difference": _interval(learned - bare, again),
            }
            for key, (learned, bare, again) in differences.items()
        ]
    )


def _seed_rows(differences):
    """A line for each score: the mean difference over runs, and its interval."""
    lines = []
    for key in differences[0]:
        d = np.array([row[key][0] - row[key][1] for row in differences])
        lines.append({"": key, "difference": with_interval(d)})
    return markdown_table(lines)


def _resampled(count):
    """Sets of images, by their numbers."""
    rng = np.random.default_rng(SEED)
    return [rng.integers(count, size=count) for _ in range(RESAMPLED)]


def _interval(value, again):
    """A value and the 95 % interval of the bootstrap."""
    low, high = np.nanquantile(again, (0.025, 0.975))
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"
