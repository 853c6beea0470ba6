"""A training run in a folder: RUN/checkpoint.npz, RUN/log.csv. Killed at any moment and resumed, it ends the same."""

import dataclasses
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from . import checkpoint, files
from .backend import to_host, xp
from .data.augment import SYMMETRIES
from .data.source import CLASS_NAMES, open_source
from .models import DeepLabV3Plus, UNet
from .optim import Adam
from .segmenter import Segmenter
from .training import train_step

LOG_HEADER = "step,loss,learning_rate\n"
EVERY_STEPS, EVERY_SECONDS = 20, 10  # how often a checkpoint is written, whichever comes first
WARM_UP = 20  # steps in which the learning rate rises: Adam's second moment has seen little then


def unet(settings):
    return UNet(1, len(settings.class_names), tuple(settings.widths), norm=True, rng=settings.seed)


def deeplab(settings):
    return DeepLabV3Plus(1, len(settings.class_names), rng=settings.seed)


class System(NamedTuple):
    """One of the systems of the slides: its network, and the settings in which it departs from the defaults."""

    network: Callable  # Settings -> Layer
    settings: dict


SYSTEMS = {
    "unet-bn": System(unet, {"noise_var": None, "learning_rate": 5e-3}),  # point masses, softmax, cross-entropy
    "adf-unet": System(unet, {}),
    "adf-deeplabv3plus": System(deeplab, {}),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that a run depends on. noise_var: the variance of the noise, in units of the normalised image's variance;
    None for a deterministic system. classes: None, or of how many classes the indices in a folder of labels are.
    augment: how images that come back are changed, "none", "flip" or "dihedral" (data/augment.py). The defaults were
    chosen on validation images: results/tuning.csv."""

    system: str = "adf-unet"
    data: str = "synthetic"
    classes: int | None = None
    class_names: tuple = CLASS_NAMES
    augment: str = "flip"
    steps: int = 320
    batch_size: int = 8
    learning_rate: float = 1e-2
    noise_var: float | None = 1e-2
    seed: int = 0
    widths: tuple = (16, 32, 64, 128)
    label_smoothing: float = 1e-2
    density_weight: float = 1e-3
    raw_c: float = -3.0
    version: int = 1  # raised when a change of the code gives old weights another meaning

    def __post_init__(self):
        if self.version != Settings.version:
            raise ValueError(f"expected settings of version {Settings.version}, got {self.version}")
        if self.system not in SYSTEMS:
            raise ValueError(f"unknown system {self.system!r}: expected one of {', '.join(SYSTEMS)}")
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of 1 or more, got {getattr(self, name)}")
        if not 2 <= len(self.class_names) <= 6 or not all(isinstance(name, str) for name in self.class_names):
            raise ValueError(f"expected the names of 2 to 6 classes, got {self.class_names}")
        if self.augment not in SYMMETRIES:
            raise ValueError(f"unknown augmentation {self.augment!r}: expected one of {', '.join(SYMMETRIES)}")
        if self.seed < 0:
            raise ValueError(f"expected a seed of 0 or more, got {self.seed}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"expected a positive, finite learning_rate, got {self.learning_rate}")
        if (self.noise_var is None) != (SYSTEMS[self.system].settings.get("noise_var", 0) is None):
            raise ValueError(f"{self.system} expects {'no' if self.noise_var is not None else 'a'} noise variance")
        for name in ("widths", "class_names"):
            object.__setattr__(self, name, list(getattr(self, name)))

    @classmethod
    def of(cls, given):
        """The given settings, what suits their system for the others, the defaults for the rest."""
        system = SYSTEMS.get(given.get("system", cls.system))
        return cls(**{**(system.settings if system else {}), **given})

    def segmenter(self):
        network = SYSTEMS[self.system].network(self)
        names = ("label_smoothing", "density_weight", "raw_c")
        return Segmenter(network, self.noise_var, **{name: getattr(self, name) for name in names})

    def learning_rate_at(self, step):
        """Linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter, SGDR, ICLR 2017).  (8.1)"""
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
        checkpoint.save(self.path, self._state(), {"step": self.step, **dataclasses.asdict(self.settings)})

    def restore(self, arrays, step):
        found, expected = ({name: array.shape for name, array in group.items()} for group in (arrays, self._state()))
        if found != expected:
            name = sorted(found.items() ^ expected.items())[0][0]
            raise ValueError(f"expected {name} of shape {expected.get(name)}, got {found.get(name)}")
        for i, p in enumerate(self.segmenter.parameters()):
            p.value = arrays[f"value/{i}"]
            self.optimizer.m[i], self.optimizer.v[i] = (xp.asarray(arrays[f"{kind}/{i}"]) for kind in ("m", "v"))
        for i, statistic in enumerate(self.segmenter.network.statistics()):
            statistic.value = xp.asarray(arrays[f"statistic/{i}"])
        self.step = self.optimizer.t = step

    def _state(self):
        """Every array that the rest of the run depends on, by name, on the host."""
        groups = {
            "value": [p.value for p in self.segmenter.parameters()],
            "m": self.optimizer.m,
            "v": self.optimizer.v,
            "statistic": [s.value for s in self.segmenter.network.statistics()],
        }
        return {f"{kind}/{i}": to_host(array) for kind, group in groups.items() for i, array in enumerate(group)}

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


def start(folder, given, resume):
    """(run, source): the Run to train, new with the given settings or the one in the folder, which must have been made
    with them; and where its images come from.

    Writes nothing. Raises ValueError on settings out of range or not the run's, on a checkpoint in the way, and on data
    without images or with other classes.
    """
    path = Path(folder) / "checkpoint.npz"
    if not path.exists():
        settings = Settings.of(given)
        source = open_source(settings.data, settings.classes, settings.augment)
        return Run(folder, dataclasses.replace(settings, class_names=source.class_names)), source
    if not resume:
        raise ValueError(f"{path} exists already: --resume goes on with it, another --out starts anew")
    run = load(folder)
    before = dataclasses.asdict(run.settings)
    changed = ", ".join(f"{k} {before[k]!r} (now {v!r})" for k, v in given.items() if before[k] != v)
    if changed:
        raise ValueError(f"{path} was made with other settings: {changed}; leave them out, or give the same")
    return run, open_data(run, run.settings.data)


def open_data(run, data):
    """The source of that name, with the classes that the run's network knows. Raises ValueError on others."""
    source = open_source(data, run.settings.classes, run.settings.augment)
    if list(source.class_names) != run.settings.class_names:
        knows, holds = ", ".join(run.settings.class_names), ", ".join(source.class_names)
        raise ValueError(f"{run.path} knows the classes {knows}; {data} holds {holds}")
    return source


