"""The words around the tables of report.py: templates for `str.format`."""

FLIPS = """
## {run}: which pixels change their label when the noise is drawn anew?

{copies} noisy copies of each of {images} test images say what happens. The label is that of most
copies; the chance that a copy gives another follows from the logits' Gaussians. "over observed" is
the predicted number of such flips over the observed one; AUROC, how well the chance ranks those
that flip; Brier, the squared error of the chance in units of that of one chance for all pixels (0
is perfect). In brackets: 95 % intervals, images resampled.

{table}
"""

ERRORS = """
Are the pixels that are wrong those that are unsure? {images} test images; both networks have the
same weights for the means, and a head fitted alike to its own variances. AUSE and AUROC rank by
entropy, or by the standard deviation ("std"). Learned less plain, with the same kind of interval:

{table}
"""

SEEDS = """
## Over the runs

Learned less plain ADF, mean over the runs and its 95 % interval (Student's t):

{table}
"""

TOLD = """
## Does it help to be told how noisy an image is?

White noise of a standard deviation drawn for each image, log-uniformly from {least:g} to
{most:g} of its own, is added to synthetic images. From the weights of each run, {steps} steps of
{batch} crops of {crop} x {crop} pixels are learned four times, with the same images and learning
rates: by a deterministic network; by ADF that is told the mean variance, {mean_var:.3g}; by ADF
that is told each image's own; and from there by {learning} steps for the weights of its variances.
All heads are fitted on the same {pool} crops. They are scored on {images} test images with the
noise of each column: means over the runs, and differences with their 95 % intervals (Student's t).

{tables}
"""

REAL = """
## Does it help to learn the variances on the real images, without their labels?

The runs as they were trained, and after `adf calibrate RUN --data {data}`. *masks* are of the
images that have some, *boxes* is what the others' boxes determine (`adf compare`). Means over the
runs, and the difference with its 95 % interval (Student's t) where there are several runs:

{table}
"""
