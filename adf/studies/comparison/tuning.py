"""The search for settings, on validation images."""

from ...runs import SYSTEMS
from .jobs import SYNTHETIC, scored, trained
from .rows import write
from .scores import Condition

STEPS = 160  # of each training, unless a variant says otherwise
CRITERION = "NLL"  # a proper score: of the segmentation and of its confidence
START = {  # where the search started
    "learning_rate": 5e-3,
    "augment": "flip",
    "noise_var": 1e-2,
    "density_weight": 1e-3,
    "raw_c": -3.0,
}
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
    """Trains every variant on the synthetic images and scores it  -> tuning.csv in `out`.

    The scores are those of the validation images.
    """
    variants = [(system, changes) for system in CHANGES for changes in CHANGES[system]]
    rows = []
    for number, (system, changes) in enumerate(variants, 1):
        name = " ".join(f"{key} {value}" for key, value in changes.items()) or "nothing"
        # A variant changes the system's own settings, and these change the start of the search.
        given = {"system": system, "data": SYNTHETIC, "seed": 0, "steps": STEPS}
        given |= START | SYSTEMS[system].settings | changes
        title = f"{number} of {len(variants)}: "
        run, source, _ = trained(folder / f"{system} {name}", given, title)
        validation = source.validation(0)
        conditions = [Condition("validation", validation)]
        rows += [{"changed": name} | row for row in scored(run, conditions, validation, given)]
    write(out / "tuning.csv", rows)
    print(f"look at {out / 'tuning.csv'}")


def chosen(rows):
    """The row of least CRITERION of every system: a dict.

    Of ADF, it is one of those with variances and a strength that learns.
    """
    best = {}
    for row in rows:
        system = row["system"]
        is_candidate = row["noise_var"] is None or (
            row["noise_var"] > 0 and row["density_weight"] > 0
        )
        if is_candidate and (system not in best or row[CRITERION] < best[system][CRITERION]):
            best[system] = row
    return best
