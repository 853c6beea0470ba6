"""All the wiring: layers in a row, side by side, added. Only here, backward runs through layers."""

from ..backend import xp
from ..gaussian import Gaussian
from .checks import check_layers
from .layer import Layer


def last_first(callbacks):
    """Hands out the ways back, last in first out, and drops each: memory falls while going back."""
    while callbacks:
        yield callbacks.pop()


class Identity(Layer):
    """y = x.  E[y] = E[x],  Var[y] = Var[x].  Exact."""

    def forward(self, x):
        return x, lambda dy: dy


class Sequential(Layer):
    """y = f_n(... f_1(x)): each layer hands its Gaussian to the next. Adds no approximation."""

    def __init__(self, *layers):
        self.layers = check_layers(self, layers)

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
            for callback in last_first(callbacks):
                dy = callback(dy)  # (6.4)
            return dy

        return x, backward


class Parallel(Layer):
    """Several branches on one input: join(outputs) -> y, split(dy, shapes) -> the dy of each."""

    def __init__(self, *branches):
        self.branches = check_layers(self, branches)

    def predict(self, x):
        return self.join([branch.predict(x) for branch in self.branches])

    def forward(self, x):
        outputs, callbacks = zip(*(branch.forward(x) for branch in self.branches), strict=True)
        y = self.join(outputs)
        callbacks = list(callbacks)
        shapes = [output.mean.shape for output in outputs]

        # What one input did through several branches adds up.
        def backward(dy):
            shares = self.split(dy, shapes)
            dx = None
            for callback in last_first(callbacks):
                share = callback(shares.pop())
                dx = share if dx is None else dx + share  # (6.5)
            return dx

        return y, backward


class Concat(Parallel):
    """y = [f_1(x), ..., f_n(x)] along the channels.  The moments are those of the branches.

    An output of 1 x 1 pixels, such as a global average, is spread over the pixels of the others.
    Exact for each output. Branches that share their input are correlated, and so are the copies of
    one pixel; that the next layer takes them for independent is ADF's approximation, not this
    layer's. Raises ValueError unless the outputs differ in channels only, or have 1 x 1 pixels.
    """

    def join(self, outputs):
        shapes = [y.mean.shape for y in outputs]
        size = max(shape[2:] for shape in shapes)
        sizes = {shape[2:] for shape in shapes} - {size, (1,) * len(size)}
        counts = {shape[0] for shape in shapes}
        if sizes or min(map(len, shapes)) < 2 or len(counts) > 1:
            raise ValueError(
                "Concat expects outputs that differ in channels only, or of 1 x 1 pixels, "
                f"got {shapes}"
            )
        # A point mass beside Gaussians is one of variance 0.
        mean = _side_by_side([y.mean for y in outputs], size)
        if all(y.var is None for y in outputs):
            return Gaussian(mean, None)
        variances = [xp.zeros_like(y.mean) if y.var is None else y.var for y in outputs]
        return Gaussian(mean, _side_by_side(variances, size))

    def split(self, dy, shapes):
        shares = []
        start = 0
        for shape in shapes:
            channels = slice(start, start + shape[1])
            shares.append(dy.map(lambda df, c=channels, shape=shape: _sum_to(df[:, c], shape)))
            start += shape[1]
        return shares


class Add(Parallel):
    """y = f_1(x) + ... + f_n(x).  E[y] = sum E[f_i],  Var[y] = sum Var[f_i].

    Exact for independent branches. Branches that share their input are not independent, and their
    covariance is left out: that is ADF's approximation. Raises ValueError unless all outputs have
    one shape.
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


def _side_by_side(arrays, size):
    return xp.concatenate([xp.broadcast_to(a, (*a.shape[:2], *size)) for a in arrays], axis=1)


def _sum_to(df, shape):
    """The gradient of an array of this shape, from that of the array spread over more pixels."""
    return df if df.shape == shape else df.sum(axis=tuple(range(2, df.ndim)), keepdims=True)
