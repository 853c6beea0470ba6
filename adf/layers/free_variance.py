"""The linear law with weights of its own for the variance, where inputs are not independent.

Var[y] = sum_ij w_i w_j Cov[x_i, x_j]. Nobody can afford these covariances, and for independent
inputs only the diagonal is there: A(w**2) Var[x]. In a network neighbours share their inputs, and
the diagonal says too little. So the form of the law stays, and its weights are freed:

    E[y] = A(w) E[x] + b,    Var[y] = A(u) Var[x] + (A(r) std[x])**2,
    u = w**2 exp(log_gain),     r = w loading.

Independence adds variances, perfect correlation adds standard deviations, and a layer lies between
the two. With one common cause behind its inputs, Cov[x_i, x_j] = k_i k_j std_i std_j, it is exact
for loading = k, exp(log_gain) = 1 - k**2 (factor analysis).

Whether inputs vary together is another question at every pixel, for it depends on which kinks are
open: their means tell. And where covariances are missing in a kink or a maximum, its mean is off,
too. A network's last layer answers for both:

    E[y] += A(w drift) std[x],    Var[y] *= exp(A(gate) f),    f = E[x] / 3, but -1 or 1 beyond.

All are learned from samples, for every output by itself: calibration.py. No variance is negative,
no noise gives variance 0, c times the noise variance gives c times the variance, and a weight that
is scaled, or 0, takes its share of the variance with it. All 0 is the law of independent inputs.

Source: none for freed weights. Scalars per layer, fitted to samples, are Calibrated Variance
Propagation (Wieczorek et al., arXiv 2606.16214, 2026).
"""

from ..backend import xp
from ..engine import fused
from ..gaussian import Gaussian
from .layer import Parameter

LIMIT = 3.0  # of the means that a gate reads


def free(law, loading=0.0, is_last=False):
    """Gives a layer that learns under the linear law u and r as above, at first all of one loading.

    They are Parameters of the layer, `log_gain` and `loading`, of the shape of its weight. A last
    layer has a `gate` and a `drift`, too, of the same shape and at first 0.
    """
    w = law.weight.value
    law.log_gain = Parameter(xp.zeros_like(w))
    law.loading = Parameter(xp.full_like(w, loading))
    law.gate, law.drift = (Parameter(xp.zeros_like(w)) if is_last else None for _ in range(2))


def own_weights(law, x):
    """u and r in the dtype of y."""
    w = law.weights(x)
    log_gain, loading = (p.value.astype(w.dtype, copy=False) for p in (law.log_gain, law.loading))
    return w * w * xp.exp(log_gain), w * loading


@fused
def with_square(v, q):
    return v + q * q


def variance(law, x):
    """Var[y] without a gate, s = std[x], and q = A(r) s, whose square is what is common in it."""
    u, r = own_weights(law, x)
    s = xp.sqrt(x.var)
    q = law.apply(r, s)
    return with_square(law.apply(u, x.var), q), s, q


def predict(law, x):
    """What law.predict gives for variances."""
    y = Gaussian(law.predict(Gaussian(x.mean)).mean, variance(law, x)[0])
    return y if law.gate is None else finished(law, x, y)[0]


def forward(law, x):
    """What law.forward gives for variances."""
    law.check(x)
    point, mean_backward = law.forward(Gaussian(x.mean))
    var, s, q = variance(law, x)
    y = Gaussian(point.mean, var)
    last_backward = None
    if law.gate is not None:
        y, last_backward = finished(law, x, y)

    # The variance goes back through u as in any linear law; through q**2 it first meets q, which is
    # linear in s = std[x], and ds/dVar[x] = 1 / (2 s), taken as 0 where s is 0.
    def backward(dy):
        dmean = mean_backward(Gaussian(dy.mean)).mean
        dvar = xp.zeros_like(dy.mean) if dy.var is None else dy.var
        ds = 0
        if last_backward:
            dvar, of_gate, ds = last_backward(dy.mean, dvar)
            dmean = dmean + of_gate
        dq = 2 * q * dvar
        _accumulate(law, x, law.weight_grad(x.var, dvar), law.weight_grad(s, dq))
        u, r = own_weights(law, x)
        ds = ds + law.adjoint(r, dq, s.shape)
        dvar = law.adjoint(u, dvar, s.shape) + ds * (s > 0) / (2 * s + (s == 0))
        return Gaussian(dmean, dvar)

    return y, backward


def finished(law, x, y):
    """A last layer's y with its drift and its gate  -> (y, backward).

    backward(dmean, dvar) gives what goes back to Var[y] before, to E[x] by the gate, and to std[x].
    """
    w = law.weights(x)
    gate, drift = (p.value.astype(w.dtype, copy=False) for p in (law.gate, law.drift))
    s = xp.sqrt(x.var)
    f = xp.minimum(xp.maximum(x.mean / LIMIT, -1), 1)
    gain = xp.exp(law.apply(gate, f))

    # d exp(z) = exp(z) dz; beyond the limit f stays as it is.
    def backward(dmean, dvar):
        dz = gain * y.var * dvar
        dt = law.weight_grad(s, dmean)
        law.gate.grad += law.weight_grad(f, dz)
        law.drift.grad += w * dt
        law.weight.grad += drift * dt
        df = law.adjoint(gate, dz, s.shape)
        return gain * dvar, df * (abs(f) < 1) / LIMIT, law.adjoint(w * drift, dmean, s.shape)

    return Gaussian(y.mean + law.apply(w * drift, s), gain * y.var), backward


def _accumulate(law, x, du, dr):
    """Hands du and dr on to what u and r are made of."""
    w = law.weights(x)
    gain = xp.exp(law.log_gain.value.astype(w.dtype, copy=False))
    law.weight.grad += 2 * w * gain * du + law.loading.value * dr
    law.log_gain.grad += w * w * gain * du
    law.loading.grad += w * dr
