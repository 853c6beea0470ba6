"""A run in a folder (RUN/checkpoint.npz, log.csv): killed at any moment, it resumes to the bit."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from ..backend import to_host, xp
from ..data.source import open_source
from ..files import checkpoint
from ..files.atomic import atomic_write, remove_stale
from ..layers import Parameter
from ..layers.paths import named
from ..training import Adam, train_step
from .settings import Settings
from .state import check_shapes, restore, state

LOG_HEADER = "step,loss,learning_rate\n"
EVERY_STEPS = 20  # a checkpoint is written so often,
EVERY_SECONDS = 10  # or so often, whichever comes first


class Run:
    """A segmenter, its optimizer and how many steps they have done, in a folder."""

    def __init__(self, folder, settings):
        self.folder = Path(folder)
        self.settings = settings
        self.step = 0
        self.segmenter = settings.segmenter()
        self.optimizer = Adam(self.segmenter.parameters(), settings.learning_rate)

    @property
    def path(self):
        return self.folder / "checkpoint.npz"

    @property
    def log(self):
        return self.folder / "log.csv"

    def save(self):
        settings = {"step": self.step, **dataclasses.asdict(self.settings)}
        checkpoint.save(self.path, state(self.segmenter) | self._moments(), settings)

    def restore(self, arrays, step):
        """Goes to a step with the arrays of its checkpoint. Raises ValueError on other arrays."""
        moments = self._moments()
        check_shapes(arrays, state(self.segmenter) | moments)
        restore(self.segmenter, {n: array for n, array in arrays.items() if n not in moments})
        paths = self._paths()
        self.optimizer.m = [xp.asarray(arrays[f"m/{path}"]) for path in paths]
        self.optimizer.v = [xp.asarray(arrays[f"v/{path}"]) for path in paths]
        self.step = step
        self.optimizer.t = step

    def _moments(self):
        """The running moments of Adam, by the paths of their parameters, on the host."""
        moments = {"m": self.optimizer.m, "v": self.optimizer.v}
        return {
            f"{kind}/{path}": to_host(array)
            for kind, arrays in moments.items()
            for path, array in zip(self._paths(), arrays, strict=True)
        }

    def _paths(self):
        return list(named(self.segmenter, Parameter))

    def train(self, source):
        """Goes on to the last step: progress, a line of log.csv a step, checkpoints on the way."""
        s = self.settings
        saved = time.monotonic()
        images_done = {"total": s.steps * s.batch_size, "initial": self.step * s.batch_size}
        with (
            ThreadPoolExecutor(1) as drawing,  # of the next batch, while this one is learned from
            open(self.log, "a") as log,
            tqdm(**images_done, unit=" images", smoothing=0.1) as bar,
        ):
            # A checkpoint is due every so many steps or seconds, and at the end.
            batch = drawing.submit(source.training, self.step, s.batch_size, s.seed)
            while self.step < s.steps:
                images, labels = batch.result()
                batch = drawing.submit(source.training, self.step + 1, s.batch_size, s.seed)
                loss = self._learn(images, labels, log)
                bar.set_postfix(step=self.step, loss=f"{loss:.3f}", refresh=False)
                bar.update(s.batch_size)
                due = time.monotonic() - saved > EVERY_SECONDS or self.step % EVERY_STEPS == 0
                if due or self.step == s.steps:
                    self.save()
                    saved = time.monotonic()

    def _learn(self, images, labels, log):
        """One step, and its line in the log; the loss."""
        self.optimizer.learning_rate = self.settings.learning_rate_at(self.step)
        loss = train_step(self.segmenter, self.optimizer, images, labels)
        self.step += 1
        log.write(f"{self.step},{loss!r},{self.optimizer.learning_rate!r}\n")
        log.flush()
        return loss


def start(folder, given, resume):
    """(run, source): the Run to train, and where its images come from. Writes nothing.

    The run is new with the given settings, or the one in the folder, which must have been made with
    them. Raises ValueError on settings out of range or not the run's, on a checkpoint in the way,
    and on data without images or with other classes.
    """
    path = Path(folder) / "checkpoint.npz"
    if not path.exists():
        settings = Settings.of(given)
        source = open_source(settings.data, settings.classes, settings.augment)
        return Run(folder, dataclasses.replace(settings, class_names=source.class_names)), source
    if not resume:
        raise ValueError(
            f"{path} exists already: --resume goes on with it, another --out starts anew"
        )
    # What was given must be what the run was made with: a run has one set of settings.
    run = load(folder)
    before = dataclasses.asdict(run.settings)
    changes = [f"{k} {before[k]!r} (now {v!r})" for k, v in given.items() if before[k] != v]
    if changes:
        raise ValueError(
            f"{path} was made with other settings: {', '.join(changes)}; "
            "leave them out, or give the same"
        )
    return run, open_data(run, run.settings.data)


def open_data(run, data):
    """The source of that name. Raises ValueError on other classes than the run's network knows."""
    source = open_source(data, run.settings.classes, run.settings.augment)
    if list(source.class_names) != run.settings.class_names:
        known = ", ".join(run.settings.class_names)
        there = ", ".join(source.class_names)
        raise ValueError(f"{run.path} knows the classes {known}; {data} holds {there}")
    return source


def prepare(run):
    """Makes the folder fit to go on: leftovers removed, the log cut back, a checkpoint there."""
    run.folder.mkdir(parents=True, exist_ok=True)
    remove_stale(run.folder)
    _cut_log(run.log, run.step)
    if not run.path.exists():
        run.save()


def load(folder):
    """The Run in a folder, every array of its checkpoint verified. ValueError on any other file."""
    path = Path(folder) / "checkpoint.npz"
    arrays, settings = checkpoint.load(path)
    step = settings.pop("step", None)
    try:
        settings = Settings(**settings)
        if type(step) is not int or not 0 <= step <= settings.steps:
            raise ValueError(f"expected a step from 0 to {settings.steps}, got {step!r}")
        stored = sum(array.size for array in arrays.values())
        # Before a network is built to a claim, the claim is compared with what is there.
        if any(9 * width * width > stored for width in settings.widths):
            raise ValueError(
                f"expected the weights of widths {settings.widths}, got {stored} numbers"
            )
        run = Run(folder, settings)
        run.restore(arrays, step)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a checkpoint of `adf train`, got other contents: {error}"
        ) from None
    return run


def _cut_log(log, step):
    """Keeps the header and the lines up to this step: what came after will be computed again."""
    lines = log.read_text().splitlines(keepends=True)[1 : step + 1] if log.exists() else []
    with atomic_write(log) as file:
        file.write((LOG_HEADER + "".join(lines)).encode())
