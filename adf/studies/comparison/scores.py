"""What a trained network is asked: test images, the same with noise added, real images that it was not trained for."""

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import entr, softmax

from ...evaluation.evaluate import inscribed_ellipse, predict_samples
from ...evaluation.metrics import ece, nll
from ...evaluation.rankings import ause
from ...evaluation.scores import scores

NOISE = (0.1, 0.3)  # standard deviation of added noise, in units of the image's own
UNKNOWN = -1  # a pixel whose class nobody knows


class Condition(NamedTuple):
    """Samples to predict. noise: the standard deviation of what is added; told: whether the network's input variance
    is raised to match."""

    name: str
    samples: list
    noise: float = 0.0
    told: bool = False


def conditions(test, real=None):
    """All that a network of synthetic yeast is asked; real: samples of the published format, or None."""
    asked = [Condition("test", test)]
    for noise in NOISE:
        asked += [Condition(f"noise {noise:g}", test, noise, told) for told in (False, True)]
    if real:
        asked.append(
            Condition(
                "boxes",
                [s._replace(labels=labels_from_boxes(s)) for s in real if s.boxes is not None],
            )
        )
        asked.append(Condition("masks", [s for s in real if s.labels is not None]))
    return asked


def score(run, asked, validation):
    """A row of metrics for every condition: list of dict. validation: the samples that fit the temperature."""
    rows, temperature = [], fit_temperature(run.segmenter, validation)
    for condition in asked:
        if condition.told and run.settings.noise_var is None:
            continue  # a deterministic network cannot be told
        prediction, seconds = predict(run.segmenter, condition)
        labels = np.stack([s.labels for s in condition.samples])
        row = {"condition": condition.name, "told": condition.told, "system": run.settings.system}
        row |= {
            "seed": run.settings.seed,
            **measure(labels, prediction, run.settings.class_names, temperature),
        }
        rows.append(row | {"ms per image": 1000 * seconds / len(condition.samples)})
    return rows


def predict(segmenter, condition):
    """(Prediction, seconds) for the samples of a condition, noise and all; the segmenter is left as it was."""
    before = segmenter.noise_var
    if condition.told:
        segmenter.noise_var = told_noise_var(before, condition.noise)
    try:
        return predict_samples(segmenter, noisy(condition.samples, condition.noise))
    finally:
        segmenter.noise_var = before


def told_noise_var(noise_var, added):
    """What was there and what is added (a standard deviation), in units of the noisy image's variance."""
    return (noise_var + added**2) / (1 + added**2)


def noisy(samples, noise):
    """The samples with white noise on the images, the same for every network."""
    rng = np.random.default_rng(0)
    return [
        s._replace(image=s.image + noise * s.image.std() * rng.standard_normal(s.image.shape))
        for s in samples
    ]


def measure(labels, prediction, class_names, temperature=1.0):
    """The metrics over all pixels whose class is known: dict of float; with a T behind, of tempered probabilities."""
    truth, probabilities, entropy, std, wrong = known_pixels(labels, prediction)
    calibrated = tempered(probabilities, temperature)
    return scores(truth, probabilities, entropy, std, class_names) | {
        "temperature": temperature,
        "NLL T": nll(truth, calibrated),
        "ECE T": ece(truth, calibrated),
        "AUSE T": ause(wrong, entr(calibrated).sum(axis=1)),
    }


def known_pixels(labels, prediction):
    """Where the class is known: classes (P,), probabilities (P, K), entropy, mean standard deviation, wrong (P,)."""
    known = labels != UNKNOWN
    probabilities, std = (
        np.moveaxis(prediction.probabilities, 1, -1)[known],
        prediction.class_std.mean(axis=1)[known],
    )
    return (
        labels[known],
        probabilities,
        prediction.entropy[known],
        std,
        prediction.labels[known] != labels[known],
    )


def tempered(probabilities, temperature):
    """softmax(logits / temperature) from the probabilities (pixels, K) of temperature 1, float64."""
    tiny = np.finfo("float32").smallest_normal
    return softmax(np.log(np.maximum(probabilities.astype("float64"), tiny)) / temperature, axis=1)


def fit_temperature(segmenter, samples):
    prediction, _ = predict_samples(segmenter, samples)
    probabilities = np.moveaxis(prediction.probabilities, 1, -1).reshape(
        -1, prediction.probabilities.shape[1]
    )
    return best_temperature(np.stack([s.labels for s in samples]).ravel(), probabilities)


def best_temperature(labels, probabilities):
    """The temperature of least NLL. Source: Guo et al., On calibration of modern neural networks, ICML 2017, 4.2."""

    def loss(log_temperature):
        return nll(labels, tempered(probabilities, math.exp(log_temperature)))

    return math.exp(
        minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-3}).x
    )


def labels_from_boxes(sample):
    """(H, W): a box's class inside its inscribed ellipse (a cell or trap fills most of it), background outside all
    boxes, UNKNOWN elsewhere and where ellipses of two classes meet."""
    shape = sample.image.shape
    labels, boxed, clash = np.full(shape, UNKNOWN), np.zeros(shape, bool), np.zeros(shape, bool)
    for box, box_class in zip(sample.boxes, sample.box_classes, strict=True):
        inside = inscribed_ellipse(box, shape)
        clash |= inside & (labels != UNKNOWN) & (labels != box_class)
        labels[inside] = box_class
        x0, y0, x1, y1 = (max(0, int(edge)) for edge in (*np.floor(box[:2]), *np.ceil(box[2:])))
        boxed[y0:y1, x0:x1] = True
    labels[clash] = UNKNOWN
    return np.where(boxed, labels, 0)
