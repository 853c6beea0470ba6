"""The pictures of a condition: what every system makes of the same images, and curves of all."""

import io

import numpy as np
from PIL import Image

from ... import figures, runs
from ...evaluation.evaluate import overview, spread
from ...evaluation.metrics import reliability
from ...evaluation.rankings import risk_coverage, sparsification
from ...files.atomic import atomic_write
from ...inference.predict import concatenate
from . import scores


def draw(out, folder, condition_name, real):
    """Four pictures of every system, three curves of all systems  -> their Markdown.

    folder: of the runs of a study, of which seed 0 is drawn.
    """
    name = f"{folder.name}-{condition_name}"
    curves = {"reliability": {}, "sparsification": {}, "risk_coverage": {}}
    lines = []
    for system in runs.SLIDES:
        run = runs.load(folder / f"{system}-0")
        source = runs.open_data(run, run.settings.data)
        conditions = scores.conditions(scores.labelled(source.test(0)), real)
        condition = next(c for c in conditions if c.name == condition_name)
        predictions, _ = scores.predict(run.segmenter, condition)
        # The pictures show a few images, the curves count all pixels.
        shown = spread(condition.samples)
        picture = _overview(condition.samples, predictions, source.class_names, shown)
        _save_small(picture, out / f"{name}-{system}.png")
        words = f"segmentation, errors and uncertainty of {len(shown)} images"
        lines.append(f"![{system}: {words}]({name}-{system}.png)")
        for kind, curve in _curves(condition.samples, predictions).items():
            curves[kind][system] = curve
    for kind, by_system in curves.items():
        figures.save(getattr(figures, kind)(by_system), out / f"{name}-{kind}.png", dpi=80)
        lines.append(f"![{kind.replace('_', ' and ')} of the three systems]({name}-{kind}.png)")
    return "\n\n".join(lines)


def _overview(samples, predictions, class_names, shown):
    """The overview of the images shown; where labels have unknown pixels, it shows no truth."""
    drawable = [
        s._replace(labels=None if scores.UNKNOWN in s.labels else s.labels)
        for s in (samples[i] for i in shown)
    ]
    prediction = concatenate([predictions[i] for i in shown], np)
    return overview(drawable, prediction, class_names, range(len(shown)))


def _curves(samples, predictions):
    """The curves over all pixels whose class is known, by the names of their figures."""
    pixels = scores.known_pixels([s.labels for s in samples], predictions)
    return {
        "reliability": reliability(pixels.labels, pixels.probabilities),
        "sparsification": sparsification(pixels.wrong, pixels.entropy),
        "risk_coverage": risk_coverage(pixels.wrong, pixels.entropy),
    }


def _save_small(figure, path):
    """Saves a figure in 256 colours: a quarter of the size, for nine of them lie in results/."""
    buffer = io.BytesIO()
    figures.save(figure, buffer, dpi=70)
    image = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    with atomic_write(path) as file:
        image.save(file, format="PNG")
