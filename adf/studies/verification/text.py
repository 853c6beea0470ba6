"""The words of VERIFICATION.md around its three tables: templates for `str.format`."""

# A template's lines are those of the file that it writes, so they may be long.
# ruff: noqa: E501

# Before the table of all layers.
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
   Where weights are Gaussian (adf/layers/gaussian_weights.py), every sample meets weights of its own draw.
3. **Gradient** (column 8). float64: along random directions of E[x], of Var[x] and of each parameter, for a random
   upstream gradient, against fourth-order central differences: relative error, bound {float64:g}. float32: relative
   distance of the float32 gradients from the float64 ones, bound {float32:g}. The inputs are those of the samples.

Column 9. *exact*: E[y] and Var[y] are the true ones for independent Gaussian x (BatchNorm2d: for given m and total;
Add: for branches that share no input, else their covariance is left out). That y is then passed on as independent
Gaussians is the assumption of assumed density filtering, and is not measured here. *formula*: the head maps μ and σ² to
numbers by definition; there is no expectation to sample. *learned*: E[y] and Var[y] are what weights of their own say
(adf/layers/free_variance.py; q, S and Z: expected.py), random ones here. A dash: nothing to measure; running
statistics and the Dirichlet's moments are not trained through.

## The table

"""

# Before the table of `pooling`.
POOLING = """
## What max pooling by pairs costs

`MaxPool2d` takes maxima two at a time, and each winner enters the next pair as a Gaussian, which it is not: exact for
two inputs, an approximation for more. Beside it the exact law of the largest of n independent Gaussians, by a
one-dimensional integral. This is the size of the approximation, no error of the program, and has no bound.
First n standard normals, then {windows} random windows (μ from N(0, 1), σ from 0.32 to 3.2, evenly in log σ), each in
{orders} random orders. Change by the order: a window's largest variance divided by its smallest, less 1.

"""

# Before the table of `contrast`.
MISTAKES = """
## What can go wrong

Eleven errors of public ADF code, numbered as in tests/studies/test_known_errors.py. A row gives a naive rule, written from its
description in words, one input, and sets its variance, and that of this library, beside the true one. *Naive off by*: a
factor, the smallest where there are many values (∞: a variance of 0, or no finite one), or what stands there; in
brackets how much it must be: a rule that is less wrong makes the row OUTSIDE, for then it claims what is not so.
*Ours off by*: the largest error in ulp, in brackets its bound; a percentage where ours is an approximation.
Error 1 hangs on Φ: as (1 + erf) / 2 it has no digits in the lower tail; with SciPy's ndtr the first row would be off by
{ndtr}. Errors 2 and 3 do not: their rows use ndtr. Error 8 is in the standard deviation of a probability, which the
library does not compute: its head defines a Dirichlet, and is compared with that definition, like row 9's ratio.
In 11 ours is no better than the naive rule. Both are approximations; the error is to call one of them exact.

"""
