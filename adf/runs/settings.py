"""All that a run depends on: the only list of settings.

A setting is one field of Settings. With a help text it is an option of `adf train`, too.
"""

import dataclasses
import math
import reprlib
import sys

from ..data.augment import SYMMETRIES
from ..data.source import CLASS_NAMES
from ..inference import claims
from ..normalisation import KINDS as NORMALISATIONS
from ..segmenter import Segmenter
from .learners import EnsembleLearner
from .systems import OF_METHODS, SYSTEMS, unet

WARM_UP = 20  # steps in which the learning rate rises: Adam's second moment has seen little then
CALIBRATION_STEPS = 400
CALIBRATION_RATE = 0.05  # at its peak
CALIBRATION_WARM_UP = 10
NOISE_HELP = (
    "variance (not standard deviation) of the noise, in units of the normalised image's variance"
)
CLAIM_HELP = (
    f"its kind: {claims.SPELLINGS}; RHO is the correlation of neighbours, GAIN is in grey levels "
    "per electron, OFFSET and READ_NOISE (a standard deviation) are in grey levels"
)
DATA_HELP = (
    "synthetic, synthetic:COUNT, a folder in the published format, or one with images/ and labels/"
)

KINDS = {
    int: "an integer as",
    float: "a finite",
    str: "a text as",
    tuple: "a list as",
}
MOST_WIDTH = 4096  # channels of a level
MOST_LEVELS = 8  # of a U-Net: the lowest has one pixel of the 128 that training images have
LONGEST_NAME = 100  # characters of a class


# What a run had whose checkpoint does not say so: these settings came later.
BEFORE = {"normalisation": "standard", "calibration_steps": 0}


