"""The layers. Reading order: layer, linear, activation, pooling, normalization, compose."""

from .activation import LeakyReLU
from .compose import Add, Concat, Identity, Sequential
from .dropout import Dropout
from .layer import Layer, Parameter, Statistic
from .linear import Conv2d, Linear
from .normalization import BatchNorm2d
from .pooling import MaxPool2d
from .resampling import AvgPool2d, GlobalAvgPool2d, Upsample
from .transposed import ConvTranspose2d

__all__ = [
    "Add",
    "AvgPool2d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "GlobalAvgPool2d",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Parameter",
    "Sequential",
    "Statistic",
    "Upsample",
]
