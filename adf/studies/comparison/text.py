"""The words of results/README.md: a template for `str.format`."""

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
