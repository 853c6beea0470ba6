"""The search for settings, on validation images."""

from ...runs import SYSTEMS
from .jobs import SYNTHETIC, scored, trained
from .rows import write
from .scores import Condition

STEPS = 160
START = {
    "learning_rate": 5e-3,
    "augment": "flip",
    "noise_var": 1e-2,
    "density_weight": 1e-3,
    "raw_c": -3.0,
}
CRITERION = "NLL"  # a proper score: of the segmentation and of its confidence
CHANGES = {  # a few things at a time; noise_var 0 and density_weight 0 ask why, not what
    "unet-bn": (
        {},
        {"learning_rate": 1e-2},
        {"augment": "none"},
        {"augment": "dihedral"},
        {"steps": 320},  # where two learning rates are close, to the end
        {"learning_rate": 1e-2, "steps": 320},
    ),
    "adf-unet": (
        {},
        {"learning_rate": 1e-2},
        {"noise_var": 0.0},
        {"noise_var": 1e-3},
        {"noise_var": 5e-2},
        {"density_weight": 0.0},
        {"density_weight": 1e-2},
        {"density_weight": 1e-1},
        {"density_weight": 1.0},
        {"density_weight": 1.0, "noise_var": 0.0},
        {"density_weight": 1.0, "raw_c": -4.0},
        {"density_weight": 1.0, "raw_c": -1.0},
        {"density_weight": 1.0, "label_smoothing": 1e-1},
    ),
    "adf-deeplabv3plus": ({}, {"learning_rate": 2.5e-3}, {"learning_rate": 1e-2}),
}


def tune(folder, out):
    """Trains every variant on the synthetic images, scores it on their validation images; writes tuning.csv."""
    jobs, rows = (
        [(system, changes) for system, variants in CHANGES.items() for changes in variants],
        [],
    )
    for i, (system, changes) in enumerate(jobs, 1):
        name = " ".join(f"{key} {value}" for key, value in changes.items()) or "nothing"
        given = {"system": system, "data": SYNTHETIC, "seed": 0, "steps": STEPS}
        given |= START | SYSTEMS[system].settings | changes
        run, source, _ = trained(folder / f"{system} {name}", given, f"{i} of {len(jobs)}: ")
        asked = [Condition("validation", source.validation(0))]
        rows += [{"changed": name} | row for row in scored(run, asked, source.validation(0), given)]
    write(out / "tuning.csv", rows)
    print(f"look at {out / 'tuning.csv'}")


def chosen(rows):
    """Of every system the row of least CRITERION; of ADF, among those with variances and a strength that learns."""
    best = {}
    for row in rows:
        asks_what = row["noise_var"] is None or (row["noise_var"] > 0 and row["density_weight"] > 0)
        if asks_what and (
            row["system"] not in best or row[CRITERION] < best[row["system"]][CRITERION]
        ):
            best[row["system"]] = row
    return best
