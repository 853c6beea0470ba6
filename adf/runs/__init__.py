"""A training: its settings, and a run in a folder that can be killed at any moment and resumed."""

from .opening import load, open_data, prepare, start
from .recalibration import recalibrate
from .run import Run
from .settings import Settings
from .systems import SLIDES, SYSTEMS

__all__ = [
    "SLIDES",
    "SYSTEMS",
    "Run",
    "Settings",
    "load",
    "open_data",
    "prepare",
    "recalibrate",
    "start",
]