def prepare(run):
    """Makes the folder fit to go on: no leftovers of a killed run, the log cut back, a checkpoint in any case."""
    run.folder.mkdir(parents=True, exist_ok=True)
    files.remove_stale(run.folder)
    _cut_log(run.log, run.step)
    if not run.path.exists():
        run.save()


def load(folder):
    """The Run in a folder, every array of its checkpoint verified. Raises ValueError on any other checkpoint."""
    path = Path(folder) / "checkpoint.npz"
    arrays, settings = checkpoint.load(path)
    step = settings.pop("step", None)
    settings.setdefault("density_weight", 1.0)  # of runs from before there was another
    try:
        settings = Settings(**settings)
        if type(step) is not int or not 0 <= step <= settings.steps:
            raise ValueError(f"expected a step from 0 to {settings.steps}, got {step!r}")
        stored = sum(array.size for array in arrays.values())
        if any(9 * width * width > stored for width in settings.widths):  # before a network is built to that claim
            raise ValueError(f"expected the weights of widths {settings.widths}, got {stored} numbers")
        run = Run(folder, settings)
        run.restore(arrays, step)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a checkpoint of `adf train`, got other contents: {error}") from None
    return run


def _cut_log(log, step):
    """Keeps the header and the lines up to this step: what came after the checkpoint will be computed again."""
    lines = log.read_text().splitlines(keepends=True)[1 : step + 1] if log.exists() else []
    with files.atomic_write(log) as file:
        file.write((LOG_HEADER + "".join(lines)).encode())
