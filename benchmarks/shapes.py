"""The layers of a network, found by walking it, and the matrix products of its convolutions."""

import math

import numpy as np

import adf
from adf.layers import ConvTranspose2d
from adf.layers.fold import fold


def leaves(layer):
    """The layers that compute, in the order of construction.

    Containers are walked into; Identity is no such layer.
    """
    found = []
    fold(layer, None, lambda leaf, _: found.append(leaf), lambda *_: None)
    return found


def convolutions(classes, widths, shape):
    """(O, K, P) of the product (O, K) x (K, P) of each convolution of adf.UNet on such images.

    In a Conv2d, O counts output channels, K = C kh kw, and P = N H W counts output pixels. In a
    ConvTranspose2d, O = C_out kh kw, K = C_in, and P counts input pixels. Shapes are noted while a
    point mass of the same size goes through the network.
    """
    network = adf.UNet(shape[1], classes, widths)
    found = []

    def note(layer):
        predict = layer.predict

        def noting(x):
            y = predict(x)
            pixels = (x if isinstance(layer, ConvTranspose2d) else y).mean
            w = layer.weight.value
            o, k = (
                (math.prod(w.shape[1:]), len(w))
                if isinstance(layer, ConvTranspose2d)
                else (len(w), w[0].size)
            )
            found.append((o, k, len(pixels) * math.prod(pixels.shape[2:])))
            return y

        layer.predict = noting

    for layer in leaves(network):
        if isinstance(layer, adf.Conv2d):  # ConvTranspose2d is one too
            note(layer)
    network.predict(adf.Gaussian(np.zeros((1, *shape[1:]), "float32")))
    return [(o, k, p * shape[0]) for o, k, p in found]
