"""Images that no training saw: does a network doubt them more than the images of its test?

An image's score is the mean over its TOP most doubtful pixels, by entropy or by mutual information.
How well it tells strange images from those of the test is its AUROC: the chance that a random
strange image has the higher score, with the 95 % interval of a bootstrap over images. An AUROC
below 0.5 says that the network is surer of what it has never seen.

Source: Hendrycks & Gimpel, ICLR 2017, for the question and the AUROC, there of whole images.
"""

import numpy as np
from scipy import ndimage

from ..evaluation.evaluate import predict_samples
from ..evaluation.rankings import auroc

MOST = 64  # images of a set, so that twenty networks are asked in minutes
TOP = 0.1  # the share of an image's pixels that its score is the mean of
BLUR = 8.0  # px, of the strong blur
RESAMPLED = 1000  # times
SEED = 0  # of the noise, and of the bootstrap


def changed(image, rng):
    """name -> what becomes of a test image (H, W), of the same size."""
    half = ndimage.zoom(image, 0.5, order=1)
    twice = ndimage.zoom(image, 2, order=1)
    return {
        "noise only": rng.standard_normal(image.shape).astype(image.dtype),
        "inverted contrast": -image,
        "half the size": fitted(half, image.shape),
        "twice the size": fitted(twice, image.shape),
        "strong blur": ndimage.gaussian_filter(image, BLUR),
    }


def strange_sets(samples, others=(), name="other images"):
    """name -> samples: `test` images; these, changed; and real ones of another kind, `others`.

    Of each there are MOST at most. The others are cut or reflected to the size of the first image.
    """
    rng = np.random.default_rng(SEED)
    sets = {"test": samples[:MOST]}
    for sample in samples[:MOST]:
        for kind, image in changed(sample.image, rng).items():
            sets.setdefault(kind, []).append(sample._replace(image=image, labels=None))
    if others:
        shape = samples[0].image.shape
        sets[name] = [s._replace(image=fitted(s.image, shape)) for s in others[:MOST]]
    return sets


def fitted(image, shape):
    """The middle of an image, in this shape; a smaller one is reflected at its edges."""
    missing = [max(0, n - have) for n, have in zip(shape, image.shape, strict=True)]
    image = np.pad(image, [(n // 2, n - n // 2) for n in missing], "symmetric")
    starts = [(have - n) // 2 for n, have in zip(shape, image.shape, strict=True)]
    return image[tuple(slice(start, start + n) for start, n in zip(starts, shape, strict=True))]


def scores(predictor, samples):
    """Of each image its score by entropy and by mutual information, None where there is none."""
    found = []
    for prediction, _ in predict_samples(predictor, samples):
        information = prediction.mutual_information
        row = {"entropy": score(prediction.entropy[0])}
        found.append(row | {"MI": None if information is None else score(information[0])})
    return found


def score(doubt):
    """The mean of the TOP largest of a map (H, W)."""
    count = max(1, round(TOP * doubt.size))
    return float(np.sort(doubt, axis=None)[-count:].mean(dtype="float64"))


def told_apart(known, strange):
    """(AUROC, low, high): of scores of strange images above those of known ones, (m,) and (n,).

    Of as many images the strange ones are taken for the known ones, changed: each is drawn with its
    original. (Where they are not, that is as good as drawing both kinds by themselves.)
    """
    is_strange = np.repeat([False, True], [len(known), len(strange)])
    value = auroc(is_strange, np.concatenate([known, strange]))
    # Every pair of images once; a draw takes rows and columns of that table.
    above = (strange[:, None] > known) + (strange[:, None] == known) / 2
    rng = np.random.default_rng(SEED)
    again = []
    for _ in range(RESAMPLED):
        columns = rng.integers(len(known), size=len(known))
        is_paired = len(strange) == len(known)
        rows = columns if is_paired else rng.integers(len(strange), size=len(strange))
        again.append(above[rows][:, columns].mean())
    return value, *map(float, np.quantile(again, (0.025, 0.975)))
