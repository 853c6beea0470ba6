"""`python -m adf compare --methods`: the ways to doubt weights, beside networks that do not."""

import time

import numpy as np

from ...data.source import open_source
from ...evaluation.data import data_name
from ...files.atomic import atomic_write
from ...files.tables import markdown_table
from ...runs.state import state
from .. import out_of_distribution as ood
from . import scores
from .jobs import SYNTHETIC, scored
from .plan import Job, Study
from .report import machine
from .rows import read, write
from .tables import spread
from .text import METHODS

SYSTEMS = (
    "unet-bn",
    "adf-unet",
    "unet-ensemble",
    "unet-dropout",
    "unet-swag",
    "unet-bbb",
    "unet-weights",
)
COLUMNS = (
    "Dice",
    "IoU",
    "NLL",
    "NLL T",
    "ECE",
    "ECE T",
    "AUSE",
    "AUROC",
    "AUSE MI",
    "AUROC MI",
)
STRANGE = "out of distribution"  # the name of this study in methods.csv


def compare_methods(folder, out, nuclei=None, steps=None):
    """Trains and scores what is not done yet, once each  -> methods.csv and methods.md in `out`.

    folder: of the runs; nuclei: images of another kind, to doubt; steps: None, or fewer for a quick
    look.
    """
    study = Study("synthetic", SYNTHETIC, 1, "flip")
    # Everything that can be refused is refused here, before the first training.
    study.check()
    test = scores.labelled(open_source(SYNTHETIC).test(0))
    others = (open_source(str(nuclei)).test(0), data_name(str(nuclei))) if nuclei else ()
    sets = ood.strange_sets(test, *others)
    rows = []
    for number, system in enumerate(SYSTEMS, 1):
        title = f"{number} of {len(SYSTEMS)}: "
        run, source, seconds = Job(study, system, 0).train(folder, steps, title)
        labels = {"study": study.name, "training s": seconds, "numbers kept": numbers_kept(run)}
        conditions = scores.conditions(test) + scores.blurred_conditions(test)
        rows += scored(run, conditions, source.validation(0), labels)
        rows += strange_rows(run, doubts(run, sets))
    write(out / "methods.csv", rows)
    with atomic_write(out / "methods.md") as file:
        file.write(report(rows, nuclei, steps).encode())
    print(f"look at {out / 'methods.md'}")


def numbers_kept(run):
    """How many numbers a checkpoint holds for predictions: not those that optimizers remember."""
    return sum(array.size for array in (state(run.segmenter) | run.learner.arrays()).values())


def doubts(run, sets):
    """The scores of all images of these sets: read from the run's folder, or found now.

    With them goes the processor time that an image took, on all cores: a busy machine spoils it
    less than the time on the clock.
    """
    path = run.folder / "out_of_distribution.csv"
    rows = read(path, {"set", "entropy", "MI", "cpu ms"}) if path.exists() else []
    missing = [name for name in sets if name not in {row["set"] for row in rows}]
    # Members of a mixture are drawn once for all sets.
    if missing:
        predictor = run.predictor()
        for name in missing:
            start = time.process_time()
            found = ood.scores(predictor, sets[name])
            spent = 1000 * (time.process_time() - start) / len(found)
            rows += [{"set": name, "cpu ms": spent} | row for row in found]
        write(path, rows)
    return [row for row in rows if row["set"] in sets]


def strange_rows(run, rows):
    """How well each doubt tells a set from the test images: a row for each set."""
    known = [row for row in rows if row["set"] == "test"]
    found = []
    for name in dict.fromkeys(row["set"] for row in rows if row["set"] != "test"):
        strange = [row for row in rows if row["set"] == name]
        row = {"study": STRANGE, "condition": name, "told": False}
        row |= {"system": run.settings.system, "seed": run.settings.seed}
        row |= {"cpu ms per image": strange[0]["cpu ms"]}
        # A network without information has empty cells.
        for doubt in ("entropy", "MI"):
            if known[0][doubt] is not None:
                ours, theirs = (np.array([r[doubt] for r in part]) for part in (known, strange))
                values = ood.told_apart(ours, theirs)
                names = (f"{doubt} AUROC", f"{doubt} low", f"{doubt} high")
                row |= dict(zip(names, values, strict=True))
        found.append(row)
    return found


# The report


def report(rows, nuclei, steps=None):
    """The text of methods.md."""
    options = " --nuclei FOLDER" * bool(nuclei) + f" --steps {steps}" * bool(steps)
    few = f"for {steps} steps, unet-swag for as many again by SGD,"
    return METHODS.format(
        command=f"python -m adf compare --methods{options}",
        machine=machine(),
        steps=few if steps else "for as long as suits each (`adf/runs/systems.py`),",
        images=len(scores.labelled(open_source(SYNTHETIC).test(0))),
        top=f"{100 * ood.TOP:g} %",
        most=ood.MOST,
        blur=ood.BLUR,
        # The tables, in the order of the sections.
        test=test_table(rows),
        shift=shift_table(rows),
        strange=strange_table(rows),
        cost=cost_table(rows),
    )


def test_table(rows):
    """A line for each system on the clean test images."""
    own = [row for row in rows if row["condition"] == "test"]
    return markdown_table([{"": row["system"]} | _numbers(row, COLUMNS) for row in own])


def shift_table(rows):
    """A line for each change of the test images and each system."""
    table = []
    names = dict.fromkeys(r["condition"] for r in rows if r["study"] != STRANGE)
    for name in [name for name in names if name != "test"]:
        for row in [row for row in rows if row["condition"] == name]:
            system = row["system"] + (", told" if row["told"] else "")
            table.append({"shift": name, "system": system} | _numbers(row, COLUMNS))
    return markdown_table(table)


def strange_table(rows):
    """A line for each system and kind of doubt, a column for each set."""
    table = []
    own = [row for row in rows if row["study"] == STRANGE]
    for system in dict.fromkeys(row["system"] for row in own):
        for doubt in ("entropy", "MI"):
            of_system = [row for row in own if row["system"] == system]
            cells = {row["condition"]: _interval(row, doubt) for row in of_system}
            if all(cells.values()):
                table.append({"": f"{system}, {doubt}"} | cells)
    return markdown_table(table)


def _interval(row, doubt):
    """An AUROC and its interval, as text; None where there is no such doubt."""
    values = [row.get(f"{doubt} {name}") for name in ("AUROC", "low", "high")]
    return None if values[0] is None else "{:.3f} [{:.3f}, {:.3f}]".format(*values)


def cost_table(rows):
    """What each system costs; an image's price is in passes of the deterministic network."""
    table = []
    strange = [row for row in rows if row["study"] == STRANGE]
    ms = {
        system: np.median([r["cpu ms per image"] for r in strange if r["system"] == system])
        for system in SYSTEMS
    }
    # The first row of a system is one of its scores, which know of its training.
    for system in SYSTEMS:
        first = next(row for row in rows if row["system"] == system)
        table.append(
            {
                "": system,
                "training, min": f"{first['training s'] / 60:.1f}",
                "processor ms per image": f"{ms[system]:.0f}",
                "price of an image": f"{ms[system] / ms[SYSTEMS[0]]:.1f}",
                "numbers kept": f"{first['numbers kept']:,.0f}",
            }
        )
    return markdown_table(table)


def _numbers(row, columns):
    return {column: spread([row.get(column)]) for column in columns}