def setting(default, help=None, kind=None, choices=None, bounds=None, optional=False):
    """A field of Settings.

    kind: the type of what a user types; choices: None, or all allowed; bounds: None, or the least
    and the most that is allowed; optional: None is allowed.
    """
    about = {"help": help, "kind": kind or type(default), "choices": choices}
    metadata = about | {"bounds": bounds, "optional": optional}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that a run depends on. The defaults were chosen on validation images: results/tuning.csv.

    Raises ValueError on a setting of another type or out of its range.
    """

    system: str = setting(
        "adf-unet", "the network, and how its weights are learned", choices=tuple(SYSTEMS)
    )
    data: str = setting("synthetic", DATA_HELP)
    classes: int | None = setting(
        None,
        "labels are indices of that many classes; without, 0 and objects",
        int,
        bounds=(2, 256),
        optional=True,
    )
    class_names: tuple = setting(CLASS_NAMES)
    augment: str = setting("flip", "how images that come back change", choices=tuple(SYMMETRIES))
    steps: int = setting(400, "of training", bounds=(1, 10**9))
    batch_size: int = setting(8, "images a step", bounds=(1, 2**14))
    learning_rate: float = setting(1e-2, "its peak")
    noise_var: float | None = setting(1e-2, f"{NOISE_HELP}; unet-bn: none", optional=True)
    noise: str = setting("white", CLAIM_HELP)
    normalisation: str = setting(
        "robust", "by most pixels of an image, or by all", choices=NORMALISATIONS
    )
    seed: int = setting(0, "of the weights, the images and their order", bounds=(0, 2**64 - 1))
    widths: tuple = setting((16, 32, 64, 128))
    label_smoothing: float = setting(1e-2)
    density_weight: float = setting(1e-3)
    raw_c: float = setting(-3.0)
    calibration_steps: int = setting(
        CALIBRATION_STEPS,
        "of learning the weights of the variances, after training; 0: none; unet-bn: none",
        bounds=(0, 10**9),
    )
    members: int = setting(1, "networks of the mixture, where there is one", bounds=(1, 100))
    dropout_p: float = setting(0.0, "probability that a channel is left out; unet-dropout alone")
    swag_steps: int = setting(
        0,
        "of SGD after training, whose path is collected; unet-swag alone",
        bounds=(0, 10**9),
    )
    swag_rate: float = setting(0.0, "learning rate of these steps; unet-swag alone")
    kl_weight: float = setting(0.0, "of the KL to the prior, 1 is Bayes; unet-bbb and unet-weights")
    version: int = setting(1)  # raised when a change of the code gives old weights another meaning

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check_value(field.name, getattr(self, field.name), field.metadata)
        if self.version != Settings.version:
            raise ValueError(
                f"expected settings of version {Settings.version}, got {shown(self.version)}"
            )
        if self.learning_rate <= 0:
            raise ValueError(f"expected a positive, finite learning_rate, got {self.learning_rate}")
        is_deterministic = SYSTEMS[self.system].settings.get("noise_var", 0) is None
        if (self.noise_var is None) != is_deterministic:
            what = "no" if is_deterministic else "a"
            raise ValueError(f"{self.system} expects {what} noise variance")
        if claims.parse(self.noise) != claims.White() and is_deterministic:
            raise ValueError(f"{self.system} expects no noise, got {self.noise}")
        check_methods(self)
        # What has several values is checked one by one.
        check_widths(self.widths)
        check_names(self.class_names)
        for name in ("widths", "class_names"):
            object.__setattr__(self, name, list(getattr(self, name)))  # as JSON gives them back

    @classmethod
    def of(cls, given):
        """The given settings; what suits their system for the others; the defaults for the rest."""
        system = SYSTEMS.get(given.get("system", cls.system))
        return cls(**{**(system.settings if system else {}), **given})

    def least_numbers(self):
        """So many numbers, or more, has a checkpoint of a U-Net of these widths; of others 0."""
        if SYSTEMS[self.system].network is not unet:
            return 0
        # Every level has convolutions from its width to itself, and Adam two moments of each.
        *upper, lowest = (9 * width * width for width in self.widths)
        copies = self.members if SYSTEMS[self.system].learner is EnsembleLearner else 1
        return 3 * (4 * sum(upper) + lowest) * copies

    def segmenter(self):
        """The untrained Segmenter that these settings describe."""
        return Segmenter(
            SYSTEMS[self.system].network(self),
            self.noise_var,
            label_smoothing=self.label_smoothing,
            density_weight=self.density_weight,
            raw_c=self.raw_c,
            normalisation=self.normalisation,
            noise=claims.parse(self.noise),
        )

    @property
    def all_steps(self):
        """Those of training, and of calibration where there is noise to calibrate for."""
        return self.training_steps + (self.calibration_steps if self.noise_var else 0)

    @property
    def training_steps(self):
        """Those of Adam, and of SWAG behind them."""
        return self.steps + self.swag_steps

    def learning_rate_at(self, step):
        """Linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter, SGDR, 2017).  (8.1)"""
        return self.learning_rate * scheduled(step, self.steps, WARM_UP)

    def rate_at(self, step):
        """The learning rate of any step, of training or of calibration."""
        if step < self.steps:
            return self.learning_rate_at(step)
        if step < self.training_steps:
            return self.swag_rate
        rate = scheduled(step - self.steps, max(1, self.calibration_steps), CALIBRATION_WARM_UP)
        return CALIBRATION_RATE * rate


def scheduled(step, steps, warm_up):
    """Up to 1 in the steps of the warm-up, down to 0 in half a cosine."""
    return min(1, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _check_value(name, value, about):
    """Raises ValueError on a value of another type than the setting's, or out of its range."""
    if value is None and about["optional"]:
        return
    # True is an integer to Python, and so is 10**400, which is no float.
    kind = about["kind"]
    kinds = {float: (int, float), tuple: (list, tuple)}.get(kind, kind)
    is_other = isinstance(value, bool) or not isinstance(value, kinds)
    if is_other or (kind is float and not -sys.float_info.max <= value <= sys.float_info.max):
        what = "a positive, finite" if name == "learning_rate" else KINDS[kind]
        raise ValueError(f"expected {what} {name}, got {shown(value)}")
    if about["choices"] and value not in about["choices"]:
        expected = ", ".join(about["choices"])
        raise ValueError(f"unknown {name} {shown(value)}: expected one of {expected}")
    least, most = about["bounds"] or (value, value)
    if value < least:
        raise ValueError(f"expected {name} of {least} or more, got {shown(value)}")
    if value > most:
        raise ValueError(f"expected {name} of at most {most}, got {shown(value)}")


def check_methods(settings):
    """Raises ValueError on a setting of another system's method, and on a SWAG without steps."""
    own = SYSTEMS[settings.system].settings
    for name in OF_METHODS:
        if name not in own and getattr(settings, name) != getattr(Settings, name):
            raise ValueError(f"expected no {name} of {settings.system}, which has none")
    if "swag_rate" in own and not (settings.swag_steps and settings.swag_rate > 0):
        raise ValueError(
            "expected swag_steps of 1 or more and a positive swag_rate, "
            f"got {settings.swag_steps} and {settings.swag_rate}"
        )
    if settings.kl_weight < 0:
        raise ValueError(f"expected a kl_weight of 0 or more, got {settings.kl_weight}")


def check_widths(widths):
    """Raises ValueError on widths that no network for images of 128 x 128 pixels has."""
    are_right = all(type(width) is int and 1 <= width <= MOST_WIDTH for width in widths)
    if not 1 <= len(widths) <= MOST_LEVELS or not are_right:
        raise ValueError(
            f"expected 1 to {MOST_LEVELS} widths from 1 to {MOST_WIDTH}, got {shown(widths)}"
        )


def check_names(names):
    """Raises ValueError on names that are no names of classes."""
    are_right = all(isinstance(name, str) and 1 <= len(name) <= LONGEST_NAME for name in names)
    if not 2 <= len(names) <= 6 or not are_right:
        raise ValueError(f"expected the names of 2 to 6 classes, got {shown(names)}")


def shown(value):
    """A value in a message, short however long it is."""
    return reprlib.repr(value)
