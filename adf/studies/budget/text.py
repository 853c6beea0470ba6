"""The words of error_budget.md: templates for `str.format`."""

# A template's lines are those of the file that it writes, so they may be long.
# ruff: noqa: E501

# The head of the file.
BUDGET = """# The error budget of a trained network

Written by `{command}`.
{system}, {steps} on {trained_on}. {images} of the test images of {data}, those with the most classes
first (of larger ones the middle {side} x {side}), with noise {claimed}; {samples} samples of each, seed 0. {versions}.

Assumed density filtering hands every layer a product of Gaussians. What really comes in is neither Gaussian nor
independent. Here samples of the noisy image go through the network as well, and their variances are the true ones. In
all tables:

- *over true*: variance / true variance, the median over the outputs, and the range of *nine in ten*: below 1 it is
  understated, above 1 overstated. Every true variance is known to {noise:.0%} only, which widens that range; that the
  logarithm of a sampled variance is low on average has been taken off.
- *rank*: the rank correlation (Spearman) of the variances with the true ones over the pixels, the mean over channels
  and images. Is at least their order right?
- *mean*: median of abs(E[y] - true), in true standard deviations (the true mean's own sampling makes {mean_noise:.2f}).
- *worth*: how many samples such a variance is worth. The logarithm of a variance of K samples has the variance
  trigamma((K - 1) / 2), near 2 / (K - 1); here K comes from the variance of log(variance / true) over the outputs, less
  what the true variance's own {samples} samples make of it. A common factor costs nothing here: *over true* tells of it.
"""

# What ADF and samples are worth at the logits, and what they cost.
WORTH = """
## At the logits: what is a variance worth, and what does it cost?

*price*: in passes of a deterministic network, for ADF the median of {rounds} ratios of times; samples cost their number.
Orthogonal samples: `adf.montecarlo.sampled_output`.

{rivals}

![Worth in samples against price in passes, both on logarithmic axes](error_budget_worth.png)

## Layer by layer

Four causes, as factors (geometric means over the outputs; their product is the geometric mean of ADF / true):
*inherited* from the layers before; the layer's *own approximation* (the tree of max pooling; 1 for all others); what
comes in is *not Gaussian*; what comes in is *not independent*. Sampling moves a factor by about {bias:.1g}.
"""

# The tables, where the variances have no weights of their own.
NOT_LEARNED = """
{table}
"""

# The tables, where they have some.
LEARNED = """
This network's variances have weights of their own, learned from noisy copies, for inputs that are not
independent. The last cause is *learned weights*, then: the product of what dependence takes away and of what they put
in its place, 1 where they make up for it.

{learned}

The same network and the same samples, without the learned weights, Var[y] = A(w**2) Var[x], plain ADF:

{plain}
"""

# The end of the file.
PICTURE = """
![Above: the table as curves. Below: standard deviation of the logits of one image, ADF and sampled](error_budget.png)
"""

# Small networks at both weights of the density.
TWO_WEIGHTS = """
## The weight of the density in the loss

U-Nets of widths {widths}, {steps} steps on {trained_on}, with plain ADF's variances (`--seeds {seeds}`). The loss gives
the density of the Dirichlet the weight w; at w = 1 it is that of Gast & Roth (`adf.Segmenter`). Scored at the logits of
{images} test images against {samples} samples of each; *real*: of {data}.

{table}
"""
