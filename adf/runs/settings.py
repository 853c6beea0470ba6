"""All that a run depends on: the systems, and the only list of settings.

A setting is one field of Settings. With a help text it is an option of `adf train`, too.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

from ..data.augment import SYMMETRIES
from ..data.source import CLASS_NAMES
from ..models import DeepLabV3Plus, UNet
from ..segmenter import Segmenter

WARM_UP = 20  # steps in which the learning rate rises: Adam's second moment has seen little then
NOISE_HELP = (
    "variance (not standard deviation) of the noise, in units of the normalised image's variance"
)
DATA_HELP = (
    "synthetic, synthetic:COUNT, a folder in the published format, or one with images/ and labels/"
)


def unet(settings):
    widths = tuple(settings.widths)
    return UNet(1, len(settings.class_names), widths, norm=True, rng=settings.seed)


def deeplab(settings):
    return DeepLabV3Plus(1, len(settings.class_names), rng=settings.seed)


class System(NamedTuple):
    """A system of the slides: its network, and where its settings depart from the defaults."""

    network: Callable  # Settings -> Layer
    settings: dict


SYSTEMS = {
    "unet-bn": System(unet, {"noise_var": None, "learning_rate": 5e-3}),  # deterministic
    "adf-unet": System(unet, {}),
    "adf-deeplabv3plus": System(deeplab, {}),
}


def setting(default, help=None, kind=None, choices=None):
    """A field of Settings. kind: the type of what a user types; choices: None, or all allowed."""
    metadata = {"help": help, "kind": kind or type(default), "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that a run depends on. The defaults were chosen on validation images: results/tuning.csv.

    Raises ValueError on a setting out of its range.
    """

    system: str = setting("adf-unet", "which of the systems of the slides", choices=tuple(SYSTEMS))
    data: str = setting("synthetic", DATA_HELP)
    classes: int | None = setting(
        None, "labels are indices of that many classes; without, 0 and objects", int
    )
    class_names: tuple = setting(CLASS_NAMES)
    augment: str = setting("flip", "how images that come back change", choices=tuple(SYMMETRIES))
    steps: int = setting(320, "of training")
    batch_size: int = setting(8, "images a step")
    learning_rate: float = setting(1e-2, "its peak")
    noise_var: float | None = setting(1e-2, f"{NOISE_HELP}; unet-bn: none")
    seed: int = setting(0, "of the weights, the images and their order")
    widths: tuple = setting((16, 32, 64, 128))
    label_smoothing: float = setting(1e-2)
    density_weight: float = setting(1e-3)
    raw_c: float = setting(-3.0)
    version: int = setting(1)  # raised when a change of the code gives old weights another meaning

    def __post_init__(self):
        if self.version != Settings.version:
            raise ValueError(f"expected settings of version {Settings.version}, got {self.version}")
        # What has choices must be one of them; numbers and names have rules of their own.
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            choices = field.metadata["choices"]
            if choices and value not in choices:
                expected = ", ".join(choices)
                raise ValueError(f"unknown {field.name} {value!r}: expected one of {expected}")
        self._check_numbers()
        names = self.class_names
        if not 2 <= len(names) <= 6 or not all(isinstance(name, str) for name in names):
            raise ValueError(f"expected the names of 2 to 6 classes, got {names}")
        for name in ("widths", "class_names"):
            object.__setattr__(self, name, list(getattr(self, name)))  # as JSON gives them back

    def _check_numbers(self):
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of 1 or more, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"expected a seed of 0 or more, got {self.seed}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"expected a positive, finite learning_rate, got {self.learning_rate}")
        is_deterministic = SYSTEMS[self.system].settings.get("noise_var", 0) is None
        if (self.noise_var is None) != is_deterministic:
            what = "no" if is_deterministic else "a"
            raise ValueError(f"{self.system} expects {what} noise variance")

    @classmethod
    def of(cls, given):
        """The given settings; what suits their system for the others; the defaults for the rest."""
        system = SYSTEMS.get(given.get("system", cls.system))
        return cls(**{**(system.settings if system else {}), **given})

    def segmenter(self):
        """The untrained Segmenter that these settings describe."""
        return Segmenter(
            SYSTEMS[self.system].network(self),
            self.noise_var,
            label_smoothing=self.label_smoothing,
            density_weight=self.density_weight,
            raw_c=self.raw_c,
        )

    def learning_rate_at(self, step):
        """Linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter, SGDR, 2017).  (8.1)"""
        warm_up = min(1, (step + 1) / WARM_UP)
        return self.learning_rate * warm_up * 0.5 * (1 + math.cos(math.pi * step / self.steps))
