"""The linear law with weights of its own for the variance, where inputs are not independent.

Var[y] = sum_ij w_i w_j Cov[x_i, x_j]. Nobody can afford these covariances, and for independent
inputs only the diagonal is there: A(w**2) Var[x]. In a network neighbours share their inputs, and
the diagonal says too little. So the form of the law stays, and its weights are freed:

    E[y] = A(w) E[x] + b,    Var[y] = A(u) Var[x] + (A(r) std[x])**2,
    u = w**2 exp(log_gain),     r = w loading.    (9.9)

Independence adds variances, perfect correlation adds standard deviations, and a layer lies between
the two. With one common cause behind its inputs, Cov[x_i, x_j] = k_i k_j std_i std_j, it is exact
for loading = k, exp(log_gain) = 1 - k**2 (factor analysis).    (9.8)

Whether inputs vary together is another question at every pixel, for it depends on which kinks are
open: their means tell (gate.py). And where covariances are missing in a kink or a maximum, its mean
is off, too. A network's last layer answers for both:

    E[y] += A(w drift) std[x],    Var[y] *= exp(A(gate) f),    f as in gate.py.

All are learned from samples, for every output by itself: calibration.py. No variance is negative,
no noise gives variance 0, c times the noise variance gives c times the variance, and a weight that
is scaled, or 0, takes its share of the variance with it. All 0 is the law of independent inputs.

Source: none for freed weights. Scalars per layer, fitted to samples, are Calibrated Variance
Propagation (Wieczorek et al., arXiv 2606.16214, 2026).
"""

from ..backend import xp
from ..engine import fused
from ..gaussian import Gaussian
from .gate import features, of_means, scaled
from .layer import Parameter


def free(law, loading=None, is_last=False):
    """Gives a layer that learns under the linear law u, and r too if it gets a loading.

    They are Parameters of the layer, `log_gain`, at first 0, and `loading`, of the shape of its
    weight. A last layer has a `gate` and a `drift`, too, of the same shape and at first 0.
    """
    w = law.weight.value
    law.log_gain = Parameter(xp.zeros_like(w))
    law.loading = None if loading is None else Parameter(xp.full_like(w, loading))
    law.gate, law.drift = (Parameter(xp.zeros_like(w)) if is_last else None for _ in range(2))


def predict(law, x):
    """What law.predict gives for variances."""
    y = Gaussian(law.predict(Gaussian(x.mean)).mean, variance(law, x)[0])
    return y if law.gate is None else finished(law, x, y)[0]


def forward(law, x):
    """What law.forward gives for variances."""
    law.check(x)
    point, mean_backward = law.forward(Gaussian(x.mean))
    var, variance_backward = variance(law, x)
    y = Gaussian(point.mean, var)
    last_backward = None
    if law.gate is not None:
        y, last_backward = finished(law, x, y)

    # A last layer is left the way it was entered, by its gate and drift first.
    def backward(dy):
        dmean = mean_backward(Gaussian(dy.mean)).mean
        dvar = xp.zeros_like(dy.mean) if dy.var is None else dy.var
        if last_backward is None:
            return Gaussian(dmean, variance_backward(dvar))
        dvar, of_gate, of_drift = last_backward(dy.mean, dvar)
        return Gaussian(dmean + of_gate, variance_backward(dvar) + of_drift)

    return y, backward


def variance(law, x):
    """A(u) Var[x] + (A(r) std[x])**2 -> (Var[y], backward: dVar[y] -> dVar[x])."""
    w = law.weights(x)
    gain = xp.exp(own(law.log_gain, w))
    u = w * w * gain
    var = law.apply(u, x.var)
    common_backward = None
    if law.loading is not None:
        q, common_backward = common_mode(law, x)
        var = with_square(var, q)

    # dVar[y] goes back through A(u) as in any linear layer.
    def backward(dvar):
        du = law.weight_grad(x.var, dvar)
        law.weight.grad += 2 * w * gain * du
        law.log_gain.grad += u * du  # (9.16)
        dx = law.adjoint(u, dvar, x.var.shape)
        return dx if common_backward is None else dx + common_backward(dvar)

    return var, backward


def common_mode(law, x):
    """q = A(r) std[x]  -> (q, backward: d(q**2) -> dVar[x])."""
    w = law.weights(x)
    loading = own(law.loading, w)
    s = xp.sqrt(x.var)
    q = law.apply(w * loading, s)

    # Through q, which is linear in s = std[x].
    def backward(dvar):
        dq = 2 * q * dvar
        dr = law.weight_grad(s, dq)
        law.weight.grad += loading * dr
        law.loading.grad += w * dr  # (9.17)
        return of_std(law.adjoint(w * loading, dq, s.shape), s)

    return q, backward


@fused
def with_square(var, q):
    return var + q * q


def finished(law, x, y):
    """A last layer's y with its drift and its gate  -> (y, backward).

    backward(dmean, dvar) gives what goes back to Var[y] before, to E[x] by the gate, and to Var[x]
    by the drift.
    """
    w = law.weights(x)
    gate, drift = (own(p, w) for p in (law.gate, law.drift))
    s = xp.sqrt(x.var)
    f = features(x.mean)
    z = law.apply(gate, f)
    var = scaled(y.var, z)

    # d exp(z) = exp(z) dz, and dw and ddrift as of any product.
    def backward(dmean, dvar):
        dz = var * dvar
        dt = law.weight_grad(s, dmean)
        law.gate.grad += law.weight_grad(f, dz)
        law.drift.grad += w * dt
        law.weight.grad += drift * dt
        df = law.adjoint(gate, dz, s.shape)
        ds = law.adjoint(w * drift, dmean, s.shape)
        return xp.exp(z) * dvar, of_means(df, x.mean), of_std(ds, s)

    return Gaussian(y.mean + law.apply(w * drift, s), var), backward


def own(parameter, w):
    """A parameter's value in the dtype of the layer's weights."""
    return parameter.value.astype(w.dtype, copy=False)


def of_std(ds, s):
    """dVar of ds, the gradient by s = std: ds/dVar = 1 / (2 s), taken as 0 where s is 0."""
    return ds * (s > 0) / (2 * s + (s == 0))
