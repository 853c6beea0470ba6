"""The words of error_budget.md: a template for `str.format`."""

# A template's lines are those of the file that it writes, so they may be long.
# ruff: noqa: E501

# The whole file.
BUDGET = """# The error budget of a trained network

Written by `{command}`.
{system}, {steps} steps on {data}. {images} of its test images, with noise of variance {noise_var:g}; {samples} samples
of each, seed 0. {versions}.

Assumed density filtering hands every layer a product of Gaussians. What really comes in is neither Gaussian nor
independent. Here samples of the noisy image go through the network as well, and after every layer ADF's variance is
compared with theirs: below 1 it is understated, above 1 overstated.

- *ADF / true*: of the variances of the layer's outputs, the median, and the range of nine in ten (every true variance
  is known to {noise:.0%} only, which widens that range).
- *mean*: median of abs(E[y] by ADF - true), in true standard deviations (the sampling alone makes {mean_noise:.3f}).
- The four causes, as factors (geometric means over the outputs; their product is the geometric mean of ADF / true):
  *inherited* from the layers before; the layer's *own approximation* (the tree of max pooling; 1 for all others); what
  comes in is *not Gaussian*; what comes in is *not independent*. The logarithm of a sampled variance is low by
  1 / samples, so for an exact layer the second reads {exact:.3f} and the third its inverse; otherwise sampling moves
  the factors by less than 0.01.

{table}

**At the logits** the variance by ADF is {median:.2g} times the true one in the median, {low:.2g} to {high:.2g} in nine
of ten. Is at least the *order* right? Over the pixels of these images, the standard deviation by ADF and the true one
have the rank correlation {rank:.3f} (Spearman).

![Above: the table as curves. Below: standard deviation of the logits of one image, ADF and sampled](error_budget.png)
"""
