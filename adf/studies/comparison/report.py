"""The scores of all networks as tables, claims that are tested, and pictures."""

import platform

import numpy as np

from ... import figures
from ...engine.threads import thread_count
from ...files.atomic import atomic_write
from ...files.tables import markdown_table
from ...runs.settings import WARM_UP
from .claims import TITLES, claims
from .noise_figure import against_noise
from .pictures import draw
from .tables import noise_table, scores_table, systems_table, tuning_table
from .text import COMPARISON
from .tuning import CRITERION, START, STEPS


def write(out, folder, studies, rows, real):
    """Writes README.md and all pictures into `out`.

    folder: of the runs; rows: of scores.csv; real: samples of real yeast, or None.
    """
    parts = [(study.name, "test") for study in studies]
    asked = {row["condition"] for row in rows}
    parts += [("synthetic", truth) for truth in ("boxes", "masks") if truth in asked]
    sections = [_section(out, folder, rows, real, *part) for part in parts]
    figures.save(against_noise(rows), out / "noise.png")
    # Every network has several rows, and in each the time that its training took.
    seconds = {(r["study"], r["system"], r["seed"]): r["training s"] for r in rows}
    text = COMPARISON.format(
        command=_command(studies, real),
        machine=machine(),
        networks=len(seconds),
        minutes=sum(seconds.values()) / 60,
        seeds=_seeds(studies[0].seeds),
        systems=systems_table(rows, folder / studies[0].name),
        warm_up=WARM_UP,
        sections="\n\n".join(sections),
        noise=noise_table(rows),
        tuning_steps=STEPS,
        start=", ".join(f"{key.replace('_', ' ')} {value}" for key, value in START.items()),
        criterion=CRITERION,
        tuning=tuning_table(out / "tuning.csv"),
        claims=markdown_table(claims(rows)),
    )
    with atomic_write(out / "README.md") as file:
        file.write(text.encode())


def _section(out, folder, rows, real, study, condition):
    """A study in one condition: its title, its table, and its pictures unless it is the masks."""
    own = [r for r in rows if r["study"] == study and r["condition"] == condition]
    pictures = draw(out, folder / study, condition, real) if condition != "masks" else ""
    return f"## {TITLES[study, condition]}\n\n{scores_table(own)}\n\n{pictures}".rstrip()


def _command(studies, real):
    folders = " --nuclei FOLDER" * (len(studies) > 1) + " --yeast FOLDER" * (real is not None)
    return f"python -m adf compare{folders} --seeds {studies[0].seeds}"


def machine():
    """What the times were measured on."""
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    return f"{thread_count()} threads ({platform.machine()}) with {versions}"


def _seeds(count):
    if count == 1:
        return "One seed: no spread is known"
    return f"Means and standard deviations over {count} seeds on synthetic images, one on others"
