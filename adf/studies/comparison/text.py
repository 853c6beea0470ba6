"""The words of results/README.md and methods.md: templates for `str.format`."""

# A template's lines are those of the file that it writes, so they may be long.
# ruff: noqa: E501

# The whole file.
COMPARISON = """# Three systems, measured side by side

Written by `{command}` on {machine}.
{networks} networks, {minutes:.0f} minutes of training. {seeds}. The table of all scores: [scores.csv](scores.csv).

## The systems

{systems}

All are trained with Adam on batches of 8, the learning rate rising for {warm_up} steps and falling along half a
cosine. Images are mirrored left to right (nuclei: any symmetry of the square) and given a random gamma. The settings
were chosen on the validation images of (a), below; nothing was chosen on (b) or (c).

Dice and IoU are means over the classes, from counts over all pixels. AUSE, AURC and AUROC rank the pixels by the
entropy of the mean probabilities; *AUSE std* by the standard deviation of the class probabilities, the mean over the
classes (of the Dirichlet; of a softmax, sqrt(p (1 - p))). *T*: of softmax(logits / T), with the temperature T that has
the least NLL on the validation images of the same data. Every metric: `adf/evaluation/metrics.py` and `adf/evaluation/rankings.py`.

{sections}

## Noise

White noise is added to the test images of (a); *sigma* is its standard deviation in units of the image's own. *told*:
the network's input variance is set to the true one, which a deterministic network cannot be told.

{noise}

![Four metrics against the noise](noise.png)

## Tuning

`python -m adf compare --tune`: {tuning_steps} steps on the training images of (a), scored on its validation images.
Each row changes one thing, or two, in where the search started: {start}.
Chosen is the row of least {criterion} of each system. Noise variance 0 and density weight 0 are not chosen from: they
are there to find out what makes a difference, [discussion.md](discussion.md). All settings and scores:
[tuning.csv](tuning.csv).

{tuning}

## The claims of the slides

Means over the seeds; then their difference, with the 95 % interval of Student's t over paired seeds where there are
several. A claim holds if the means say so; beyond its interval is what is not put down to the seeds.

{claims}

What lies behind these numbers, and what was tried: [discussion.md](discussion.md).
"""

# The file of `adf compare --methods`.
METHODS = """# Doubt about the weights, side by side

Written by `{command}` on {machine}.
One network of each system, seed 0, so nothing is known of the scatter over seeds: differences of the size of those in
the comparison over seeds ([README.md](README.md)) say nothing. All scores: [methods.csv](methods.csv).

All are trained on the same 296 synthetic images, {steps} and scored on {images} others.
*unet-bn* is deterministic, *adf-unet* knows noise in its input. The others doubt their weights: a deep ensemble of 5, Monte Carlo dropout, SWAG and Bayes by
Backprop with 20 draws each, and Gaussian weights in closed form (*unet-weights*), one pass. *T*: after temperature
scaling on the validation images. AUSE and AUROC rank wrong pixels by entropy, those *MI* by mutual information: what a
Dirichlet leaves open, or in what members differ. A mixture of calibrated members is underconfident, so its ECE may rise
while its NLL falls: compare the columns *T*.

## The test images

{test}

## Under shift

White noise of a standard deviation in units of the image's own is added (*told*: the network's input variance says so);
or the images are blurred by a Gaussian whose standard deviation is in pixels.

{shift}

## Out of distribution

Sets of {most} images or fewer that no training saw, of the test images or in place of them: noise only, inverted
contrast, objects of half or twice the size, a blur of {blur:g} px, and images of another kind where a folder was given.
An image's score is the mean of the {top} of its pixels with most entropy, or most mutual information. The AUROC is
the chance that a strange image scores higher than one of the test, with the 95 % interval of a bootstrap over images;
below 0.5 the network is surer of what it never saw.

{strange}

## Cost

Minutes are those on the clock.
The price of an image is its processor time over that of *unet-bn*. Numbers kept are weights, running averages and what
a method keeps beside them to predict, without what optimizers remember.

{cost}

An ensemble of ADF networks doubts noise and weights at once: by the law of total variance the variance of a class
probability is the mean of its members' own variances plus the variance of their means (`variances` in
`adf/inference/pooled.py`).
"""
