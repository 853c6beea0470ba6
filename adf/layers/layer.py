"""What every layer is: parameters, and forward -> (y, backward)."""

from ..backend import Generator, xp
from ..gaussian import FLOATS
from .paths import held
from .way_back import with_checked_backward


class Parameter:
    """An array that learns: `value`, and `grad`, into which every backward adds. Assign to either.

    A value of the other float type makes the gradient one of that type, too. Raises ValueError on
    another shape, and on what is neither float32 nor float64.
    """

    def __init__(self, value):
        self._value = _floats(value)
        self.grad = xp.zeros_like(self._value)

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        value = _floats(value)
        if value.shape != self._value.shape:
            raise ValueError(
                f"this Parameter expects an array of shape {self._value.shape}, got {value.shape}"
            )
        if value.dtype != self.grad.dtype:
            self.grad = self.grad.astype(value.dtype)
        self._value = value


def _floats(value):
    array = xp.asarray(value)
    if array.dtype not in FLOATS:
        raise ValueError(f"a Parameter expects float32 or float64, got {array.dtype}")
    return array


class Statistic:
    """A running average. Every update moves `value` by `momentum` towards what a batch showed.

    It does not learn.
    """

    def __init__(self, value, momentum):
        self.value = value
        self.momentum = momentum
        self.updates = 0

    def update(self, batch_statistic):
        self.value = (1 - self.momentum) * self.value + self.momentum * batch_statistic  # (5.5)
        self.updates += 1

    def absorb(self, other):
        """Takes over the updates of a replica that began at 0, as if they had been made here."""
        self.value = (1 - self.momentum) ** other.updates * self.value + other.value
        self.updates += other.updates


class Layer:
    """A map from Gaussian to Gaussian.

    `forward(x)` returns y and `backward`. `backward(dy)`, called once, returns dx and adds to the
    gradients of the parameters. `predict(x)` returns y alone and keeps nothing. `parameters()`
    lists them in the order of construction. Whatever a subclass defines as `forward`, its backward
    raises RuntimeError on a second call, and ValueError on a dy that is no gradient of y.
    """

    def __init_subclass__(cls):
        if "forward" in vars(cls):
            cls.forward = with_checked_backward(cls.forward)

    def forward(self, x):
        raise NotImplementedError

    def predict(self, x):
        return self.forward(x)[0]

    def to(self, dtype):
        """This layer, its parameters and running averages from now on of this dtype: "float64"."""
        for p in (*self.parameters(), *self.statistics()):
            p.value = p.value.astype(dtype)
        return self

    def parameters(self):
        return held(self, Parameter)

    def statistics(self):
        """The running averages, in the order of construction; most layers have none."""
        return held(self, Statistic)

    def generators(self):
        """The generators of random numbers, in the order of construction; few layers have one."""
        return held(self, Generator)
