"""What a trained network is asked, and how good its answers are.

It is asked for test images, the same with noise added or blurred, and real images that it was not
trained for.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize_scalar
from scipy.special import entr, softmax

from ...evaluation.evaluate import inscribed_ellipse, predict_samples
from ...evaluation.metrics import ece, nll
from ...evaluation.rankings import ause
from ...evaluation.scores import scores

NOISE = (0.1, 0.3)  # standard deviation of added noise, in units of the image's own
BLUR = (1, 2)  # standard deviation of a Gaussian blur, in pixels
UNKNOWN = -1  # a pixel whose class nobody knows


class Condition(NamedTuple):
    """Samples to predict."""

    name: str
    samples: list  # all with labels
    noise: float = 0.0  # the standard deviation of what is added
    noise_known: bool = False  # whether the network's input variance is raised to match
    data: str | None = None  # where the samples come from, if not from the data of the training
    blur: float = 0.0  # the standard deviation of what they are blurred with, before the noise


class Pixels(NamedTuple):
    """All pixels whose class is known, and what a network says of them: P pixels, K classes."""

    labels: np.ndarray  # (P,)
    probabilities: np.ndarray  # (P, K)
    entropy: np.ndarray  # (P,)
    std: np.ndarray  # (P,) the mean over the classes
    wrong: np.ndarray  # (P,) whether the called class is another one
    information: np.ndarray | None  # (P,) the mutual information, where there is one


def conditions(test, real=None, where=None):
    """All that a network of synthetic yeast is asked: a list of Condition.

    real: samples of the published format, or None; where: a name for what they are.
    """
    found = [Condition("test", test)]
    for noise in NOISE:
        for noise_known in (False, True):
            found.append(Condition(f"noise {noise:g}", test, noise, noise_known))
    # Real images have boxes, masks, or both; each kind of truth is a condition of its own.
    boxed = [s for s in real or [] if s.boxes is not None and s.box_classes is not None]
    boxed = [s._replace(labels=labels_from_boxes(s)) for s in boxed]
    for name, samples in (("boxes", boxed), ("masks", labelled(real or []))):
        if samples:
            found.append(Condition(name, samples, data=where))
    return found


def blurred_conditions(test):
    """The test images out of focus: a list of Condition."""
    return [Condition(f"blur {sigma:g}", test, blur=sigma) for sigma in BLUR]


def labelled(samples):
    """Those whose classes are known: no others are scored."""
    return [sample for sample in samples if sample.labels is not None]


def score(run, conditions, validation):
    """A row of metrics for every condition: list of dict.

    validation: the samples that fit the temperature.
    """
    rows = []
    settings = run.settings
    predictor = run.predictor()
    temperature = fit_temperature(predictor, labelled(validation))
    for condition in conditions:
        predictions, seconds = predict(predictor, condition)
        labels = [s.labels for s in condition.samples]
        # The columns of scores.csv; `told` is its name of `noise_known`.
        row = {"condition": condition.name, "told": condition.noise_known}
        row |= {"tested on": condition.data} if condition.data else {}
        row |= {"system": settings.system, "seed": settings.seed}
        row |= measure(labels, predictions, settings.class_names, temperature)
        rows.append(row | {"ms per image": 1000 * seconds / len(condition.samples)})
    return rows


def predict(segmenter, condition):
    """(a Prediction for each sample, seconds) for a condition, blur, noise and all.

    The segmenter is left as it was.
    """
    before = segmenter.noise_var
    if condition.noise_known:
        segmenter.noise_var = told_noise_var(before, condition.noise)
    try:
        samples = blurred(condition.samples, condition.blur)
        return _predictions(segmenter, noisy(samples, condition.noise))
    finally:
        segmenter.noise_var = before


def _predictions(segmenter, samples):
    predictions, seconds = zip(*predict_samples(segmenter, samples), strict=True)
    return predictions, sum(seconds)


def told_noise_var(noise_var, added):
    """The noise variance to tell a network, in units of the noisy image's variance.

    It is what was there and what is added; added: a standard deviation.
    """
    return (noise_var + added**2) / (1 + added**2)


def blurred(samples, sigma):
    """The samples with their images out of focus."""
    return [s._replace(image=ndimage.gaussian_filter(s.image, sigma)) for s in samples]


def noisy(samples, noise):
    """The samples with white noise on the images, the same for every network."""
    rng = np.random.default_rng(0)
    return [
        s._replace(image=s.image + noise * s.image.std() * rng.standard_normal(s.image.shape))
        for s in samples
    ]


def measure(labels, predictions, class_names, temperature=1.0):
    """The metrics over all pixels whose class is known: dict of float.

    labels, predictions: those of every image, which may be of different sizes. Metrics with a T
    behind are of the calibrated probabilities: tempered by the temperature.
    """
    truth, probabilities, entropy, std, wrong, information = known_pixels(labels, predictions)
    calibrated = tempered(probabilities, temperature)
    return scores(truth, probabilities, entropy, std, class_names, information) | {
        "temperature": temperature,
        "NLL T": nll(truth, calibrated),
        "ECE T": ece(truth, calibrated),
        "AUSE T": ause(wrong, entr(calibrated).sum(axis=1)),
    }


def known_pixels(labels, predictions):
    """The Pixels of all images where the class is known."""
    parts = [_known(truth, p) for truth, p in zip(labels, predictions, strict=True)]
    fields = zip(*parts, strict=True)
    return Pixels(*(None if f[0] is None else np.concatenate(f) for f in fields))


def _known(labels, prediction):
    """The Pixels of one image."""
    known = labels != UNKNOWN
    information = prediction.mutual_information
    return Pixels(
        labels[known],
        np.moveaxis(prediction.probabilities[0], 0, -1)[known],
        prediction.entropy[0][known],
        prediction.class_std[0].mean(axis=0)[known],
        prediction.labels[0][known] != labels[known],
        None if information is None else information[0][known],
    )


def tempered(probabilities, temperature):
    """softmax(logits / temperature), float64, from the probabilities (P, K) of temperature 1."""
    tiny = np.finfo("float32").smallest_normal
    return softmax(np.log(np.maximum(probabilities.astype("float64"), tiny)) / temperature, axis=1)


def fit_temperature(segmenter, samples):
    """The temperature of least NLL on these samples."""
    predictions, _ = _predictions(segmenter, samples)
    pixels = known_pixels([s.labels for s in samples], predictions)
    return best_temperature(pixels.labels, pixels.probabilities)


def best_temperature(labels, probabilities):
    """The temperature of least NLL.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, 4.2.
    """

    def loss(log_temperature):
        return nll(labels, tempered(probabilities, math.exp(log_temperature)))

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-3})
    return math.exp(best.x)


def labels_from_boxes(sample):
    """The classes (H, W) that the boxes determine, UNKNOWN elsewhere.

    It is a box's class inside its inscribed ellipse (a cell or trap fills most of it), and
    background outside all boxes. It is UNKNOWN where ellipses of two classes meet.
    """
    shape = sample.image.shape
    labels = np.full(shape, UNKNOWN)
    boxed = np.zeros(shape, bool)
    clash = np.zeros(shape, bool)
    for box, box_class in zip(sample.boxes, sample.box_classes, strict=True):
        inside = inscribed_ellipse(box, shape)
        boxed |= inside
        clash |= inside & (labels != UNKNOWN) & (labels != box_class)
        labels[inside] = box_class
        # A pixel that a box only touches may belong to its object: it is no background.
        x0, y0, x1, y1 = (max(0, int(edge)) for edge in (*np.floor(box[:2]), *np.ceil(box[2:])))
        boxed[y0:y1, x0:x1] = True
    labels[clash] = UNKNOWN
    return np.where(boxed, labels, 0)
