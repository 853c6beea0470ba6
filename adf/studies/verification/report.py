"""The measurements as a table that says of itself how to read it."""

import platform
from typing import Any, NamedTuple

import mpmath
import numpy as np
import scipy
from tqdm import tqdm

from ... import backend, montecarlo
from ...backend import to_host
from ...files.tables import markdown_table
from . import contrast, measure, mistakes, pooling
from .cases import VERIFIED
from .measure import GRADIENT_BOUND, as_gaussian
from .text import HEAD

DTYPES = ("float32", "float64")  # every case is measured in both
SAMPLES = 1_000_000  # of every input, to compare sampled moments with
COLUMNS = (  # of the table, for `cells`
    "Layer",
    "Precision",
    "Inputs: values; μ/σ; σ",
    "Mean: error in ulp (of its bound)",
    "Variance: error in ulp (of its bound)",
    "Bound, ulp",
    "Samples: largest abs(z) (values)",
    "Gradient error",
    "Moments",
    "Status",
)


class Row(NamedTuple):
    """What was measured of one layer in one precision; None: there was nothing to measure."""

    name: str
    dtype: str
    inputs: str  # how many values, the range of mu / sigma, the range of sigma
    mean: Any  # measure.Accuracy
    var: Any  # measure.Accuracy
    formula: str  # the bound of both, in words
    z: Any  # the largest |z| against samples
    compared: int  # how many values were compared with samples
    gradient: Any  # the relative error
    moments: str  # exact, approximate or a formula

    def inside(self, z_bound):
        """Whether every measurement is within its bound; a NaN is not, for no `<=` holds for it."""
        measured = [(a.of_bound, 1) for a in (self.mean, self.var) if a is not None]
        measured += [(self.z, z_bound), (self.gradient, GRADIENT_BOUND[self.dtype])]
        return all(value is None or value <= bound for value, bound in measured)


class Report(NamedTuple):
    """VERIFICATION.md, and what the command line says of it."""

    text: str
    rows: int
    outside: list  # the names of the rows that are OUTSIDE a bound


def verify(samples=SAMPLES):
    """Measures every case in float32 and float64, with a progress bar  -> Report.

    The text is the same for the same versions on the same machine.
    """
    jobs = [(case, dtype) for case in VERIFIED for dtype in DTYPES]
    rows = [row(case, dtype, samples) for case, dtype in tqdm(jobs, desc="verify", unit=" rows")]
    # The more values are compared with samples, the larger is the z that chance alone explains.
    compared = sum(r.compared for r in rows)
    z_bound = montecarlo.bound(compared)
    outside = [f"{r.name} ({r.dtype})" for r in rows if not r.inside(z_bound)]
    costs = pooling.section()
    errors, wrong = contrast.section(mistakes.ROWS)
    outside += wrong
    count = len(rows) + len(mistakes.ROWS)
    text = _head(count, len(outside), samples, compared, z_bound)
    text += _table(COLUMNS, [cells(r, z_bound) for r in rows])
    for words, columns, contents in (costs, errors):
        text += words + _table(columns, contents)
    return Report(text, count, outside)


def _head(count, outside, samples, compared, z_bound):
    """The words before the first table."""
    return HEAD.format(
        count=count,
        outside=outside or "none",
        versions=_versions(),
        backend=backend.name,
        samples=samples,
        compared=compared,
        z_bound=z_bound,
        **GRADIENT_BOUND,
    )


def _versions():
    versions = {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "SciPy": scipy.__version__,
        "mpmath": mpmath.__version__,
    }
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def row(case, dtype, samples):
    """The Row of a case: its three measurements, where it has them."""
    wide = as_gaussian(case.wide(np.random.default_rng(1)), dtype)
    near = case.near(np.random.default_rng(2))
    mean, var, exact = measure.accuracy(case, wide, dtype)
    z = None
    compared = 0
    if case.sampled:
        z, compared = measure.sampling(case, as_gaussian(near, dtype), dtype, samples)
    # The inputs of the samples serve the gradients as well: they stay away from the far tails.
    return Row(
        name=case.name,
        dtype=dtype,
        inputs=f"{len(exact.mean):,}; {extent(wide)}",
        mean=mean,
        var=var,
        formula=exact.formula,
        z=z,
        compared=compared,
        gradient=measure.gradient(case, near, dtype) if case.differentiated else None,
        moments=_moments(case, exact),
    )


def _moments(case, exact):
    """What the layer's moments are, in the words of column 9."""
    if case.law:
        return "approximate, see below"
    if not case.is_exact:
        return "learned"
    return "formula" if exact.var is None else "exact"


def extent(x):
    """The range of mu / sigma, and the range of sigma."""
    mean = to_host(x.mean).astype("float64")
    sigma = np.sqrt(to_host(x.var).astype("float64"))
    z = mean / sigma
    return f"{z.min():.3g} to {z.max():.3g}; {sigma.min():.1g} to {sigma.max():.1g}"


def cells(r, z_bound):
    """A Row as the cells of the table, in the order of COLUMNS; a dash: nothing to measure."""

    def accuracy(a):
        return "-" if a is None else f"{a.error:.3g} ({a.of_bound:.2g})"

    # A row whose Accuracy, z or gradient is None was not measured in this respect.
    return (
        r.name,
        r.dtype,
        r.inputs,
        accuracy(r.mean),
        accuracy(r.var),
        r.formula,
        "-" if r.z is None else f"{r.z:.2f} ({r.compared})",
        "-" if r.gradient is None else f"{r.gradient:.1e}",
        r.moments,
        "inside" if r.inside(z_bound) else "**OUTSIDE**",
    )


def _table(columns, rows):
    return markdown_table([dict(zip(columns, row, strict=True)) for row in rows]) + "\n"
