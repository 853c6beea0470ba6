"""The pictures of the slides: the segmentation, where it is wrong, where the network is unsure.

Every function returns a `matplotlib.figure.Figure` and touches no global state, so it also works in
threads and without a display. All lengths are inches. Class colours are Okabe & Ito's (*Color
universal design*, 2008), uncertainties are drawn in cividis (Nuñez, Anderton & Renslow, PLOS ONE
2018): both survive colour blindness and a grey printer.
"""

import contextlib

from ..files.atomic import atomic_write
from .curves import reliability, risk_coverage, sparsification
from .pictures import overview

__all__ = ["overview", "reliability", "risk_coverage", "save", "sparsification"]


def save(figure, file, dpi=120, description=None):
    """Writes the figure as PNG into a file, or under a path, where it is whole or not there.

    Equal figures give equal bytes. description: what the file says of itself.
    """
    target = contextlib.nullcontext(file) if hasattr(file, "write") else atomic_write(file)
    metadata = {"Software": None, "Description": description}
    with target as out:
        figure.savefig(out, format="png", dpi=dpi, metadata=metadata)
