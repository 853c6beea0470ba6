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

DTYPES = ("float32", "float64")

SAMPLES = 1_000_000

HEAD = """# Every layer, verified

Written by `python -m adf verify`, which exits with 1 where a row is OUTSIDE a bound. {count} rows, {outside} outside.
{versions}; backend {backend}; float32 and float64; {samples:,} samples; fixed seeds.
The same versions on the same machine write the same file; elsewhere the last digits of the errors differ.

## How to read it

A row is one layer in one precision. Its input is x = N(μ, σ²), independent for every element; t and s below belong to a
pair a, b of Gaussians: t = |μa - μb| / s, s² = σa² + σb². Three things are measured, each with its bound:

1. **Exact arithmetic** (columns 3 to 6). The mean and the variance that the layer computes, against the closed form or
   the exact sum in 60 digits, for the inputs of column 3: how many values, the range of μ/σ, the range of σ.
   Shown is the largest error in ulp, units of 2⁻²³ (float32) or 2⁻⁵² (float64) of the reference size; in brackets the
   largest error as a fraction of the bound of column 6: above 1 is OUTSIDE. Bounds are per value and grow in a tail,
   where exp(-t²/2) of a rounded t must lose t² ulp, and for two large means, whose difference is rounded; so the two
   figures may belong to different inputs (MaxPool2d: some windows lie 10⁴ σ from 0).
   The reference size is the true value itself for all variances, for E[p], and for the mean of slope 0.
   Other means may cross zero, and their error is relative to what went in:

   | Layer | The mean's error is relative to |
   |---|---|
   | LeakyReLU, slope not 0 | abs(E[y]) + 0.3 σ |
   | linear layers, poolings by average, Upsample, Concat, Add | Σ abs(wᵢ μᵢ) + abs(b); n: terms of the longest sum |
   | MaxPool2d | Σ (abs(μᵢ) + σᵢ) over the window; here the reference is the same tree of pairs, in 60 digits |
   | BatchNorm2d, k = scale / √(total + eps) | abs(k) (abs(μ) + abs(m)) + abs(shift); n: values of the batch |
   | Dropout | abs(μ) + σ |
   | Dirichlet head | largest abs(μ) + abs(log Σ exp μ) + abs(log s) + 1 with the head's s; float64 for any input |
   | Dirichlet likelihood | the sum of the absolute values of its terms; float64 for any input |

2. **Samples** (column 7). {samples:,} draws of x, each pushed through the same layer as a point mass, with σ from 0.1
   to 2 and μ/σ from -3 to 4 (max pooling: -1 to 1), so that every event that matters happens more than 200 times.
   abs(z) is the largest difference between the layer's mean or variance and the sample's, in standard errors; in
   brackets, how many values were compared. Bound: {z_bound:.2f}, which true moments would exceed in one of 10⁹ such
   files (Bonferroni, {compared:,} values). Where a layer is approximate, it is the true law by quadrature that is
   compared with the samples; the layer's distance from it is in the second table.
   E[p] and Var[p] are compared with draws of p from the Dirichlet (logits: μ/σ from -2 to 2, σ from 0.1 to 1).
3. **Gradient** (column 8). float64: along random directions of E[x], of Var[x] and of each parameter, for a random
   upstream gradient, against fourth-order central differences: relative error, bound {float64:g}. float32: relative
   distance of the float32 gradients from the float64 ones, bound {float32:g}. The inputs are those of the samples.

Column 9. *exact*: E[y] and Var[y] are the true ones for independent Gaussian x (BatchNorm2d: for given m and total;
Add: for branches that share no input, else their covariance is left out). That y is then passed on as independent
Gaussians is the assumption of assumed density filtering, and is not measured here. *formula*: the head maps μ and σ² to
numbers by definition; there is no expectation to sample. A dash: nothing to measure; running statistics and the
Dirichlet's moments are not trained through.

## The table

"""

COLUMNS = (
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
    name: str
    dtype: str
    inputs: str
    mean: Any
    var: Any
    formula: str
    z: Any
    compared: int
    gradient: Any
    moments: str

    def inside(self, z_bound):
        """Written so that a NaN is outside."""
        measured = [(a.of_bound, 1) for a in (self.mean, self.var) if a is not None]
        measured += [(self.z, z_bound), (self.gradient, GRADIENT_BOUND[self.dtype])]
        return all(value is None or value <= bound for value, bound in measured)


class Report(NamedTuple):
    text: str
    rows: int
    outside: list  # their names


def verify(samples=SAMPLES):
    """Measures every case in float32 and float64; a progress bar; the same text for the same versions and machine."""
    bar = tqdm(
        [(case, dtype) for case in VERIFIED for dtype in DTYPES], desc="verify", unit=" rows"
    )
    rows = [row(case, dtype, samples) for case, dtype in bar]
    compared = sum(r.compared for r in rows)
    z_bound = montecarlo.bound(compared)
    outside = [f"{r.name} ({r.dtype})" for r in rows if not r.inside(z_bound)]
    costs, (errors, wrong) = pooling.section(), contrast.section(mistakes.ROWS)
    count, outside = len(rows) + len(mistakes.ROWS), outside + wrong
    head = HEAD.format(
        count=count,
        outside=len(outside) or "none",
        versions=f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"mpmath {mpmath.__version__}",
        backend=backend.name,
        samples=samples,
        compared=compared,
        z_bound=z_bound,
        **GRADIENT_BOUND,
    )
    text = head + _table(COLUMNS, [cells(r, z_bound) for r in rows])
    text += "".join(text + _table(columns, cells) for text, columns, cells in (costs, errors))
    return Report(text, count, outside)


def row(case, dtype, samples):
    wide = as_gaussian(case.wide(np.random.default_rng(1)), dtype)
    near = case.near(np.random.default_rng(2))
    mean, var, exact = measure.accuracy(case, wide, dtype)
    z, compared = (
        measure.sampling(case, as_gaussian(near, dtype), dtype, samples)
        if case.sampled
        else (None, 0)
    )
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
        moments="approximate, see below"
        if case.law
        else "formula"
        if exact.var is None
        else "exact",
    )


def extent(x):
    mean, sigma = to_host(x.mean).astype("float64"), np.sqrt(to_host(x.var).astype("float64"))
    z = mean / sigma
    return f"{z.min():.3g} to {z.max():.3g}; {sigma.min():.1g} to {sigma.max():.1g}"


def cells(r, z_bound):
    def accuracy(a):
        return "-" if a is None else f"{a.error:.3g} ({a.of_bound:.2g})"

    z = "-" if r.z is None else f"{r.z:.2f} ({r.compared})"
    gradient = "-" if r.gradient is None else f"{r.gradient:.1e}"
    status = "inside" if r.inside(z_bound) else "**OUTSIDE**"
    return (
        r.name,
        r.dtype,
        r.inputs,
        accuracy(r.mean),
        accuracy(r.var),
        r.formula,
        z,
        gradient,
        r.moments,
        status,
    )


def _table(columns, rows):
    return markdown_table([dict(zip(columns, row, strict=True)) for row in rows]) + "\n"
