"""The tables of the report, as Markdown."""

import numpy as np

from ... import runs
from ...files.tables import markdown_table
from . import scores
from .rows import read, values
from .tuning import chosen

OF_ADF = {  # what a deterministic network does not have: column -> setting
    "noise variance": "noise_var",
    "label smoothing": "label_smoothing",
    "density weight": "density_weight",
    "raw c1, c2": "raw_c",
}
METRICS = (  # the columns of a table of scores
    "Dice",
    "IoU",
    "NLL",
    "NLL T",
    "Brier",
    "ECE",
    "ECE T",
    "AUSE",
    "AUSE std",
    "AURC",
    "AUROC",
)
TUNING_METRICS = ("IoU", "NLL", "NLL T", "ECE", "ECE T", "AUSE", "AUROC")  # those of the variants


def systems_table(rows, folder):
    """The size, the settings and the times of every system; folder: of the runs of a study."""
    table = []
    for system in runs.SLIDES:
        run = runs.load(folder / f"{system}-0")
        settings = run.settings
        parameters = sum(p.value.size for p in run.segmenter.parameters())
        line = {
            "": system,
            "parameters": f"{parameters:,}",
            "steps": settings.steps,
            "peak learning rate": f"{settings.learning_rate:g}",
        }
        # A network without noise has none of what is ADF's own.
        for column, name in OF_ADF.items():
            has_none = settings.noise_var is None
            line[column] = None if has_none else f"{getattr(settings, name):g}"
        own = [r for r in rows if r["system"] == system and r["study"] == folder.name]
        line["training, min"] = f"{np.mean([r['training s'] for r in own]) / 60:.1f}"
        line["ms per image"] = f"{np.median([r['ms per image'] for r in own]):.0f}"
        table.append(line)
    return markdown_table(table)


def scores_table(rows):
    """Mean and spread over the seeds for each system; the classes' IoU behind.

    rows: of one study in one condition.
    """
    names = [key for key in rows[0] if key.startswith("IoU ") and rows[0][key] is not None]
    table = []
    for system in runs.SLIDES:
        own = [r for r in rows if r["system"] == system]
        numbers = {metric: spread([r[metric] for r in own]) for metric in (*METRICS, *names)}
        table.append({"": system} | numbers)
    return markdown_table(table)


def noise_table(rows):
    """Mean and spread over the seeds for each noise and system, told the noise or not."""
    lines = [
        _noise_line(rows, noise, system, told)
        for noise in scores.NOISE
        for system in runs.SLIDES
        for told in (False, True)
    ]
    return markdown_table([line for line in lines if line])


def _noise_line(rows, noise, system, told):
    """A line of the table, None where the system was not asked that."""
    condition = f"noise {noise:g}"
    found = {m: values(rows, "synthetic", condition, system, m, told) for m in METRICS}
    if not found["Dice"]:
        return None
    line = {"sigma": f"{noise:g}", "system": system + (", told" if told else "")}
    return line | {metric: spread(numbers) for metric, numbers in found.items()}


def tuning_table(path):
    """Every variant of tuning.csv, and which of them were chosen."""
    if not path.exists():
        return "Not done."
    rows = read(path)
    best = chosen(rows).values()
    table = []
    for row in rows:
        line = {"": row["system"], "changed": row["changed"].replace("_", " ")}
        line |= {metric: spread([row[metric]]) for metric in TUNING_METRICS}
        table.append(line | {"chosen": "yes" if row in best else ""})
    return markdown_table(table)


def spread(numbers):
    """Mean ± standard deviation over the seeds, as text.

    It is the mean alone where there is one seed, and a dash where a number is missing.
    """
    numbers = np.array([np.nan if n is None else n for n in numbers], float)
    if np.isnan(numbers).any():
        return "-"
    digits = 4 if numbers.mean() < 0.1 else 3
    deviation = f" ± {numbers.std(ddof=1):.{digits}f}" if len(numbers) > 1 else ""
    return f"{numbers.mean():.{digits}f}{deviation}"
