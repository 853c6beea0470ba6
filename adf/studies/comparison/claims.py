"""The claims of the slides, tested on the scores."""

import numpy as np
from scipy.stats import t as student

from .rows import values

TITLES = {
    ("synthetic", "test"): "(a) Synthetic trapped yeast",
    ("nuclei", "test"): "(b) Fluorescence nuclei",
    (
        "synthetic",
        "boxes",
    ): "(c) From synthetic to real trapped yeast: where the boxes determine the class",
    ("synthetic", "masks"): "(c) From synthetic to real trapped yeast: the masks of one image",
}
CLAIMS = (  # text, metric, the other system, what the difference to it must be
    ("matches the deterministic U-Net: Dice within 0.01", "Dice", "unet-bn", lambda d: d >= -0.01),
    ("matches the deterministic U-Net: IoU no worse", "IoU", "unet-bn", lambda d: d >= 0),
    ("beats ADF DeepLabV3+", "IoU", "adf-deeplabv3plus", lambda d: d > 0),
    *(
        (f"is no worse than softmax in {metric}", metric, "unet-bn", lambda d: d <= 0)
        for metric in ("NLL", "NLL T", "ECE", "ECE T", "AUSE", "AUSE std")
    ),
)


def claims(rows):
    """Each claim about the ADF U-Net, what was measured, and whether it holds: list of dict."""
    found = []
    for (study, condition), title in TITLES.items():
        for text, metric, other, holds in CLAIMS if condition != "masks" else ():
            ours, theirs = (
                np.array(values(rows, study, condition, s, metric)) for s in ("adf-unet", other)
            )
            if len(ours):
                d = ours - theirs
                measured = f"{metric} {ours.mean():.4g} against {theirs.mean():.4g}"
                found.append(
                    {
                        "the ADF U-Net ...": f"{title.split()[0]} {text}",
                        "measured": measured,
                        "difference": f"{d.mean():+.2g}"
                        + (f" ± {half_width(d):.2g}" if len(d) > 1 else ""),
                        "holds": "yes" if holds(d.mean()) else "no",
                    }
                )
    return found


def half_width(d):
    """Of the 95 % interval of the mean of normal differences, one for each seed.  (10.8)"""
    return student.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
