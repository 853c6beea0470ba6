"""The table of layers as tests use it: by name, with a random input."""

import numpy as np

from adf import Gaussian
from adf.backend import xp
from adf.layers.gradients import cast
from adf.studies.verification.cases import TESTED

CASES = {case.name: case for case in TESTED}
# Their forward takes the statistics of the batch, their predict running ones.
TWO_FACED = ("BatchNorm2d", "UNet, batch norm")


def make(name, dtype="float64", point=False):
    """The layer of a case, a random input, and whether its moments are exact.

    Variances are of every size; mean / sigma goes from -2 (so that of 20,000 samples several
    hundred pass a ReLU) to 4.
    """
    case = CASES[name]
    layer = case.build()
    rng = np.random.default_rng(7)
    if dtype == "float64":
        cast(layer, "float64")
    var = 10 ** rng.uniform(-2, 0.5, case.shape)
    mean = np.sqrt(var) * rng.uniform(-2, 4, case.shape)
    x = Gaussian(*(xp.asarray(f.astype(dtype)) for f in (mean, var)))
    return layer, Gaussian(x.mean) if point else x, case.is_exact
