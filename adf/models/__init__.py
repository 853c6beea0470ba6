"""Networks, by composition only."""

from .deeplab import DeepLabV3Plus
from .unet import UNet

__all__ = ["DeepLabV3Plus", "UNet"]
