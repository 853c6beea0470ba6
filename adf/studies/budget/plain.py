"""A network as plain ADF has it, without the weights that its variances have learned."""

import copy

from ...backend import Generator
from ...layers import Parameter, Sequential
from ...layers.layer import Statistic
from ...layers.linear import LinearLaw
from ...layers.paths import held


def learned(network):
    """The linear layers of which the variance has weights of its own (layers/free_variance.py)."""
    return [law for law in held(Sequential(network), LinearLaw) if law.log_gain is not None]


def plain(network):
    """The network with Var[y] = A(w**2) Var[x] in all linear layers; it shares all parameters.

    Where nothing was learned it is the network itself.
    """
    if not learned(network):
        return network
    kinds = (Parameter, Statistic, Generator)
    shared = {id(thing): thing for kind in kinds for thing in held(Sequential(network), kind)}
    twin = copy.deepcopy(network, shared)
    strip(twin)
    return twin


def strip(network):
    """Takes from a network what its variances have learned: from now on it is plain ADF's."""
    for law in learned(network):
        law.log_gain = law.loading = law.gate = law.drift = None
