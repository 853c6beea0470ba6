"""A segmenter on held-out images, of any sizes: the table of metrics, and the figures."""

import csv
import io
import itertools
import math
import time
from collections import Counter

import numpy as np
from tqdm import tqdm

from .. import figures
from ..files.atomic import atomic_write
from ..files.tables import markdown_table
from ..inference.predict import concatenate, predict
from ..segmenter import Prediction
from .scores import Tally

CHUNK = 8  # images of one size that are predicted at once,
CHUNK_PIXELS = 1 << 19  # or fewer, if they have more pixels
SHOWN = 4  # images in an overview


def evaluate(segmenter, samples, class_names, folder, name):
    """Predicts the samples, writes table and figures into the folder  -> the table as Markdown.

    Whole images are measured, all pixels alike. The table is there as metrics.csv and metrics.md,
    too, and that before anything is drawn.
    """
    tally = Tally()
    right = 0
    boxes = 0
    seconds = 0.0
    shown = spread(samples)
    kept = {}
    # Of a prediction its counts are kept, and of a few images what is drawn.
    for i, (p, taken) in enumerate(predict_samples(segmenter, samples)):
        sample = samples[i]
        if sample.labels is not None:
            ranks = p.entropy, p.class_std.mean(axis=1), p.mutual_information
            tally.add(sample.labels[None], p.probabilities, *ranks)
        found = boxes_with_right_majority([sample], p.labels, len(class_names))
        right += found[0]
        boxes += found[1]
        seconds += taken
        if i in shown:
            kept[i] = p
    row = _about(samples, name) | (tally.scores(class_names) if tally else {})
    row |= {"boxes right": f"{right} of {boxes}"} if boxes else {}
    table = _write(row | {"ms per image": f"{1000 * seconds / len(samples):.0f}"}, folder)
    _draw(tally, [samples[i] for i in shown], [kept[i] for i in shown], class_names, folder)
    return table


def _about(samples, name):
    """The first rows of the table: what was measured."""
    row = {"data": "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(name))}
    row["images"] = len(samples)
    # What is measured on images of the training says little of others, so it has to be said.
    trained_on = sum(sample.trained_on for sample in samples)
    row |= {"of these trained on": trained_on} if trained_on else {}
    labelled = sum(sample.labels is not None for sample in samples)
    row |= {"of these with labels": labelled} if 0 < labelled < len(samples) else {}
    return row


def _write(row, folder):
    """metrics.csv, with all digits, and metrics.md  -> the text of the latter."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("metric", "value"), *row.items()])
    table = markdown_table([{"": key, "value": value} for key, value in row.items()])
    for file_name, content in (("metrics.csv", text.getvalue()), ("metrics.md", table + "\n")):
        with atomic_write(folder / file_name) as file:
            file.write(content.encode())
    return table


def _draw(tally, samples, predicted, class_names, folder):
    """The curves of all labelled pixels, and the pictures of some samples of one size."""
    if tally:
        figures.save(figures.reliability(tally.reliability()), folder / "reliability.png")
        figures.save(figures.sparsification(tally.sparsification()), folder / "sparsification.png")
    picture = overview(samples, concatenate(predicted, np), class_names, range(len(samples)))
    figures.save(picture, folder / "overview.png")


def predict_samples(segmenter, samples):
    """Yields (Prediction, seconds) for one sample after the other, with progress."""
    with tqdm(total=len(samples), unit=" images", desc="predict") as bar:
        for chunk in _chunks(samples):
            images = np.stack([s.image for s in chunk])[:, None]
            begin = time.perf_counter()
            prediction = predict(segmenter, images)
            seconds = time.perf_counter() - begin
            for i in range(len(chunk)):
                yield rows_of(prediction, [i]), seconds / len(chunk)
            bar.update(len(chunk))


def _chunks(samples):
    """Neighbours of one size, a few at a time: together they keep all cores busy."""
    start = 0
    while start < len(samples):
        shape = samples[start].image.shape
        most = max(1, min(CHUNK, CHUNK_PIXELS // math.prod(shape)))
        alike = itertools.takewhile(
            lambda s, shape=shape: s.image.shape == shape, samples[start : start + most]
        )
        yield (chunk := list(alike))
        start += len(chunk)


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


def spread(samples):
    """Indices of up to SHOWN samples, evenly spread over those of the most frequent size."""
    shapes = [sample.image.shape for sample in samples]
    frequent = Counter(shapes).most_common(1)[0][0]
    alike = [i for i, shape in enumerate(shapes) if shape == frequent]
    places = np.linspace(0, len(alike) - 1, min(SHOWN, len(alike)))
    return [alike[round(place)] for place in places]


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

    box: x0 y0 x1 y1. A box so small that there is none has the pixel in which its own centre lies.
    """
    x0, y0, x1, y1 = (float(edge) for edge in box)
    x = (x0 + x1) / 2
    y = (y0 + y1) / 2
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    # A box without width or height has no ellipse to divide by.
    inside = np.zeros(shape, bool)
    if x1 != x0 and y1 != y0:
        across = (columns - x) / ((x1 - x0) / 2)
        down = (rows - y) / ((y1 - y0) / 2)
        inside = across**2 + down**2 <= 1
    if not inside.any() and 0 <= y < shape[0] and 0 <= x < shape[1]:
        inside[int(y), int(x)] = True
    return inside
