"""What every layer's backward is wrapped in: it goes once, with a gradient that fits. Skip this."""

import functools

from ..backend import xp
from ..gaussian import FLOATS, Gaussian


def with_checked_backward(forward):
    """forward(layer, x) -> (y, backward), its backward as a WayBack."""

    @functools.wraps(forward)
    def checked(self, x):
        if not isinstance(x, Gaussian):
            raise ValueError(
                f"{type(self).__name__} expects a Gaussian(mean, var), got {type(x).__name__}; "
                "for an image: Gaussian(image)"
            )
        y, backward = forward(self, x)
        return y, WayBack(type(self).__name__, y, backward)

    return checked


class WayBack:
    """backward(dy), once: what it needs is dropped as it is used. Keeps nothing of y but its shape.

    Raises ValueError on a dy that is no gradient of y, and can then be called again with a right
    one; raises RuntimeError on a second call.
    """

    __slots__ = ("backward", "has_var", "name", "shape")

    def __init__(self, name, y, backward):
        self.name = name
        self.shape = y.mean.shape
        self.has_var = y.var is not None
        self.backward = backward

    def __call__(self, dy):
        self.check(dy)
        if self.backward is None:
            raise RuntimeError(
                f"{self.name}: backward was called twice: what it needs is dropped on the way; "
                "call forward again"
            )
        backward = self.backward
        self.backward = None
        return backward(dy)

    def check(self, dy):
        if not isinstance(dy, Gaussian):
            raise ValueError(
                f"backward of {self.name} expects a Gaussian(dL/dmean, dL/dvar), "
                f"got {type(dy).__name__}; without the second: Gaussian(dmean)"
            )
        for field, gradient in zip(dy._fields, dy, strict=True):
            self._check_field(field, gradient)

    def _check_field(self, field, gradient):
        """Raises ValueError unless it is an array of floats like the same field of y."""
        if gradient is None and field == "var":
            return
        # A gradient of another shape would be broadcast and be wrong in silence.
        if field == "var" and not self.has_var:
            raise ValueError(
                f"backward of {self.name} expects dy.var=None, for y is a point mass (var=None)"
            )
        is_array = isinstance(gradient, xp.ndarray)
        if not is_array or gradient.shape != self.shape or gradient.dtype not in FLOATS:
            came = f"{gradient.dtype} {gradient.shape}" if is_array else type(gradient).__name__
            raise ValueError(
                f"backward of {self.name} expects dy.{field} to be float32 or float64 "
                f"of the shape of y, {self.shape}, got {came}"
            )
