"""Lightweight probabilistic deep networks (Gast & Roth, CVPR 2018), for cells, in NumPy and CuPy.

In reading order: the message, the moments of a kink, the layers, the networks, the head, learning;
then two checks for layers of your own.
"""

import sys
from pathlib import Path

try:
    from . import backend, engine
except ImportError as error:  # an unknown ADF_BACKEND or ADF_ENGINE, no CuPy, no GPU
    if Path(*sys.argv[:1]).name not in ("-m", "adf", "adf.exe"):
        raise
    print("adf: error:", error, file=sys.stderr)  # the command line says it in one line
    sys.exit(2)

from . import moments, montecarlo
from .dirichlet import Dirichlet, DirichletHead
from .gaussian import Gaussian
from .inference.predict import predict
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
    gradients,
)
from .models import DeepLabV3Plus, UNet
from .segmenter import Prediction, Segmenter
from .training import Adam, train_step

__version__ = "0.2.0"

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
    "engine",
    "gradients",
    "moments",
    "montecarlo",
    "predict",
    "train_step",
]
