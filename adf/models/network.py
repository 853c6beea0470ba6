"""What the networks have in common: which images they take, how their logits begin."""

from ..layers import Conv2d, Sequential
from ..layers.checks import check, check_logits

# After 120 steps of a U-Net without batch norm, 0.01 does not tell cells from traps yet; 0.2 does.
NEGATIVE_SLOPE = 0.2


class Network(Sequential):
    """Layers in a row from images (N, in_channels, H, W) to logits (N, classes, H, W).

    Raises ValueError on fewer than two classes, on other channels, and where H or W is no multiple
    of `multiple`.
    """

    def __init__(self, in_channels, classes, multiple, *layers):
        check_logits(self, classes)
        super().__init__(*layers)
        self.in_channels = in_channels
        self.multiple = multiple

    def predict(self, x):
        self.check(x)
        return super().predict(x)

    def forward(self, x):
        self.check(x)
        return super().forward(x)

    def check(self, x):
        check(self, x, channels=self.in_channels)
        if x.mean.shape[2] % self.multiple or x.mean.shape[3] % self.multiple:
            raise ValueError(
                f"{type(self).__name__} expects a height and width that are multiples of "
                f"{self.multiple}, got {x.mean.shape[2:]}; adf.predict pads and crops"
            )


def logits(in_channels, classes, rng):
    """A 1 x 1 convolution that begins unsure: a confident wrong start costs many steps."""
    layer = Conv2d(in_channels, classes, 1, rng=rng)
    layer.weight.value = 0.1 * layer.weight.value
    return layer
