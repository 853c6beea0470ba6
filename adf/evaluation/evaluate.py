"""A segmenter on held-out images: the table of metrics, and the figures."""

import time

import numpy as np
from tqdm import tqdm

from .. import figures
from ..files.tables import markdown_table
from ..inference.predict import concatenate, predict
from ..segmenter import Prediction
from .metrics import reliability
from .rankings import sparsification
from .scores import scores

CHUNK = 8  # images predicted between two movements of the progress bar
SHOWN = 4  # images in an overview


def evaluate(segmenter, samples, class_names, folder, name):
    """Predicts the samples and writes the figures into the folder  -> the metrics as Markdown."""
    prediction, seconds = predict_samples(segmenter, samples)
    row = {"data": name, "images": len(samples)}
    # Metrics need labels, and the count of boxes needs boxes: images may have either, both or none.
    labelled = [i for i, s in enumerate(samples) if s.labels is not None]
    if labelled:
        labels = np.stack([samples[i].labels for i in labelled])
        row |= _scored(labels, rows_of(prediction, labelled), class_names, folder)
    right, boxes = boxes_with_right_majority(samples, prediction.labels, len(class_names))
    if boxes:
        row["boxes right"] = f"{right} of {boxes}"
    row["ms per image"] = f"{1000 * seconds / len(samples):.0f}"
    picture = overview(samples, prediction, class_names, spread(len(samples)))
    figures.save(picture, folder / "overview.png")
    return markdown_table([{"": key, "value": value} for key, value in row.items()])


def _scored(labels, prediction, class_names, folder):
    """All metrics, a dict; their curves are written into the folder."""
    probabilities = prediction.probabilities
    calibration = reliability(labels, probabilities)
    ranking = sparsification(labels != prediction.labels, prediction.entropy)
    figures.save(figures.reliability(calibration), folder / "reliability.png")
    figures.save(figures.sparsification(ranking), folder / "sparsification.png")
    std = prediction.class_std.mean(axis=1)
    return scores(labels, probabilities, prediction.entropy, std, class_names)


def predict_samples(segmenter, samples):
    """The Prediction for all the samples, with progress, and the seconds it took."""
    parts = []
    seconds = 0.0
    with tqdm(total=len(samples), unit=" images", desc="predict") as bar:
        for start in range(0, len(samples), CHUNK):
            images = np.stack([s.image for s in samples[start : start + CHUNK]])[:, None]
            begin = time.perf_counter()
            parts.append(predict(segmenter, images))
            seconds += time.perf_counter() - begin
            bar.update(len(images))
    return concatenate(parts, np), seconds


def rows_of(prediction, rows):
    """The Prediction of some of its images."""
    return Prediction(*(None if field is None else field[list(rows)] for field in prediction))


def overview(samples, prediction, class_names, rows):
    """The four pictures of the slides for some of the samples; truth where all of them have it."""
    chosen = [samples[i] for i in rows]
    truth = [s.labels for s in chosen]
    return figures.overview(
        np.stack([s.image for s in chosen]),
        rows_of(prediction, rows),
        None if any(t is None for t in truth) else np.stack(truth),
        class_names,
        titles=[s.name for s in chosen],
    )


def spread(count):
    """Indices of up to SHOWN samples, evenly spread."""
    return [round(i) for i in np.linspace(0, count - 1, min(SHOWN, count))]


def boxes_with_right_majority(samples, labels, classes):
    """(how many bounding boxes are right, how many there are).

    A box is right if its class is the majority of the labels inside its inscribed ellipse. Samples
    without boxes or their classes do not count.
    """
    right = 0
    total = 0
    for sample, predicted in zip(samples, labels, strict=True):
        if sample.boxes is None or sample.box_classes is None:
            continue
        # The corners of a box are rarely part of its object, so the ellipse is looked at instead.
        for box, box_class in zip(sample.boxes, sample.box_classes, strict=True):
            inside = predicted[inscribed_ellipse(box, predicted.shape)]
            counts = np.bincount(inside, minlength=classes)
            right += int(counts.argmax() == box_class)
            total += 1
    return right, total


def inscribed_ellipse(box, shape):
    """The pixels (H, W) whose centres lie in the ellipse that touches the box from within.

    box: x0 y0 x1 y1.
    """
    x0, y0, x1, y1 = (float(edge) for edge in box)
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    across = (columns - (x0 + x1) / 2) / ((x1 - x0) / 2)
    down = (rows - (y0 + y1) / 2) / ((y1 - y0) / 2)
    return across**2 + down**2 <= 1
