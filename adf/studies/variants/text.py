"""The words of variants.md: a template for `str.format`."""

# A template's lines are those of the file that it writes, so they may be long.
# ruff: noqa: E501

VARIANTS = """# Ways to true variances, measured side by side

Written by `python -m adf variants {command}`. The network was trained on {trained_on}; what its
variances had learned was taken from it. All variants learn from the same crops of its training images, the same true
moments of their logits, and the same random numbers. They are scored at the logits of {images} of its test images
against {samples} samples of each; *real*: of as many images of {data}, from which nothing was learned.

- *steps*: of learning. *seconds*: of a processor, for learning, without the true moments that all share.
- *price*: in passes of a deterministic network. *over true*, *nine in ten*, *rank*, *mean* and *worth* (in samples):
  as in [the error budget](../error_budget.md).
- *u* and *r* are the weights of Var[y] = A(u) Var[x] + (A(r) std[x])**2, *gates* stand behind batch norms
  (`adf/layers/free_variance.py`, `gate.py`). All begin with the gains of channels, by one pair of noisy copies of 8
  crops. Wide layers have at least half the channels of the widest; with a gate, at least a quarter.
- *One scalar a layer* is the idea of Calibrated Variance Propagation (Wieczorek et al., arXiv 2606.16214), adapted:
  there the noise is that of weights, here it is that of the input, and none of its laws for layers was taken over.
  Fitted: every layer's mean variance is that of a pair. Learned: at the logits, as all others.
- *Local losses*: every layer learns the variances of its own outputs, and no gradient goes back.
- *Linearised*: Var[y] = sum Var[x] (dy/dx)**2. A logit costs a pass forward and one backward, the price is that of all
  logits of an image; scored on {pixels} pixels, in brackets nine in ten of as many drawn from them.

{table}
"""
