"""The layers: wiring, the linear law, kinks, pooling, batch norm, upsampling, dropout."""

from .activation import LeakyReLU
from .compose import Add, Concat, Identity, Sequential
from .dropout import Dropout
from .layer import Layer, Parameter, Statistic
from .linear import Conv2d, ConvTranspose2d, Linear
from .normalization import BatchNorm2d
from .pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from .resampling import Upsample

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
