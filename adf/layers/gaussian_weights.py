"""The linear law with Gaussian weights: a variance for doubt about the weights, in closed form.

The weights w = N(m, v) and biases N(m_b, v_b) are independent of each other and of the input. From
Var[w x] = E[w**2] E[x**2] - E[w]**2 E[x]**2 follows for y = A(w) x + b

    E[y] = A(m) E[x] + m_b,    Var[y] = A(m**2 + v) Var[x] + A(v) E[x]**2 + v_b,    (12.2)

exact for every output. Even a point mass comes out with a variance, and v = 0 is the linear law.
All terms are positive, so nothing cancels. Outputs that share a weight, as the pixels of a
convolution do, are correlated, and so are outputs that share an input; the next layer takes no
notice: that is ADF's approximation. Behind one dense layer from a point mass there is none.

Source: Hernandez-Lobato & Adams, Probabilistic Backpropagation, ICML 2015, section 3.
"""

from ..backend import xp
from ..gaussian import Gaussian
from .layer import Parameter

RATE = 10.0  # of the width of a weight's Gaussian, in units of that of its mean


class LogStd:
    """A variance that is positive whatever an optimizer does: u = log(std) / RATE learns.

    Adam moves every number by about its rate, and a log(std) has several units to travel. To a
    layer it is a Parameter: `value` is the variance, and `grad` the gradient by it.
    """

    def __init__(self, variance):
        self.u = Parameter(xp.log(variance) / (2 * RATE))

    def parameters(self):
        return [self.u]

    @property
    def value(self):
        return xp.exp(2 * RATE * self.u.value)

    @value.setter
    def value(self, variance):
        self.u.value = xp.log(variance) / (2 * RATE)

    @property
    def grad(self):
        return self.u.grad / (2 * RATE * self.value)

    @grad.setter
    def grad(self, dvar):
        self.u.grad = 2 * RATE * self.value * dvar


def randomise(law, var, kind=Parameter):
    """Makes Gaussians of the weights of a layer that learns under the linear law, and of its bias.

    Their means are `weight` and `bias`; their variances, all `var` at first, become `weight_var`
    and `bias_var`. kind: Parameter, or LogStd. Raises ValueError on a negative variance and on a
    layer without weights.
    """
    if law.weight is None:
        raise ValueError(f"randomise expects a layer that learns weights, got {law!r}")
    if not 0 <= var < float("inf"):
        raise ValueError(f"randomise expects a variance of 0 or more, got {var!r}")
    law.weight_var = kind(xp.full_like(law.weight.value, var))
    law.bias_var = law.bias and kind(xp.full_like(law.bias.value, var))


def gaussians(laws):
    """(mean, variance, fan_in) of all arrays of weights and biases of such layers."""
    return [
        (m, v, law.fan_in)
        for law in laws
        for m, v in ((law.weight, law.weight_var), (law.bias, law.bias_var))
        if m is not None
    ]


def own_weights(law, x):
    """m and v in the dtype of y."""
    m = law.weights(x)
    return m, law.weight_var.value.astype(m.dtype, copy=False)


def predict(law, x):
    """What law.predict gives."""
    m, v = own_weights(law, x)
    y = Gaussian(law.apply(m, x.mean), law.apply(v, x.mean * x.mean))
    if x.var is not None:
        y = Gaussian(y.mean, y.var + law.apply(m * m + v, x.var))
    if law.bias is not None:
        per_channel = (-1, *[1] * (y.mean.ndim - 2))
        for field, p in zip(y, (law.bias, law.bias_var), strict=True):
            field += p.value.reshape(per_channel)  # it was made here
    return y


def forward(law, x):
    """What law.forward gives."""
    law.check(x)
    m, v = own_weights(law, x)
    shape = x.mean.shape

    # A weight's mean stands in E[y] and, squared, in front of Var[x]; its variance in front of
    # E[x]**2 + Var[x].
    def backward(dy):
        dm = law.weight_grad(x.mean, dy.mean)
        dmean = law.adjoint(m, dy.mean, shape)
        dvar = None
        if dy.var is not None:
            square = x.mean * x.mean
            dmean = dmean + 2 * x.mean * law.adjoint(v, dy.var, shape)
            if x.var is not None:
                square = square + x.var
                dm = dm + 2 * m * law.weight_grad(x.var, dy.var)
                dvar = law.adjoint(m * m + v, dy.var, shape)
            law.weight_var.grad += law.weight_grad(square, dy.var)  # (12.9)
        law.weight.grad += dm
        for p, d in zip((law.bias, law.bias_var), dy, strict=True):
            if p is not None and d is not None:
                p.grad += d.sum(axis=(0, *range(2, d.ndim)))
        return Gaussian(dmean, dvar)

    return predict(law, x), backward


def divergence(laws):
    """The KL divergence of all N(m, v) from a prior, in nats -> (divergence, backward).

    It is the sum of log(p / v) / 2 + (v + m**2) / (2 p) - 1 / 2. The prior N(0, p), p = 2 / fan_in,
    is what LinearLaw draws weights from. backward(dloss) adds to the gradients.
    """
    weights = [(m, v, 2 / fan_in) for m, v, fan_in in gaussians(laws)]

    # By v alone it is least at p: there the pull of the prior and that of the entropy cancel.
    def backward(dloss):
        for m, v, p in weights:
            m.grad += dloss / p * m.value
            v.grad += dloss / 2 * (1 / p - 1 / v.value)

    return sum(kl(m.value, v.value, p) for m, v, p in weights), backward


def kl(m, v, p):
    """The KL divergence of all N(m, v) from N(0, p), added up in float64, in nats."""
    m, v = (array.astype("float64") for array in (m, v))
    return ((v + m * m) / p - xp.log(v / p) - 1).sum() / 2
