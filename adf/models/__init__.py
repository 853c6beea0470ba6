"""Networks, by composition only."""

from .unet import UNet

__all__ = ["UNet"]
