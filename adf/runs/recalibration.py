"""`adf calibrate RUN`: the weights of the variances are learned anew, on anyone's images."""

import dataclasses
import io
import shutil

import numpy as np
from tqdm import tqdm

from ..backend import default_rng
from ..data.folder import parts
from ..data.source import open_source
from ..files.image_file import read_image
from ..files.together import check_writable
from ..inference.inputs import find_images
from . import calibrating, log
from .opening import open_data, prepare


class Pictures:
    """Images without labels, (H, W) of any sizes, as a source of calibration."""

    def __init__(self, images):
        self.images = images

    def training(self, step, size, seed):
        """So many of them, each (1, H, W), and no labels: a function of step, size and seed."""
        rng = default_rng((seed, step, calibrating.STREAM + 1))
        chosen = rng.permutation(np.arange(size) + rng.integers(len(self.images)))
        return [self.images[i % len(self.images)][None] for i in chosen], None


def open_pictures(data):
    """The source that a text names: synthetic images; a folder of a data set; or of plain images.

    A file or a pattern will do, too. Raises ValueError where there is no image.
    """
    if str(data).partition(":")[0] == "synthetic":
        return open_source(data)
    found = [f / kind for kind in ("images", "inputs") for f in parts(data, kind).values()]
    images, _ = find_images([f for f in found if f.parent.name != "test"] or found or [data])
    return Pictures([read_image(path) for path in images])


def recalibrate(run, data, steps, out=None):
    """Learns the weights of the variances of a trained run anew.

    data: as of `open_pictures`; None: what the run was trained on. out: a folder for the new run;
    None: the run's own. Nothing is written before the end. Raises ValueError on a run without noise
    or whose training is not done, on an `out` that holds a run, and where `open_pictures` does.
    """
    source, labelled = sources(run, data)
    before = run.settings
    lock(run, out)
    lines = io.StringIO()
    try:
        restart(run, steps)
        spread = calibrating.spread(run, source)
        learn(run, source, lines)
        # Where there are labels the head is fitted to them; else it keeps its strength on average.
        if labelled:
            calibrating.fit(run, labelled)
        else:
            calibrating.rescale(run.segmenter, spread / calibrating.spread(run, source))
        write(run, before, lines.getvalue(), out)
    finally:
        run.release()


def sources(run, data):
    """(images to learn from, those of the run's data, which have labels, or None).

    There are none where they are gone, or where they cannot have the noise that is claimed.
    """
    try:
        labelled = open_data(run, run.settings.data)
        run.segmenter.input(labelled.training(0, 1, run.settings.seed)[0])
    except (ValueError, OSError):
        if not data:
            raise
        labelled = None
    return (open_pictures(data) if data else labelled), labelled


def restart(run, steps):
    """Sets a run back to the end of its training, with so many steps of calibration to go."""
    # What there is nothing to learn for is refused.
    settings = dataclasses.replace(run.settings, calibration_steps=steps)
    if run.step < settings.steps:
        raise ValueError(
            f"{run.path}: expected a run whose {settings.steps} steps of training are done, got "
            f"{run.step}; adf train --resume goes on with it"
        )
    if settings.all_steps == settings.training_steps:
        raise ValueError(
            f"{run.path}: expected steps of calibration and a noise variance above 0, "
            f"got {steps} and {settings.noise_var}"
        )
    run.settings = settings
    run.step = settings.steps
    run.calibrator = run.pool = None


def lock(run, out):
    """Locks the folder that will be written to. Raises ValueError where another run is there."""
    if out is None:
        return prepare(run)
    if (out / "checkpoint.npz").exists():
        raise ValueError(f"{out / 'checkpoint.npz'} exists already: choose another --out")
    check_writable(out)


def learn(run, source, lines):
    """All steps of calibration, with their lines for the log."""
    steps = run.settings.calibration_steps
    run.pool = calibrating.Pool(run, source)
    with tqdm(total=steps * calibrating.IMAGES, unit=" images", smoothing=0.1) as bar:
        while run.step < run.settings.all_steps:
            loss = run.learn(None, lines)
            bar.set_postfix(step=run.step, loss=f"{loss:.3f}", refresh=False)
            bar.update(calibrating.IMAGES)


def write(run, before, lines, out):
    """The log of the training with these lines behind it, then the checkpoint."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        if run.log.exists():
            shutil.copyfile(run.log, out / run.log.name)
        run.folder = out
    log.cut(run.log, before.steps, before.rate_at)
    with open(run.log, "a") as file:
        file.write(lines)
    run.save()
