"""A network as `predict` sees it, with a way back: for what is learned of a network that stays."""

import copy

from ..backend import Generator, xp
from ..gaussian import Gaussian
from .checks import check
from .compose import Sequential
from .layer import Layer, Parameter
from .normalization import BatchNorm2d, normalised, per_channel
from .paths import held


def frozen(network):
    """A copy of the network whose batch norms are what they are in `predict`: constants.

    All else they share: its parameters, which learn, and its random generators. So what `forward`
    gives is what the network's `predict` gives, and no running average moves.
    """
    whole = Sequential(network)  # the network may be a batch norm itself
    shared = {id(thing): thing for kind in (Parameter, Generator) for thing in held(whole, kind)}
    norms = {id(norm): FrozenBatchNorm2d(norm) for norm in held(whole, BatchNorm2d)}
    return copy.deepcopy(network, shared | norms)


class FrozenBatchNorm2d(Layer):
    """y = k (x - m) + shift, m, k and shift those that a BatchNorm2d has in `predict`; constants.

    E[y] = k (E[x] - m) + shift,  Var[y] = k**2 Var[x].  Exact. x: (N, num_features, H, W). Raises
    ValueError on other shapes.
    """

    def __init__(self, norm):
        self.num_features = norm.num_features
        self.m = norm.running_mean.value
        self.k = norm.scale.value / xp.sqrt(norm.running_var.value + norm.eps)
        self.shift = norm.shift.value

    def forward(self, x):
        check(self, x, channels=self.num_features)
        k = self.k.astype(xp.result_type(self.k, x.mean), copy=False)  # in which it is squared

        def backward(dy):
            dvar = None if dy.var is None else per_channel(k * k) * dy.var
            return Gaussian(per_channel(k) * dy.mean, dvar)

        return normalised(x, self.m, k, self.shift), backward
