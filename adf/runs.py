"""A training run in a folder: RUN/checkpoint.npz, RUN/log.csv. Killed at any moment and resumed, it ends the same."""

import dataclasses
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from . import checkpoint, files
from .backend import to_host, xp
from .data.source import CLASS_NAMES
from .models import UNet
from .optim import Adam
from .segmenter import Segmenter
from .training import train_step

SYSTEMS = {"adf-unet": lambda s: UNet(1, len(CLASS_NAMES), tuple(s.widths), rng=s.seed)}
LOG_HEADER = "step,loss,learning_rate\n"
EVERY_STEPS, EVERY_SECONDS = 20, 10  # how often a checkpoint is written, whichever comes first
WARM_UP = 20  # steps in which the learning rate rises: Adam's second moment has seen little then


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that a run depends on. noise_var: the variance of the noise, in units of the normalised image's variance."""

    system: str = "adf-unet"
    data: str = "synthetic"
    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 3e-3
    noise_var: float = 1e-3
    seed: int = 0
    widths: tuple = (16, 32, 64, 128)
    label_smoothing: float = 1e-2
    raw_c: float = -3.0

    def __post_init__(self):
        if self.system not in SYSTEMS:
            raise ValueError(f"unknown system {self.system!r}: expected one of {', '.join(SYSTEMS)}")
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of 1 or more, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"expected a seed of 0 or more, got {self.seed}")
        object.__setattr__(self, "widths", list(self.widths))

    def segmenter(self):
        network = SYSTEMS[self.system](self)
        return Segmenter(network, self.noise_var, label_smoothing=self.label_smoothing, raw_c=self.raw_c)

    def learning_rate_at(self, step):
        """Linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter, SGDR, ICLR 2017)."""
        return self.learning_rate * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


class Run:
    """A segmenter, its optimizer and how many steps they have done, in a folder."""

    def __init__(self, folder, settings):
        self.folder, self.settings, self.step = Path(folder), settings, 0
        self.segmenter = settings.segmenter()
        self.optimizer = Adam(self.segmenter.parameters(), settings.learning_rate)

    @property
    def path(self):
        return self.folder / "checkpoint.npz"

    @property
    def log(self):
        return self.folder / "log.csv"

    def save(self):
        arrays = {
            f"{kind}/{i}": to_host(xp.asarray(array))
            for kind, group in self._state().items()
            for i, array in enumerate(group)
        }
        checkpoint.save(self.path, arrays, {"step": self.step, **dataclasses.asdict(self.settings)})

    def restore(self, arrays, step):
        names = {f"{kind}/{i}" for kind, group in self._state().items() for i in range(len(group))}
        if names != set(arrays):
            raise ValueError(f"expected the {len(names)} arrays of {self.settings.system}, got {len(arrays)}")
        for i, p in enumerate(self.segmenter.parameters()):
            for kind in ("m", "v"):
                if arrays[f"{kind}/{i}"].shape != p.value.shape:
                    raise ValueError(f"expected {kind}/{i} of shape {p.value.shape}, got {arrays[f'{kind}/{i}'].shape}")
            p.value = arrays[f"value/{i}"]
            self.optimizer.m[i], self.optimizer.v[i] = (xp.asarray(arrays[f"{kind}/{i}"]) for kind in ("m", "v"))
        self.step = self.optimizer.t = step

    def _state(self):
        values = [p.value for p in self.segmenter.parameters()]
        return {"value": values, "m": self.optimizer.m, "v": self.optimizer.v}

    def train(self, source):
        """Goes on to the last step: progress on the terminal, a line of log.csv a step, checkpoints on the way."""
        s, saved = self.settings, time.monotonic()
        with (
            ThreadPoolExecutor(1) as drawing,  # the next batch, while this one is learnt from
            open(self.log, "a") as log,
            tqdm(total=s.steps * s.batch_size, initial=self.step * s.batch_size, unit=" images", smoothing=0.1) as bar,
        ):
            batch = drawing.submit(source.training, self.step, s.batch_size, s.seed)
            while self.step < s.steps:
                images, labels = batch.result()
                batch = drawing.submit(source.training, self.step + 1, s.batch_size, s.seed)
                self.optimizer.learning_rate = s.learning_rate_at(self.step)
                loss = train_step(self.segmenter, self.optimizer, images, labels)
                self.step += 1
                log.write(f"{self.step},{loss!r},{self.optimizer.learning_rate!r}\n")
                log.flush()
                bar.set_postfix(step=self.step, loss=f"{loss:.3f}", refresh=False)
                bar.update(s.batch_size)
                due = time.monotonic() - saved > EVERY_SECONDS or self.step % EVERY_STEPS == 0
                if due or self.step == s.steps:
                    self.save()
                    saved = time.monotonic()


def start(folder, settings, resume):
    """The Run to train: new, or resumed where the folder holds a checkpoint. ValueError where they do not fit."""
    run = Run(folder, settings)
    if run.path.exists() and not resume:
        raise ValueError(f"{run.path} exists already: --resume goes on with it, another --out starts anew")
    if run.path.exists():
        found = load(folder)
        if found.settings != settings:
            before, now = (dataclasses.asdict(s) for s in (found.settings, settings))
            changed = ", ".join(f"{k} {before[k]!r} (now {now[k]!r})" for k in before if before[k] != now[k])
            raise ValueError(f"{run.path} was made with other settings: {changed}; resume with those")
        run = found
    run.folder.mkdir(parents=True, exist_ok=True)
    files.remove_stale(run.folder)
    _cut_log(run.log, run.step)
    if not run.path.exists():
        run.save()
    return run


def load(folder):
    """The Run in a folder, every array of its checkpoint verified. Raises ValueError on any other checkpoint."""
    path = Path(folder) / "checkpoint.npz"
    arrays, settings = checkpoint.load(path)
    step = settings.pop("step", None)
    try:
        run = Run(folder, Settings(**settings))
        run.restore(arrays, step)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a checkpoint of `adf train`, got other contents: {error}") from None
    return run


def _cut_log(log, step):
    """Keeps the header and the lines up to this step: what came after the checkpoint will be computed again."""
    lines = log.read_text().splitlines(keepends=True)[1 : step + 1] if log.exists() else []
    with files.atomic_write(log) as file:
        file.write((LOG_HEADER + "".join(lines)).encode())
