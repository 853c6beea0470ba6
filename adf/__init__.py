"""Lightweight probabilistic deep networks (Gast & Roth, CVPR 2018) for cell segmentation, in NumPy and CuPy.

In reading order: the message, the kinks, the layers, the networks, the head, learning, the check.
"""

import sys

try:
    from . import backend
except ImportError as error:  # an unknown ADF_BACKEND, no CuPy, no GPU
    if sys.argv[:1] != ["-m"]:
        raise
    print("adf: error:", error, file=sys.stderr)  # `python -m adf` says it in one line
    sys.exit(2)

from . import moments, montecarlo
from .dirichlet import Dirichlet, DirichletHead
from .gaussian import Gaussian
from .layers import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    GlobalAvgPool2d,
    Identity,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Parameter,
    Sequential,
    Upsample,
)
from .models import DeepLabV3Plus, UNet
from .optim import Adam
from .segmenter import Prediction, Segmenter, predict
from .training import train_step

__all__ = [
    "Adam",
    "Add",
    "AvgPool2d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "DeepLabV3Plus",
    "Dirichlet",
    "DirichletHead",
    "Dropout",
    "Gaussian",
    "GlobalAvgPool2d",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Parameter",
    "Prediction",
    "Segmenter",
    "Sequential",
    "UNet",
    "Upsample",
    "backend",
    "moments",
    "montecarlo",
    "predict",
    "train_step",
]
