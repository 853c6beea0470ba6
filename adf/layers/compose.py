"""All the wiring: layers in a row, side by side, added. The only backward passes that run through several layers."""

from ..backend import xp
from ..gaussian import Gaussian
from .layer import Layer


def drain(callbacks):
    """Hands out the ways back, last in first out, and drops each, so that memory falls while going back."""
    if not callbacks:
        raise RuntimeError("backward was called twice: what it needs is dropped on the way; call forward again")
    while callbacks:
        yield callbacks.pop()


class Identity(Layer):
    """y = x.  E[y] = E[x],  Var[y] = Var[x].  Exact."""

    def forward(self, x):
        return x, lambda dy: dy


class Sequential(Layer):
    """y = f_n(... f_1(x)): the layers one after the other, each handing its Gaussian on. Adds no approximation."""

    def __init__(self, *layers):
        self.layers = _layers(self, layers)

    def predict(self, x):
        for layer in self.layers:
            x = layer.predict(x)
        return x

    def forward(self, x):
        callbacks = []
        for layer in self.layers:
            x, callback = layer.forward(x)
            callbacks.append(callback)

        def backward(dy):
            for callback in drain(callbacks):
                dy = callback(dy)
            return dy

        return x, backward


class Parallel(Layer):
    """Several branches on one input. `join` makes one Gaussian of theirs; `split` shares out the gradient."""

    def __init__(self, *branches):
        self.branches = _layers(self, branches)

    def predict(self, x):
        return self.join([branch.predict(x) for branch in self.branches])

    def forward(self, x):
        outputs, callbacks = zip(*(branch.forward(x) for branch in self.branches), strict=True)
        y, callbacks = self.join(outputs), list(callbacks)
        shapes = [output.mean.shape for output in outputs]

        def backward(dy):
            shares = self.split(dy, shapes)
            dx = None
            for callback in drain(callbacks):
                share = callback(shares.pop())
                dx = share if dx is None else dx + share
            return dx

        return y, backward


class Concat(Parallel):
    """y = [f_1(x), ..., f_n(x)] along the channels.  The moments are those of the branches.

    Exact for each output. Branches that share their input are correlated; that the next layer takes them for
    independent is ADF's approximation, not this layer's. Raises ValueError unless the outputs differ in channels only.
    """

    def join(self, outputs):
        shapes = [y.mean.shape for y in outputs]
        if min(map(len, shapes)) < 2 or len({(shape[0], *shape[2:]) for shape in shapes}) > 1:
            raise ValueError(f"Concat expects outputs that differ in channels only, got shapes {shapes}")
        mean = xp.concatenate([y.mean for y in outputs], axis=1)
        if all(y.var is None for y in outputs):
            return Gaussian(mean, None)
        certain = [xp.zeros_like(y.mean) if y.var is None else y.var for y in outputs]
        return Gaussian(mean, xp.concatenate(certain, axis=1))

    def split(self, dy, shapes):
        shares, start = [], 0
        for _, channels, *_ in shapes:
            part = slice(start, start + channels)
            shares.append(Gaussian(dy.mean[:, part], None if dy.var is None else dy.var[:, part]))
            start += channels
        return shares


class Add(Parallel):
    """y = f_1(x) + ... + f_n(x).  E[y] = sum E[f_i],  Var[y] = sum Var[f_i].

    Exact for independent branches; branches that share their input are not, and their covariance is left out: that is
    ADF's approximation. Raises ValueError unless all outputs have one shape.
    """

    def join(self, outputs):
        shapes = [y.mean.shape for y in outputs]
        if len(set(shapes)) > 1:
            raise ValueError(f"Add expects outputs of one shape, got {shapes}")
        y = outputs[0]
        for output in outputs[1:]:
            y = y + output
        return y

    def split(self, dy, shapes):
        return [dy] * len(shapes)


def _layers(container, layers):
    if not layers or not all(isinstance(layer, Layer) for layer in layers):
        kinds = ", ".join(type(layer).__name__ for layer in layers) or "nothing"
        raise ValueError(f"{type(container).__name__} expects one layer or more, got {kinds}")
    return tuple(layers)
