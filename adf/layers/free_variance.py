"""The linear law with weights of its own for the variance, where inputs are not independent.

Var[y] = sum_ij w_i w_j Cov[x_i, x_j]. Nobody can afford these covariances, and for independent
inputs only the diagonal is there: A(w**2) Var[x]. In a network neighbours share their inputs, and
the diagonal says too little. So the form of the law stays, and its weights are freed:

    E[y] = A(w) E[x] + b,    Var[y] = A(u) Var[x] + (A(r) std[x])**2,
    u = w**2 exp(log_gain),     r = w loading.

Independence adds variances, perfect correlation adds standard deviations, and a layer lies between
the two. With one common cause behind its inputs, Cov[x_i, x_j] = k_i k_j std_i std_j, it is exact
for loading = k, exp(log_gain) = 1 - k**2 (factor analysis); here both are learned from samples, for
every output by itself: calibration.py. No variance is negative, no noise gives variance 0, c times
the noise variance gives c times the variance, and a weight that is scaled, or 0, takes its share of
the variance with it. Both 0 is the law of independent inputs.

Source: none for freed weights. Scalars per layer, fitted to samples, are Calibrated Variance
Propagation (Wieczorek et al., arXiv 2606.16214, 2026).
"""

from ..backend import xp
from ..gaussian import Gaussian
from .layer import Parameter


def free(law, loading=0.0):
    """Gives a layer that learns under the linear law u and r as above, at first all of one loading.

    They are Parameters of the layer, `log_gain` and `loading`, of the shape of its weight.
    """
    law.log_gain = Parameter(xp.zeros_like(law.weight.value))
    law.loading = Parameter(xp.full_like(law.weight.value, loading))


def own_weights(law, w):
    """u and r in the dtype of w."""
    log_gain = law.log_gain.value.astype(w.dtype, copy=False)
    return w * w * xp.exp(log_gain), w * law.loading.value.astype(w.dtype, copy=False)


def variance(law, x):
    """Var[y], and q = A(r) std[x], whose square is what is common in it."""
    u, r = own_weights(law, law.weights(x))
    q = law.apply(r, xp.sqrt(x.var))
    return law.apply(u, x.var) + q * q, q


def predict(law, x):
    """What law.predict gives for variances; the mean is that of a point mass."""
    return Gaussian(law.predict(Gaussian(x.mean)).mean, variance(law, x)[0])


def forward(law, x):
    """What law.forward gives for variances."""
    law.check(x)
    point, mean_backward = law.forward(Gaussian(x.mean))
    var, q = variance(law, x)

    # The variance goes back through u as in any linear law; through q**2 it first meets q, which is
    # linear in s = std[x], and ds/dVar[x] = 1 / (2 s), taken as 0 where s is 0.
    def backward(dy):
        dx = mean_backward(Gaussian(dy.mean))
        if dy.var is None:
            return dx
        s = xp.sqrt(x.var)
        dq = 2 * q * dy.var
        _accumulate(law, x, law.weight_grad(x.var, dy.var), law.weight_grad(s, dq))
        u, r = own_weights(law, law.weights(x))
        ds = law.adjoint(r, dq, x.var.shape)
        dvar = law.adjoint(u, dy.var, x.var.shape) + ds * (s > 0) / (2 * s + (s == 0))
        return Gaussian(dx.mean, dvar)

    return Gaussian(point.mean, var), backward


def _accumulate(law, x, du, dr):
    """Hands du and dr on to what u and r are made of."""
    w = law.weights(x)
    gain = xp.exp(law.log_gain.value.astype(w.dtype, copy=False))
    law.weight.grad += 2 * w * gain * du + law.loading.value * dr
    law.log_gain.grad += w * w * gain * du
    law.loading.grad += w * dr
