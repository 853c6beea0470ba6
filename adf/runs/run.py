"""A run in a folder (RUN/checkpoint.npz, log.csv): killed at any moment, it resumes to the bit."""

import dataclasses
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from ..backend import to_host, xp
from ..files import checkpoint
from ..layers import Parameter
from ..layers.paths import named
from . import calibrating, log
from .state import check_numbers, check_shapes, describe, is_finite, restore, state
from .systems import SYSTEMS

EVERY_STEPS = 20  # a checkpoint is written so often,
EVERY_SECONDS = 10  # or so often, whichever comes first


class Run:
    """A segmenter, what learns its weights and how many steps that has done, in a folder.

    fingerprint: of the data it learns from, or None where it is not known.
    """

    def __init__(self, folder, settings, fingerprint=None, step=0):
        self.folder = Path(folder)
        self.settings = settings
        self.fingerprint = fingerprint
        self.step = step
        self.lock = None  # on the folder, from `prepare` to the end of `train`
        self.seen = None  # by what the checkpoint is known again, once it is read or written
        self.learner = SYSTEMS[settings.system].learner(settings, step)
        self.segmenter = self.learner.segmenter
        self.calibrator = None  # the optimizer of calibration, once that has begun,
        self.pool = None  # and what it learns from
        if step > settings.training_steps:
            self.calibrator = calibrating.freed(self.segmenter)

    @property
    def path(self):
        return self.folder / "checkpoint.npz"

    @property
    def log(self):
        return self.folder / "log.csv"

    def claim(self, **given):
        """Takes other noise than that of its settings: `noise`, `noise_var`, as they have them."""
        self.settings = dataclasses.replace(self.settings, **given)
        told = self.settings.segmenter()  # which checks it
        self.segmenter.noise = told.noise
        self.segmenter.noise_var = told.noise_var

    def save(self):
        """Writes the checkpoint. Raises ValueError, and keeps the old one, on weights of NaN."""
        arrays = state(self.segmenter) | self._memory()
        check_numbers(arrays)
        about = {"step": self.step, "fingerprint": self.fingerprint}
        checkpoint.save(self.path, arrays, about | dataclasses.asdict(self.settings))
        self.seen = stamp(self.path)

    def described(self):
        """What its checkpoint holds: name -> (shape, dtype)."""
        return describe(state(self.segmenter) | self._memory())

    def restore(self, arrays, step):
        """Goes to a step with the arrays of its checkpoint. Raises ValueError on other arrays."""
        check_shapes(describe(arrays), self.described())
        check_numbers(arrays)
        memory = self._memory()
        restore(self.segmenter, {n: array for n, array in arrays.items() if n not in memory})
        for optimizer, kind, paths in self._moments():
            setattr(optimizer, kind, [xp.asarray(arrays[f"{kind}/{path}"]) for path in paths])
        self.learner.take(arrays, step)
        self.step = step
        for optimizer in self.learner.optimizers:
            optimizer.t = min(step, self.settings.training_steps)
        if self.calibrator:
            self.calibrator.t = step - self.settings.training_steps

    def _memory(self):
        """The moments of the optimizers and what else the learner keeps, on the host."""
        moments = {
            f"{kind}/{path}": to_host(array)
            for optimizer, kind, paths in self._moments()
            for path, array in zip(paths, getattr(optimizer, kind), strict=True)
        }
        return moments | self.learner.arrays()

    def _moments(self):
        """(optimizer, "m" or "v", paths of its parameters): first moments come first."""
        paths = {id(p): path for path, p in named(self.segmenter, Parameter).items()}
        optimizers = self.learner.optimizers + [self.calibrator] * bool(self.calibrator)
        return [
            (optimizer, kind, [paths[id(p)] for p in optimizer.parameters])
            for kind in ("m", "v")
            for optimizer in optimizers
            if hasattr(optimizer, kind)
        ]

    def train(self, source):
        """Goes on to the last step: progress, a line of log.csv a step, checkpoints on the way."""
        try:
            self._train(source)
        finally:
            self.release()

    def release(self):
        """Gives the lock on the folder back, where it has it."""
        if self.lock:
            self.lock.release()
        self.lock = None

    def _train(self, source):
        s = self.settings
        saved = time.monotonic()
        images_done = {"total": self._images(s.all_steps), "initial": self._images(self.step)}
        with (
            ThreadPoolExecutor(1) as drawing,  # of the next batch, while this one is learned from
            open(self.log, "a") as log_file,
            tqdm(**images_done, unit=" images", smoothing=0.1) as bar,
        ):
            # A checkpoint is due every so many steps or seconds, and at the end.
            batch = drawing.submit(self._draw, source, self.step)
            while self.step < s.all_steps:
                if self.step >= s.training_steps:
                    self.pool = self.pool or calibrating.Pool(self, source)
                drawn = batch.result()
                batch = drawing.submit(self._draw, source, self.step + 1)
                loss = self.learn(drawn, log_file)
                bar.set_postfix(step=self.step, loss=f"{loss:.3f}", refresh=False)
                bar.update(self._images(self.step) - bar.n)
                due = time.monotonic() - saved > EVERY_SECONDS or self.step % EVERY_STEPS == 0
                if self.step == s.all_steps:
                    self._finish(source)
                if due or self.step == s.all_steps:
                    os.fsync(log_file.fileno())  # before the checkpoint says that it is there
                    self.save()
                    saved = time.monotonic()

    def _finish(self, source):
        self.learner.finish(source)
        if self.step > self.settings.training_steps:
            calibrating.fit(self, source)

    def _draw(self, source, step):
        """What a step of training learns from; calibration has its pool."""
        return self.learner.draw(source, step) if step < self.settings.training_steps else None

    def _images(self, steps):
        """How many images so many steps show."""
        training = min(steps, self.settings.training_steps)
        return training * self.settings.batch_size + (steps - training) * calibrating.IMAGES

    def predictor(self):
        """What predicts: the segmenter, or a mixture of several."""
        return self.learner.predictor()

    def learn(self, batch, log_file):
        """One step, and its line in the log; the loss. Raises ValueError on weights of NaN."""
        rate = self.settings.rate_at(self.step)
        if self.step < self.settings.training_steps:
            loss = self.learner.learn(self.step, rate, batch)
        else:
            loss = calibrating.learn(self, rate)
        # Both kinds of step are logged alike; none that leaves NaN is.
        if not is_finite(self.segmenter):
            raise ValueError(
                f"step {self.step + 1} made weights or running averages that are not finite: "
                "try a lower learning rate, or another noise variance"
            )
        self.step += 1
        log_file.write(log.line(self.step, loss, rate))
        log_file.flush()
        return loss


def stamp(path):
    """By what a file is known again, or None where there is none."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size
