"""The claims of the slides, tested on the scores."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from .rows import values

REAL_YEAST = "(c) From synthetic to real trapped yeast"  # two conditions are about it
TITLES = {  # of the sections of the report: (study, condition) -> title
    ("synthetic", "test"): "(a) Synthetic trapped yeast",
    ("nuclei", "test"): "(b) Fluorescence nuclei",
    ("synthetic", "boxes"): f"{REAL_YEAST}: where the boxes determine the class",
    ("synthetic", "masks"): f"{REAL_YEAST}: the masks of one image",
}


class Claim(NamedTuple):
    """What the slides say of the ADF U-Net beside another system, in one metric."""

    text: str
    metric: str
    other: str  # the other system
    holds: Callable  # ADF U-Net less other, mean over the seeds -> bool


CLAIMS = (
    Claim(
        "matches the deterministic U-Net: Dice within 0.01", "Dice", "unet-bn", lambda d: d >= -0.01
    ),
    Claim("matches the deterministic U-Net: IoU no worse", "IoU", "unet-bn", lambda d: d >= 0),
    Claim("beats ADF DeepLabV3+", "IoU", "adf-deeplabv3plus", lambda d: d > 0),
    *(
        Claim(f"is no worse than softmax in {metric}", metric, "unet-bn", lambda d: d <= 0)
        for metric in ("NLL", "NLL T", "ECE", "ECE T", "AUSE", "AUSE std")
    ),
)


def claims(rows):
    """Each claim about the ADF U-Net, what was measured, and whether it holds: list of dict."""
    found = []
    for (study, condition), title in TITLES.items():
        # The masks are those of one image: too little to test a claim on.
        for claim in CLAIMS if condition != "masks" else ():
            ours, theirs = (
                np.array(values(rows, study, condition, system, claim.metric))
                for system in ("adf-unet", claim.other)
            )
            if len(ours):
                found.append(_tested(claim, title.split()[0], ours, theirs))
    return found


def _tested(claim, part, ours, theirs):
    """A row of the table: whether a claim holds for one part of the comparison.

    ours, theirs: the metric of the two systems, one value for each seed.
    """
    differences = ours - theirs
    mean = differences.mean()
    interval = f" ± {half_width(differences):.2g}" if len(differences) > 1 else ""
    return {
        "the ADF U-Net ...": f"{part} {claim.text}",
        "measured": f"{claim.metric} {ours.mean():.4g} against {theirs.mean():.4g}",
        "difference": f"{mean:+.2g}{interval}",
        "holds": "yes" if claim.holds(mean) else "no",
    }


def half_width(d):
    """Half the 95 % interval of the mean of normal differences, one for each seed.  (10.8)"""
    return student.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))


def with_interval(d, form=".2g"):
    """The mean of differences and half its 95 % interval, as text; of one it is the difference."""
    half = f" ± {half_width(d):{form}}" if len(d) > 1 else ""
    return f"{d.mean():+{form}}{half}"
